package main

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

const patience = 20 * time.Second

// sink collects what is written, and tells who waits for it.
type sink struct {
	mu   sync.Mutex
	text strings.Builder
	err  error         // what a write says
	wait chan struct{} // not nil: a write waits for its end
}

func (s *sink) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.wait != nil {
		<-s.wait
	}
	if s.err != nil {
		return 0, s.err
	}
	return s.text.Write(p)
}

func (s *sink) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// running is an adapter at work.
type running struct {
	*Adapter
	out, log *sink
	reg      *prometheus.Registry
	stop     context.CancelFunc // as SIGTERM does
	done     chan error

	mu     sync.Mutex
	ready  bool
	reason string
}

// start runs an adapter on a Redis, with an interval that a test need not wait for.
func start(t *testing.T, f *fakeRedis, change func(*Adapter)) *running {
	t.Helper()
	r := &running{out: &sink{}, log: &sink{}, reg: prometheus.NewRegistry(), done: make(chan error, 1)}
	r.Adapter = &Adapter{
		Server: &Server{Addr: f.addr, Timeout: patience, Name: newName()},
		Out:    r.out, Format: appendJSON, Redact: newRedact("SETEX", "client|setinfo"),
		Interval: 10 * time.Millisecond, MinInterval: 10 * time.Millisecond, MaxEntries: 1024,
		Log: slog.New(slog.NewJSONHandler(r.log, nil)), Metrics: newMetrics(r.reg),
		Ready: func(ok bool, reason string) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.ready, r.reason = ok, reason
		},
	}
	if change != nil {
		change(r.Adapter)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r.stop = cancel
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		r.done <- r.Run(ctx, func() context.Context { return context.Background() })
	}()
	t.Cleanup(func() { cancel(); f.stop(); <-ended })
	return r
}

func (r *running) readiness() (bool, string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ready, r.reason
}

// await asks until something is so.
func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited for %s in vain", what)
		}
	}
}

// polls waits until the adapter has polled n times more.
func (r *running) polls(t *testing.T, n int64) {
	t.Helper()
	from := r.Status().Polls
	await(t, "polls", func() bool { return r.Status().Polls >= from+n })
}

// lines waits until so many lines are written, and returns all.
func (r *running) lines(t *testing.T, n int) []line {
	t.Helper()
	await(t, "lines", func() bool { return strings.Count(r.out.String(), "\n") >= n })
	var all []line
	for row := range strings.Lines(r.out.String()) {
		var l line
		if err := json.Unmarshal([]byte(row), &l); err != nil {
			t.Fatalf("%q: %v", row, err)
		}
		all = append(all, l)
	}
	return all
}

// end stops the adapter as SIGTERM does.
func (r *running) end(t *testing.T) error {
	t.Helper()
	r.stop()
	select {
	case err := <-r.done:
		return err
	case <-time.After(patience):
		t.Fatal("does not end")
		return errors.New("unreachable")
	}
}

// ids are those of the entries among lines.
func ids(lines []line) []int64 {
	var list []int64
	for _, l := range lines {
		if l.Event == "slow" {
			list = append(list, *l.ID)
		}
	}
	return list
}

// metric is a counter's value, of one label if it has any.
func (r *running) metric(t *testing.T, name, label string) float64 {
	t.Helper()
	families, err := r.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if l := m.GetLabel(); f.GetName() == "slowlog_adapter_"+name && (len(l) == 0 || l[0].GetValue() == label) {
				return m.GetCounter().GetValue()
			}
		}
	}
	t.Fatalf("no metric %s %s", name, label)
	return 0
}
