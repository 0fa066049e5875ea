package main

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
	"time"

	"distlab/containers/internal/forward"
)

// Retry says when a request goes to another arm after one has failed. It then
// must be safe, too: see forward.Exchange.MayRepeat.
//
// Source: nginx's proxy_next_upstream, and RFC 9110 section 9.2.2.
type Retry struct {
	Error         bool         // it cannot be reached, or broke off
	Timeout       bool         // it did not begin its answer in time
	Status        map[int]bool // it answered so
	NonIdempotent bool         // whatever the method
	Body          int          // how many bytes of a body are kept for it
}

// replays is how many bytes of the request's body to keep for another attempt.
func (p *Proxy) replays(r *http.Request) int {
	if !p.Splitter.Rules.Fallback || !forward.Idempotent(r.Method) && !p.Retry.NonIdempotent {
		return 0
	}
	return p.Retry.Body
}

// carry asks the arm of the exchange's decision and, where that fails and it is
// safe, others.
func (p *Proxy) carry(x *exchange) (*http.Response, error) {
	x.shadow.request(x)
	for {
		arm := x.decision.Arm
		resp, took, err := askArm(x, arm)
		x.outcome = p.judge(x, resp, err)
		x.outcome.Took = took
		if x.outcome.Kind != Failed {
			if err == nil {
				arm.counter.began(x.outcome.Took)
			}
			return resp, err
		}
		reason := failureOf(err)
		arm.counter.failed(reason)
		p.Log.Debug("arm failed", "arm", arm.Name, "reason", reason, "error", err)
		if !p.again(x, err) {
			return resp, err
		}
		if resp != nil {
			discard(resp)
		}
	}
}

// again moves the exchange to another arm, if that is safe and there is one.
func (p *Proxy) again(x *exchange, err error) bool {
	if !x.MayRepeat(err, forward.Idempotent(x.Request.Method) || p.Retry.NonIdempotent) {
		return false
	}
	failed, outcome := x.decision.Arm, x.outcome
	if !p.Splitter.Again(&x.decision, &x.facts, !forward.NotSent(err)) {
		failed.counter.refusedRetry()
		return false
	}
	p.Splitter.Done(failed, outcome)
	failed.counter.retried()
	x.decision.Arm.counter.decided(ByRetry)
	return true
}

// askArm sends the request to one arm. took is the time from there to the head of
// the answer, without that for a new connection: an arm with little traffic
// needs more of these, and must not look slow for it.
func askArm(x *exchange, arm *Arm) (resp *http.Response, took time.Duration, err error) {
	began := time.Now()
	var connected atomic.Int64 // since began
	out := x.Out
	x.Out = out.WithContext(httptrace.WithClientTrace(out.Context(), &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { connected.Store(int64(time.Since(began))) },
	}))
	resp, err = x.Ask(&arm.Backend)
	x.Out = out
	return resp, time.Since(began) - time.Duration(connected.Load()), err
}

// judge says what an answer, or an error, says of the arm.
func (p *Proxy) judge(x *exchange, resp *http.Response, err error) Outcome {
	if err == nil {
		if p.Retry.Status[resp.StatusCode] {
			return Outcome{Kind: Failed, Status: resp.StatusCode}
		}
		return Outcome{Kind: Good, Status: resp.StatusCode}
	}
	switch x.FaultOf(err) {
	case forward.ClientLeft:
		return Outcome{Left: true}
	case forward.ServerSlow:
		if !p.Retry.Timeout {
			return Outcome{Kind: Good, Status: http.StatusGatewayTimeout}
		}
	case forward.ServerFailed:
		if !p.Retry.Error {
			return Outcome{Kind: Good, Status: http.StatusBadGateway}
		}
	default:
		return Outcome{} // the client's fault
	}
	return Outcome{Kind: Failed}
}

// failureOf is a label.
func failureOf(err error) string {
	switch {
	case err == nil:
		return "status"
	case forward.TimedOut(err):
		return "timeout"
	case forward.NotSent(err):
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

// answer passes an arm's answer on, and notices one that breaks off in the middle
// of it.
func (p *Proxy) answer(x *exchange, resp *http.Response) {
	if resp.StatusCode != http.StatusSwitchingProtocols {
		x.shadow.wait(x.Context())
		x.shadow.answered(x.decision.Arm, resp)
	}
	if err := x.Answer(resp); errors.Is(err, forward.ErrBroken) {
		x.outcome.Kind = Failed
		x.decision.Arm.counter.failed("broken")
	}
}
