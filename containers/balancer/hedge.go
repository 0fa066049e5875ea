package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	"distlab/containers/internal/balance"
	"distlab/containers/internal/forward"
)

// attempt is what came of asking one replica.
type attempt struct {
	choice Choice
	resp   *http.Response
	err    error
	cancel context.CancelFunc
}

// ask sends the request to the chosen replica. Where hedging is on, and the request is one that may be done twice and has no
// body, a second replica is asked when the first has not answered for a while; who answers first is heard, and the other
// one's request is cancelled. The second counts against the retry budget.
//
// Source: Dean and Barroso, The Tail at Scale, CACM 56 (2013).
func (p *Proxy) ask(x *exchange) (*http.Response, error) {
	if p.Hedge <= 0 || x.HasBody() || !forward.Idempotent(x.Request.Method) || x.Out.Header["Upgrade"] != nil {
		return x.Ask(&x.choice.Backend)
	}
	answers := make(chan attempt, 2)
	go p.send(x, x.choice, answers)
	timer := time.NewTimer(p.Hedge)
	defer timer.Stop()
	select {
	case first := <-answers:
		return first.take()
	case <-timer.C:
	}
	second, ok := p.Pool.Beside(x.choice, &x.facts)
	if !ok {
		return (<-answers).take()
	}
	second.counter.retried()
	go p.send(x, second, answers)
	a := <-answers
	if a.err != nil || p.Retry.Status[a.resp.StatusCode] {
		a.drop()
		p.Pool.Done(a.choice.Replica, Failed)
		a = <-answers // a failure is no answer while the other may give one
	} else {
		go func() { // the loser is not waited for, but its use must end
			other := <-answers
			other.drop()
			p.Pool.Done(other.choice.Replica, Unknown)
		}()
	}
	if a.choice.Replica == x.choice.Replica {
		p.Metrics.hedges.WithLabelValues("first").Inc()
	} else {
		p.Metrics.hedges.WithLabelValues("second").Inc()
		x.assign = p.Sticky != nil
	}
	x.choice = a.choice
	return a.take()
}

// send asks one replica, and owns the answer until it is taken.
func (p *Proxy) send(x *exchange, c Choice, answers chan<- attempt) {
	ctx, cancel := context.WithCancel(x.Context())
	a := attempt{choice: c, cancel: cancel}
	defer func() {
		if v := recover(); v != nil {
			a.err = fmt.Errorf("panic: %v", v)
		}
		answers <- a
	}()
	req := x.Out.Clone(ctx)
	u := *x.Out.URL
	u.Host = c.Addr
	req.URL = &u
	forward.SetTarget(req, x.Target)
	a.resp, a.err = p.Engine().Transport(&c.Backend).RoundTrip(req)
}

// take hands the answer over: its body's end is the end of its context.
func (a attempt) take() (*http.Response, error) {
	if a.err != nil {
		a.cancel()
		return nil, a.err
	}
	a.resp.Body = &cancelling{a.resp.Body, a.cancel}
	return a.resp, nil
}

func (a attempt) drop() {
	a.cancel()
	if a.resp != nil {
		a.resp.Body.Close()
	}
}

type cancelling struct {
	io.ReadCloser
	cancel context.CancelFunc
}

func (c *cancelling) Close() error {
	defer c.cancel()
	return c.ReadCloser.Close()
}

// Beside chooses a second replica for a request that is under way at the first.
func (p *Pool) Beside(c Choice, f *balance.Facts) (Choice, bool) {
	now := clock()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.prepare(now)
	if p.next(&c, f, now) != nil {
		return c, false
	}
	if !p.Budget.Withdraw(now) {
		balance.Release(c.peer)
		return c, false
	}
	return c, true
}
