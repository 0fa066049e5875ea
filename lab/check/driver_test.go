package check

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// fake is an engine that does as it is told, and lies where a test wants it to: its hooks stand in for what it would do.
type fake struct {
	mu     sync.Mutex
	status map[string]string // by container
	files  map[string]string
	nets   []string
	addr   string   // where port 8080 is published, in place of an address that is nobody's
	log    []string // what was done, in order

	settled func(context.Context) error
	do      func(Action) error // instead of doing it
	undo    func(context.Context, Action) error
	state   func() error // before looking
	probe   func(ProbeSpec) (*fakeProbe, error)
	exec    func(cmd []string) Output
	records map[string]string
}

func newFake() *fake {
	return &fake{
		status:  map[string]string{"web-1": "running", "web-2": "running", "db-1": "running"},
		files:   map[string]string{"/cert": "old"},
		nets:    []string{"back", "front"},
		records: map[string]string{},
	}
}

func (f *fake) note(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.log = append(f.log, fmt.Sprintf(format, args...))
}

func (f *fake) done() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.log)
}

func (f *fake) Containers(ctx context.Context, service string) ([]Container, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	var cs []Container
	for _, id := range slices.Sorted(maps.Keys(f.status)) {
		name, number, _ := strings.Cut(id, "-")
		if service == "" || name == service {
			cs = append(cs, Container{
				ID: id, Name: "lab-" + id, Service: name, Number: int(number[0] - '0'),
				Ports: []Port{{Private: 8080, Address: cmp.Or(f.addr, "127.0.0.1:4000"+number)}},
			})
		}
	}
	return cs, nil
}

func (f *fake) State(_ context.Context, id string) (State, error) {
	if f.state != nil {
		if err := f.state(); err != nil {
			return State{}, err
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	nets := map[string]string{}
	for _, n := range f.nets {
		nets[n] = "10.0.0.2"
	}
	return State{Status: f.status[id], ExitCode: 7, Networks: nets}, nil
}

func (f *fake) Do(_ context.Context, id string, a Action) error {
	f.note("%s %s", a.Kind, id)
	if f.do != nil {
		return f.do(a)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	switch a.Kind {
	case ActStop, ActKill:
		f.status[id] = "exited"
	case ActPause:
		f.status[id] = "paused"
	case ActDisconnect:
		f.nets = slices.DeleteFunc(slices.Clone(f.nets), func(n string) bool { return n == a.Network })
	case ActWrite:
		for path, data := range a.Files {
			f.files[path] = string(data)
		}
	}
	return nil
}

func (f *fake) Undo(ctx context.Context, id string, a Action) error {
	if err := ctx.Err(); err != nil {
		return err // as a client of a real engine does
	}
	f.note("undo %s %s", a.Kind, id)
	if f.undo != nil {
		if err := f.undo(ctx, a); err != nil {
			return err
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.status[id], f.files, f.nets = "running", map[string]string{"/cert": "old"}, []string{"back", "front"}
	return ctx.Err()
}

func (f *fake) Exec(_ context.Context, id string, cmd []string) (Output, error) {
	if f.exec != nil {
		return f.exec(cmd), nil
	}
	return Output{Stdout: id + ": " + strings.Join(cmd, " ")}, nil
}

func (f *fake) Logs(_ context.Context, id string, _ time.Time) (string, error) {
	return "log of " + id, nil
}

func (f *fake) ReadFile(_ context.Context, _, path string) ([]byte, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	data, ok := f.files[path]
	if !ok {
		return nil, fmt.Errorf("read %s: %w", path, fs.ErrNotExist)
	}
	return []byte(data), nil
}

func (f *fake) Probe(_ context.Context, spec ProbeSpec) (Process, error) {
	f.note("probe %q beside %q", spec.Args, spec.Beside)
	p, err := f.probe(spec)
	if err != nil {
		return nil, err
	}
	p.fake = f
	return p, nil
}

func (f *fake) Settled(ctx context.Context) error {
	if f.settled != nil {
		return f.settled(ctx)
	}
	return ctx.Err()
}

func (f *fake) Record(name string, data []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.records[name] = string(data)
	return nil
}

// fakeProbe says its lines, and then that it has ended.
type fakeProbe struct {
	fake  *fake
	lines []string
	exit  Output
	fails error // what Line, Wait and Stop return in place of anything else
}

func (p *fakeProbe) Line(ctx context.Context) ([]byte, error) {
	switch {
	case p.fails != nil:
		return nil, p.fails
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case len(p.lines) == 0:
		return nil, io.EOF
	}
	line := p.lines[0]
	p.lines = p.lines[1:]
	return []byte(line), nil
}

func (p *fakeProbe) Stop(context.Context) error {
	p.fake.note("stop probe")
	return p.fails
}

func (p *fakeProbe) Wait(context.Context) (Output, error) { return p.exit, p.fails }

func (p *fakeProbe) Close() error {
	p.fake.note("close probe")
	return nil
}

func says(lines ...string) func(ProbeSpec) (*fakeProbe, error) {
	return func(ProbeSpec) (*fakeProbe, error) { return &fakeProbe{lines: lines}, nil }
}

var errTest = errors.New("the test's error")

// measure is a claim's measurement.
type measure = func(context.Context, *Stack) (Result, error)

func pass(context.Context, *Stack) (Result, error) {
	return Decide(true, "3 of 3").Want("3 of 3").Of(3), nil
}

// judge runs one claim on a fake engine.
func judge(t *testing.T, ctx context.Context, f *fake, m measure) ClaimReport {
	t.Helper()
	lab := Lab{Name: "family/lab", Claims: []Claim{{ID: "it", Says: "it is so", Measure: m}}}
	r := Run(ctx, lab, NewStack(f, 1), Options{})
	if len(r.Claims) != 1 {
		t.Fatalf("%d claims decided", len(r.Claims))
	}
	if r.Verdict != r.Claims[0].Verdict {
		t.Errorf("the run is %s, its claim %s", r.Verdict, r.Claims[0].Verdict)
	}
	return r.Claims[0]
}
