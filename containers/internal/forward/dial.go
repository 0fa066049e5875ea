package forward

import (
	"context"
	"net"
	"time"
)

// Dialer connects to servers. All addresses of a name are tried, those of the
// other family beside the first, and a name is looked up anew each time.
type Dialer struct {
	Timeout  time.Duration // 0: none
	Resolver *net.Resolver // nil: the system's
}

// Dial connects to host:port without a limit of its own.
func Dial(ctx context.Context, addr string) (net.Conn, error) {
	return (&Dialer{}).Dial(ctx, addr)
}

// Dial connects to host:port. It knows "localhost" itself: an image from
// scratch may have no hosts file, and a server that listens on ::1 only is as
// local as any other. Without multipath TCP: an event loop could not take it.
func (d *Dialer) Dial(ctx context.Context, addr string) (net.Conn, error) {
	if d.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, d.Timeout)
		defer cancel()
	}
	dialer := net.Dialer{Resolver: d.Resolver}
	dialer.SetMultipathTCP(false)
	host, port, err := net.SplitHostPort(addr)
	if err != nil || host != "localhost" {
		return dialer.DialContext(ctx, "tcp", addr) // which tries them all: RFC 8305
	}
	conn, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort("127.0.0.1", port))
	if err == nil {
		return conn, nil
	}
	if conn, err6 := dialer.DialContext(ctx, "tcp", net.JoinHostPort("::1", port)); err6 == nil {
		return conn, nil
	}
	return nil, err
}
