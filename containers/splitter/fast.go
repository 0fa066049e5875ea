package main

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"strings"
	"time"

	"distlab/containers/internal/fastpath"
	"distlab/containers/internal/http1"
)

// fast is the policy of the fast path: what ServeHTTP and RoundTrip do for a
// plain exchange that succeeds at its first arm. Anything else goes on there,
// with the decision that was made.
type fast struct {
	p    *Proxy
	text bool // the decision needs the request's target, host and method
}

// fastClient is what the policy knows of a connection, and of its exchange.
type fastClient struct {
	conn     *conn
	about    *http1.About
	addr     netip.Addr
	facts    Facts
	decision Decision
	outcome  Outcome
}

// newFastPath is nil where there is none. Copies for a mirror and the request
// log need what only net/http keeps of a request.
func (p *Proxy) newFastPath() *fastpath.Path {
	if p.Careful || p.Mirror != nil || p.Requests != nil {
		return nil
	}
	r := &p.Splitter.Rules
	l := p.Limits
	path := &fastpath.Path{
		Policy: &fast{p: p, text: len(r.Key.parts) > 0 || r.Override.Query != ""},
		Limits: fastpath.Limits{
			HeaderBytes: l.HeaderBytes,
			Header:      l.Header,
			Idle:        l.Idle,
			Body:        l.Body,
			Send:        l.Send,
			Response:    l.Response,
			AppIdle:     l.ArmIdle,
		},
	}
	if err := path.Start(cmp.Or(p.Loops, runtime.GOMAXPROCS(0))); err != nil {
		p.Log.Info("no fast path", "error", err)
		return nil
	}
	return path
}

// takeFast is false if the connection stays with the careful path.
func (p *Proxy) takeFast(c *conn) bool {
	socket, ok := c.Conn.(*fastpath.Socket)
	if !ok {
		return false
	}
	addr := http1.RemoteAddr(c.RemoteAddr().String())
	user := &fastClient{conn: c, addr: addr, about: p.Forwarder.About(addr, nil)}
	return p.fast.Take(&fastpath.Client{Socket: socket, User: user})
}

func (f *fast) Begin(c *fastpath.Client, r *http1.Request) *fastpath.Backend {
	p, user := f.p, c.User.(*fastClient)
	user.conn.asked.Store(true)
	if user.about.Trusted && r.Forged || f.rare(r) {
		return nil
	}
	inFlight := p.inFlight.Add(1)
	if limit := p.Limits.Requests; limit > 0 && inFlight > int64(limit) {
		p.inFlight.Add(-1)
		return nil
	}
	user.facts = Facts{Client: user.addr, Header: r}
	if f.text {
		path, query, _ := strings.Cut(string(r.Target), "?")
		user.facts.Method, user.facts.Host = string(r.Method), string(r.Host)
		user.facts.Path, user.facts.RawQuery = path, query
	}
	user.decision = p.Splitter.Decide(&user.facts)
	user.facts.Header = nil // it is good for this call only
	user.outcome = Outcome{}
	arm := user.decision.Arm
	if arm != nil {
		arm.counter.decided(user.decision.Reason)
	}
	if arm == nil || arm.H2C {
		p.inFlight.Add(-1)
		f.keep(user)
		return nil
	}
	p.Metrics.inFlight.Inc()
	user.conn.idle.Store(0)
	return f.backend(arm)
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
	return r.Length > 0 && f.p.Splitter.Rules.Fallback && (f.p.Retry.NonIdempotent || idempotent[string(r.Method)])
}

// keep saves a decision for the careful path.
func (f *fast) keep(user *fastClient) {
	d := user.decision
	user.conn.decision.Store(&d)
}

func (f *fast) backend(arm *Arm) *fastpath.Backend {
	if b := arm.fast.Load(); b != nil {
		return b
	}
	p := f.p
	arm.fast.CompareAndSwap(nil, &fastpath.Backend{
		Dial: func() (net.Conn, error) { return p.dial(context.Background(), "tcp", arm.Addr) },
	})
	return arm.fast.Load()
}

func (f *fast) Lines(dst []byte, c *fastpath.Client, r *http1.Request) []byte {
	return f.p.Forwarder.Lines(dst, c.User.(*fastClient).about, r)
}

// Answer is what judge and say do. A failure may be tried again elsewhere.
func (f *fast) Answer(dst []byte, c *fastpath.Client, r *http1.Response) (lines []byte, last, plain bool) {
	p, user := f.p, c.User.(*fastClient)
	d := &user.decision
	if p.Retry.Status[r.Status] || p.ArmHeader != "" && r.Has(p.ArmHeader) || p.ReasonHeader != "" && r.Has(p.ReasonHeader) {
		return dst, false, false
	}
	user.outcome = Outcome{Kind: Good, Status: r.Status, Took: time.Since(c.Began)}
	d.Arm.counter.began(user.outcome.Took)
	if p.ArmHeader != "" {
		dst = appendLine(dst, p.ArmHeader, d.Arm.Name)
	}
	if p.ReasonHeader != "" {
		dst = appendLine(dst, p.ReasonHeader, string(d.Reason))
	}
	if d.Assign {
		dst = appendLine(dst, "Set-Cookie", d.Cookie())
	}
	return dst, p.draining.Load(), true
}

func appendLine(dst []byte, name, value string) []byte {
	dst = append(dst, name...)
	dst = append(dst, ": "...)
	dst = append(dst, value...)
	return append(dst, "\r\n"...)
}

func (f *fast) End(c *fastpath.Client, status int, how fastpath.Ending) {
	p, user := f.p, c.User.(*fastClient)
	arm := user.decision.Arm
	switch {
	case how == fastpath.Broken:
		user.outcome.Kind = Failed
		arm.counter.failed("broken")
	case how == fastpath.Left && user.outcome.Status == 0:
		user.outcome.Left = true
	}
	now := time.Now()
	p.inFlight.Add(-1)
	p.Metrics.inFlight.Dec()
	p.Metrics.fast.Inc()
	p.Splitter.Done(arm, user.outcome)
	arm.counter.answered(status, now.Sub(c.Began))
	user.decision = Decision{}
	user.conn.idle.Store(now.UnixNano())
}

func (f *fast) Undo(c *fastpath.Client) {
	f.p.inFlight.Add(-1)
	f.p.Metrics.inFlight.Dec()
	f.keep(c.User.(*fastClient))
}

func (f *fast) BadBody(c *fastpath.Client, slow bool) (answer []byte, status int) {
	status, text, reason := http.StatusBadRequest, brokenBody, "broken_body"
	if slow {
		status, text, reason = http.StatusRequestTimeout, slowBody, "slow_body"
	}
	f.p.Metrics.refused.WithLabelValues(reason).Inc()
	d := &c.User.(*fastClient).decision
	body := failure(status, text)
	answer = fmt.Appendf(nil, "HTTP/1.1 %d %s\r\nContent-Type: text/plain; charset=utf-8\r\nX-Content-Type-Options: nosniff\r\n"+
		"Content-Length: %d\r\nConnection: close\r\n", status, http.StatusText(status), len(body))
	if f.p.ArmHeader != "" {
		answer = appendLine(answer, f.p.ArmHeader, d.Arm.Name)
	}
	if f.p.ReasonHeader != "" {
		answer = appendLine(answer, f.p.ReasonHeader, string(d.Reason))
	}
	if d.Assign {
		answer = appendLine(answer, "Set-Cookie", d.Cookie())
	}
	answer = append(http1.AppendDate(answer, time.Now()), "\r\n"...)
	return append(answer, body...), status
}

// Careful takes over what is not plain.
func (f *fast) Careful(h *fastpath.Handover) {
	c := h.Client.User.(*fastClient).conn
	c.early.Store(h.Early)
	c.resume(h.Begun, h.Skip, f.p.H2C && h.Early == nil)
	f.p.handed.put(c)
}

func (f *fast) Closed(c *fastpath.Client) { c.User.(*fastClient).conn.Close() }
