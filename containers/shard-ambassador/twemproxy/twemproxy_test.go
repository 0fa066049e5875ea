// Package twemproxy_test holds ring and pool to the real twemproxy: Debian's
// nutcracker, in a container together with this very test program, which stands
// behind it as servers and in front of it as a client, on a loopback of their own.
package twemproxy_test

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// inside are the comparisons, each run in a container. What they find wrong is their error.
var inside = map[string]func() error{
	"keys":     compareKeys,
	"ejection": compareEjection,
	"files":    compareFiles,
	"table":    printTable,
}

// table is the lab's list of keys and of where twemproxy puts them.
const table = "../../../labs/ambassador/shard/twemproxy.txt"

var update = flag.Bool("update", false, "write the lab's table of keys as twemproxy places them")

// chosen names the comparison to run, in the container.
const chosen = "TWEMPROXY_COMPARE"

func TestMain(m *testing.M) {
	flag.Parse()
	if name := os.Getenv(chosen); name != "" {
		if err := inside[name](); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func TestTwemproxy(t *testing.T) {
	if testing.Short() {
		t.Log("-short leaves out what needs Docker")
		return
	}
	image := output(t, "../../../scripts/debian-image", "nutcracker")
	arch := output(t, "docker", "version", "--format", "{{.Server.Arch}}")
	program := filepath.Join(t.TempDir(), "compare")
	build := exec.Command("go", "test", "-c", "-o", program, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch)
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go test -c: %v\n%s", err, out)
	}
	for name := range inside {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			container := "distlab-twemproxy-" + name + "-" + fmt.Sprint(os.Getpid())
			args := []string{
				"create", "--rm", "--name", container, "--network", "none", "--env", chosen + "=" + name,
			}
			for i := range memcached {
				args = append(args, "--add-host", fmt.Sprintf("memcache-%d.memcache:127.0.0.%d", i, i+2))
			}
			// Copied and not mounted: the engine need not share this file system.
			output(t, "docker", append(args, image, "/compare")...)
			t.Cleanup(func() { exec.Command("docker", "rm", "-f", container).Run() })
			output(t, "docker", "cp", program, container+":/compare")
			output(t, "docker", "cp", table, container+":/table")
			start := exec.CommandContext(t.Context(), "docker", "start", "--attach", container)
			out, err := start.CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			if name == "table" {
				checkTable(t, out)
				return
			}
			t.Logf("%s", out)
		})
	}
}

// checkTable compares the lab's table with the one that twemproxy makes.
func checkTable(t *testing.T, want []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(table, want, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	got, err := os.ReadFile(table)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-twemproxy +file; -update writes it):\n%s", table, diff)
	}
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
