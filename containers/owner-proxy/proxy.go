package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"distlab/containers/internal/forward"
	"distlab/containers/internal/http1"
)

// Proxy passes requests on to the owner. They must not be changed after Serve.
type Proxy struct {
	Owner       *Owner
	Wait        time.Duration // for an owner that takes a request
	MaxWaiting  int64
	Grace       time.Duration // what a deposed owner gets to answer
	KeepBody    int
	OwnerHeader string
	Upgrades    []string
	Limits      forward.Limits
	Forwarder   *http1.Forwarder
	Log         *slog.Logger
	Metrics     *metrics

	waiting atomic.Int64
	once    sync.Once
	engine  *forward.Engine
}

// hops marks a request that such a proxy has passed on: an owner whose address leads to another proxy, or to this one, would be
// asked for ever.
const hops = "Owner-Hops"

// again is how long to wait before the same owner is asked again that has not taken a request: the store knows an owner some
// moments before the owner does. Each time it is twice as long, up to the longest: many may wait.
const (
	again        = 25 * time.Millisecond
	longestAgain = 400 * time.Millisecond
)

// mostBroken is how often a request is sent to owners that break off: it may be the request that breaks them.
const mostBroken = 3

// Engine is what carries the requests. It has no fast path: a request may have to wait.
func (p *Proxy) Engine() *forward.Engine {
	p.once.Do(func() {
		p.engine = &forward.Engine{
			Handle:    p.handle,
			Done:      func(x *forward.Exchange) { p.Metrics.answered(x.Code(), time.Since(x.Began)) },
			Refused:   func(_ net.Addr, reason string) { p.Metrics.refused.WithLabelValues(reason).Inc() },
			Forwarder: p.Forwarder, Upgrades: p.Upgrades, Limits: p.Limits, Log: p.Log,
		}
	})
	return p.engine
}

// Serve accepts connections from ln until Shutdown or Close. It owns ln.
func (p *Proxy) Serve(ln net.Listener) error { return p.Engine().Serve(ln) }

// Shutdown stops accepting, and lets what is in flight end.
func (p *Proxy) Shutdown(ctx context.Context) error { return p.Engine().Shutdown(ctx) }

// Close cuts everything at once.
func (p *Proxy) Close() error { return p.Engine().Close() }

// wait is one request's time without an owner that takes it.
type wait struct {
	p        *Proxy
	deadline time.Time
	counted  bool
}

// handle answers one request. It is sent to the owner, and once more only where it was certainly not done: it was not sent, or the
// owner said 421, or its method may be repeated.
func (p *Proxy) handle(x *forward.Exchange) {
	if x.Request.Header[hops] != nil {
		p.Metrics.refused.WithLabelValues("loop").Inc()
		x.Fail(http.StatusLoopDetected, "the owner's address leads to a proxy that asks for the owner")
		return
	}
	x.Out.Header.Set(hops, "1")
	x.Keep = p.KeepBody
	w := wait{p: p, deadline: x.Began.Add(p.Wait)}
	defer w.over()
	var asked View
	pause, broken := again, 0
	x.Final = func(_ int, h http.Header) {
		if p.OwnerHeader != "" && asked.ID != "" {
			h.Set(p.OwnerHeader, asked.ID)
		}
	}
	for {
		owner, changed := p.Owner.Now()
		if owner.Address == "" {
			if !w.wait(x.Context(), changed, 0) {
				asked = View{}
				p.none(x, "there is no owner now")
				return
			}
			continue
		}
		asked = owner
		resp, end, err := p.ask(x, owner, changed)
		why := ""
		switch {
		case err == nil && resp.StatusCode == http.StatusMisdirectedRequest:
			why = "misdirected"
		case err != nil && forward.NotSent(err):
			why = "dial"
		case err != nil && x.FaultOf(err) == forward.ServerFailed && !x.Left():
			why = "broken"
		}
		if why == "" {
			p.pass(x, resp, err)
			end()
			return
		}
		may := x.MayRepeat(err, forward.Idempotent(x.Request.Method))
		if why == "misdirected" { // nothing was done, whatever the method
			may = x.MayRepeat(nil, true)
		}
		if why == "broken" {
			broken++
			may = may && broken < mostBroken
		}
		if resp != nil {
			io.CopyN(io.Discard, resp.Body, 4<<10)
			resp.Body.Close()
		}
		end()
		p.Log.Debug("the owner has not taken a request", "owner", owner.ID, "reason", why, "error", err)
		switch {
		case may && w.wait(x.Context(), changed, pause):
			pause = min(2*pause, longestAgain)
			p.Metrics.retried.WithLabelValues(why).Inc()
		case why == "broken":
			x.Explain(err, "the owner")
			return
		default: // it was done by nobody
			p.none(x, "the owner does not take it")
			return
		}
	}
}

// ask sends the request to an owner. When another one follows, that one has Grace to answer what it was asked: it may be frozen.
// What is taken of the answer is taken before end is called.
func (p *Proxy) ask(x *forward.Exchange, owner View, changed <-chan struct{}) (resp *http.Response, end func(), err error) {
	out := x.Out
	ctx, cancel := context.WithCancelCause(out.Context())
	stop := make(chan struct{})
	go func() {
		for {
			select {
			case <-changed:
			case <-stop:
				return
			}
			var now View
			if now, changed = p.Owner.Now(); now.Address != "" && now.Term != owner.Term {
				break
			}
		}
		select {
		case <-time.After(p.Grace):
			cancel(errDeposed)
		case <-stop:
		}
	}()
	x.Out = out.WithContext(ctx)
	resp, err = x.Ask(&forward.Backend{Addr: owner.Address})
	if err != nil && errors.Is(context.Cause(ctx), errDeposed) {
		p.Metrics.deposed.Inc()
	}
	return resp, sync.OnceFunc(func() {
		close(stop)
		cancel(nil)
		x.Out = out
	}), err
}

var errDeposed = errors.New("another owner has followed")

func (p *Proxy) pass(x *forward.Exchange, resp *http.Response, err error) {
	if err == nil {
		err = x.Answer(resp)
		if errors.Is(err, forward.ErrBroken) {
			p.Metrics.cut.Inc()
		}
		return
	}
	x.Explain(err, "the owner")
}

// none says that there is no owner, and that it may be asked again.
func (p *Proxy) none(x *forward.Exchange, text string) {
	if x.Left() {
		x.Explain(x.Context().Err(), "the owner")
		return
	}
	p.Metrics.unowned.Inc()
	x.Header().Set("Retry-After", "1")
	x.Fail(http.StatusServiceUnavailable, text)
}

// wait lets a moment pass, or the time until there is another owner where that is sooner; without a moment it waits for that
// alone. It is false when the request's time is over.
func (w *wait) wait(ctx context.Context, changed <-chan struct{}, moment time.Duration) bool {
	left := time.Until(w.deadline)
	if left <= 0 {
		return false
	}
	if !w.counted {
		if w.p.waiting.Add(1) > w.p.MaxWaiting {
			w.p.waiting.Add(-1)
			return false
		}
		w.counted = true
		w.p.Metrics.waited.Inc()
	}
	if moment == 0 || moment > left {
		moment = left
	}
	timer := time.NewTimer(moment)
	defer timer.Stop()
	select {
	case <-changed:
	case <-timer.C:
	case <-ctx.Done():
		return false
	}
	return time.Now().Before(w.deadline)
}

func (w *wait) over() {
	if w.counted {
		w.p.waiting.Add(-1)
	}
}
