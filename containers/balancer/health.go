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

// Health asks each replica, all the time, whether it is well: a connection, or a GET that answers 2xx or 3xx. The first
// check of a replica decides at once; from then on it takes Fall bad ones in a row to take it out, and Rise good ones to
// let it in. Each has its own pace, so that one that hangs holds no other's up.
type Health struct {
	Pool      *Pool
	Interval  time.Duration
	Timeout   time.Duration
	Path      string // "": a connection is enough
	Rise      int
	Fall      int
	Transport func(*forward.Backend) http.RoundTripper
	Log       *slog.Logger
	Checked   func() // after each check

	wg sync.WaitGroup
}

// Run checks until ctx is done.
func (h *Health) Run(ctx context.Context) {
	defer h.wg.Wait()
	running := map[*Replica]context.CancelFunc{}
	ticker := time.NewTicker(min(h.Interval, time.Second/4))
	defer ticker.Stop()
	for {
		members := map[*Replica]bool{}
		for _, r := range h.Pool.Replicas() {
			members[r] = true
			if running[r] == nil {
				each, cancel := context.WithCancel(ctx)
				running[r] = cancel
				h.wg.Go(func() { h.follow(each, r) })
			}
		}
		for r, cancel := range running {
			if !members[r] {
				cancel()
				delete(running, r)
			}
		}
		select {
		case <-ctx.Done():
			for _, cancel := range running {
				cancel()
			}
			return
		case <-ticker.C:
		}
	}
}

// follow checks one replica.
func (h *Health) follow(ctx context.Context, r *Replica) {
	known, good, streak := false, false, 0
	ticker := time.NewTicker(h.Interval)
	defer ticker.Stop()
	for {
		within, cancel := context.WithTimeout(ctx, h.Timeout)
		err := h.ask(within, &r.Backend)
		cancel()
		if ctx.Err() != nil {
			return
		}
		ok := err == nil
		r.counter.checked(ok)
		if ok != good {
			good, streak = ok, 0
		}
		streak++
		if !known || ok && streak >= h.Rise || !ok && streak >= h.Fall {
			known = true
			if h.Pool.Health(r, ok) {
				if ok {
					h.Log.Info("replica healthy", "replica", r.Addr)
				} else {
					h.Log.Warn("replica unhealthy", "replica", r.Addr, "error", err)
				}
			}
		}
		h.Checked()
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

func (h *Health) ask(ctx context.Context, b *forward.Backend) error {
	if h.Path == "" {
		c, err := forward.Dial(ctx, b.Addr)
		if err != nil {
			return err
		}
		return c.Close()
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+b.Addr+h.Path, nil)
	if err != nil {
		return err
	}
	req.Header.Set("User-Agent", name+"-health")
	resp, err := h.Transport(b).RoundTrip(req)
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
