package main

import (
	"bytes"
	"strings"
	"time"

	"distlab/containers/internal/fastpath"
	"distlab/containers/internal/forward"
	"distlab/containers/internal/http1"
)

// fast is what handle does for a plain exchange that succeeds at its first arm.
// Anything else goes on there, with the decision that was made.
type fast struct {
	p    *Proxy
	text bool // the decision needs the request's target, host and method
}

func (f *fast) Begin(c *forward.Conn, r *http1.Request) *forward.Backend {
	p, user := f.p, c.User.(*visitor)
	if f.rare(r) {
		return nil
	}
	user.facts = Facts{Client: c.Addr, Header: r}
	if f.text {
		user.facts.Method, user.facts.Host = string(r.Method), string(r.Host)
		user.facts.SetTarget(string(r.Target))
	}
	user.decision = p.Splitter.Decide(&user.facts)
	user.facts.Header = nil // it is good for this call only
	user.outcome = Outcome{}
	arm := user.decision.Arm
	if arm != nil {
		arm.counter.decided(user.decision.Reason)
	}
	if arm == nil || arm.H2C {
		f.keep(user)
		return nil
	}
	p.Metrics.inFlight.Inc()
	return &arm.Backend
}

// rare is what only the careful path can do: take out what a tester said, or
// send a body once more.
func (f *fast) rare(r *http1.Request) bool {
	o := &f.p.Splitter.Rules.Override
	switch {
	case o.Header != "" && r.Has(o.Header, ""),
		o.Cookie != "" && r.Has("Cookie", o.Cookie),
		o.Query != "" && bytes.Contains(bytes.ToLower(r.Target), []byte(strings.ToLower(o.Query))):
		return true
	}
	return r.Length > 0 && f.p.Splitter.Rules.Fallback && (f.p.Retry.NonIdempotent || forward.Idempotent(string(r.Method)))
}

// Answer is what judge and say do. A failure may be tried again elsewhere.
func (f *fast) Answer(dst []byte, c *forward.Conn, r *http1.Response, began time.Time) (lines []byte, plain bool) {
	p, user := f.p, c.User.(*visitor)
	if p.Retry.Status[r.Status] || p.ArmHeader != "" && r.Has(p.ArmHeader) || p.ReasonHeader != "" && r.Has(p.ReasonHeader) {
		return dst, false
	}
	user.outcome = Outcome{Kind: Good, Status: r.Status, Took: time.Since(began)}
	user.decision.Arm.counter.began(user.outcome.Took)
	return f.Says(dst, c), true
}

// Says is say, as header lines.
func (f *fast) Says(dst []byte, c *forward.Conn) []byte {
	d := &c.User.(*visitor).decision
	if name := f.p.ArmHeader; name != "" {
		dst = appendLine(dst, name, d.Arm.Name)
	}
	if name := f.p.ReasonHeader; name != "" {
		dst = appendLine(dst, name, string(d.Reason))
	}
	if d.Assign {
		dst = appendLine(dst, "Set-Cookie", d.Cookie())
	}
	return dst
}

func appendLine(dst []byte, name, value string) []byte {
	dst = append(dst, name...)
	dst = append(dst, ": "...)
	dst = append(dst, value...)
	return append(dst, "\r\n"...)
}

func (f *fast) End(c *forward.Conn, status int, how fastpath.Ending, took time.Duration) {
	p, user := f.p, c.User.(*visitor)
	arm := user.decision.Arm
	switch {
	case how == fastpath.Broken:
		user.outcome.Kind = Failed
		arm.counter.failed("broken")
	case how == fastpath.Left && user.outcome.Status == 0:
		user.outcome.Left = true
	}
	p.Metrics.inFlight.Dec()
	p.Metrics.fast.Inc()
	p.Splitter.Done(arm, user.outcome)
	arm.counter.answered(status, took)
	user.decision = Decision{}
}

func (f *fast) Undo(c *forward.Conn) {
	f.p.Metrics.inFlight.Dec()
	f.keep(c.User.(*visitor))
}

// keep saves a decision for the careful path.
func (f *fast) keep(user *visitor) {
	d := user.decision
	user.kept.Store(&d)
}
