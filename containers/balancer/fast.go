package main

import (
	"time"

	"distlab/containers/internal/balance"
	"distlab/containers/internal/fastpath"
	"distlab/containers/internal/forward"
	"distlab/containers/internal/http1"
)

// fast is what handle does for a plain exchange that succeeds at its first replica. Anything else goes on there, with the
// choice that was made.
type fast struct{ p *Proxy }

func (f *fast) Begin(c *forward.Conn, r *http1.Request) *forward.Backend {
	p, v := f.p, c.User.(*visitor)
	if r.Length > 0 && p.Retry.On && (p.Retry.NonIdempotent || forward.Idempotent(string(r.Method))) {
		return nil // its body may have to be sent once more
	}
	facts := balance.Facts{Client: c.Addr, Header: r}
	if !p.Pool.Key.None() {
		facts.Method, facts.Host = string(r.Method), string(r.Host)
		facts.SetTarget(string(r.Target))
	}
	named := p.Sticky.find(p.Pool, r)
	choice, err := p.Pool.Choose(&facts, named)
	if err != nil {
		return nil // it may have to wait
	}
	v.kept = kept{choice: choice, sticky: named != "", assign: p.Sticky != nil && !choice.Sticky}
	p.chosen(&v.choice, v.sticky)
	return &choice.Backend
}

// Answer is failure and say. A failure may be tried again elsewhere.
func (f *fast) Answer(dst []byte, c *forward.Conn, r *http1.Response, _ time.Time) (lines []byte, plain bool) {
	p, v := f.p, c.User.(*visitor)
	if p.Retry.Status[r.Status] || p.ReplicaHeader != "" && r.Has(p.ReplicaHeader) {
		return dst, false
	}
	v.outcome = Good
	return f.Says(dst, c), true
}

func (f *fast) Says(dst []byte, c *forward.Conn) []byte {
	p, v := f.p, c.User.(*visitor)
	line := func(name, value string) {
		dst = append(append(append(append(dst, name...), ": "...), value...), "\r\n"...)
	}
	if p.ReplicaHeader != "" {
		line(p.ReplicaHeader, v.choice.Addr)
	}
	if v.assign {
		line("Set-Cookie", p.Sticky.cookie(v.choice.Addr))
	}
	return dst
}

func (f *fast) End(c *forward.Conn, status int, how fastpath.Ending, took time.Duration) {
	p, v := f.p, c.User.(*visitor)
	if how == fastpath.Broken {
		v.outcome = Failed
		v.choice.counter.failed("broken")
	}
	p.Metrics.fast.Inc()
	p.Pool.Done(v.choice.Replica, v.outcome)
	v.choice.counter.answered(status, took)
	v.kept = kept{}
}

func (f *fast) Undo(c *forward.Conn) {
	v := c.User.(*visitor)
	k := v.kept
	v.kept = kept{}
	v.waiting.Store(&k)
}
