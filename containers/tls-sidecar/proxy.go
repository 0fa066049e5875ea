package main

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"distlab/containers/internal/fastpath"
	"distlab/containers/internal/http1"
	"distlab/containers/internal/lastcall"
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

	once     sync.Once
	http     *http.Server   // nil in TCP mode
	fast     *fastpath.Path // nil: there is none
	toHTTP   *queue         // connections that have shaken hands, for http
	loops    *loops         // TCP mode; nil: there are none
	draining atomic.Bool
	closed   atomic.Bool
	accepted atomic.Int64
	rejected atomic.Int64
	inFlight atomic.Int64 // requests, tunnels among them
	fresh    atomic.Int64 // connections that have not sent a first request

	mu        sync.Mutex // guards the following
	listeners map[*lastcall.Listener]struct{}
	conns     map[*wireConn]struct{}
}

// Limits bound what clients, and the app, may take. Zero is no limit.
type Limits struct {
	Connections int           // open at once; more are closed as they come
	Requests    int           // in flight at once, tunnels among them; more are answered 503
	HeaderBytes int           // of a request's head
	Streams     int           // HTTP/2 requests at once on one connection; 0 is 250
	Handshake   time.Duration // to shake hands
	Header      time.Duration // to send a request's head
	Body        time.Duration // between two parts of a request's body
	Send        time.Duration // for a client to take a part of the answer
	Idle        time.Duration // between two requests
	Tunnel      time.Duration // without a byte, in TCP mode and upgraded connections
	HalfClose   time.Duration // TCP: without a byte, once one side has ended
	Connect     time.Duration // to reach the app
	Response    time.Duration // for the app to begin its answer
	AppIdle     time.Duration // to keep a connection to the app for the next request
	DrainIdle   time.Duration // what idle clients get at the end to see that they should go; 0 is 500 ms
}

func (p *Proxy) init() {
	p.once.Do(func() {
		p.mu.Lock() // whoever counts connections may come before Serve
		p.listeners = make(map[*lastcall.Listener]struct{})
		p.conns = make(map[*wireConn]struct{})
		p.mu.Unlock()
		if p.Log == nil {
			p.Log = slog.New(slog.DiscardHandler)
		}
		if p.TCP && !p.Careful {
			p.loops = p.newLoops()
		}
		if !p.TCP {
			p.toHTTP = newQueue()
			p.http = p.newHTTPServer()
			go p.http.Serve(p.toHTTP)
			if !p.Careful {
				p.fast = p.newFastPath()
			}
		}
	})
}

// Serve accepts connections until Shutdown or Close, and then returns
// http.ErrServerClosed. It owns the listener.
func (p *Proxy) Serve(listener net.Listener) error {
	p.init()
	ln := lastcall.New(listener)
	defer ln.Close()
	if !p.track(ln) {
		return http.ErrServerClosed
	}
	defer p.forget(ln)
	config := p.Certificates.Config()
	var wait time.Duration
	for {
		conn, err := ln.Accept()
		switch {
		case err == nil:
			wait = 0
			p.admit(conn, config)
		case !temporary(err) && (p.draining.Load() || p.closed.Load()):
			return http.ErrServerClosed
		case !temporary(err):
			return err
		default:
			// Out of file descriptors, most likely: they come back.
			wait = min(max(2*wait, 5*time.Millisecond), time.Second)
			p.Log.Warn("accept", "error", err, "wait_seconds", wait.Seconds())
			time.Sleep(wait)
		}
	}
}

func temporary(err error) bool {
	var t interface{ Temporary() bool }
	return errors.As(err, &t) && t.Temporary()
}

func (p *Proxy) track(ln *lastcall.Listener) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.draining.Load() || p.closed.Load() {
		return false
	}
	p.listeners[ln] = struct{}{}
	return true
}

func (p *Proxy) forget(ln *lastcall.Listener) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.listeners, ln)
}

// admit gives a new connection a place, or closes it. When all are taken, the
// one that has been idle for longest makes room: idle connections are cheap to
// hold, for an attacker too, and to open again, for everybody else.
func (p *Proxy) admit(conn net.Conn, config *tls.Config) {
	p.accepted.Add(1)
	p.Metrics.accepted()
	in, out := p.Metrics.directions()
	switch {
	case p.fast != nil:
		conn = fastpath.NewSocket(conn)
	case p.loops != nil:
		conn = newSocket(conn)
	}
	wire := &wireConn{Conn: conn, in: in, out: out, released: p.release, fresh: &p.fresh}
	p.fresh.Add(1)
	var idlest *wireConn
	p.mu.Lock()
	full := p.Limits.Connections > 0 && len(p.conns) >= p.Limits.Connections
	if full {
		idlest = p.idlest()
		delete(p.conns, idlest)
	}
	p.conns[wire] = struct{}{}
	p.mu.Unlock()
	if full {
		p.rejected.Add(1)
	}
	switch {
	case idlest != nil:
		p.Metrics.reject("evicted")
		idlest.Close()
	case full || p.closed.Load():
		p.Metrics.reject("max_connections")
		wire.Close()
		return
	}
	if !p.TCP {
		wire.idle.Store(time.Now().UnixNano())
	}
	go p.serve(wire, config)
}

// idlest is nil if all are in use. The caller holds mu.
func (p *Proxy) idlest() (found *wireConn) {
	var since int64
	for c := range p.conns {
		if at := c.idle.Load(); at > 0 && (found == nil || at < since) {
			found, since = c, at
		}
	}
	return found
}

// connState is told by the HTTP server.
func (p *Proxy) connState(c net.Conn, state http.ConnState) {
	wire := wireOf(c)
	switch {
	case wire == nil:
	case state == http.StateIdle:
		wire.idle.Store(time.Now().UnixNano())
	case state == http.StateActive, state == http.StateHijacked:
		wire.idle.Store(0)
	}
}

func (p *Proxy) release(c *wireConn) {
	p.mu.Lock()
	delete(p.conns, c)
	p.mu.Unlock()
	p.Metrics.closed()
}

// open is how many connections there are.
func (p *Proxy) open() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.conns)
}

// serve owns the connection, until it hands it to the HTTP server.
func (p *Proxy) serve(wire *wireConn, config *tls.Config) {
	conn := tls.Server(wire, config)
	if !p.handshake(wire, conn) {
		return
	}
	if p.TCP {
		p.relay(wire, conn)
		return
	}
	if conn.ConnectionState().NegotiatedProtocol != "h2" && p.takeFast(wire, conn) {
		return
	}
	wire.stall.Store(int64(p.Limits.Send))
	if conn.ConnectionState().NegotiatedProtocol == "h2" {
		wire.settle() // at the end, GOAWAY tells it in order
		p.toHTTP.put(conn)
		return
	}
	p.toHTTP.put(p.guard(wire, conn))
}

// handshake is false if the connection is gone.
func (p *Proxy) handshake(wire *wireConn, conn *tls.Conn) bool {
	began := time.Now()
	if d := p.Limits.Handshake; d > 0 {
		conn.SetDeadline(began.Add(d))
	}
	err := conn.HandshakeContext(context.Background())
	if err == nil {
		conn.SetDeadline(time.Time{})
		p.Metrics.shook("ok", tlsVersion(conn.ConnectionState().Version), time.Since(began))
		return true
	}
	result := handshakeResult(err)
	p.Metrics.shook(result, tlsVersion(conn.ConnectionState().Version), 0)
	p.Log.Debug("handshake", "remote", wire.RemoteAddr().String(), "result", result, "error", err)
	if result == "plain_http" && !p.TCP {
		io.WriteString(wire, "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n"+
			"this port speaks HTTPS: use https://\n")
		wire.linger(http1.Lingers)
	}
	wire.Close()
	return false
}

// handshakeResult is a label: why a handshake failed, in one of a few words.
func handshakeResult(err error) string {
	var record tls.RecordHeaderError
	var verify *tls.CertificateVerificationError
	var alert tls.AlertError
	var network net.Error
	var op *net.OpError
	switch {
	case errors.Is(err, errDenied):
		return "denied"
	case errors.As(err, &record):
		if looksLikeHTTP(record.RecordHeader) {
			return "plain_http"
		}
		return "not_tls"
	case errors.As(err, &verify), err.Error() == "tls: client didn't provide a certificate":
		return "client_certificate"
	case errors.As(err, &op) && op.Op == "remote error", errors.As(err, &alert):
		return "alert" // the client did not like what it saw
	case errors.As(err, &network) && network.Timeout():
		return "timeout"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.As(err, &op):
		return "closed"
	}
	return "protocol"
}

func looksLikeHTTP(header [5]byte) bool {
	switch string(header[:]) {
	case "GET /", "HEAD ", "POST ", "PUT /", "OPTIO", "DELET", "PATCH", "CONNE", "TRACE", "PRI *":
		return true
	}
	return false
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
	if p.Limits.Connect > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, p.Limits.Connect)
		defer cancel()
	}
	conn, err := dialLocal(ctx, p.Forward)
	if err != nil && ctx.Err() != context.Canceled && p.AppFailed != nil {
		p.AppFailed(err)
	}
	return conn, err
}

// dialLocal resolves "localhost" itself: an image from scratch may have no
// hosts file, and an app that listens on ::1 only is as local as any other.
func dialLocal(ctx context.Context, addr string) (net.Conn, error) {
	var d net.Dialer
	host, port, err := net.SplitHostPort(addr)
	if err != nil || host != "localhost" {
		return d.DialContext(ctx, "tcp", addr)
	}
	conn, err := d.DialContext(ctx, "tcp", net.JoinHostPort("127.0.0.1", port))
	if err == nil {
		return conn, nil
	}
	if conn, err6 := d.DialContext(ctx, "tcp", net.JoinHostPort("::1", port)); err6 == nil {
		return conn, nil
	}
	return nil, err
}

// queue is a listener of connections that were accepted elsewhere.
type queue struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func newQueue() *queue {
	return &queue{conns: make(chan net.Conn), done: make(chan struct{})}
}

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
