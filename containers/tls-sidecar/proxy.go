package main

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"distlab/containers/internal/forward"
	"distlab/containers/internal/http1"
)

// Proxy takes TLS off connections and passes what is inside on to an app on
// localhost. It knows nothing of the process around it. Forward and
// Certificates are required; the zero value of every limit is no limit. Fields
// must not be changed after Serve.
type Proxy struct {
	Forward      string        // host:port of the app; the host "localhost" is 127.0.0.1, then ::1
	Certificates *Certificates // loaded

	TCP            bool           // pass bytes on as they are, instead of HTTP
	SendProxy      bool           // TCP: begin with a PROXY protocol v2 header
	HalfClose      time.Duration  // TCP: without a byte, once one side has ended
	TrustedProxies []netip.Prefix // HTTP: who may say for whom it asks
	Careful        bool           // no event loops
	Loops          int            // event loops; 0 is one for each processor
	Upgrades       []string       // HTTP: protocols that a connection may be upgraded to; nil is websocket only

	Limits  Limits
	Log     *slog.Logger // nil: none
	Metrics *Metrics     // nil: none

	// AppFailed is called when the app could not be reached, so that somebody
	// may look after it. It must not block.
	AppFailed func(error)

	once    sync.Once
	engine  *forward.Engine // nil in TCP mode
	backend forward.Backend
	door    *forward.Door
	loops   *loops // TCP mode; nil: there are none
	dialer  forward.Dialer
	tunnels atomic.Int64 // in TCP mode
}

// Limits bound what clients, and the app, may take. Zero is no limit.
type Limits = forward.Limits

func (p *Proxy) init() {
	p.once.Do(func() {
		if p.Log == nil {
			p.Log = slog.New(slog.DiscardHandler)
		}
		p.dialer = forward.Dialer{Timeout: p.Limits.Connect}
		if p.TCP {
			p.door = &forward.Door{Max: p.Limits.Connections, Admitted: p.admitted, Log: p.Log}
			if !p.Careful {
				p.loops = p.newLoops()
			}
			if p.loops != nil {
				p.door.Wrap = func(c net.Conn) net.Conn { return newSocket(c) }
			}
		} else {
			p.engine = p.newEngine()
			p.door = &p.engine.Door
		}
		p.door.Accepted, p.door.Rejected = p.Metrics.accepted, p.Metrics.reject
		p.door.Closed = func(*forward.Conn) { p.Metrics.closed() }
		p.door.Counted = p.Metrics.directions
	})
}

// newEngine is the HTTP mode.
func (p *Proxy) newEngine() *forward.Engine {
	e := &forward.Engine{
		Handle:    p.handle,
		Done:      func(x *forward.Exchange) { p.Metrics.answered(x.Code(), time.Since(x.Began)) },
		Refused:   func(_ net.Addr, reason string) { p.Metrics.refuse(reason) },
		Began:     p.Metrics.began,
		Connected: func(c *forward.Conn) []byte { return p.connected(c).lines() },
		Shook:     p.shook,
		TLS:       p.Certificates.Config(),
		Forwarder: &http1.Forwarder{Trusted: p.TrustedProxies, Scheme: "https"},
		Upgrades:  p.Upgrades,
		Loops:     p.Loops,
		Dial:      func(ctx context.Context, _ string) (net.Conn, error) { return p.dialApp(ctx) },
		Limits:    p.Limits,
		Log:       p.Log,
	}
	if e.Upgrades == nil {
		e.Upgrades = []string{"websocket"}
	}
	p.backend.Addr = p.Forward
	if !p.Careful {
		e.Fast = &fast{p}
	}
	return e
}

// Serve accepts connections until Shutdown or Close, and then returns
// http.ErrServerClosed. It owns the listener.
func (p *Proxy) Serve(listener net.Listener) error {
	p.init()
	if p.TCP {
		return p.door.Serve(listener)
	}
	return p.engine.Serve(listener)
}

// Shutdown stops accepting, lets what is in flight end, and returns nil, or
// ctx's error if something was still in flight then; Close cuts that.
func (p *Proxy) Shutdown(ctx context.Context) error {
	p.init()
	if p.TCP {
		p.door.Retire(ctx)
		return forward.Await(ctx, func() bool { return p.door.Open() == 0 })
	}
	return p.engine.Shutdown(ctx)
}

// Close cuts everything at once.
func (p *Proxy) Close() error {
	p.init()
	if p.TCP {
		p.door.Close()
		p.loops.close() // after these: what was posted first is done first
		return nil
	}
	return p.engine.Close()
}

// inFlight is how many requests, or tunnels, there are.
func (p *Proxy) inFlight() int {
	if p.init(); p.TCP {
		return int(p.tunnels.Load())
	}
	return p.engine.InFlight()
}

// open is how many connections there are.
func (p *Proxy) open() int {
	p.init()
	return p.door.Open()
}

// shook counts a handshake.
func (p *Proxy) shook(c *forward.Conn, state tls.ConnectionState, took time.Duration, err error) {
	if err == nil {
		p.Metrics.shook("ok", tlsVersion(state.Version), took)
		return
	}
	result := handshakeResult(err)
	p.Metrics.shook(result, tlsVersion(state.Version), 0)
	p.Log.Debug("handshake", "remote", c.RemoteAddr().String(), "result", result, "error", err)
}

// handshakeResult is a label: why a handshake failed, in one of a few words.
func handshakeResult(err error) string {
	var record tls.RecordHeaderError
	var verify *tls.CertificateVerificationError
	var alert tls.AlertError
	var op *net.OpError
	switch {
	case errors.Is(err, errDenied):
		return "denied"
	case forward.SpeaksHTTP(err):
		return "plain_http"
	case errors.As(err, &record):
		return "not_tls"
	case errors.As(err, &verify), err.Error() == "tls: client didn't provide a certificate":
		return "client_certificate"
	case errors.As(err, &op) && op.Op == "remote error", errors.As(err, &alert):
		return "alert" // the client did not like what it saw
	case forward.TimedOut(err):
		return "timeout"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.As(err, &op):
		return "closed"
	}
	return "protocol"
}

// tlsVersion is a label; empty before there was one.
func tlsVersion(v uint16) string {
	switch v {
	case tls.VersionTLS12:
		return "1.2"
	case tls.VersionTLS13:
		return "1.3"
	}
	return ""
}

// dialApp connects to the app within the connect limit.
func (p *Proxy) dialApp(ctx context.Context) (net.Conn, error) {
	conn, err := p.dialer.Dial(ctx, p.Forward)
	if err != nil && ctx.Err() != context.Canceled && p.AppFailed != nil {
		p.AppFailed(err)
	}
	return conn, err
}

// appFailed counts and logs a failure between the sidecar and the app.
func (p *Proxy) appFailed(remote string, err error) {
	reason := "broken"
	switch {
	case forward.TimedOut(err):
		reason = "timeout"
	case forward.NotSent(err):
		reason = "dial"
	}
	p.Metrics.appFailed(reason)
	p.Log.Debug("app failed", "remote", remote, "reason", reason, "error", err)
}

// handle answers one request, by the app's answer or by what is said of it.
func (p *Proxy) handle(x *forward.Exchange) {
	x.Client.User.(*peer).apply(x.Out.Header)
	resp, err := x.Ask(&p.backend)
	if err == nil {
		if err = x.Answer(resp); errors.Is(err, forward.ErrBroken) {
			p.appFailed(x.Request.RemoteAddr, err)
		}
		return
	}
	switch x.FaultOf(err) {
	case forward.ServerFailed, forward.ServerSlow:
		p.appFailed(x.Request.RemoteAddr, err)
	}
	x.Explain(err, "the app")
}

// connected works out what the app is told of a client.
func (p *Proxy) connected(c *forward.Conn) *peer {
	says := newPeer(c.TLS.ConnectionState())
	c.User = says
	return says
}
