// Package dial connects to servers by name, as a program that runs for months must: all addresses of a name are
// tried, and the name is asked for again when none of them answers.
//
//	names := &dial.Names{Keep: 10 * time.Second, Stale: time.Hour}
//	d := &dial.Dialer{Names: names}
//	conn, err := d.DialContext(ctx, "tcp", "redis-a:6379")
//
// For an event loop there is [Attempt], which does the same without a goroutine for each connection. [Local] says
// of an error whether the server may be blamed for it.
//
// An address has a quarter of a second for itself; then the next is tried beside it, and who answers first wins. So a
// server that is reachable in one family alone, or of whose addresses one leads nowhere, costs that quarter and not a
// timeout. What is known of a name may be old when nobody answers: it is asked for once more in the same attempt, so
// that a server that has moved is found at once.
//
// Source: RFC 8305 in spirit. Both families are asked for at a time, by the system's resolver, and its order (RFC 6724)
// is kept but for the families' turns.
package dial

import (
	"context"
	"net"
	"net/netip"
	"time"
)

// Dialer connects by name. The zero value works.
type Dialer struct {
	Names *Names        // nil: names of its own, without a cache
	Delay time.Duration // see DefaultDelay; 0 is that
	Net   net.Dialer    // connects to one address
}

type answer struct {
	addrs []netip.AddrPort
	err   error
}

type outcome struct {
	addr netip.AddrPort
	conn net.Conn
	err  error
}

// DialContext is net.Dialer's. Networks other than tcp are left to that.
func (d *Dialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	if network != "tcp" {
		return d.Net.DialContext(ctx, network, address)
	}
	names := d.Names
	if names == nil {
		names = &Names{}
	}
	delay := d.Delay
	if delay == 0 {
		delay = DefaultDelay
	}
	// The tries end with this call, and not sooner: else they would hear of ctx's end first, and look like addresses
	// that failed.
	trying, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	answers, outcomes := make(chan answer, 2), make(chan outcome)
	pace := time.NewTimer(delay)
	defer pace.Stop()

	r := race{asking: true, asks: 1}
	ask := func() {
		addrs, err := names.Addrs(ctx, address)
		answers <- answer{addrs, err}
	}
	begin := func() {
		to, ok := r.next()
		if !ok {
			return
		}
		pace.Reset(delay)
		go func() {
			conn, err := d.Net.DialContext(trying, "tcp", to.String())
			select {
			case outcomes <- outcome{to, conn, err}:
			case <-trying.Done():
				if err == nil {
					conn.Close()
				}
			}
		}()
	}
	go ask()
	for !r.over() {
		if r.open == 0 && len(r.queue) == 0 && r.doubtful() {
			names.Doubt(address)
			go ask()
		}
		select {
		case a := <-answers:
			r.asked(a.addrs, a.err)
			begin()
		case o := <-outcomes:
			if o.err == nil {
				return o.conn, nil
			}
			r.lost(o.addr, o.err)
			begin()
		case <-pace.C:
			begin()
			if r.open > 0 && r.doubtful() {
				names.Doubt(address)
				go ask()
			}
		case <-ctx.Done():
			return nil, &net.OpError{Op: "dial", Net: network, Err: context.Cause(ctx)}
		}
	}
	return nil, r.fail(address)
}
