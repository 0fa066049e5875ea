package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync/atomic"
	"time"

	"distlab/containers/internal/balance"
	"distlab/containers/internal/forward"
)

// Relay is the TCP mode: connections are dealt to replicas as requests are, and stay where they are. A replica that cannot be
// reached costs the client nothing, for nothing was sent yet: the next one is tried.
type Relay struct {
	Pool    *Pool
	Door    forward.Door
	Connect time.Duration
	Idle    time.Duration // without a byte; 0: no limit
	Half    time.Duration // and after one side's end
	Log     *slog.Logger
	Metrics *Metrics

	relays atomic.Int64
}

// Serve accepts connections from ln until Shutdown or Close. It owns ln.
func (t *Relay) Serve(ln net.Listener) error {
	d := &t.Door
	d.Log = t.Log
	d.Accepted = t.Metrics.accepted.Inc
	d.Rejected = func(reason string) { t.Metrics.rejected.WithLabelValues(reason).Inc() }
	d.Counted = func() (in, out func(float64)) {
		return t.Metrics.sent.WithLabelValues("in").Add, t.Metrics.sent.WithLabelValues("out").Add
	}
	d.Admitted = func(c *forward.Conn) {
		c.Busy()
		c.Settle()
		go t.relay(c)
	}
	return d.Serve(ln)
}

// Shutdown stops accepting, and returns when the last connection has ended, or with ctx's error.
func (t *Relay) Shutdown(ctx context.Context) error {
	t.Door.Retire(ctx)
	return forward.Await(ctx, func() bool { return t.Door.Open() == 0 })
}

// Close cuts everything at once.
func (t *Relay) Close() error { t.Door.Close(); return nil }

// InFlight is how many connections are passed on.
func (t *Relay) InFlight() int { return int(t.relays.Load()) }

// relay owns the client's connection.
func (t *Relay) relay(c *forward.Conn) {
	defer c.Close()
	defer func() {
		if v := recover(); v != nil {
			t.Log.Error("panic", "error", v, "remote", c.RemoteAddr().String())
		}
	}()
	began := time.Now()
	facts := balance.Facts{Header: nothing{}}
	if a, ok := c.RemoteAddr().(*net.TCPAddr); ok {
		facts.Client = a.AddrPort().Addr().Unmap()
	}
	choice, err := t.Pool.Choose(&facts, "")
	if err != nil {
		reason := "no_replica"
		if errors.Is(err, errFull) {
			reason = "full"
		}
		t.Metrics.refused.WithLabelValues(reason).Inc()
		return
	}
	server, err := t.dial(&choice, &facts)
	if err != nil {
		t.Pool.Done(choice.Replica, Failed)
		t.Metrics.refused.WithLabelValues("unreachable").Inc()
		return
	}
	t.relays.Add(1)
	defer t.relays.Add(-1)
	// That a connection came about is what the mode can tell of a replica.
	defer t.Pool.Done(choice.Replica, Good)
	(&forward.Tunnel{Client: c, App: server, Idle: t.Idle, Half: t.Half}).Run()
	choice.counter.answered(200, time.Since(began))
}

// dial connects to the choice, or to the next one that can be reached.
func (t *Relay) dial(c *Choice, f *balance.Facts) (net.Conn, error) {
	d := forward.Dialer{Timeout: t.Connect}
	for {
		conn, err := d.Dial(context.Background(), c.Addr)
		if err == nil {
			return conn, nil
		}
		c.counter.failed("dial")
		t.Log.Debug("replica failed", "replica", c.Addr, "reason", "dial", "error", err)
		if !t.Pool.Again(c, f, false) {
			return nil, err
		}
		c.counter.retried()
	}
}

// nothing is a request that has no headers.
type nothing struct{}

func (nothing) Get(string) string { return "" }
