package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"distlab/containers/internal/etcd"
	"distlab/containers/internal/names"
)

// View is the owner as the key in etcd says. Term is another one with each life of an owner.
type View struct {
	ID      string `json:"id"`
	Address string `json:"address"`
	Term    string `json:"term,omitempty"`
}

// Owner is who the owner is, for those who wait for another one.
type Owner struct {
	mu       sync.Mutex
	view     View
	revision int64 // of the store, when the view was read
	since    time.Time
	changed  chan struct{} // closed at the next change
}

// Now is the owner of this moment, without an address if there is none, and what is closed when that changes.
func (o *Owner) Now() (View, <-chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.changed == nil {
		o.changed = make(chan struct{})
	}
	return o.view, o.changed
}

// Set is told what was read in a revision. What is older than what is known is not believed: who was deposed is not
// the owner again because some member of etcd says so late.
func (o *Owner) Set(v View, revision int64) (changed bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if revision < o.revision {
		return false
	}
	o.revision = revision
	if v == o.view {
		return false
	}
	o.view, o.since = v, time.Now()
	if o.changed != nil {
		close(o.changed)
	}
	o.changed = make(chan struct{})
	return true
}

// Watch keeps an Owner at what etcd says. While etcd says nothing the last one stays: whether it is still the owner it knows
// itself, and says 421 if not.
type Watch struct {
	Key     string
	Relist  time.Duration
	Client  *etcd.Client
	Ready   func(ok bool, reason string)
	Log     *slog.Logger
	Metrics *metrics

	Owner Owner

	mu      sync.Mutex
	heard   time.Time // when etcd last answered
	trouble error
}

// Run watches until ctx ends.
func (w *Watch) Run(ctx context.Context) {
	for ctx.Err() == nil {
		kvs, revision, err := w.Client.Range(ctx, w.Key)
		w.hear(err)
		if err == nil {
			v, err := read(kvs, w.Key)
			if err != nil {
				w.Log.Warn("the key cannot be read", "error", err)
			}
			if w.Owner.Set(v, revision) {
				w.Metrics.changes.Inc()
				w.Log.Info("owner", "id", v.ID, "address", v.Address, "term", v.Term)
			}
			err = w.Client.Watch(ctx, w.Key, revision+1, w.Relist)
			if err == nil {
				continue
			}
			w.hear(err)
		}
		select {
		case <-time.After(w.Client.Timeout / 10):
		case <-ctx.Done():
		}
	}
}

// read is the view that the key gives; other keys may begin with the same text. What cannot be read is nobody.
func read(kvs []etcd.KV, key string) (View, error) {
	for _, kv := range kvs {
		if string(kv.Key) != key {
			continue
		}
		var v View
		if err := json.Unmarshal(kv.Value, &v); err != nil {
			return View{}, fmt.Errorf("%w: %.80q", err, kv.Value)
		}
		if host, port, err := net.SplitHostPort(v.Address); err != nil || host == "" || port == "" || !names.Plain(v.ID) {
			return View{}, fmt.Errorf("no owner with an address: %.200q", kv.Value)
		}
		return v, nil
	}
	return View{}, nil
}

// hear notes whether etcd answers.
func (w *Watch) hear(err error) {
	w.mu.Lock()
	w.trouble = err
	if err == nil {
		w.heard = time.Now()
	}
	ever := !w.heard.IsZero()
	w.mu.Unlock()
	switch {
	case err == nil:
		w.Ready(true, "")
	case !ever:
		w.Ready(false, fmt.Sprintf("etcd: %v", err))
	}
}

// Heard is how long ago etcd last answered, and why it does not.
func (w *Watch) Heard() (ago time.Duration, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.heard.IsZero() {
		return -1, w.trouble
	}
	return time.Since(w.heard), w.trouble
}

// Status is /status.
type Status struct {
	Owner   *View   `json:"owner"` // null: there is none
	Since   string  `json:"since,omitempty"`
	Waiting int64   `json:"waiting"`
	Silent  float64 `json:"silent_seconds"` // since etcd last answered; below 0: it never has
	Trouble string  `json:"trouble,omitempty"`
}

func newStatus(w *Watch, p *Proxy) Status {
	ago, err := w.Heard()
	s := Status{Waiting: p.waiting.Load(), Silent: ago.Seconds()}
	if err != nil {
		s.Trouble = err.Error()
	}
	w.Owner.mu.Lock()
	defer w.Owner.mu.Unlock()
	if v := w.Owner.view; v.Address != "" {
		s.Owner = &v
	}
	if t := w.Owner.since; !t.IsZero() {
		s.Since = t.UTC().Format(time.RFC3339Nano)
	}
	return s
}
