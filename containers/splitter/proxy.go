package main

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"distlab/containers/internal/forward"
	"distlab/containers/internal/http1"
)

// Proxy carries requests to the arms that a Splitter decides on.
// It knows nothing of the process around it. Splitter, Forwarder, Log and
// Metrics are required. Fields must not be changed after Serve.
type Proxy struct {
	Splitter  *Splitter
	Forwarder *http1.Forwarder
	Upgrades  []string // protocols that a connection may be upgraded to
	Careful   bool     // no fast path
	Loops     int      // of the fast path; 0 is one for each processor
	H2C       bool     // speak HTTP/2 cleartext to clients, too
	Retry     Retry

	ArmHeader    string  // of answers: the arm's name; "": none
	ReasonHeader string  // of answers: why that arm; "": none
	Mirror       *Mirror // nil: none

	Requests *RequestLog // nil: none

	Limits  Limits
	Log     *slog.Logger
	Metrics *Metrics

	once   sync.Once
	engine *forward.Engine
}

// Limits bound what clients and arms may take. Zero is no limit.
type Limits = forward.Limits

// Engine is what carries the requests.
func (p *Proxy) Engine() *forward.Engine {
	p.once.Do(func() {
		p.engine = &forward.Engine{
			Handle: p.handle, Done: p.done,
			Refused:   func(_ net.Addr, reason string) { p.Metrics.refused.WithLabelValues(reason).Inc() },
			Connected: p.connected,
			Forwarder: p.Forwarder, Upgrades: p.Upgrades, H2C: p.H2C, Loops: p.Loops,
			Limits: p.Limits, Log: p.Log,
		}
		door := &p.engine.Door
		door.Accepted = p.Metrics.connections.Inc
		door.Rejected = func(reason string) { p.Metrics.rejected.WithLabelValues(reason).Inc() }
		door.Closed = p.forget
		// Copies for a mirror and the request log need what only the careful path
		// keeps of a request.
		if !p.Careful && p.Mirror == nil && p.Requests == nil {
			r := &p.Splitter.Rules
			p.engine.Fast = &fast{p: p, text: !r.Key.None() || r.Override.Query != ""}
		}
	})
	return p.engine
}

// Serve accepts connections from ln until Shutdown or Close, and then returns
// http.ErrServerClosed. It owns ln.
func (p *Proxy) Serve(ln net.Listener) error { return p.Engine().Serve(ln) }

// Shutdown stops accepting, lets what is in flight end, and returns nil, or
// ctx's error if something was still in flight then; Close cuts that.
func (p *Proxy) Shutdown(ctx context.Context) error {
	err := p.Engine().Shutdown(ctx)
	if p.Mirror != nil {
		p.Mirror.Close()
	}
	return err
}

// Close cuts everything at once.
func (p *Proxy) Close() error {
	if p.Mirror != nil {
		p.Mirror.Close()
	}
	return p.Engine().Close()
}

// visitor is what is kept with a client's connection, for its exchange on the fast
// path.
type visitor struct {
	facts    Facts
	decision Decision
	outcome  Outcome
	kept     atomic.Pointer[Decision] // for the careful path
}

func (p *Proxy) connected(c *forward.Conn) []byte {
	c.User = new(visitor)
	return nil
}

// forget is for a request that the fast path has left, and that never came to
// be served.
func (p *Proxy) forget(c *forward.Conn) {
	if d := taken(c); d != nil && d.Arm != nil {
		p.Splitter.Done(d.Arm, Outcome{})
	}
}

// taken is the decision that the fast path has left, once.
func taken(c *forward.Conn) *Decision {
	if user, _ := c.User.(*visitor); user != nil {
		return user.kept.Swap(nil)
	}
	return nil
}

// exchange is one request on its way.
type exchange struct {
	*forward.Exchange
	shadow   *shadow // for the mirror; nil: none
	facts    Facts
	decision Decision
	outcome  Outcome // of the decision's arm so far
}

// handle answers one request, by an arm's answer or by a refusal.
func (p *Proxy) handle(fx *forward.Exchange) {
	x := &exchange{Exchange: fx}
	fx.User = x
	x.facts = p.facts(fx)
	before := taken(fx.Client)
	if before != nil {
		x.decision = *before
	} else {
		x.decision = p.Splitter.Decide(&x.facts)
	}
	if x.decision.Arm == nil {
		p.Metrics.refused.WithLabelValues("no_arm").Inc()
		x.Header().Set("Retry-After", "1")
		x.Fail(http.StatusServiceUnavailable, "no arm takes requests now")
		return
	}
	if before == nil {
		x.decision.Arm.counter.decided(x.decision.Reason)
	}
	p.Splitter.Rules.Override.strip(fx)
	p.Metrics.inFlight.Inc()
	defer p.Metrics.inFlight.Dec()
	fx.Keep, fx.Final = p.replays(fx.Request), func(_ int, h http.Header) { p.say(x, h) }
	x.shadow = p.Mirror.begin(x)
	defer x.shadow.end()
	if resp, err := p.carry(x); err != nil {
		x.Explain(err, "the arm")
	} else {
		p.answer(x, resp)
	}
}

// done is the end of an exchange.
func (p *Proxy) done(fx *forward.Exchange) {
	x, _ := fx.User.(*exchange)
	switch {
	case x == nil: // refused: nobody has decided, unless the fast path had
		p.forget(fx.Client)
		x = &exchange{Exchange: fx, facts: p.facts(fx)}
		fallthrough
	case x.decision.Arm == nil:
		p.Metrics.unsplit(fx.Code())
	default:
		p.Splitter.Done(x.decision.Arm, x.outcome)
		x.decision.Arm.counter.answered(fx.Code(), time.Since(fx.Began))
	}
	p.Requests.write(x)
}

func (p *Proxy) facts(x *forward.Exchange) Facts {
	r := x.Request
	f := Facts{
		Method: r.Method,
		Host:   r.Host,
		Client: p.Forwarder.Client(r.RemoteAddr, r.Header["X-Forwarded-For"]),
		Header: r.Header,
	}
	f.SetTarget(x.Target)
	return f
}

// say adds what the client is told of the decision.
func (p *Proxy) say(x *exchange, h http.Header) {
	d := &x.decision
	if p.ArmHeader != "" {
		h.Set(p.ArmHeader, d.Arm.Name)
	}
	if p.ReasonHeader != "" {
		h.Set(p.ReasonHeader, string(d.Reason))
	}
	if d.Assign {
		h.Add("Set-Cookie", d.Cookie())
	}
}
