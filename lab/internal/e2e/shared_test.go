package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// These tests are of an engine that several users, sandboxes or machines share: nobody takes what another one is making, or ends
// a fault that another one does, and what a killed command leaves is anybody's to put right.

// another is a user with a home and a clone of their own.
func another(t *testing.T, w *world) *world {
	t.Helper()
	home := t.TempDir()
	env := []string{"HOME=" + home, "XDG_STATE_HOME=" + filepath.Join(home, "state")}
	// The same engine, by the same context; and what is compiled already need not be once more.
	env = append(env, "DOCKER_CONFIG="+filepath.Join(os.Getenv("HOME"), ".docker"))
	caches, err := exec.Command("go", "env", "GOCACHE", "GOMODCACHE").Output()
	if err != nil {
		t.Fatal(err)
	}
	for i, dir := range strings.Fields(string(caches)) {
		env = append(env, []string{"GOCACHE=", "GOMODCACHE="}[i]+dir)
	}
	return &world{t: t, root: clone(t), engine: w.engine, env: env}
}

// broken brings test/plain up and pauses its app by a verify that goes on until it is ended.
func broken(w *world) *process {
	w.t.Helper()
	w.want(0, []string{"up", "plain"})
	p := w.start("verify", "plain", "--claim", "hangs")
	w.until("the pause", func() bool { return w.status(plain, "app") == "paused" })
	return p
}

func (w *world) stays(what, status string) {
	w.t.Helper()
	if got := w.status(plain, "app"); got != status {
		w.t.Errorf("%s: the app is %s, want %s", what, got, status)
	}
}

func TestTwoHomes(t *testing.T) {
	a := newWorld(t, "test/plain", "test/slow")
	b := another(t, a)
	p := broken(a)
	for _, args := range [][]string{{"verify", "plain"}, {"up", "plain"}, {"down", "plain"}} {
		b.want(3, args, "another command is at work on it: lab verify")
	}
	b.want(0, []string{"status"})
	b.want(0, []string{"gc"})
	a.stays("another user's commands healed a fault that one still does", "paused")
	p.signal(syscall.SIGKILL)
	p.wait()
	b.want(0, []string{"status"}, "healed "+plain)
	a.stays("another user's command", "running")

	// A start that another user looks at: it has a network and no container for a while.
	up := a.start("up", "slow")
	for looks := 0; len(a.containers(slow)) == 0 || looks < 3; looks++ {
		b.want(0, []string{"gc"})
	}
	up.signal(syscall.SIGINT)
	if r := up.wait(); r.code != 130 {
		t.Errorf("an up that another user looked at: exit code %d\n%s", r.code, r.stderr)
	}
}

func TestTwoPIDNamespaces(t *testing.T) {
	a := newWorld(t, "test/plain")
	b := another(t, a)
	b.under = []string{"unshare", "--pid", "--fork", "--mount-proc"}
	if os.Geteuid() != 0 {
		b.under = append(b.under, "--user", "--map-root-user")
	}
	p := broken(a)
	b.want(3, []string{"verify", "plain"}, "another command is at work on it", "another place")
	b.want(0, []string{"status"})
	a.stays("a command in another PID namespace healed a fault that one still does", "paused")
	p.signal(syscall.SIGINT)
	p.wait()

	// The other way round: the namespace's command is process 1 or 2 there, whose number means another process here.
	p = broken(b)
	a.want(3, []string{"down", "plain"}, "another command is at work on it", "another place")
	a.want(0, []string{"gc"})
	a.stays("a fault of another PID namespace was healed", "paused")
	p.signalGroup(syscall.SIGINT) // unshare hands nothing on
	p.wait()
	a.want(0, []string{"down", "plain"})

	// A test's stack is its owner's as long as that lives.
	test := a.start("test", "plain")
	project := a.ownedProject(test)
	b.want(0, []string{"gc"})
	if len(a.containers(project)) != 2 {
		t.Error("a command in another PID namespace took a test's stack away")
	}
	test.signal(syscall.SIGINT)
	test.wait()
	a.gone(project)
}

// TestTwoEngines: a fault is healed on the engine where it was done, and nowhere else. The second engine is a real one, in a
// network namespace of its own, where it can do nothing to the firewall of the first.
func TestTwoEngines(t *testing.T) {
	a := newWorld(t, "test/plain")
	second := *a
	second.env = []string{"DOCKER_HOST=" + secondEngine(t)}
	second.until("the second engine", func() bool { return second.lab("status").code == 0 })
	p := broken(a)
	p.signal(syscall.SIGKILL)
	p.wait()
	r := second.want(0, []string{"status"})
	if strings.Contains(r.stderr, "healed") {
		t.Errorf("healed on an engine that does not have it:\n%s", r.stderr)
	}
	second.want(0, []string{"down", "plain"}, "was not up") // and its lock is another one
	a.stays("the command on the other engine", "paused")
	a.want(0, []string{"status"}, "healed "+plain)
	a.stays("the command on the right engine", "running")
}

// secondEngine starts a Docker engine and gives its address.
func secondEngine(t *testing.T) string {
	t.Helper()
	if _, err := exec.LookPath("dockerd"); err != nil || os.Geteuid() != 0 {
		t.Skip("a second engine takes root and dockerd")
	}
	dir, err := os.MkdirTemp("", "engine") // a socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	at := func(name string) string { return filepath.Join(dir, name) }
	if err := os.WriteFile(at("config.json"), []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	log, err := os.Create(at("log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	host := "unix://" + at("docker.sock")
	cmd := exec.Command("unshare", "--net", "dockerd", "--config-file", at("config.json"), "--host", host,
		"--data-root", at("data"), "--exec-root", at("exec"), "--pidfile", at("pid"),
		"--bridge", "none", "--iptables=false", "--storage-driver", "vfs")
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	})
	return host
}
