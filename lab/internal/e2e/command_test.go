package e2e

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"distlab/lab/check"
	"distlab/lab/internal/cli"
	"distlab/lab/internal/compose"
	"distlab/lab/internal/stack"
)

// asLab makes the test binary the command under test.
const asLab = "DISTLAB_E2E_COMMAND"

func TestMain(m *testing.M) {
	if os.Getenv(asLab) != "" {
		os.Exit(cli.Main(catalog, os.Args[1:]))
	}
	os.Exit(m.Run())
}

// clone is a folder that looks like a clone, with the test's labs in place of the catalog's.
func clone(t *testing.T) string {
	t.Helper()
	repo, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, target := range map[string]string{
		"go.mod": "go.mod", "go.sum": "go.sum", "containers": "containers", "compose": "compose", "scripts": "scripts",
		"LICENSE": "LICENSE", "labs": "lab/internal/e2e/testdata/labs",
	} {
		if err := os.Symlink(filepath.Join(repo, target), filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// world is one test's clone, the engine, and a promise that its stacks are gone in the end.
type world struct {
	t      *testing.T
	root   string
	engine *stack.Engine
	env    []string
	under  []string // a command that its commands are run by
}

func newWorld(t *testing.T, labs ...string) *world {
	t.Helper()
	if testing.Short() {
		t.SkipNow()
	}
	e, err := stack.Connect(t.Context())
	if err != nil {
		t.Fatalf("%v (-short leaves out what needs Docker)", err)
	}
	w := &world{t: t, root: clone(t), engine: e}
	for _, lab := range labs {
		t.Cleanup(func() { w.clean(compose.Source{Lab: lab}.Project()) })
	}
	return w
}

func (w *world) clean(project string) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := w.engine.Down(ctx, project, nil); err != nil {
		w.t.Errorf("clean up: %v", err)
	}
}

// result is what a finished command left.
type result struct {
	code           int
	stdout, stderr string
}

// process is a command that runs.
type process struct {
	t   *testing.T
	cmd *exec.Cmd

	mu             sync.Mutex
	stdout, stderr bytes.Buffer
	done           chan struct{}
}

func (w *world) start(args ...string) *process {
	w.t.Helper()
	line := append(append(slices.Clone(w.under), os.Args[0]), args...)
	p := &process{t: w.t, cmd: exec.Command(line[0], line[1:]...), done: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), append([]string{asLab + "=1", "DISTLAB_ROOT=" + w.root, "NO_COLOR=1"}, w.env...)...)
	p.cmd.Stdout = locked{p, &p.stdout}
	p.cmd.Stderr = locked{p, &p.stderr}
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := p.cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	go func() {
		_ = p.cmd.Wait() // the exit code is read from the state
		close(p.done)
	}()
	w.t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.done
	})
	return p
}

type locked struct {
	p *process
	b *bytes.Buffer
}

func (l locked) Write(b []byte) (int, error) {
	l.p.mu.Lock()
	defer l.p.mu.Unlock()
	return l.b.Write(b)
}

func (p *process) said() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stderr.String()
}

// wait is the command's end; one that does not end in time hangs.
func (p *process) wait() result {
	p.t.Helper()
	select {
	case <-p.done:
	case <-time.After(2 * time.Minute):
		p.t.Fatalf("lab %v: hangs; so far it said:\n%s", p.cmd.Args[1:], p.said())
	}
	return result{code: p.cmd.ProcessState.ExitCode(), stdout: p.stdout.String(), stderr: p.stderr.String()}
}

func (p *process) signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// signalGroup reaches what the process has started, too.
func (p *process) signalGroup(s syscall.Signal) {
	p.t.Helper()
	if err := syscall.Kill(-p.cmd.Process.Pid, s); err != nil {
		p.t.Fatal(err)
	}
}

// lab runs a command to its end.
func (w *world) lab(args ...string) result {
	w.t.Helper()
	return w.start(args...).wait()
}

// want runs a command and holds its exit code and what it says.
func (w *world) want(code int, args []string, says ...string) result {
	w.t.Helper()
	r := w.lab(args...)
	if r.code != code {
		w.t.Fatalf("lab %s: exit code %d, want %d\n%s%s", strings.Join(args, " "), r.code, code, r.stdout, r.stderr)
	}
	for _, s := range says {
		if !strings.Contains(r.stdout+r.stderr, s) {
			w.t.Errorf("lab %s: does not say %q:\n%s%s", strings.Join(args, " "), s, r.stdout, r.stderr)
		}
	}
	return r
}

// containers are a project's, by service.
func (w *world) containers(project string) map[string]check.Container {
	w.t.Helper()
	d := &stack.Driver{Engine: w.engine, Project: project}
	all, err := d.Containers(w.t.Context(), "")
	if err != nil {
		w.t.Fatal(err)
	}
	out := map[string]check.Container{}
	for _, c := range all {
		out[c.Service] = c
	}
	return out
}

// gone holds that nothing of a project is left.
func (w *world) gone(project string) {
	w.t.Helper()
	there, err := w.engine.Exists(w.t.Context(), project)
	if err != nil {
		w.t.Fatal(err)
	}
	if there {
		w.t.Errorf("something of %s is left", project)
	}
}

// until waits for a condition.
func (w *world) until(what string, ok func() bool) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Minute)
	defer cancel()
	err := check.Wait(ctx, what, func(context.Context) error {
		if !ok() {
			return errors.New("not yet")
		}
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
}
