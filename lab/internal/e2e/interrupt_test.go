package e2e

import (
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"distlab/lab/internal/compose"
)

const slow = "distlab-test-slow"

func TestInterruptedUp(t *testing.T) {
	for _, s := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		t.Run(s.String(), func(t *testing.T) {
			w := newWorld(t, "test/slow")
			p := w.start("up", "slow")
			w.until("a container", func() bool { return len(w.containers(slow)) == 1 })
			p.signal(s)
			if r := p.wait(); r.code != 130 || !strings.Contains(r.stderr, "interrupted") {
				t.Errorf("exit code %d, want 130\n%s", r.code, r.stderr)
			}
			w.gone(slow)
		})
	}
}

// TestInterruptedRepair: an interrupted up of a lab that was up takes away only what it made.
func TestInterruptedRepair(t *testing.T) {
	w := newWorld(t, "test/plain")
	w.want(0, []string{"up", "plain"})
	before := w.containers(plain)
	p := w.start("up", "plain", "--variant", "loopback")
	p.signal(syscall.SIGINT)
	p.wait()
	if got := w.containers(plain)["beside"].ID; got != before["beside"].ID {
		t.Errorf("a container that ran before is gone")
	}
	w.want(0, []string{"up", "plain"})
	w.want(0, []string{"verify", "plain", "--claim", "answers"})
}

func TestSecondUpAtTheSameTime(t *testing.T) {
	w := newWorld(t, "test/slow")
	p := w.start("up", "slow")
	w.until("a container", func() bool { return len(w.containers(slow)) == 1 })
	w.want(3, []string{"up", "slow"}, "another command is at work on it", "lab up", "hint:")
	w.want(3, []string{"down", "slow"}, "another command is at work on it")
	p.signal(syscall.SIGINT)
	p.wait()
	w.gone(slow)
}

func TestInterruptedTest(t *testing.T) {
	w := newWorld(t)
	p := w.start("test", "plain")
	project := w.ownedProject(p)
	p.signal(syscall.SIGINT)
	if r := p.wait(); r.code != 130 {
		t.Errorf("exit code %d, want 130\n%s", r.code, r.stderr)
	}
	w.gone(project)
}

// TestKilledTest: after kill -9 of `lab test` the next command removes what it left.
func TestKilledTest(t *testing.T) {
	w := newWorld(t)
	p := w.start("test", "plain")
	project := w.ownedProject(p)
	// Paused by the claim `hangs`, so that a fault is left as well.
	w.until("the pause", func() bool { return w.status(project, "app") == "paused" })
	p.signal(syscall.SIGKILL)
	p.wait()
	if len(w.containers(project)) == 0 {
		t.Fatal("nothing was left to remove: the test shows nothing")
	}
	w.want(0, []string{"status"}, "removed "+project)
	w.gone(project)
}

// TestKilledVerify: a fault is healed by the next command even when verify was killed; the stack stays.
func TestKilledVerify(t *testing.T) {
	w := newWorld(t, "test/plain")
	w.want(0, []string{"up", "plain"})
	p := w.start("verify", "plain", "--claim", "hangs")
	w.until("the pause", func() bool { return w.status(plain, "app") == "paused" })
	w.want(3, []string{"verify", "plain"}, "another command is at work on it")
	if got := w.status(plain, "app"); got != "paused" {
		t.Fatalf("the fault of a command that runs was healed by another: %s", got)
	}
	p.signal(syscall.SIGKILL)
	p.wait()
	w.want(0, []string{"status"}, "healed "+plain)
	if got := w.status(plain, "app"); got != "running" {
		t.Errorf("the app is %s", got)
	}
	w.want(0, []string{"verify", "plain", "--claim", "answers"})
}

func TestInterruptedVerifyHeals(t *testing.T) {
	w := newWorld(t, "test/plain")
	w.want(0, []string{"up", "plain"})
	p := w.start("verify", "plain", "--claim", "hangs")
	w.until("the pause", func() bool { return w.status(plain, "app") == "paused" })
	p.signal(syscall.SIGINT)
	if r := p.wait(); r.code != 130 {
		t.Errorf("exit code %d, want 130\n%s", r.code, r.stderr)
	}
	if got := w.status(plain, "app"); got != "running" {
		t.Errorf("the app is %s", got)
	}
}

// ownedProject waits for the stack of a `lab test` to be up and gives its name.
func (w *world) ownedProject(p *process) string {
	w.t.Helper()
	project := ""
	w.until("the test's stack", func() bool {
		all, err := w.engine.Overviews(w.t.Context())
		if err != nil {
			w.t.Fatal(err)
		}
		for _, o := range all {
			if o.Owner.PID() == p.cmd.Process.Pid && len(o.Members) == 2 {
				project = o.Project
			}
		}
		return project != ""
	})
	w.t.Cleanup(func() { w.clean(project) })
	return project
}

func (w *world) status(project, service string) string {
	w.t.Helper()
	c, ok := w.containers(project)[service]
	if !ok {
		return "none"
	}
	all, err := w.engine.Overviews(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	for _, o := range all {
		for _, m := range o.Members {
			if m.ID == c.ID {
				return m.Status
			}
		}
	}
	return "none"
}

// TestEngineStopsHalfWay puts a relay before the engine and cuts it off in the middle of an up.
func TestEngineStopsHalfWay(t *testing.T) {
	w := newWorld(t, "test/slow")
	r := newRelay(t, strings.TrimPrefix(w.engine.Host, "unix://"))
	w.env = []string{"DOCKER_HOST=unix://" + r.path}
	p := w.start("up", "slow")
	w.until("a container", func() bool { return len(w.containers(slow)) == 1 })
	r.cut()
	if res := p.wait(); res.code != 3 || !strings.Contains(res.stderr, "cannot reach Docker") || !strings.Contains(res.stderr, "hint:") {
		t.Errorf("exit code %d, want 3 and a hint\n%s", res.code, res.stderr)
	}
	t.Logf("it said:\n%s", p.said())
	w.env = nil
	w.want(0, []string{"down", "slow"})
	w.gone(compose.Source{Lab: "test/slow"}.Project())
}

// relay is a socket that leads to the engine until it is cut.
type relay struct {
	path string
	ln   net.Listener

	mu    sync.Mutex
	conns []net.Conn
	off   bool
}

func newRelay(t *testing.T, engine string) *relay {
	t.Helper()
	dir, err := os.MkdirTemp("", "relay") // a socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	r := &relay{path: filepath.Join(dir, "s")}
	if r.ln, err = net.Listen("unix", r.path); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.cut)
	go func() {
		for {
			in, err := r.ln.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("unix", engine)
			if err != nil {
				in.Close()
				return
			}
			r.join(in, out)
		}
	}()
	return r
}

func (r *relay) join(in, out net.Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.off {
		in.Close()
		out.Close()
		return
	}
	r.conns = append(r.conns, in, out)
	for _, pair := range [][2]net.Conn{{in, out}, {out, in}} {
		go func() {
			_, _ = io.Copy(pair[0], pair[1]) // either end may go first
			if c, ok := pair[0].(interface{ CloseWrite() error }); ok {
				_ = c.CloseWrite()
			}
		}()
	}
}

func (r *relay) cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.off = true
	r.ln.Close()
	for _, c := range r.conns {
		c.Close()
	}
	os.Remove(r.path)
}
