// Package servers_test holds the ambassador to real servers: Redis 7 and 8 and Valkey, as Debian has them. Before one
// server it must be that server: what the server accepts is accepted, what it ends a connection on ends it, and the
// replies are the same.
//
// The comparisons run where there is a server's binary: on the PATH or in REDIS_SERVER, and in a container of
// each image together with this very test program. To look for more by hand, for as long as you like:
//
//	REDIS_SERVER=/usr/bin/redis-server go test -run '^$' -fuzz FuzzDifference -fuzztime 30m -parallel 1 .
package servers_test

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// images are the recipes of the servers.
var images = []string{"redis-7", "redis", "valkey"}

// inside marks the test program in a container.
const inside = "SERVERS_INSIDE"

func TestMain(m *testing.M) {
	flag.Parse()
	if _, err := findServer(); err != nil {
		if f := flag.Lookup("test.fuzz"); f != nil && f.Value.String() != "" {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		// Without a server here all comparisons run in containers, which TestServers starts.
		flag.Set("test.run", "^TestServers$")
	}
	os.Exit(m.Run())
}

func TestServers(t *testing.T) {
	if testing.Short() {
		t.Log("-short leaves out what needs Docker")
		return
	}
	arch := output(t, "docker", "version", "--format", "{{.Server.Arch}}")
	program := filepath.Join(t.TempDir(), "servers")
	build := exec.Command("go", "test", "-c", "-o", program, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch)
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go test -c: %v\n%s", err, out)
	}
	for _, recipe := range images {
		t.Run(recipe, func(t *testing.T) {
			image := output(t, "../../../scripts/debian-image", recipe)
			container := "distlab-servers-" + recipe + "-" + fmt.Sprint(os.Getpid())
			output(t, "docker", "create", "--rm", "--name", container, "--network", "none", "--env", inside+"=1",
				"--workdir", "/servers", "--user", "0", "--entrypoint", "/servers/servers", image,
				"-test.run", "^(TestInputs|TestCommands|FuzzDifference)$", "-test.v")
			t.Cleanup(func() { exec.Command("docker", "rm", "-f", container).Run() })
			// Copied and not mounted: the engine need not share this file system.
			output(t, "docker", "cp", program, container+":/servers/servers")
			if _, err := os.Stat("testdata"); err == nil {
				output(t, "docker", "cp", "testdata", container+":/servers/testdata")
			}
			out, err := exec.CommandContext(t.Context(), "docker", "start", "--attach", container).CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s", err, failed(out))
			}
			t.Logf("%d inputs", strings.Count(string(out), "--- PASS"))
		})
	}
}

// failed is what the tests in a container say, but for what passed.
func failed(out []byte) string {
	var b strings.Builder
	for line := range strings.Lines(string(out)) {
		if !strings.Contains(line, "--- PASS") && !strings.HasPrefix(line, "=== ") {
			b.WriteString(line)
		}
	}
	return b.String()
}

// findServer is the path of a server's binary.
func findServer() (string, error) {
	if path := os.Getenv("REDIS_SERVER"); path != "" {
		return path, nil
	}
	for _, name := range []string{"redis-server", "valkey-server"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", errors.New("no redis-server or valkey-server on the PATH, nor in REDIS_SERVER")
}

// output is what a command prints on standard output, without the line's end.
func output(t *testing.T, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s\nhint: this test needs Docker; -short leaves it out", name, err, errs.String())
	}
	return strings.TrimSpace(string(out))
}
