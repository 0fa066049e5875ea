package forward

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"distlab/containers/internal/lastcall"
)

// Door lets connections in, within a limit: when all places are taken, the one
// that has been idle for longest makes room, for idle connections are cheap to
// hold, for an attacker too, and to open again, for everybody else. An [Engine] has
// one; it also serves those that pass bytes on.
type Door struct {
	Max      int                              // connections at once; 0: no limit
	Wrap     func(net.Conn) net.Conn          // nil: the connection as it is
	Admitted func(c *Conn)                    // owns the connection; it must not block
	Counted  func() (in, out func(n float64)) // counters of a connection's bytes; nil: none
	Log      *slog.Logger

	// Who counts is told of each connection that came, and that is gone, and of
	// those that were closed for want of room: new ones, max_connections, and idle
	// ones for new ones, evicted. Each may be nil.
	Accepted func()
	Closed   func(c *Conn)
	Rejected func(reason string)

	accepted, rejected atomic.Int64
	fresh              atomic.Int64 // connections that have not asked for anything
	lingering          atomic.Int64
	retired, closed    atomic.Bool

	mu        sync.Mutex // guards the following
	listeners map[*lastcall.Listener]struct{}
	conns     map[*Conn]struct{}
}

// Serve accepts connections until Retire or Close, and then returns
// http.ErrServerClosed. It owns the listener.
func (d *Door) Serve(listener net.Listener) error {
	ln := lastcall.New(listener)
	defer ln.Close()
	if !d.track(ln) {
		return http.ErrServerClosed
	}
	defer d.forget(ln)
	var wait time.Duration
	for {
		conn, err := ln.Accept()
		switch {
		case err == nil:
			wait = 0
			d.admit(conn)
		case !temporary(err) && (d.retired.Load() || d.closed.Load()):
			return http.ErrServerClosed
		case !temporary(err):
			return err
		default:
			// Out of file descriptors, most likely: they come back.
			wait = min(max(2*wait, 5*time.Millisecond), time.Second)
			d.Log.Warn("accept", "error", err, "wait_seconds", wait.Seconds())
			time.Sleep(wait)
		}
	}
}

func temporary(err error) bool {
	var t interface{ Temporary() bool }
	return errors.As(err, &t) && t.Temporary()
}

func (d *Door) track(ln *lastcall.Listener) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.retired.Load() || d.closed.Load() {
		return false
	}
	if d.listeners == nil {
		d.listeners = make(map[*lastcall.Listener]struct{})
	}
	d.listeners[ln] = struct{}{}
	return true
}

func (d *Door) forget(ln *lastcall.Listener) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.listeners, ln)
}

// admit gives a new connection a place, or closes it.
func (d *Door) admit(conn net.Conn) {
	d.accepted.Add(1)
	if d.Accepted != nil {
		d.Accepted()
	}
	if d.Wrap != nil {
		conn = d.Wrap(conn)
	}
	c := &Conn{Conn: conn, door: d}
	if d.Counted != nil {
		c.in, c.out = d.Counted()
	}
	c.fresh.Store(true)
	d.fresh.Add(1)
	c.Idle()
	var idlest *Conn
	d.mu.Lock()
	if d.conns == nil {
		d.conns = make(map[*Conn]struct{})
	}
	full := d.Max > 0 && len(d.conns) >= d.Max
	if full {
		idlest = d.idlest()
		delete(d.conns, idlest)
	}
	d.conns[c] = struct{}{}
	d.mu.Unlock()
	if full {
		d.rejected.Add(1)
	}
	switch {
	case idlest != nil:
		d.reject("evicted")
		idlest.Close()
	case full || d.closed.Load():
		d.reject("max_connections")
		c.Close()
		return
	}
	d.Admitted(c)
}

func (d *Door) reject(reason string) {
	if d.Rejected != nil {
		d.Rejected(reason)
	}
}

// idlest is nil if all are in use. The caller holds mu.
func (d *Door) idlest() (found *Conn) {
	var since int64
	for c := range d.conns {
		if at := c.idle.Load(); at > 0 && (found == nil || at < since) {
			found, since = c, at
		}
	}
	return found
}

func (d *Door) release(c *Conn) {
	d.mu.Lock()
	delete(d.conns, c)
	d.mu.Unlock()
	if d.Closed != nil {
		d.Closed(c)
	}
}

// Open is how many connections there are.
func (d *Door) Open() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.conns)
}

// Waiting is how many of them wait for a request: those may have to make room.
func (d *Door) Waiting() (n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for c := range d.conns {
		if c.idle.Load() > 0 {
			n++
		}
	}
	return n
}

// Totals count connections since the start.
func (d *Door) Totals() (accepted, rejected int64) { return d.accepted.Load(), d.rejected.Load() }

// Retired is whether nobody new is let in.
func (d *Door) Retired() bool { return d.retired.Load() }

// Retire lets nobody new in, and waits until those who have connected are
// accepted.
func (d *Door) Retire(ctx context.Context) {
	d.retired.Store(true)
	d.mu.Lock()
	for ln := range d.listeners {
		ln.Retire()
	}
	d.mu.Unlock()
	Await(ctx, func() bool {
		d.mu.Lock()
		defer d.mu.Unlock()
		return len(d.listeners) == 0
	})
}

// Close cuts everything at once.
func (d *Door) Close() {
	d.closed.Store(true)
	d.mu.Lock()
	conns := make([]*Conn, 0, len(d.conns))
	for c := range d.conns {
		conns = append(conns, c)
	}
	for ln := range d.listeners {
		ln.Close()
	}
	d.mu.Unlock()
	for _, c := range conns {
		c.Close()
	}
}

// Await polls until done or ctx's end, as http.Server.Shutdown does.
func Await(ctx context.Context, done func() bool) error {
	pause := time.Millisecond
	for !done() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
		pause = min(2*pause, 50*time.Millisecond)
	}
	return nil
}

// queue is a listener of connections that were accepted elsewhere.
type queue struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func newQueue() *queue { return &queue{conns: make(chan net.Conn), done: make(chan struct{})} }

func (q *queue) put(c net.Conn) {
	select {
	case q.conns <- c:
	case <-q.done:
		c.Close()
	}
}

func (q *queue) Accept() (net.Conn, error) {
	select {
	case c := <-q.conns:
		return c, nil
	case <-q.done:
		return nil, net.ErrClosed
	}
}

func (q *queue) Close() error {
	q.once.Do(func() { close(q.done) })
	return nil
}

func (q *queue) Addr() net.Addr { return &net.TCPAddr{} }
