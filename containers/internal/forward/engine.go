package forward

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"distlab/containers/internal/fastpath"
	"distlab/containers/internal/http1"
)

// Engine is an HTTP proxy but for its decisions. Handle, Forwarder and Log are
// required; the zero value of everything else is a default, of every limit none.
// Fields must not be changed after Serve.
type Engine struct {
	// Handle answers a request: it asks a server and passes the answer on, or
	// says something of its own. It runs on a goroutine of the request's; when it
	// returns, the exchange is over. A request that is refused never gets to it.
	Handle func(x *Exchange)
	// Began is told of each exchange of the careful path, before anything else. nil:
	// nobody is told.
	Began func()
	// Done is told the end of each exchange of the careful path, those that were
	// refused among them. nil: nobody is told.
	Done func(x *Exchange)
	// Refused is told why a request was answered without Handle, in one word: a
	// label. nil: nobody is told.
	Refused func(remote net.Addr, reason string)
	// Fast is what the container decides for plain exchanges. nil: all take the
	// careful path.
	Fast Fast
	// Connected is told of a client, once it has shaken hands, before its first
	// request; what it returns are header lines for servers in each of its
	// requests on the fast path. nil: none.
	Connected func(c *Conn) (lines []byte)
	// Shook is told how a handshake ended. nil: nobody is told.
	Shook func(c *Conn, state tls.ConnectionState, took time.Duration, err error)

	Door      Door        // its Max, Wrap and Admitted are the engine's
	TLS       *tls.Config // nil: plain text
	H2C       bool        // speak HTTP/2 cleartext to clients, too
	Forwarder *http1.Forwarder
	Upgrades  []string // protocols that a connection may be upgraded to
	Loops     int      // of the fast path; 0 is one for each processor

	Dial   dialFunc // nil: a Dialer's
	Limits Limits
	Log    *slog.Logger

	once     sync.Once
	server   *http.Server
	queue    *queue // connections for server
	fast     *fastpath.Path
	http1    *Transport
	http2    *http.Transport
	inFlight atomic.Int64 // requests, tunnels among them
}

// Limits bound what clients and servers may take. Zero is no limit.
type Limits struct {
	Connections int           // open at once; then idle ones make room, or new ones are closed
	Requests    int           // in flight at once, tunnels among them; more are answered 503
	HeaderBytes int           // of a request's head
	Streams     int           // HTTP/2 requests at once on one connection; 0 is 250
	Handshake   time.Duration // to shake hands
	Header      time.Duration // to send a request's head
	Body        time.Duration // between two parts of a request's body
	Send        time.Duration // for a client to take a part of the answer
	Idle        time.Duration // between two requests
	Tunnel      time.Duration // without a byte on an upgraded connection
	Connect     time.Duration // to reach a server
	Response    time.Duration // for a server to begin its answer
	ServerIdle  time.Duration // to keep a connection to a server for the next request
	DrainIdle   time.Duration // what idle clients get at the end to see that they should go; 0 is 500 ms
}

// Backend is a server that requests go to.
type Backend struct {
	Addr string // host:port
	H2C  bool   // it speaks HTTP/2 cleartext

	fast atomic.Pointer[fastpath.Backend]
}

func (e *Engine) init() {
	e.once.Do(func() {
		l := e.Limits
		if e.Dial == nil {
			e.Dial = (&Dialer{Timeout: l.Connect}).Dial
		}
		e.http1, e.http2 = l.http1(e.Dial), l.http2(e.Dial)
		e.queue = newQueue()
		e.server = e.newServer()
		go e.server.Serve(e.queue)
		if e.Fast != nil {
			e.fast = e.newFastPath()
		}
		d := &e.Door
		d.Max, d.Admitted, d.Log = l.Connections, func(c *Conn) { e.admitted(c) }, e.Log
		if e.fast != nil {
			d.Wrap = func(c net.Conn) net.Conn { return fastpath.NewSocket(c) }
		}
	})
}

// NewTransport is one like the engine's, with connections of its own: for copies,
// checks and whatever else is nobody's exchange. h2c is for servers that speak HTTP/2
// cleartext.
func (l Limits) NewTransport(h2c bool) http.RoundTripper {
	dial := (&Dialer{Timeout: l.Connect}).Dial
	if h2c {
		return l.http2(dial)
	}
	return l.http1(dial)
}

type dialFunc = func(ctx context.Context, addr string) (net.Conn, error)

func (l Limits) http1(dial dialFunc) *Transport {
	return &Transport{Dial: dial, Response: l.Response, Idle: l.ServerIdle}
}

func (l Limits) http2(dial dialFunc) *http.Transport {
	t := &http.Transport{
		DialContext:            func(ctx context.Context, _, addr string) (net.Conn, error) { return dial(ctx, addr) },
		DisableCompression:     true, // what the client and the server say to each other stays so
		IdleConnTimeout:        l.ServerIdle,
		ResponseHeaderTimeout:  l.Response,
		ExpectContinueTimeout:  continueAfter,
		MaxResponseHeaderBytes: maxAnswerHead,
		Protocols:              new(http.Protocols),
	}
	t.Protocols.SetUnencryptedHTTP2(true)
	return t
}

// Transport asks a server on the engine's own connections.
func (e *Engine) Transport(b *Backend) http.RoundTripper {
	e.init()
	if b.H2C {
		return e.http2
	}
	return e.http1
}

func (e *Engine) newServer() *http.Server {
	l := e.Limits
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(e.TLS != nil)
	protocols.SetUnencryptedHTTP2(e.H2C)
	return &http.Server{
		Handler:           e,
		Protocols:         &protocols,
		ReadHeaderTimeout: l.Header,
		IdleTimeout:       l.Idle,
		MaxHeaderBytes:    l.HeaderBytes,
		// "OPTIONS *" is a server's to answer.
		DisableGeneralOptionsHandler: true,
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams: l.Streams,
			SendPingTimeout:      l.Idle,
			WriteByteTimeout:     l.Send,
		},
		ConnContext: func(ctx context.Context, c net.Conn) context.Context { return context.WithValue(ctx, connKey{}, c) },
		ConnState:   connState,
		ErrorLog:    slog.NewLogLogger(e.Log.Handler(), slog.LevelDebug),
	}
}

type connKey struct{}

// wireOf finds the connection below what the server knows, and that, unless it
// is HTTP/2 in TLS.
func wireOf(c any) (*Conn, *served) {
	switch c := c.(type) {
	case *served:
		return c.wire, c
	case *tls.Conn:
		return c.NetConn().(*Conn), nil
	}
	return nil, nil
}

// connState is told by the HTTP server.
func connState(c net.Conn, state http.ConnState) {
	wire, _ := wireOf(c)
	switch {
	case wire == nil:
	case state == http.StateIdle:
		wire.Idle()
	case state == http.StateActive, state == http.StateHijacked:
		wire.Busy()
	}
}

// Serve accepts connections until Shutdown or Close, and then returns
// http.ErrServerClosed. It owns the listener, which must not use multipath TCP.
func (e *Engine) Serve(ln net.Listener) error {
	e.init()
	return e.Door.Serve(ln)
}

// admitted takes a connection in.
func (e *Engine) admitted(c *Conn) {
	if e.TLS != nil {
		go e.shake(c)
		return
	}
	e.connect(c)
}

// connect gives a connection to one of the paths. In plain text it runs on the
// goroutine that accepts, and takes no time.
func (e *Engine) connect(c *Conn) {
	c.Addr = http1.RemoteAddr(c.RemoteAddr().String())
	var lines []byte
	if e.Connected != nil {
		lines = e.Connected(c)
	}
	h2 := c.TLS != nil && c.TLS.ConnectionState().NegotiatedProtocol == "h2"
	c.About = e.Forwarder.About(c.Addr, lines)
	if !h2 && e.takeFast(c) {
		return
	}
	c.stall.Store(int64(e.Limits.Send))
	if h2 {
		c.Settle() // at the end, GOAWAY tells it in order
		e.put(c.TLS)
		return
	}
	e.put(c.serve(e.refusing(c), nil, e.H2C && c.TLS == nil))
}

// put gives a connection to the HTTP server, which is always about to accept.
func (e *Engine) put(c net.Conn) { e.queue.put(c) }

// refusing is told of what the guard refuses.
func (e *Engine) refusing(c *Conn) func(http1.FramingError) {
	return func(reason http1.FramingError) {
		e.Log.Debug("request refused", "remote", c.RemoteAddr().String(), "reason", string(reason))
		e.refuse(c.RemoteAddr(), "framing")
	}
}

func (e *Engine) refuse(remote net.Addr, reason string) {
	if e.Refused != nil {
		e.Refused(remote, reason)
	}
}

// Shake shakes hands with a client within the limit, 0 for none. On an error the
// connection is still the caller's.
func Shake(c *Conn, config *tls.Config, limit time.Duration) error {
	c.TLS = tls.Server(c, config)
	if limit > 0 {
		c.TLS.SetDeadline(time.Now().Add(limit))
	}
	if err := c.TLS.HandshakeContext(context.Background()); err != nil {
		return err
	}
	c.TLS.SetDeadline(time.Time{})
	return nil
}

// shake owns the connection, until it is connected.
func (e *Engine) shake(c *Conn) {
	began := time.Now()
	err := Shake(c, e.TLS, e.Limits.Handshake)
	if e.Shook != nil {
		e.Shook(c, c.TLS.ConnectionState(), time.Since(began), err)
	}
	if err == nil {
		e.connect(c)
		return
	}
	if SpeaksHTTP(err) {
		io.WriteString(c, "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n"+
			"this port speaks HTTPS: use https://\n")
		c.linger(lingers, quietly)
		return
	}
	c.Close()
}

// SpeaksHTTP is whether a handshake failed because the client began in plain HTTP.
func SpeaksHTTP(err error) bool {
	var record tls.RecordHeaderError
	if !errors.As(err, &record) {
		return false
	}
	switch string(record.RecordHeader[:]) {
	case "GET /", "HEAD ", "POST ", "PUT /", "OPTIO", "DELET", "PATCH", "CONNE", "TRACE", "PRI *":
		return true
	}
	return false
}

// InFlight is how many requests there are, tunnels among them.
func (e *Engine) InFlight() int { return int(e.inFlight.Load()) }

// FastClients is how many connections the fast path has.
func (e *Engine) FastClients() int {
	if e.init(); e.fast == nil {
		return 0
	}
	return e.fast.Clients()
}
