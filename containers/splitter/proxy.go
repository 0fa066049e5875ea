package main

import (
	"context"
	"errors"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"sync"
	"sync/atomic"
	"time"

	"distlab/containers/internal/fastpath"
	"distlab/containers/internal/http1"
	"distlab/containers/internal/lastcall"
)

// Proxy carries requests to the arms that a Splitter decides on, by net/http.
// It knows nothing of the process around it. Splitter, Forwarder, Log and
// Metrics are required. Fields must not be changed after Serve.
type Proxy struct {
	Splitter  *Splitter
	Forwarder *http1.Forwarder
	Upgrades  []string // protocols that a connection may be upgraded to
	Careful   bool     // no fast path
	Loops     int      // of the fast path; 0 is one for each processor
	H2C       bool     // speak HTTP/2 cleartext to clients, too
	Retry     Retry

	ArmHeader    string  // of answers: the arm's name; "": none
	ReasonHeader string  // of answers: why that arm; "": none
	Mirror       *Mirror // nil: none

	Requests *RequestLog // nil: none

	Limits  Limits
	Log     *slog.Logger
	Metrics *Metrics

	once     sync.Once
	server   *http.Server
	reverse  *httputil.ReverseProxy
	http1    *http.Transport
	http2    *http.Transport
	fast     *fastpath.Path // nil: there is none
	handed   *queue         // connections that the fast path leaves to the server
	draining atomic.Bool
	inFlight atomic.Int64 // requests, tunnels among them

	mu    sync.Mutex // guards the following
	doors map[*door]struct{}
	conns map[*conn]struct{}
}

// Limits bound what clients and arms may take. Zero is no limit.
type Limits struct {
	Connections int           // open at once
	Requests    int           // in flight at once, tunnels among them
	HeaderBytes int           // of a request's head
	Streams     int           // HTTP/2 requests at once on one connection
	Header      time.Duration // to send a request's head
	Body        time.Duration // between two parts of a request's body
	Send        time.Duration // for a client to take a part of the answer
	Idle        time.Duration // between two requests
	Tunnel      time.Duration // without a byte on an upgraded connection
	Connect     time.Duration // to reach an arm
	Response    time.Duration // for an arm to begin its answer
	ArmIdle     time.Duration // to keep a connection to an arm for the next request
	DrainIdle   time.Duration // what idle clients get at the end to see that they should go; 0 is 500 ms
}

func (p *Proxy) init() {
	p.once.Do(func() {
		p.mu.Lock() // whoever counts connections may come before Serve
		p.doors = make(map[*door]struct{})
		p.conns = make(map[*conn]struct{})
		p.mu.Unlock()
		p.http1, p.http2 = p.newTransport(false), p.newTransport(true)
		p.reverse = &httputil.ReverseProxy{
			Rewrite:      p.rewrite,
			ErrorHandler: p.failed,
			BufferPool:   buffers{},
			ErrorLog:     log.New(io.Discard, "", 0), // failed and exchange know more
			Transport:    p,
		}
		p.server = p.newServer()
		if p.fast = p.newFastPath(); p.fast != nil {
			p.handed = newQueue()
			go p.server.Serve(p.handed)
		}
	})
}

func (p *Proxy) newServer() *http.Server {
	l := p.Limits
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(p.H2C)
	return &http.Server{
		Handler:           p,
		Protocols:         &protocols,
		ReadHeaderTimeout: l.Header,
		IdleTimeout:       l.Idle,
		MaxHeaderBytes:    l.HeaderBytes,
		// "OPTIONS *" is an arm's to answer.
		DisableGeneralOptionsHandler: true,
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams: l.Streams,
			SendPingTimeout:      l.Idle,
			WriteByteTimeout:     l.Send,
		},
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, connKey{}, c)
		},
		ConnState: p.connState,
		ErrorLog:  slog.NewLogLogger(p.Log.Handler(), slog.LevelDebug),
	}
}

type connKey struct{}

func (p *Proxy) newTransport(h2c bool) *http.Transport {
	t := &http.Transport{
		DialContext:            p.dial,
		DisableCompression:     true, // what the client and the arm say to each other stays so
		MaxIdleConnsPerHost:    256,
		IdleConnTimeout:        p.Limits.ArmIdle,
		ResponseHeaderTimeout:  p.Limits.Response,
		ExpectContinueTimeout:  time.Second,
		MaxResponseHeaderBytes: 1 << 20,
		Protocols:              new(http.Protocols),
	}
	t.Protocols.SetHTTP1(!h2c)
	t.Protocols.SetUnencryptedHTTP2(h2c)
	return t
}

// dial resolves "localhost" itself: an image from scratch may have no hosts
// file.
func (p *Proxy) dial(ctx context.Context, _, addr string) (net.Conn, error) {
	if p.Limits.Connect > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, p.Limits.Connect)
		defer cancel()
	}
	return dialArm(ctx, addr)
}

func dialArm(ctx context.Context, addr string) (net.Conn, error) {
	var d net.Dialer
	d.SetMultipathTCP(false)
	host, port, err := net.SplitHostPort(addr)
	if err != nil || host != "localhost" {
		return d.DialContext(ctx, "tcp", addr)
	}
	c, err := d.DialContext(ctx, "tcp", net.JoinHostPort("127.0.0.1", port))
	if err == nil {
		return c, nil
	}
	if c, err6 := d.DialContext(ctx, "tcp", net.JoinHostPort("::1", port)); err6 == nil {
		return c, nil
	}
	return nil, err
}

type buffers struct{}

var largeBuffers = sync.Pool{New: func() any { b := make([]byte, 32<<10); return &b }}

func (buffers) Get() []byte  { return *largeBuffers.Get().(*[]byte) }
func (buffers) Put(b []byte) { largeBuffers.Put(&b) }

// Serve accepts connections from ln until Shutdown or Close, and then returns
// http.ErrServerClosed. It owns ln.
func (p *Proxy) Serve(ln net.Listener) error {
	p.init()
	d := &door{Listener: lastcall.New(ln), p: p}
	p.mu.Lock()
	p.doors[d] = struct{}{}
	p.mu.Unlock()
	defer func() {
		ln.Close()
		p.mu.Lock()
		delete(p.doors, d)
		p.mu.Unlock()
	}()
	if p.draining.Load() {
		return http.ErrServerClosed
	}
	err := p.server.Serve(d)
	if p.draining.Load() && errors.Is(err, net.ErrClosed) {
		return http.ErrServerClosed
	}
	return err
}

// Shutdown stops accepting, lets what is in flight end, and returns nil, or
// ctx's error if something was still in flight then; Close cuts that.
//
// An HTTP/1 client may send its next request at the very moment in which the
// server closes the idle connection, and lose it. So for a little while
// requests are still answered on idle connections, each with `Connection:
// close`; a client that has just connected gets somewhat longer to send its
// first. HTTP/2 has GOAWAY for that.
func (p *Proxy) Shutdown(ctx context.Context) error {
	p.init()
	p.draining.Store(true)
	p.mu.Lock()
	for d := range p.doors {
		d.Retire()
	}
	p.mu.Unlock()
	p.await(ctx, func() bool { p.mu.Lock(); defer p.mu.Unlock(); return len(p.doors) == 0 })
	grace := p.Limits.DrainIdle
	if grace == 0 {
		grace = 500 * time.Millisecond
	}
	began := time.Now()
	p.await(ctx, func() bool {
		took := time.Since(began)
		open, fresh := p.open()
		return open == 0 || took > grace && !fresh || took > 4*grace
	})
	if p.fast != nil {
		p.fast.CloseIdle()
		if err := p.await(ctx, func() bool { return p.fast.Clients() == 0 }); err != nil {
			return err
		}
		p.fast.Close()
	}
	if err := p.server.Shutdown(ctx); err != nil {
		return err
	}
	// The HTTP server does not wait for connections that became tunnels.
	err := p.await(ctx, func() bool { return p.inFlight.Load() == 0 })
	if p.Mirror != nil {
		p.Mirror.Close()
	}
	p.http1.CloseIdleConnections()
	p.http2.CloseIdleConnections()
	return err
}

// open is how many HTTP/1 connections there are, and whether one of them has
// never asked for anything. Those of HTTP/2 are told to go in their protocol.
func (p *Proxy) open() (n int, fresh bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		n++
		fresh = fresh || !c.asked.Load()
	}
	return n, fresh
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
	p.draining.Store(true)
	if p.Mirror != nil {
		p.Mirror.Close()
	}
	if p.fast != nil {
		p.fast.Close()
	}
	p.server.Close()
	p.mu.Lock()
	conns := make([]*conn, 0, len(p.conns))
	for c := range p.conns {
		conns = append(conns, c)
	}
	p.mu.Unlock()
	for _, c := range conns {
		c.Close()
	}
	return nil
}
