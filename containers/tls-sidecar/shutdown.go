package main

import (
	"context"
	"net"
	"time"
)

// Shutdown stops accepting, lets what is in flight end, and returns nil, or
// ctx's error if something was still in flight then; Close cuts that.
//
// An HTTP/1 client may send its next request at the very moment in which the
// server closes the idle connection, and lose it. So idle connections are not
// closed at once: for a little while requests are still answered on them, each
// with `Connection: close`; and a client that has just connected gets somewhat
// longer to send its first. HTTP/2 has GOAWAY for that.
func (p *Proxy) Shutdown(ctx context.Context) error {
	p.init()
	p.draining.Store(true)
	p.stopListening(ctx)
	if p.TCP {
		return p.await(ctx, func() bool { return p.open() == 0 })
	}
	grace := p.Limits.DrainIdle
	if grace == 0 {
		grace = 500 * time.Millisecond
	}
	began := time.Now()
	p.await(ctx, func() bool {
		took := time.Since(began)
		return p.open() == 0 || took > grace && p.fresh.Load() == 0 || took > freshGraces*grace
	})
	if p.fast != nil {
		p.fast.CloseIdle()
		if err := p.await(ctx, func() bool { return p.fast.Clients() == 0 }); err != nil {
			return err
		}
	}
	if err := p.http.Shutdown(ctx); err != nil {
		return err
	}
	// The HTTP server does not wait for connections that became tunnels.
	return p.await(ctx, func() bool { return p.inFlight.Load() == 0 })
}

// freshGraces is how many times DrainIdle a connection without a request gets.
const freshGraces = 4

// stopListening lets nobody new in and waits until those who have connected are
// accepted.
func (p *Proxy) stopListening(ctx context.Context) {
	p.mu.Lock()
	for ln := range p.listeners {
		ln.Retire()
	}
	p.mu.Unlock()
	p.await(ctx, func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return len(p.listeners) == 0
	})
}

// await polls, as http.Server.Shutdown does.
func (p *Proxy) await(ctx context.Context, done func() bool) error {
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

// Close cuts everything at once.
func (p *Proxy) Close() error {
	p.init()
	p.closed.Store(true)
	p.mu.Lock()
	conns := make([]net.Conn, 0, len(p.conns))
	for c := range p.conns {
		conns = append(conns, c)
	}
	for ln := range p.listeners {
		ln.Close()
	}
	p.mu.Unlock()
	if p.fast != nil {
		p.fast.Close()
	}
	if p.http != nil {
		p.http.Close()
		p.toHTTP.Close()
	}
	for _, c := range conns {
		c.Close()
	}
	p.loops.close() // after these: what was posted first is done first
	return nil
}
