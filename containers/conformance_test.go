// Package containers_test holds every container to the contract of
// docs/writing-a-container.md: its folder is complete, its Dockerfile and its
// README say what its program says, and its program behaves as all do.
//
// A container is a folder here. Nothing has to be registered: a new folder is
// held to all of it at once. What a container may leave out is in daemonless,
// with the reason.
//
//	go test ./containers              # compare
//	go test ./containers -update      # write the READMEs' settings tables
package containers_test

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"distlab/containers/internal/env"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the settings tables of the READMEs")

// daemonless are the containers that do without containers/internal/daemon,
// and so without settings, admin port and health check, each with the reason.
var daemonless = map[string]string{
	"pause": "there is nothing to set, drain, be ready for or measure, and an admin port would be an open port in every pod",
	"probe": "it asks one question and ends: it serves nothing, and its arguments are its settings",
}

// needed is what a container's program must be given to start at all: its
// required settings, on this host. Addresses need not be given: each becomes
// a free port on loopback. {bins} is a folder that it may write to.
var needed = map[string]map[string]string{
	"config-api":        {"WRITE_TOKEN": "token"},
	"config-sidecar":    {"SOURCE": "http://127.0.0.1:9/", "DEST_DIR": filepath.Join(os.TempDir(), "distlab-config")},
	"elector":           {"ELECTION": "test", "ID": "test", "ETCD_ENDPOINTS": "http://127.0.0.1:9"},
	"git-sync":          {"REPO": "http://127.0.0.1:9/site.git"}, // and ROOT: see TestMain
	"log-adapter":       {"INPUTS": "tcp://127.0.0.1:0"},         // standard input is at its end here
	"log-shipper":       {"PATHS": "/nowhere/*.log", "STORE_URL": "http://127.0.0.1:9/"},
	"log-store":         {"DATA_DIR": "{bins}"},
	"log-writer":        {"LOG_PATH": "{bins}/app.log"},
	"http-cache":        {"ORIGINS": "http://127.0.0.1:9"},
	"owner-proxy":       {"ELECTION": "test", "ETCD_ENDPOINTS": "http://127.0.0.1:9"},
	"restarter":         {"LIVENESS_URL": "http://127.0.0.1:9/", "TARGET_PROCESS": "nobody"},
	"search-root":       {"SHARDS": "127.0.0.1:9"},
	"shard-ambassador":  {"SERVERS": "127.0.0.1:9:1", "LISTEN_ADDR": "127.0.0.1:0"},
	"balancer":          {"REPLICAS": "127.0.0.1:9"},
	"broker-ambassador": {"SERVICES": "app=127.0.0.1:0", "SELECT": "env=test", "ETCD_ENDPOINTS": "http://127.0.0.1:9"},
	"splitter":          {"ARMS": "production=http://127.0.0.1:9"},
	"tls-sidecar":       {"PROXY_PORT": "9", "SELF_SIGNED": "true"},
	"format-adapter":    {}, // SOURCES_PATH: see TestMain
}

// borrowed are metrics that keep the name of a well-known program's, for the sake of those who have dashboards for it.
var borrowed = map[string]bool{"git_fetch_count_total": true}

// patience bounds every wait for a program.
const patience = 20 * time.Second

// container is a folder under test.
type container struct {
	name   string
	binary func() (string, error) // compiled at the first call
}

// bins is where the programs are compiled to.
var bins string

func TestMain(m *testing.M) {
	flag.Parse()
	dir, err := os.MkdirTemp("", "containers")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	bins = dir
	needed["git-sync"]["ROOT"] = filepath.Join(dir, "git-sync.root")
	needed["format-adapter"]["SOURCES_PATH"], _ = filepath.Abs("format-adapter/testdata/parts.yaml")
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// containers are all of them. They are found once: the programs are compiled
// once.
var containers = sync.OnceValues(func() ([]container, error) {
	entries, err := os.ReadDir(".")
	if err != nil {
		return nil, err
	}
	var list []container
	for _, e := range entries {
		if !e.IsDir() || e.Name() == "internal" {
			continue
		}
		name := e.Name()
		list = append(list, container{name, sync.OnceValues(func() (string, error) {
			bin := filepath.Join(bins, name)
			out, err := exec.Command("go", "build", "-o", bin, "./"+name).CombinedOutput()
			if err != nil {
				return "", fmt.Errorf("go build ./%s: %w\n%s", name, err, out)
			}
			return bin, nil
		})})
	}
	return list, nil
})

// forEach runs a subtest for every container.
func forEach(t *testing.T, f func(t *testing.T, c container)) {
	list, err := containers()
	if err != nil {
		t.Fatal(err)
	}
	if len(list) == 0 {
		t.Fatal("no containers")
	}
	for _, c := range list {
		t.Run(c.name, func(t *testing.T) { f(t, c) })
	}
}

// run runs the program to its end, and is what it printed and its exit code.
func (c container) run(t *testing.T, vars []string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	bin, err := c.binary()
	if err != nil {
		t.Fatal(err)
	}
	var out, errs strings.Builder
	cmd := exec.CommandContext(t.Context(), bin, args...)
	cmd.Env, cmd.Stdout, cmd.Stderr = append([]string{}, vars...), &out, &errs
	if err := cmd.Run(); cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// settings asks the program for its settings.
func (c container) settings(t *testing.T) []env.Setting {
	t.Helper()
	if daemonless[c.name] != "" {
		return nil
	}
	stdout, stderr, code := c.run(t, nil, "settings", "-o", "json")
	if code != 0 {
		t.Fatalf("settings -o json: exit code %d: %s", code, stderr)
	}
	var list []env.Setting
	if err := json.Unmarshal([]byte(stdout), &list); err != nil {
		t.Fatal(err)
	}
	return list
}

func read(t *testing.T, elem ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(elem...))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestFolder(t *testing.T) {
	forEach(t, func(t *testing.T, c container) {
		if !regexp.MustCompile(`^[a-z][a-z0-9]*(-[a-z0-9]+)*$`).MatchString(c.name) {
			t.Error("the name of the folder is that of the image: lower-case words joined by dashes")
		}
		for _, name := range []string{"main.go", "Dockerfile", "README.md"} {
			if _, err := os.Stat(filepath.Join(c.name, name)); err != nil {
				t.Error(err)
			}
		}
		if tests, _ := filepath.Glob(filepath.Join(c.name, "*_test.go")); len(tests) == 0 {
			t.Error("no tests")
		}
	})
}

// Every exception is of a container that exists and still needs it.
func TestExceptionsAreNeeded(t *testing.T) {
	for name := range daemonless {
		out, err := exec.Command("go", "list", "-deps", "./"+name).CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
		if strings.Contains(string(out), "distlab/containers/internal/daemon\n") {
			t.Errorf("%s uses containers/internal/daemon: it is no exception", name)
		}
	}
	for name := range needed {
		if _, err := os.Stat(name); err != nil {
			t.Error(err)
		}
	}
}

const tableStart, tableEnd = "<!-- settings -->\n", "<!-- /settings -->"

func TestReadme(t *testing.T) {
	forEach(t, func(t *testing.T, c container) {
		path := filepath.Join(c.name, "README.md")
		text := read(t, path)
		if !strings.HasPrefix(text, "# "+c.name+"\n") {
			t.Errorf("does not begin with # %s", c.name)
		}
		if daemonless[c.name] != "" {
			return
		}
		head, rest, found := strings.Cut(text, tableStart)
		got, tail, closed := strings.Cut(rest, tableEnd)
		if !found || !closed {
			t.Fatalf("no settings table between %s and %s", strings.TrimSpace(tableStart), tableEnd)
		}
		want, stderr, code := c.run(t, nil, "settings", "-o", "markdown")
		if code != 0 {
			t.Fatalf("settings -o markdown: exit code %d: %s", code, stderr)
		}
		if got == want {
			return
		}
		if !*update {
			t.Fatalf("the settings table is not the program's (-program +README); go test ./containers -update writes it\n%s", cmp.Diff(want, got))
		}
		if err := os.WriteFile(path, []byte(head+tableStart+want+tableEnd+tail), 0o644); err != nil {
			t.Fatal(err)
		}
	})
}

// TestProgram starts each program and asks of it what all have in common.
func TestProgram(t *testing.T) {
	forEach(t, func(t *testing.T, c container) {
		if _, _, code := c.run(t, nil, "no-such-argument"); code != 2 {
			t.Errorf("an unknown argument exits %d, want 2", code)
		}
		if stdout, _, code := c.run(t, nil, "-h"); code != 0 || !strings.Contains(strings.ToLower(stdout), "usage:") {
			t.Errorf("-h exits %d and prints %q", code, stdout)
		}
		if daemonless[c.name] != "" {
			return
		}
		if _, stderr, code := c.run(t, []string{"ADMIN_ADDR=x", "DRAIN_TIMEOUT=5"}); code != 2 ||
			!strings.Contains(stderr, `ADMIN_ADDR="x": not a listen address`) || !strings.Contains(stderr, `DRAIN_TIMEOUT="5": not a duration`) {
			t.Errorf("bad settings: exit code %d: %s", code, stderr)
		}
		p := startProgram(t, c)
		for _, path := range []string{"/livez", "/metrics"} {
			if code, body := p.get(t, path); code != 200 {
				t.Errorf("%s is %d: %s", path, code, body)
			}
		}
		// What is needed here need not make it ready; health must agree, but for one that becomes ready just then.
		for {
			ready, _ := p.get(t, "/readyz")
			_, _, code := c.run(t, []string{"ADMIN_ADDR=" + p.admin}, "health")
			if again, _ := p.get(t, "/readyz"); again != ready {
				continue
			}
			if (code == 0) != (ready == 200) {
				t.Errorf("/readyz is %d, and health exits %d", ready, code)
			}
			break
		}
		p.checkMetrics(t, c)
		if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		<-p.done
		if p.cmd.Wait(); p.cmd.ProcessState.ExitCode() != 0 {
			t.Errorf("after SIGTERM: %s\n%s", p.cmd.ProcessState, p.log.String())
		}
	})
}

// checkMetrics: the names of a container's metrics begin with its own, and
// its README explains each.
func (p *program) checkMetrics(t *testing.T, c container) {
	_, text := p.get(t, "/metrics")
	readme := read(t, c.name, "README.md")
	prefix := strings.ReplaceAll(c.name, "-", "_") + "_"
	own := 0
	for _, m := range regexp.MustCompile(`(?m)^# TYPE (\S+)`).FindAllStringSubmatch(text, -1) {
		name := m[1]
		if strings.HasPrefix(name, "go_") || strings.HasPrefix(name, "process_") {
			continue
		}
		own++
		if !strings.HasPrefix(name, prefix) && !borrowed[name] {
			t.Errorf("metric %s does not begin with %s", name, prefix)
		}
		if !regexp.MustCompile(`\b` + name + `\b`).MatchString(readme) {
			t.Errorf("README.md does not mention the metric %s", name)
		}
	}
	if own == 0 {
		t.Error("no metrics of its own")
	}
}

// program is a running one.
type program struct {
	cmd   *exec.Cmd
	admin string        // address of the admin port
	done  chan struct{} // closed when its log has ended
	log   strings.Builder
}

// startProgram starts a container's program on free ports of loopback.
func startProgram(t *testing.T, c container) *program {
	t.Helper()
	bin, err := c.binary()
	if err != nil {
		t.Fatal(err)
	}
	p := &program{cmd: exec.Command(bin), done: make(chan struct{})}
	vars := map[string]string{}
	for _, s := range c.settings(t) {
		if s.Type == "address" && s.Default != "" {
			vars[s.Name] = "127.0.0.1:0"
		}
	}
	for name, value := range needed[c.name] {
		vars[name] = strings.ReplaceAll(value, "{bins}", bins)
	}
	p.cmd.Env = []string{}
	for name, value := range vars {
		p.cmd.Env = append(p.cmd.Env, name+"="+value)
	}
	slices.Sort(p.cmd.Env)
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.cmd.Process.Kill(); <-p.done; p.cmd.Wait() })
	admin := make(chan string, 1)
	go p.read(stderr, admin)
	select {
	case p.admin = <-admin:
	case <-p.done:
		t.Fatalf("ended at once:\n%s", p.log.String())
	case <-time.After(patience):
		t.Fatal("does not listen on its admin port")
	}
	return p
}

// read collects the log, and finds the admin port in it.
func (p *program) read(stderr io.Reader, admin chan<- string) {
	defer close(p.done)
	for s := bufio.NewScanner(stderr); s.Scan(); {
		p.log.WriteString(s.Text() + "\n")
		var line struct{ Msg, Address string }
		if json.Unmarshal(s.Bytes(), &line) == nil && line.Msg == "admin listening" {
			admin <- line.Address
		}
	}
}

func (p *program) get(t *testing.T, path string) (int, string) {
	t.Helper()
	client := &http.Client{Timeout: patience}
	resp, err := client.Get("http://" + p.admin + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}
