package daemon

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"distlab/containers/internal/env"
)

// The tests of signals and exit codes need a process: the test binary is
// started again, and asProgram says which of the programs below it then is.
const asProgram = "DAEMON_TEST_PROGRAM"

// patience bounds every wait for something that happens at once on an idle
// machine.
const patience = 20 * time.Second

type testConfig struct {
	Listen env.Addr `env:"LISTEN_ADDR" default:"127.0.0.1:0" help:"address to serve on"`
	Linger int      `env:"LINGER" default:"0" help:"a number"`
	Config
}

// Check knows one combination that makes no sense.
func (c testConfig) Check() error {
	if c.Linger == 13 && c.DrainTimeout == 0 {
		return errors.New("LINGER 13 lasts longer than DRAIN_TIMEOUT 0s: give it more")
	}
	return nil
}

// programs are the Run functions that a daemon may have, good and bad.
var programs = map[string]func(ctx context.Context, cfg testConfig, p *Process) error{
	"http":  runHTTP,
	"done":  func(context.Context, testConfig, *Process) error { return nil },
	"start": func(context.Context, testConfig, *Process) error { return errors.New("read the cat: no such cat") },
	"dies": func(_ context.Context, _ testConfig, p *Process) error {
		p.Ready(true, "")
		return errors.New("the cat left")
	},
	"deaf": func(_ context.Context, _ testConfig, p *Process) error {
		p.Ready(true, "")
		select {}
	},
}

// runHTTP serves /hang, which is in flight until the admin port's /release.
func runHTTP(ctx context.Context, cfg testConfig, p *Process) error {
	ln, err := net.Listen("tcp", string(cfg.Listen))
	if err != nil {
		return err
	}
	release := make(chan struct{})
	p.Handle("POST /release", http.HandlerFunc(func(http.ResponseWriter, *http.Request) { close(release) }))
	p.Handle("POST /ready", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		reason := r.FormValue("reason")
		p.Ready(reason == "", reason)
	}))
	go func() {
		for range p.Reload {
			p.Log.Info("reloaded")
		}
	}()
	p.Log.Info("listening", "address", ln.Addr().String())
	p.Ready(true, "")
	return p.Serve(ctx, ln, &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/hang" {
			p.Log.Info("hanging")
			<-release
		}
		fmt.Fprintln(w, "whole")
	})})
}

func testProgram(name string) Program[testConfig] {
	return Program[testConfig]{
		Name:    "cat-herder",
		Summary: "Cat-herder herds cats.",
		Run:     programs[name],
		Commands: []Command{{"count", "count the cats", func(_ context.Context, args []string, stdout, stderr io.Writer) int {
			fmt.Fprintln(stdout, len(args), "cats")
			fmt.Fprintln(stderr, "counted")
			return 7
		}}},
	}
}

func TestMain(m *testing.M) {
	if name := os.Getenv(asProgram); name != "" {
		os.Exit(Main(testProgram(name), os.Args[1:]))
	}
	os.Exit(m.Run())
}

// child is a running program.
type child struct {
	t      *testing.T
	cmd    *exec.Cmd
	stderr io.ReadCloser
	done   chan struct{} // closed when stderr has ended

	mu    sync.Mutex
	lines []map[string]any // of the log
	plain []string         // what was not JSON
	more  chan struct{}    // closed and replaced at every line
}

// start starts a program with an admin port of its own. vars are NAME=value.
func start(t *testing.T, program string, vars ...string) *child {
	t.Helper()
	c := &child{t: t, cmd: exec.Command(os.Args[0]), done: make(chan struct{}), more: make(chan struct{})}
	c.cmd.Env = append([]string{asProgram + "=" + program, "ADMIN_ADDR=127.0.0.1:0"}, vars...)
	stderr, err := c.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c.stderr = stderr
	t.Cleanup(func() { c.cmd.Process.Kill(); <-c.done; c.cmd.Wait() })
	go c.read(stderr)
	return c
}

func (c *child) read(stderr io.Reader) {
	defer close(c.done)
	for s := bufio.NewScanner(stderr); s.Scan(); {
		var line map[string]any
		err := json.Unmarshal(s.Bytes(), &line)
		c.mu.Lock()
		if err == nil {
			c.lines = append(c.lines, line)
		} else {
			c.plain = append(c.plain, s.Text())
		}
		close(c.more)
		c.more = make(chan struct{})
		c.mu.Unlock()
	}
}

// log waits for the nth line (from 1) with a message.
func (c *child) log(msg string, nth int) map[string]any {
	c.t.Helper()
	deadline := time.After(patience)
	for {
		c.mu.Lock()
		more := c.more
		for n, i := 0, 0; i < len(c.lines); i++ {
			if c.lines[i]["msg"] == msg {
				if n++; n == nth {
					defer c.mu.Unlock()
					return c.lines[i]
				}
			}
		}
		c.mu.Unlock()
		select {
		case <-more:
		case <-c.done:
			c.t.Fatalf("ended without logging %q %d times: %v %v", msg, nth, c.lines, c.plain)
		case <-deadline:
			c.t.Fatalf("did not log %q %d times", msg, nth)
		}
	}
}

func (c *child) signal(sig syscall.Signal) {
	c.t.Helper()
	if err := c.cmd.Process.Signal(sig); err != nil {
		c.t.Fatalf("send %s: %v", sig, err)
	}
}

// exit waits for the end and is the exit code, -1 for death by a signal.
func (c *child) exit() int {
	c.t.Helper()
	select {
	case <-c.done:
	case <-time.After(patience):
		c.t.Fatal("does not end")
	}
	c.cmd.Wait()
	return c.cmd.ProcessState.ExitCode()
}

func (c *child) admin() string { return "http://" + c.log("admin listening", 1)["address"].(string) }

// get is the status code and the body, without the line end.
func get(t *testing.T, url string) (int, string) {
	t.Helper()
	return answer(t)(client.Get(url))
}

func post(t *testing.T, url string) (int, string) {
	t.Helper()
	return answer(t)(client.Post(url, "", nil))
}

// client makes a connection for each request: one that is kept would hide
// whether new ones are accepted.
var client = &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}

func answer(t *testing.T) func(*http.Response, error) (int, string) {
	return func(resp *http.Response, err error) (int, string) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, strings.TrimSpace(string(body))
	}
}
