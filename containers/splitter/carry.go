package main

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
	"time"
)

// Retry says when a request goes to another arm after one has failed. It then
// must be safe, too: either nothing of the request was sent, or its method is
// idempotent and its body still at hand; and nothing has reached the client.
//
// Source: nginx's proxy_next_upstream, and RFC 9110 section 9.2.2.
type Retry struct {
	Error         bool         // it cannot be reached, or broke off
	Timeout       bool         // it did not begin its answer in time
	Status        map[int]bool // it answered so
	NonIdempotent bool         // whatever the method
	Body          int          // how many bytes of a body are kept for it
}

var idempotent = map[string]bool{
	http.MethodGet: true, http.MethodHead: true, http.MethodOptions: true, http.MethodPut: true, http.MethodDelete: true,
}

// replays is how many bytes of the request's body to keep for another attempt.
func (p *Proxy) replays(r *http.Request) int {
	if !p.Splitter.Rules.Fallback || !idempotent[r.Method] && !p.Retry.NonIdempotent || r.Header["Upgrade"] != nil {
		return 0
	}
	return p.Retry.Body
}

// RoundTrip asks the arm of the exchange's decision and, where that fails and
// it is safe, others. It is ReverseProxy's transport.
func (p *Proxy) RoundTrip(out *http.Request) (*http.Response, error) {
	x := out.Context().Value(exchangeKey{}).(*exchange)
	x.shadow.request(out)
	for {
		arm := x.decision.Arm
		resp, took, err := p.ask(x, arm, out)
		x.outcome = p.judge(x, resp, err)
		x.outcome.Took = took
		if x.outcome.Kind != Failed {
			if err == nil {
				arm.counter.began(x.outcome.Took)
				watch(x, resp)
			}
			return resp, err
		}
		reason := failureOf(resp, err)
		arm.counter.failed(reason)
		p.Log.Debug("arm failed", "arm", arm.Name, "reason", reason, "error", err)
		if !p.again(x, out, resp, err) {
			if err == nil {
				watch(x, resp)
			}
			return resp, err
		}
		if resp != nil {
			discard(resp)
		}
	}
}

// again moves the exchange to another arm, if that is safe and there is one.
func (p *Proxy) again(x *exchange, out *http.Request, resp *http.Response, err error) bool {
	if !p.safe(x, out, resp, err) {
		return false
	}
	failed, outcome := x.decision.Arm, x.outcome
	if !p.Splitter.Again(&x.decision, &x.facts) {
		failed.counter.refusedRetry()
		return false
	}
	p.Splitter.Done(failed, outcome)
	failed.counter.retried()
	x.decision.Arm.counter.decided(ByRetry)
	return true
}

// safe is whether a request may be sent once more.
func (p *Proxy) safe(x *exchange, out *http.Request, resp *http.Response, err error) bool {
	if x.informed.Load() || x.r.Context().Err() != nil {
		return false
	}
	if notSent(err) && (x.body == nil || x.body.untouched()) {
		return p.Retry.Error
	}
	if !idempotent[out.Method] && !p.Retry.NonIdempotent || out.Header["Upgrade"] != nil {
		return false
	}
	return x.body == nil || x.body.replayable()
}

// notSent is an error before the first byte.
func notSent(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

// ask sends the request to one arm. took is the time from there to the head of
// the answer, without that for a new connection: an arm with little traffic
// needs more of these, and must not look slow for it.
func (p *Proxy) ask(x *exchange, arm *Arm, out *http.Request) (resp *http.Response, took time.Duration, err error) {
	began := time.Now()
	var connected atomic.Int64 // since began
	ctx := httptrace.WithClientTrace(out.Context(), &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { connected.Store(int64(time.Since(began))) },
	})
	req := out.WithContext(ctx)
	u := *out.URL
	u.Host = arm.Addr
	req.URL = &u
	if x.body != nil {
		req.Body = x.body.attempt()
		req.GetBody = nil
	}
	var carrier http.RoundTripper = p.transport(arm)
	if x.conn != nil {
		if early := x.conn.early.Swap(nil); early != nil { // the fast path has asked it already
			carrier = early.RoundTripper(p.http1)
		}
	}
	resp, err = carrier.RoundTrip(req)
	return resp, time.Since(began) - time.Duration(connected.Load()), err
}

func (p *Proxy) transport(a *Arm) *http.Transport {
	p.init()
	if a.H2C {
		return p.http2
	}
	return p.http1
}

// judge says what an answer, or an error, says of the arm.
func (p *Proxy) judge(x *exchange, resp *http.Response, err error) Outcome {
	var network net.Error
	switch {
	case err == nil && p.Retry.Status[resp.StatusCode]:
		return Outcome{Kind: Failed, Status: resp.StatusCode}
	case err == nil:
		return Outcome{Kind: Good, Status: resp.StatusCode}
	case x.body != nil && x.body.failure() != nil:
		return Outcome{} // the client's fault
	case x.r.Context().Err() != nil:
		return Outcome{Left: true}
	case errors.As(err, &network) && network.Timeout():
		if !p.Retry.Timeout {
			return Outcome{Kind: Good, Status: http.StatusGatewayTimeout}
		}
	case !p.Retry.Error:
		return Outcome{Kind: Good, Status: http.StatusBadGateway}
	}
	return Outcome{Kind: Failed}
}

// failureOf is a label.
func failureOf(resp *http.Response, err error) string {
	var network net.Error
	switch {
	case err == nil:
		return "status"
	case errors.As(err, &network) && network.Timeout():
		return "timeout"
	case notSent(err):
		return "dial"
	}
	return "broken"
}

// discard ends an answer that nobody will see. A short one leaves its
// connection for the next request.
func discard(resp *http.Response) {
	io.CopyN(io.Discard, resp.Body, 4<<10)
	resp.Body.Close()
}

// watch notices an arm that breaks off in the middle of its answer.
func watch(x *exchange, resp *http.Response) {
	if resp.StatusCode == http.StatusSwitchingProtocols {
		return // the body is the connection
	}
	if len(resp.Trailer) > 0 {
		resp.Header.Del("Content-Length") // HTTP/1 has trailers in chunks only
	}
	resp.Body = &answer{resp.Body, x}
	x.shadow.wait(x.r.Context())
	x.shadow.answered(x.decision.Arm, resp)
}

type answer struct {
	io.ReadCloser
	x *exchange
}

func (a *answer) Read(p []byte) (int, error) {
	n, err := a.ReadCloser.Read(p)
	if err != nil && err != io.EOF && !errors.Is(err, context.Canceled) && a.x.r.Context().Err() == nil {
		a.x.outcome.Kind = Failed
		a.x.decision.Arm.counter.failed("broken")
	}
	return n, err
}
