package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"distlab/containers/internal/procs"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
)

// fakeTarget is a process that ends some time after a signal, and that a restart policy starts again.
type fakeTarget struct {
	mu       sync.Mutex
	pid      int           // zero: there is none
	next     int           // the number of the one before
	deaf     bool          // it does not heed the stop signal
	stuck    bool          // nor SIGKILL
	forbid   error         // what signals get
	takes    time.Duration // to end
	comeback time.Duration // until it is started again
	signals  []string      // what it got, and when
	begun    time.Time
}

func newTarget() *fakeTarget {
	return &fakeTarget{pid: 100, next: 100, begun: time.Now(), comeback: time.Second}
}

func (f *fakeTarget) Find() (procs.Process, bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return procs.Process{PID: f.pid, Name: "db", Start: uint64(f.pid)}, f.pid != 0, nil
}

func (f *fakeTarget) Alive(p procs.Process) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.pid == p.PID
}

func (f *fakeTarget) Signal(p procs.Process, sig syscall.Signal) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.forbid != nil:
		return f.forbid
	case f.pid != p.PID:
		return procs.ErrGone
	case sig == 0:
		return nil
	}
	f.signals = append(f.signals, fmt.Sprintf("%v %d to %d", time.Since(f.begun), sig, p.PID))
	if f.stuck || f.deaf && sig != syscall.SIGKILL {
		return nil
	}
	time.AfterFunc(f.takes, func() {
		f.set(0)
		time.AfterFunc(f.comeback, f.start)
	})
	return nil
}

func (f *fakeTarget) start() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.next++
	f.pid = f.next
}

func (f *fakeTarget) set(pid int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.pid = pid
}

// script answers probes in order: s, f and u. After its end it repeats the last.
type script struct {
	mu    sync.Mutex
	text  string
	asked int
}

func (s *script) ask(context.Context) (Outcome, string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := min(s.asked, len(s.text)-1)
	s.asked++
	switch s.text[i] {
	case 's':
		return Success, ""
	case 'f':
		return Failure, "503 it is down"
	}
	return Unknown, "connection refused"
}

func newRestarter(f *fakeTarget, s *script) *Restarter {
	return &Restarter{
		Probe: s.ask, Target: f, Period: time.Second, FailureThreshold: 3, StartupThreshold: 6,
		StopSignal: syscall.SIGTERM, Grace: 2 * time.Second,
		Backoff: 10 * time.Second, BackoffMax: 40 * time.Second, BackoffReset: time.Minute,
		Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Ready: func(bool, string) {},
		Metrics: newMetrics(prometheus.NewRegistry()),
	}
}

// TestRules: what is done, and when, to a target whose probes say so. Probes are made at 0 s, 1 s and so on.
func TestRules(t *testing.T) {
	for _, tt := range []struct {
		name   string
		probes string
		set    func(*Restarter, *fakeTarget)
		for_   time.Duration
		want   []string
	}{
		{"alive", "s", nil, 20 * time.Second, nil},
		{"three in a row", "sfff" + "s", nil, 20 * time.Second, []string{"3s 15 to 100"}},
		{"two in a row", "sffsffs", nil, 20 * time.Second, nil},
		{"silence is no failure", "suuuuuuuuuu", nil, 20 * time.Second, nil},
		{"silence ends a row", "sffuffuffs", nil, 20 * time.Second, nil},
		{"a target that was never alive gets longer", "ffffff" + "s", nil, 20 * time.Second, []string{"5s 15 to 100"}},
		{"one that was, does not", "fffsfff" + "s", nil, 20 * time.Second, []string{"6s 15 to 100"}},
		{
			"deaf", "sfff" + "s",
			func(_ *Restarter, f *fakeTarget) { f.deaf = true },
			20 * time.Second,
			[]string{"3s 15 to 100", "5s 9 to 100"},
		},
		{
			"slow but willing", "sfff" + "s",
			func(_ *Restarter, f *fakeTarget) { f.takes = 1900 * time.Millisecond },
			20 * time.Second,
			[]string{"3s 15 to 100"},
		},
		{
			"never alive again: the back-off doubles up to its bound", "sf",
			func(r *Restarter, f *fakeTarget) { r.StartupThreshold, f.comeback = 1, 0 },
			130 * time.Second,
			[]string{"3s 15 to 100", "13s 15 to 101", "33s 15 to 102", "1m13s 15 to 103", "1m53s 15 to 104"},
		},
		{
			"alive for a minute: the back-off begins anew", "sfff" + zs(80) + "fff" + "s",
			func(_ *Restarter, f *fakeTarget) { f.comeback = 0 },
			100 * time.Second,
			[]string{"3s 15 to 100", "1m26s 15 to 101"},
		},
		{
			"initial delay", "f",
			func(r *Restarter, _ *fakeTarget) { r.InitialDelay = 10 * time.Second },
			16 * time.Second,
			[]string{"15s 15 to 100"},
		},
		{
			"absent: there is nobody to signal", "f",
			func(_ *Restarter, f *fakeTarget) { f.pid = 0 },
			20 * time.Second, nil,
		},
		{
			"stuck in the kernel: not tried again before the back-off", "sf",
			func(_ *Restarter, f *fakeTarget) { f.stuck = true },
			26 * time.Second,
			[]string{"3s 15 to 100", "5s 9 to 100", "15s 15 to 100", "17s 9 to 100"},
		},
		{
			"held", "sf",
			func(r *Restarter, _ *fakeTarget) { r.Hold(9500 * time.Millisecond) },
			15 * time.Second,
			[]string{"10s 15 to 100"},
		},
		{
			"held and released", "sf",
			func(r *Restarter, _ *fakeTarget) {
				r.Hold(time.Hour)
				time.AfterFunc(7500*time.Millisecond, func() { r.Hold(0) })
			},
			15 * time.Second,
			[]string{"8s 15 to 100"},
		},
		{
			"not allowed", "sf",
			func(_ *Restarter, f *fakeTarget) { f.forbid = fmt.Errorf("may not") },
			20 * time.Second, nil,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newTarget()
				r := newRestarter(f, &script{text: tt.probes})
				if tt.set != nil {
					tt.set(r, f)
				}
				ctx, cancel := context.WithTimeout(t.Context(), tt.for_)
				defer cancel()
				r.Run(ctx)
				if diff := cmp.Diff(tt.want, f.signals); diff != "" {
					t.Errorf("signals (-want +got):\n%s", diff)
				}
			})
		})
	}
}

func zs(n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = 's'
	}
	return string(b)
}

// TestReadiness: it is ready while it could do what it is for.
func TestReadiness(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var said []string
		f := newTarget()
		f.pid = 0
		r := newRestarter(f, &script{text: "s"})
		r.Ready = func(ok bool, _ string) {
			if s := fmt.Sprint(ok); len(said) == 0 || said[len(said)-1] != s {
				said = append(said, s)
			}
		}
		time.AfterFunc(2500*time.Millisecond, f.start)
		time.AfterFunc(5500*time.Millisecond, func() { f.set(0) }) // its restart policy takes its time
		time.AfterFunc(8500*time.Millisecond, f.start)
		time.AfterFunc(11500*time.Millisecond, func() {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.forbid = fmt.Errorf("another user's")
		})
		ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
		defer cancel()
		r.Run(ctx)
		if diff := cmp.Diff([]string{"false", "true", "false"}, said); diff != "" {
			t.Errorf("ready (-want +got):\n%s", diff)
		}
	})
}

// TestStatus: what is known after a restart, and how long the outage was.
func TestStatus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newTarget()
		r := newRestarter(f, &script{text: "sfff" + "ff" + "s"})
		f.comeback = 0
		ctx, cancel := context.WithTimeout(t.Context(), 10500*time.Millisecond)
		defer cancel()
		r.Run(ctx)
		got := r.Status()
		if got.State != Alive || got.Restarts != 1 || got.InARow != 1 || got.Target.PID != 101 || got.LastRestart == nil || got.NotBefore == nil {
			t.Errorf("%+v", got)
		}
		if got.Outage != 5 { // failed at 1, 2, 3, 4 and 5 s, well at 6 s
			t.Errorf("the outage lasted for %v s, want 5", got.Outage)
		}
	})
}
