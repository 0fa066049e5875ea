package main

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// Source is a kind of server: it asks one and tells what it found, as metrics.
type Source interface {
	// Collect asks the server. What it returns with an error is shown nonetheless, beside up 0.
	Collect(ctx context.Context) (*page, error)

	// Frame adds what is shown whether the server answered or not: that it is up, and what the asking itself took.
	Frame(p *page, t tally)
}

// tally is what is known of a target's collections.
type tally struct {
	Up      bool
	Reason  string // why not, in a word of a short list; see reasonOf
	Number  uint64 // of collections, this one included
	Took    time.Duration
	TookAll time.Duration // of all of them
}

// Target is one server, asked for whoever scrapes. Those who come while it is being asked share the answer: a hundred
// scrapes at a time cost the server what one does. Nothing is kept longer than that unless TTL says so.
type Target struct {
	Name    string
	Source  Source
	Timeout time.Duration // of a collection
	TTL     time.Duration
	Metrics *metrics
	Log     *slog.Logger
	Down    func(error) // told of each collection that failed; may be nil

	mu     sync.Mutex
	flight *flight // under way, or nil
	last   *flight // the last that ended
	number uint64
	spent  time.Duration
}

// flight is one collection. Its fields may be read once done is closed.
type flight struct {
	begun time.Time
	done  chan struct{}
	page  *page
	err   error
	tally tally
}

// Scrape is the target's metrics: of the collection that is under way, else of a new one. ctx ends the waiting, not the
// collection: others may wait for it, and one who asks for an answer in no time must not spoil it for them.
func (t *Target) Scrape(ctx context.Context) *page {
	t.mu.Lock()
	f := t.flight
	switch {
	case f != nil:
		t.Metrics.shared.WithLabelValues(t.Name).Inc()
	case t.last != nil && t.last.err == nil && time.Since(t.last.begun) < t.TTL:
		f = t.last
	default:
		t.number++
		f = &flight{begun: time.Now(), done: make(chan struct{}), tally: tally{Number: t.number}}
		t.flight = f
		go t.collect(f)
	}
	t.mu.Unlock()
	select {
	case <-f.done:
		return f.page
	case <-ctx.Done():
	}
	t.Metrics.failures.WithLabelValues(t.Name, reasonTimeout).Inc()
	p := &page{}
	t.mu.Lock()
	spent := t.spent
	t.mu.Unlock()
	took := time.Since(f.begun)
	t.Source.Frame(p, tally{Reason: reasonTimeout, Number: f.tally.Number, Took: took, TookAll: spent + took})
	return p
}

// collect asks the server, and lets all who wait have the answer.
func (t *Target) collect(f *flight) {
	ctx, cancel := context.WithTimeout(context.Background(), t.Timeout)
	defer cancel()
	f.page, f.err = t.ask(ctx)
	if f.page == nil {
		f.page = &page{}
	}
	f.tally.Took = time.Since(f.begun)
	if f.tally.Up = f.err == nil; !f.tally.Up {
		f.tally.Reason = reasonOf(f.err)
	}
	t.mu.Lock()
	t.spent += f.tally.Took
	f.tally.TookAll = t.spent
	was := t.last
	t.flight, t.last = nil, f
	t.say(was, f)
	t.mu.Unlock()
	t.Source.Frame(f.page, f.tally)
	outcome := "up"
	if f.err != nil {
		outcome = "down"
		t.Metrics.failures.WithLabelValues(t.Name, f.tally.Reason).Inc()
	}
	t.Metrics.collections.WithLabelValues(t.Name, outcome).Inc()
	close(f.done)
	if f.err != nil && t.Down != nil {
		t.Down(fmt.Errorf("target %s: %w", t.Name, f.err))
	}
}

// ask is Collect; what a server sends ends at most this collection, never the adapter.
func (t *Target) ask(ctx context.Context) (p *page, err error) {
	defer func() {
		if r := recover(); r != nil {
			p, err = nil, fmt.Errorf("%w: %v", errProtocol, r)
		}
	}()
	return t.Source.Collect(ctx)
}

// say logs changes: a line for each scrape of a server that is down would bury all others.
func (t *Target) say(was, is *flight) {
	switch {
	case is.err != nil && (was == nil || was.tally.Reason != is.tally.Reason):
		t.Log.Warn("target down", "target", t.Name, "reason", is.tally.Reason, "error", is.err)
	case is.err == nil && (was == nil || was.err != nil):
		t.Log.Info("target up", "target", t.Name, "seconds", is.tally.Took.Seconds())
	}
}

// targetStatus is a target on /status.
type targetStatus struct {
	Target      string     `json:"target"`
	Up          *bool      `json:"up"` // null: not asked yet
	Reason      string     `json:"reason,omitempty"`
	Error       string     `json:"error,omitempty"`
	Asked       *time.Time `json:"asked,omitempty"`
	Seconds     float64    `json:"seconds"`
	Collections uint64     `json:"collections"`
	UnderWay    bool       `json:"under_way"`
}

func (t *Target) status() targetStatus {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := targetStatus{Target: t.Name, Collections: t.number, UnderWay: t.flight != nil}
	if f := t.last; f != nil {
		s.Up, s.Reason, s.Asked, s.Seconds = &f.tally.Up, f.tally.Reason, &f.begun, f.tally.Took.Seconds()
		if f.err != nil {
			s.Error = f.err.Error()
		}
	}
	return s
}
