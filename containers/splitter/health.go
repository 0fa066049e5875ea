package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"distlab/containers/internal/forward"
)

// Health asks each arm, all the time, whether it is well: a connection, or a
// GET that answers 2xx or 3xx. The first check of an arm decides at once; from
// then on it takes Fall bad ones in a row to take it out, and Rise good ones
// to let it in.
type Health struct {
	Splitter  *Splitter
	Interval  time.Duration
	Timeout   time.Duration
	Path      string // "": a connection is enough
	Rise      int
	Fall      int
	Transport func(*Arm) http.RoundTripper
	Log       *slog.Logger
	Checked   func() // after each round

	runs map[*Arm]*healthRun
}

type healthRun struct {
	arm    *Arm
	known  bool
	good   bool // what the last checks say
	streak int
}

// Run checks until ctx is done.
func (h *Health) Run(ctx context.Context) {
	h.runs = make(map[*Arm]*healthRun)
	ticker := time.NewTicker(h.Interval)
	defer ticker.Stop()
	for {
		h.round(ctx)
		if ctx.Err() != nil {
			return
		}
		h.Checked()
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// round checks all arms side by side.
func (h *Health) round(ctx context.Context) {
	var wg sync.WaitGroup
	next := make(map[*Arm]*healthRun)
	for _, a := range h.Splitter.Arms() {
		run := h.runs[a]
		if run == nil {
			run = &healthRun{arm: a}
		}
		next[a] = run
		wg.Go(func() { h.check(ctx, run) })
	}
	h.runs = next
	wg.Wait()
}

func (h *Health) check(ctx context.Context, run *healthRun) {
	within, cancel := context.WithTimeout(ctx, h.Timeout)
	defer cancel()
	err := h.ask(within, run.arm)
	if ctx.Err() != nil {
		return
	}
	ok := err == nil
	run.arm.counter.checked(ok)
	if ok == run.good {
		run.streak++
	} else {
		run.good, run.streak = ok, 1
	}
	if run.known && (ok && run.streak < h.Rise || !ok && run.streak < h.Fall) {
		return
	}
	run.known = true
	if !h.Splitter.Health(run.arm, ok) {
		return
	}
	if ok {
		h.Log.Info("arm healthy", "arm", run.arm.Name)
	} else {
		h.Log.Warn("arm unhealthy", "arm", run.arm.Name, "error", err)
	}
}

func (h *Health) ask(ctx context.Context, a *Arm) error {
	if h.Path == "" {
		c, err := forward.Dial(ctx, a.Addr)
		if err != nil {
			return err
		}
		return c.Close()
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+a.Addr+h.Path, nil)
	if err != nil {
		return err
	}
	req.Header.Set("User-Agent", "splitter-health")
	resp, err := h.Transport(a).RoundTrip(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	io.CopyN(io.Discard, resp.Body, 64<<10)
	if resp.StatusCode < 200 || resp.StatusCode > 399 {
		return fmt.Errorf("status %d", resp.StatusCode)
	}
	return nil
}
