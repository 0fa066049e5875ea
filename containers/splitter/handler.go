package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httputil"
	"strings"
	"sync/atomic"
	"time"

	"distlab/containers/internal/http1"
)

// ServeHTTP answers one request, by an arm's answer or by a refusal.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := &exchange{ResponseWriter: w, proxy: p, r: r, began: time.Now()}
	if c, ok := r.Context().Value(connKey{}).(*conn); ok {
		x.conn, x.guard = c, c.guard.Load()
	}
	decided := false
	if x.conn != nil {
		if d := x.conn.decision.Swap(nil); d != nil { // the fast path's
			x.decision, decided = *d, true
		}
	}
	inFlight := p.inFlight.Add(1)
	p.Metrics.inFlight.Inc()
	defer x.done()
	if limit := p.Limits.Requests; limit > 0 && inFlight > int64(limit) {
		p.Metrics.refused.WithLabelValues("max_requests").Inc()
		x.Header().Set("Retry-After", "1")
		x.fail(http.StatusServiceUnavailable, "too many requests at once")
		return
	}
	if refusal := http1.Refuse(r); refusal != nil {
		p.Metrics.refused.WithLabelValues(refusal.Reason).Inc()
		p.Log.Debug("request refused", "remote", r.RemoteAddr, "reason", refusal.Reason)
		x.hangUp()
		x.fail(refusal.Status, refusal.Text)
		return
	}
	x.facts = p.facts(r)
	if !decided {
		x.decision = p.Splitter.Decide(&x.facts)
	}
	if x.decision.Arm == nil {
		p.Metrics.refused.WithLabelValues("no_arm").Inc()
		x.Header().Set("Retry-After", "1")
		x.fail(http.StatusServiceUnavailable, "no arm takes requests now")
		return
	}
	if !decided {
		x.decision.Arm.counter.decided(x.decision.Reason)
	}
	if r.Body != nil && r.Body != http.NoBody {
		x.body = newBody(r.Body, http.NewResponseController(w), p.Limits.Body, p.replays(r))
		// An arm may answer while the client still sends; HTTP/2 always may.
		x.body.control.EnableFullDuplex()
		r.Body = x.body
	}
	x.shadow = p.Mirror.begin(x)
	defer x.shadow.end()
	p.reverse.ServeHTTP(x, r.WithContext(context.WithValue(r.Context(), exchangeKey{}, x)))
}

func (p *Proxy) facts(r *http.Request) Facts {
	return Facts{
		Method:   r.Method,
		Path:     r.URL.EscapedPath(),
		RawQuery: r.URL.RawQuery,
		Host:     r.Host,
		Client:   p.Forwarder.Client(r.RemoteAddr, r.Header["X-Forwarded-For"]),
		Header:   r.Header,
	}
}

// rewrite makes the request that an arm sees. ReverseProxy has taken out what
// is for one hop only.
func (p *Proxy) rewrite(pr *httputil.ProxyRequest) {
	out := pr.Out
	out.URL.Scheme, out.URL.User = "http", nil
	out.Host = pr.In.Host
	// ReverseProxy drops parameters that Go would not parse. They are the
	// arm's business.
	out.URL.RawQuery = pr.In.URL.RawQuery
	p.Forwarder.Apply(out.Header, pr.In)
	p.Splitter.Rules.Override.strip(out)
	if up := out.Header["Upgrade"]; up != nil && !p.upgradable(up) {
		// The server may ignore an upgrade. One to h2c would be a way around
		// everything that is checked here.
		delete(out.Header, "Upgrade")
		delete(out.Header, "Connection")
	}
	x := out.Context().Value(exchangeKey{}).(*exchange)
	if x.body != nil && len(out.Trailer) > 0 {
		out.Trailer = x.body.forwardTrailers(pr.In)
		out.ContentLength = -1 // HTTP/1 has trailers in chunks only
	}
}

func (p *Proxy) upgradable(protocols []string) bool {
	if len(protocols) != 1 {
		return false
	}
	for _, u := range p.Upgrades {
		if strings.EqualFold(u, protocols[0]) {
			return true
		}
	}
	return false
}

// failed answers for the arms when none did.
func (p *Proxy) failed(w http.ResponseWriter, _ *http.Request, err error) {
	x := w.(*exchange)
	var network net.Error
	timeout := errors.As(err, &network) && network.Timeout()
	switch {
	case x.body != nil && x.body.failure() != nil:
		// The client's fault: it stopped, or broke off, in the middle.
		err := x.body.failure()
		x.hangUp()
		switch {
		case errors.As(err, &network) && network.Timeout():
			p.Metrics.refused.WithLabelValues("slow_body").Inc()
			x.fail(http.StatusRequestTimeout, slowBody)
		case errors.Is(err, http1.ErrFraming):
			x.fail(http.StatusBadRequest, err.Error())
		default:
			p.Metrics.refused.WithLabelValues("broken_body").Inc()
			x.fail(http.StatusBadRequest, brokenBody)
		}
	case x.r.Context().Err() != nil:
		x.code = statusClientGone
		panic(http.ErrAbortHandler)
	case timeout:
		x.fail(http.StatusGatewayTimeout, "the arm did not answer in time")
	default:
		x.fail(http.StatusBadGateway, "the arm cannot be reached or broke off")
	}
}

// statusClientGone is nginx's code for a client that left before the answer.
const statusClientGone = 499

type exchangeKey struct{}

// exchange is one request on its way, and the writer of its answer.
type exchange struct {
	http.ResponseWriter
	proxy    *Proxy
	r        *http.Request
	conn     *conn
	guard    *http1.Guard // nil in HTTP/2
	body     *body        // nil without one
	shadow   *shadow      // for the mirror; nil: none
	facts    Facts
	decision Decision
	began    time.Time
	code     int     // of the answer; 0: none yet
	outcome  Outcome // of the decision's arm so far
	ended    bool    // its arm was told

	informed  atomic.Bool // a 1xx answer has gone out; set by the transport
	continued bool        // HTTP/2: the client was told to send its body
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
			if code != http.StatusContinue {
				x.informed.Store(true)
			}
			x.continueFirst()
			x.ResponseWriter.WriteHeader(code)
		}
		return
	}
	if x.code == 0 {
		x.code = code
		http1.AsIs(x.Header())
		x.say()
		if x.guard != nil && (!x.guard.Answered() || x.proxy.draining.Load()) {
			x.hangUp()
		}
	}
	x.ResponseWriter.WriteHeader(code)
}

// say adds what the client is told of the decision.
func (x *exchange) say() {
	d := &x.decision
	if d.Arm == nil {
		return
	}
	if name := x.proxy.ArmHeader; name != "" {
		x.Header().Set(name, d.Arm.Name)
	}
	if name := x.proxy.ReasonHeader; name != "" {
		x.Header().Set(name, string(d.Reason))
	}
	if d.Assign {
		x.Header().Add("Set-Cookie", d.Cookie())
	}
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

func (x *exchange) Write(b []byte) (int, error) {
	if x.code == 0 {
		x.WriteHeader(http.StatusOK)
	}
	return x.ResponseWriter.Write(b)
}

// Unwrap is for http.ResponseController.
func (x *exchange) Unwrap() http.ResponseWriter { return x.ResponseWriter }

// Hijack makes the connection a tunnel.
func (x *exchange) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	c, rw, err := http.NewResponseController(x.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	x.code = http.StatusSwitchingProtocols
	x.say()
	if x.conn != nil {
		x.conn.hijacked()
	}
	// What the client sent early lies in rw, where ReverseProxy never looks.
	return newTunnel(c, bufferedOf(rw.Reader), x.proxy.Limits.Tunnel), rw, nil
}

// bufferedOf reads what a reader holds already, and then ends.
func bufferedOf(r *bufio.Reader) *strings.Reader {
	b, _ := r.Peek(r.Buffered())
	return strings.NewReader(string(b))
}

// done is the end of the exchange, the tunnel included.
func (x *exchange) done() {
	if x.code == 0 {
		x.code = http.StatusOK // a handler that wrote nothing
	}
	p := x.proxy
	p.inFlight.Add(-1)
	p.Metrics.inFlight.Dec()
	if arm := x.decision.Arm; arm != nil {
		x.end()
		arm.counter.answered(x.code, time.Since(x.began))
	} else {
		p.Metrics.unsplit(x.code)
	}
	p.Requests.write(x)
}

// end tells the splitter what became of the arm in use.
func (x *exchange) end() {
	if !x.ended {
		x.ended = true
		x.proxy.Splitter.Done(x.decision.Arm, x.outcome)
	}
}
