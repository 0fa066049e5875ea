package forward

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"distlab/containers/internal/http1"
)

// StatusClientGone is nginx's code for a client that left before the answer.
const StatusClientGone = 499

// Exchange is one request on its way, and the way back for its answer. Its methods
// are called by the goroutine of Handle.
type Exchange struct {
	Engine  *Engine
	Client  *Conn
	Request *http.Request // as it came; its body is the engine's
	Target  string        // what it asks for, as it came: a path with its query, or "*"
	Out     *http.Request // what servers are asked; Handle may change its header before Ask
	Began   time.Time
	User    any // the container's
	Keep    int // how many bytes of the body are kept for another attempt; set before Ask
	Tee     Tee // is told the body; nil: nobody is; set before Ask

	// Final is called with the header of the final answer, whoever gives it,
	// just before it is sent. nil: nobody adds to it.
	Final func(code int, h http.Header)

	w       http.ResponseWriter
	context context.Context
	served  *served // nil in HTTP/2 over TLS
	http1   bool
	body    *body // nil without one

	code      int         // of the answer; 0: none yet
	informed  atomic.Bool // a 1xx answer, but for 100, has gone out
	continued bool        // HTTP/2: the client was told to send its body
	abort     bool        // the answer was cut
	broken    bool        // a part of the request's body is gone
	closing   bool        // HTTP/1: the connection ends with this exchange
}

// ServeHTTP is the HTTP server's way in.
func (e *Engine) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := &Exchange{Engine: e, w: w, Request: r, Target: target(r), Began: time.Now()}
	x.Client, x.served = wireOf(r.Context().Value(connKey{}))
	x.http1 = r.ProtoMajor == 1
	ctx, cancel := context.WithCancel(r.Context())
	x.context = ctx
	x.Client.Settle()
	inFlight := e.inFlight.Add(1)
	if r.Body != nil && r.Body != http.NoBody && r.ContentLength != 0 { // in HTTP/2 there always is one
		x.body = &body{src: r.Body, control: http.NewResponseController(w), limit: e.Limits.Body}
		// A server may answer while the client still sends; HTTP/2 always may.
		x.body.control.EnableFullDuplex()
	}
	if e.Began != nil {
		e.Began()
	}
	defer x.end(cancel)
	if limit := e.Limits.Requests; limit > 0 && inFlight > int64(limit) {
		x.refuse("max_requests", http.StatusServiceUnavailable, "too many requests at once")
		return
	}
	if refusal := http1.Refuse(r); refusal != nil {
		e.Log.Debug("request refused", "remote", r.RemoteAddr, "reason", refusal.Reason)
		x.hangUp()
		if refusal.Status == http.StatusMethodNotAllowed {
			w.Header().Set("Allow", http1.Allow)
		}
		x.refuse(refusal.Reason, refusal.Status, refusal.Text)
		return
	}
	x.Out = e.outgoing(x)
	e.Handle(x)
	if !x.abort {
		x.WriteHeader(http.StatusOK) // of a handler that wrote nothing
	}
}

func (x *Exchange) refuse(reason string, code int, text string) {
	x.Engine.refuse(x.Client.RemoteAddr(), reason)
	if code == http.StatusServiceUnavailable {
		x.w.Header().Set("Retry-After", "1")
	}
	x.Fail(code, text)
}

// end is the end of the exchange, the tunnel included. From here on net/http has
// its body back. It cuts the connection, by a panic that net/http knows, if the
// answer was cut.
func (x *Exchange) end(cancel context.CancelFunc) {
	cut := recover()
	cancel()
	if x.body != nil {
		x.body.finish()
	}
	if x.http1 && x.closing {
		x.served.stop(x.body != nil && !x.body.whole())
	}
	e := x.Engine
	e.inFlight.Add(-1)
	if cut != nil && cut != http.ErrAbortHandler {
		e.Log.Error("panic", "error", fmt.Sprint(cut), "remote", x.Request.RemoteAddr)
		x.abort = true
	}
	if x.code == 0 {
		x.code = http.StatusInternalServerError
	}
	if e.Done != nil {
		e.Done(x)
	}
	if x.abort || cut != nil {
		panic(http.ErrAbortHandler)
	}
}

// Code is the answer's; 0: there is none yet.
func (x *Exchange) Code() int { return x.code }

// Context ends with the exchange, and when the client leaves.
func (x *Exchange) Context() context.Context { return x.context }

// Ask sends the request to a server and returns the head of its answer, which must
// be passed on or closed. It may be called again: see MayRepeat.
func (x *Exchange) Ask(b *Backend) (*http.Response, error) {
	var asking sync.Mutex
	over := false
	defer func() { asking.Lock(); over = true; asking.Unlock() }()
	req := x.Out.WithContext(httptrace.WithClientTrace(x.Out.Context(), &httptrace.ClientTrace{
		// HTTP/2 calls it from elsewhere, and whenever it likes.
		Got1xxResponse: func(code int, header textproto.MIMEHeader) error {
			asking.Lock()
			defer asking.Unlock()
			if !over {
				x.inform(code, http.Header(header))
			}
			return nil
		},
	}))
	u := *x.Out.URL
	u.Host = b.Addr
	req.URL = &u
	SetTarget(req, x.Target)
	if x.body != nil {
		req.Body = x.body.attempt(x.Keep, x.Tee)
	}
	if early := x.Client.early.Swap(nil); early != nil { // the fast path has asked it already
		x.broken = early.Broken
		return x.Engine.http1.early(early, req)
	}
	if b.H2C {
		delete(req.Header, "Connection")
		delete(req.Header, "Upgrade")
		if x.body == nil {
			req.Body = nil
		}
	}
	return x.Engine.Transport(b).RoundTrip(req)
}

// MayRepeat is whether the request may be sent once more, after err, or after an
// answer if err is nil: nothing has reached the client, and either nothing of the
// request was sent, or its method is idempotent, or said to be, and its body still
// at hand.
//
// Source: RFC 9110 section 9.2.2, and nginx's proxy_next_upstream.
func (x *Exchange) MayRepeat(err error, idempotent bool) bool {
	if x.informed.Load() || x.broken || x.code != 0 || x.context.Err() != nil {
		return false
	}
	if NotSent(err) && (x.body == nil || x.body.untouched()) {
		return true
	}
	if !idempotent || x.Out.Header["Upgrade"] != nil {
		return false
	}
	return x.body == nil || x.body.replayable()
}

// Idempotent is RFC 9110's, but for TRACE.
func Idempotent(method string) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodPut, http.MethodDelete:
		return true
	}
	return false
}

// HasBody is whether the request has a body.
func (x *Exchange) HasBody() bool { return x.body != nil }

// BodyFailed is the client's failure to send the body; nil: none.
func (x *Exchange) BodyFailed() error {
	if x.body == nil {
		return nil
	}
	return x.body.failure()
}

// Left is whether the client has left.
func (x *Exchange) Left() bool { return x.Request.Context().Err() != nil }

// Fault is what a failure of Ask comes down to.
type Fault uint8

const (
	ServerFailed  Fault = iota // it cannot be reached, or broke off
	ServerSlow                 // it did not begin its answer in time
	BodySlow                   // the request's body did not arrive in time
	BodyBroken                 // it broke off
	BodyMalformed              // it breaks the rules of its framing
	ClientLeft
)

// FaultOf says whose fault an error of Ask is.
func (x *Exchange) FaultOf(err error) Fault {
	if x.body != nil && x.Left() {
		x.body.settle() // net/http says so before its body does
	}
	switch body := x.BodyFailed(); {
	case body != nil && TimedOut(body):
		return BodySlow
	case body != nil && errors.Is(body, http1.ErrFraming):
		return BodyMalformed
	case body != nil:
		return BodyBroken
	case x.Left():
		return ClientLeft
	case TimedOut(err):
		return ServerSlow
	}
	return ServerFailed
}

// What a client is told whose request did not come whole.
const (
	slowBody   = "the request's body did not arrive in time"
	brokenBody = "the request's body broke off"
)

// Explain answers for a server that did not. who names it, as in "the app".
func (x *Exchange) Explain(err error, who string) {
	switch x.FaultOf(err) {
	case BodySlow:
		x.refuse("slow_body", http.StatusRequestTimeout, slowBody)
	case BodyMalformed:
		x.Fail(http.StatusBadRequest, x.BodyFailed().Error())
	case BodyBroken:
		x.refuse("broken_body", http.StatusBadRequest, brokenBody)
	case ClientLeft:
		x.code, x.abort = StatusClientGone, true
	case ServerSlow:
		x.Fail(http.StatusGatewayTimeout, who+" did not answer in time")
	default:
		x.Fail(http.StatusBadGateway, who+" cannot be reached or broke off")
	}
}

// Header is that of the answer.
func (x *Exchange) Header() http.Header { return x.w.Header() }

// Fail answers with a line of plain text.
func (x *Exchange) Fail(code int, text string) {
	header := x.Header()
	header.Set("Content-Type", "text/plain; charset=utf-8")
	header.Set("X-Content-Type-Options", "nosniff")
	x.WriteHeader(code)
	io.WriteString(x, failure(code, text))
}

func failure(code int, text string) string {
	return fmt.Sprintf("%d %s: %s\n", code, http.StatusText(code), text)
}

// hangUp ends the connection with this answer. In HTTP/2 other requests go on
// beside it.
func (x *Exchange) hangUp() {
	if !x.http1 {
		return
	}
	x.closing = true
	if h := x.Header(); h["Upgrade"] != nil {
		h["Connection"] = []string{"close, Upgrade"} // which net/http does not understand, but end does
	} else {
		h["Connection"] = []string{"close"}
	}
}

// WriteHeader begins the final answer. Where the request has not come whole yet,
// what is still to come must not be taken for another one: the connection ends with
// this answer.
func (x *Exchange) WriteHeader(code int) {
	if x.code != 0 {
		return
	}
	x.code = code
	h := x.Header()
	if x.Final != nil {
		x.Final(code, h)
	}
	http1.AsIs(h)
	if x.http1 && x.closes() {
		x.hangUp()
	}
	x.w.WriteHeader(code)
}

func (x *Exchange) closes() bool {
	overtaken := x.body != nil && !x.body.whole()
	if g := x.served.guard.Load(); g != nil && !g.Answered() {
		return true
	}
	return overtaken || x.Engine.Door.Retired()
}

func (x *Exchange) Write(p []byte) (int, error) {
	if x.code == 0 {
		x.WriteHeader(http.StatusOK)
	}
	return x.w.Write(p)
}

// inform passes an informational answer on. It is called while Ask waits.
func (x *Exchange) inform(code int, header http.Header) {
	// Such an answer came with HTTP/1.1: an older client takes it for the final
	// one. And 100 is said when the body is read.
	if !x.Request.ProtoAtLeast(1, 1) || code == http.StatusContinue {
		return
	}
	x.informed.Store(true)
	x.continueFirst()
	h := x.w.Header()
	saved := maps.Clone(h)
	clear(h)
	maps.Copy(h, header)
	removeHopByHop(h)
	delete(h, "Content-Length")
	x.w.WriteHeader(code)
	clear(h)
	maps.Copy(h, saved)
}

// continueFirst says 100 before any other 1xx answer in HTTP/2. net/http hides
// whether the client waits for it, would send it when the body is read, and
// does not once another has gone out. A client that does not wait ignores it.
func (x *Exchange) continueFirst() {
	if x.Request.ProtoMajor != 2 || x.body == nil || x.continued {
		return
	}
	x.continued = true
	header := x.w.Header()
	others := header.Clone()
	clear(header)
	x.w.WriteHeader(http.StatusContinue)
	maps.Copy(header, others)
}

// Path is the target without its query.
func (x *Exchange) Path() string {
	path, _, _ := strings.Cut(x.Target, "?")
	return path
}
