package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httputil"
	"strings"
	"time"

	"distlab/containers/internal/http1"
)

// statusClientGone is nginx's code for a client that left before the answer.
const statusClientGone = 499

func (p *Proxy) newHTTPServer() *http.Server {
	l := p.Limits
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	return &http.Server{
		Handler:           p.newHandler(),
		Protocols:         &protocols,
		ReadHeaderTimeout: l.Header,
		IdleTimeout:       l.Idle,
		MaxHeaderBytes:    l.HeaderBytes,
		// "OPTIONS *" is the app's to answer.
		DisableGeneralOptionsHandler: true,
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams: l.Streams,
			SendPingTimeout:      l.Idle,
			WriteByteTimeout:     l.Send,
		},
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			switch c := c.(type) {
			case *guardConn:
				ctx = context.WithValue(ctx, guardKey{}, c)
				return context.WithValue(ctx, peerKey{}, newPeer(c.tls.ConnectionState()))
			case *tls.Conn:
				return context.WithValue(ctx, peerKey{}, newPeer(c.ConnectionState()))
			}
			return ctx
		},
		ConnState: p.connState,
		ErrorLog:  slog.NewLogLogger(p.Log.Handler(), slog.LevelDebug),
	}
}

// handler is the HTTP mode.
type handler struct {
	proxy    *Proxy
	headers  *http1.Forwarder
	upgrades []string
	reverse  *httputil.ReverseProxy
}

func (p *Proxy) newHandler() *handler {
	h := &handler{
		proxy:    p,
		headers:  &http1.Forwarder{Trusted: p.TrustedProxies, Scheme: "https"},
		upgrades: p.Upgrades,
	}
	if h.upgrades == nil {
		h.upgrades = []string{"websocket"}
	}
	h.reverse = &httputil.ReverseProxy{
		Rewrite:      h.rewrite,
		ErrorHandler: h.failed,
		BufferPool:   bufferPool{},
		ErrorLog:     log.New(io.Discard, "", 0), // failed and exchange know more
		Transport: &transport{&http.Transport{
			DialContext:            func(ctx context.Context, _, _ string) (net.Conn, error) { return p.dialApp(ctx) },
			DisableCompression:     true, // what the client and the app say to each other stays so
			MaxIdleConnsPerHost:    256,
			IdleConnTimeout:        p.Limits.AppIdle,
			ResponseHeaderTimeout:  p.Limits.Response,
			ExpectContinueTimeout:  time.Second,
			MaxResponseHeaderBytes: 1 << 20,
		}},
	}
	return h
}

// transport asks the app, but for requests that it has been asked already.
type transport struct{ app *http.Transport }

func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	x := r.Context().Value(exchangeKey{}).(*exchange)
	if x.guard != nil {
		if early := x.guard.early.Swap(nil); early != nil {
			return early.RoundTripper(t.app).RoundTrip(r)
		}
	}
	return t.app.RoundTrip(r)
}

type bufferPool struct{}

func (bufferPool) Get() []byte  { return *largeBuffers.Get().(*[]byte) }
func (bufferPool) Put(b []byte) { largeBuffers.Put(&b) }

// ServeHTTP answers one request, by the app's answer or by a refusal.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := &exchange{ResponseWriter: w, proxy: h.proxy, r: r, guard: guardOf(r), began: time.Now()}
	if x.guard != nil {
		x.guard.wire.settle()
	}
	inFlight := h.proxy.inFlight.Add(1)
	h.proxy.Metrics.began()
	defer x.done()
	if limit := h.proxy.Limits.Requests; limit > 0 && inFlight > int64(limit) {
		h.proxy.Metrics.refuse("max_requests")
		x.Header().Set("Retry-After", "1")
		x.fail(http.StatusServiceUnavailable, "too many requests at once")
		return
	}
	if refusal := http1.Refuse(r); refusal != nil {
		h.proxy.Metrics.refuse(refusal.Reason)
		h.proxy.Log.Debug("request refused", "remote", r.RemoteAddr, "reason", refusal.Reason)
		x.hangUp()
		x.fail(refusal.Status, refusal.Text)
		return
	}
	if r.Body != nil && r.Body != http.NoBody {
		x.body = &body{ReadCloser: r.Body, control: http.NewResponseController(w), limit: h.proxy.Limits.Body}
		// The app may answer while the client still sends; HTTP/2 always may.
		x.body.control.EnableFullDuplex()
		r.Body = x.body
	}
	h.reverse.ServeHTTP(x, r.WithContext(context.WithValue(r.Context(), exchangeKey{}, x)))
}

// rewrite makes the request that the app sees. ReverseProxy has taken out what
// is for one hop only.
func (h *handler) rewrite(pr *httputil.ProxyRequest) {
	out := pr.Out
	out.URL.Scheme, out.URL.Host, out.URL.User = "http", h.proxy.Forward, nil
	out.Host = pr.In.Host
	// ReverseProxy drops parameters that Go would not parse. They are the
	// app's business.
	out.URL.RawQuery = pr.In.URL.RawQuery
	h.headers.Apply(out.Header, pr.In)
	if p, ok := pr.In.Context().Value(peerKey{}).(*peer); ok {
		p.apply(out.Header)
	}
	if up := out.Header["Upgrade"]; up != nil && !h.upgradable(up) {
		// The server may ignore an upgrade. One to h2c would be a way around
		// everything that is checked here.
		delete(out.Header, "Upgrade")
		delete(out.Header, "Connection")
	}
	x := out.Context().Value(exchangeKey{}).(*exchange)
	if x.body != nil && len(out.Trailer) > 0 {
		out.Trailer = x.body.forwardTrailers(pr.In)
	}
}

func (h *handler) upgradable(protocols []string) bool {
	if len(protocols) != 1 {
		return false
	}
	for _, u := range h.upgrades {
		if strings.EqualFold(u, protocols[0]) {
			return true
		}
	}
	return false
}

// failed answers for the app when that did not.
func (h *handler) failed(w http.ResponseWriter, r *http.Request, err error) {
	x := w.(*exchange)
	var network net.Error
	switch {
	case x.body != nil && x.body.failure() != nil:
		// The client's fault: it stopped, or broke off, in the middle.
		err := x.body.failure()
		x.hangUp()
		switch {
		case errors.As(err, &network) && network.Timeout():
			h.proxy.Metrics.refuse("slow_body")
			x.fail(http.StatusRequestTimeout, slowBody)
		case errors.Is(err, http1.ErrFraming):
			x.fail(http.StatusBadRequest, err.Error())
		default:
			h.proxy.Metrics.refuse("broken_body")
			x.fail(http.StatusBadRequest, brokenBody)
		}
	case x.r.Context().Err() != nil:
		x.code = statusClientGone
		panic(http.ErrAbortHandler)
	case errors.As(err, &network) && network.Timeout():
		h.proxy.appFailed(r.RemoteAddr, err)
		x.fail(http.StatusGatewayTimeout, "the app did not answer in time")
	default:
		h.proxy.appFailed(r.RemoteAddr, err)
		x.fail(http.StatusBadGateway, "the app cannot be reached or broke off")
	}
}

// appFailed counts and logs a failure between the sidecar and the app.
func (p *Proxy) appFailed(remote string, err error) {
	reason := "broken"
	var op *net.OpError
	var network net.Error
	switch {
	case errors.As(err, &network) && network.Timeout():
		reason = "timeout"
	case errors.As(err, &op) && op.Op == "dial":
		reason = "dial"
	}
	p.Metrics.appFailed(reason)
	p.Log.Debug("app failed", "remote", remote, "reason", reason, "error", err)
}

type exchangeKey struct{}

// exchange is one request on its way, and the writer of its answer.
type exchange struct {
	http.ResponseWriter
	proxy *Proxy
	r     *http.Request
	guard *guardConn // nil in HTTP/2
	body  *body      // nil without one
	began time.Time
	code  int // of the answer; 0: none yet

	continued bool // HTTP/2: the client was told to send its body
}

// fail answers with a line of plain text.
func (x *exchange) fail(code int, text string) {
	header := x.Header()
	header.Set("Content-Type", "text/plain; charset=utf-8")
	header.Set("X-Content-Type-Options", "nosniff")
	x.WriteHeader(code)
	io.WriteString(x, failure(code, text))
}

func failure(code int, text string) string {
	return fmt.Sprintf("%d %s: %s\n", code, http.StatusText(code), text)
}

// What a client is told whose request did not come whole.
const (
	slowBody   = "the request's body did not arrive in time"
	brokenBody = "the request's body broke off"
)

// hangUp ends the connection with this answer. In HTTP/2 other requests go on
// beside it.
func (x *exchange) hangUp() {
	if x.guard != nil {
		x.Header().Set("Connection", "close")
	}
}

func (x *exchange) WriteHeader(code int) {
	if code >= 100 && code < 200 {
		// Such an answer came with HTTP/1.1: an older client takes it for the
		// final one.
		if x.r.ProtoAtLeast(1, 1) {
			x.continueFirst()
			x.ResponseWriter.WriteHeader(code)
		}
		return
	}
	if x.code == 0 {
		x.code = code
		http1.AsIs(x.Header())
		if x.guard != nil && (!x.guard.Answered() || x.proxy.draining.Load()) {
			x.hangUp()
		}
	}
	x.ResponseWriter.WriteHeader(code)
}

// continueFirst says 100 before any other 1xx answer in HTTP/2. net/http hides
// whether the client waits for it, would send it when the body is read, and
// does not once another has gone out. A client that does not wait ignores it.
func (x *exchange) continueFirst() {
	if x.r.ProtoMajor != 2 || x.body == nil || x.continued {
		return
	}
	x.continued = true
	header := x.Header()
	others := header.Clone()
	clear(header)
	x.ResponseWriter.WriteHeader(http.StatusContinue)
	maps.Copy(header, others)
}

func (x *exchange) Write(p []byte) (int, error) {
	if x.code == 0 {
		x.WriteHeader(http.StatusOK)
	}
	return x.ResponseWriter.Write(p)
}

// Unwrap is for http.ResponseController.
func (x *exchange) Unwrap() http.ResponseWriter { return x.ResponseWriter }

// Hijack makes the connection a tunnel.
func (x *exchange) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(x.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	x.code = http.StatusSwitchingProtocols
	if x.guard != nil {
		x.guard.hijacked()
	}
	// What the client sent early lies in rw, where ReverseProxy never looks.
	conn = closeIdle(&prefixed{Conn: conn, buffered: rw.Reader}, x.proxy.Limits.Tunnel)
	return conn, rw, nil
}

// done is the end of the exchange, the tunnel included.
func (x *exchange) done() {
	code := x.code
	if code == 0 {
		code = http.StatusOK // a handler that wrote nothing
	}
	x.proxy.inFlight.Add(-1)
	x.proxy.Metrics.answered(code, time.Since(x.began))
}

// prefixed is a connection of which the beginning was read already.
type prefixed struct {
	net.Conn
	buffered *bufio.Reader
}

func (c *prefixed) Read(p []byte) (int, error) {
	if n := c.buffered.Buffered(); n > 0 {
		return c.buffered.Read(p[:min(n, len(p))])
	}
	return c.Conn.Read(p)
}

func (c *prefixed) CloseWrite() error { return closeWrite(c.Conn) }
