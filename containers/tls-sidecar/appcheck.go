package main

import (
	"context"
	"log/slog"
	"net"
	"sync"
	"time"
)

// AppCheck knows whether the app accepts connections: it connects, and closes
// at once, every Interval. A request that fails to connect makes it look
// immediately, so that an app that went away is noticed by the first client.
type AppCheck struct {
	Dial     func(ctx context.Context) (net.Conn, error)
	Interval time.Duration // 0: never by itself; the app counts as up
	Timeout  time.Duration // of one look; 0 is one second
	Changed  func(ok bool, err error)
	Log      *slog.Logger // nil: none

	once sync.Once
	kick chan struct{}

	mu    sync.Mutex // guards the following
	known bool
	err   error
	since time.Time
}

func (a *AppCheck) init() { a.once.Do(func() { a.kick = make(chan struct{}, 1) }) }

// Run checks until ctx is done. Changed is called for the first result and for
// every change, one call at a time.
func (a *AppCheck) Run(ctx context.Context) {
	a.init()
	if a.Interval <= 0 {
		a.found(nil)
		return
	}
	for {
		err := a.look(ctx)
		if ctx.Err() != nil {
			return
		}
		a.found(err)
		next := a.Interval
		if err != nil {
			next = min(next, whileDown) // whoever waits for it waits for the app
		}
		timer := time.NewTimer(next)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		case <-a.kick:
			timer.Stop()
		}
	}
}

// whileDown is the interval while the app is away.
const whileDown = 100 * time.Millisecond

// Kick asks for a look now.
func (a *AppCheck) Kick() {
	a.init()
	select {
	case a.kick <- struct{}{}:
	default:
	}
}

func (a *AppCheck) look(ctx context.Context) error {
	timeout := a.Timeout
	if timeout == 0 {
		timeout = time.Second
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	conn, err := a.Dial(ctx)
	if err != nil {
		return err
	}
	return conn.Close()
}

func (a *AppCheck) found(err error) {
	a.mu.Lock()
	changed := !a.known || (a.err == nil) != (err == nil)
	a.known, a.err = true, err
	if changed {
		a.since = time.Now()
	}
	a.mu.Unlock()
	if changed {
		a.Changed(err == nil, err)
	}
}

// backend is the check's part of /status.
type backend struct {
	OK    bool       `json:"ok"`
	Error string     `json:"error,omitempty"`
	Since *time.Time `json:"since,omitempty"`
}

func (a *AppCheck) status() backend {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.known {
		return backend{Error: "not checked yet"}
	}
	b := backend{OK: a.err == nil}
	if a.err != nil {
		b.Error = a.err.Error()
	}
	since := a.since
	b.Since = &since
	return b
}
