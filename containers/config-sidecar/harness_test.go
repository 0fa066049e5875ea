package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"distlab/containers/internal/procs"

	"github.com/prometheus/client_golang/prometheus"
)

var limits = Limits{Size: 64 << 10, Files: 10}

// people are the processes of a made-up namespace.
type people struct {
	mu     sync.Mutex
	list   []procs.Process
	deaf   bool          // they do not heed the signal
	age    time.Duration // of each
	err    error
	told   []int // who was signalled, in order
	onTold func()
}

func (p *people) Find(procs.Selector) ([]procs.Process, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.list, p.err
}

func (p *people) Heeds(procs.Process, syscall.Signal) (bool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.deaf, nil
}

func (p *people) Age(procs.Process) (time.Duration, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.age, nil
}

func (p *people) Signal(who procs.Process, _ syscall.Signal) error {
	p.mu.Lock()
	p.told = append(p.told, who.PID)
	f := p.onTold
	p.mu.Unlock()
	if f != nil {
		f()
	}
	return nil
}

func (p *people) set(f func(*people)) { p.mu.Lock(); defer p.mu.Unlock(); f(p) }

func (p *people) count() int { p.mu.Lock(); defer p.mu.Unlock(); return len(p.told) }

// newSidecar is a sidecar with one app to tell, in a folder of its own.
func newSidecar(t *testing.T) (*Sidecar, *people) {
	t.Helper()
	app := &people{list: []procs.Process{{PID: 7, Name: "app"}}, age: time.Hour}
	quiet := slog.New(slog.NewTextHandler(io.Discard, nil))
	s := &Sidecar{
		Render: &Renderer{Limits: limits, Timeout: 10 * time.Second, Env: environment},
		Check:  &Check{Timeout: 10 * time.Second},
		Place:  &Place{Dir: t.TempDir(), Switch: byFolder, Mode: 0o644, Limits: limits},
		Teller: &Teller{Signal: syscall.SIGHUP, Age: time.Second, Timeout: time.Second, Table: app, Log: quiet},

		MinWait: 200 * time.Millisecond, MaxWait: time.Second, RetryMin: 100 * time.Millisecond, RetryMax: time.Second,
		ConfirmAttempts: 3, Keep: 2, Log: quiet, Ready: func(bool, string) {}, Metrics: newMetrics(prometheus.NewRegistry()),
	}
	return s, app
}

// start opens a sidecar and lets it run until stop is called, or the test ends.
func start(t *testing.T, s *Sidecar) (stop func()) {
	t.Helper()
	if err := s.Open(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); s.Run(ctx) }()
	stop = sync.OnceFunc(func() { cancel(); <-done })
	t.Cleanup(stop)
	return stop
}

func set(version, text string) Set {
	return Set{Files: Files{"site.conf": text, "more/texts.conf": "of " + text}, Version: version}
}

// read is a file as the app sees it.
func read(t *testing.T, s *Sidecar, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(s.Place.Dir, name))
	if errors.Is(err, os.ErrNotExist) {
		return "absent"
	}
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// waitFor waits for a condition, not for a time.
func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}
