package main

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"distlab/containers/internal/balance"
	"distlab/containers/internal/forward"
	"distlab/containers/internal/http1"
)

// Retry says what is a failure of a replica. Whether a request may be sent once more then is forward's to say
// ([forward.Exchange.MayRepeat]): a request that may have been done is not.
type Retry struct {
	On            bool         // send to another replica what may be sent once more
	Status        map[int]bool // answers that are failures
	NonIdempotent bool         // every method may be
	Body          int          // how many bytes of a body are kept for it
}

// Proxy carries requests to the replicas that a Pool chooses. All fields but the last few are required. They must not be
// changed after Serve.
type Proxy struct {
	Pool      *Pool
	Forwarder *http1.Forwarder
	Limits    forward.Limits
	Retry     Retry
	Log       *slog.Logger
	Metrics   *Metrics

	Wait          time.Duration // how long a request may wait for a replica with room
	Hedge         time.Duration // a second replica is asked when the first has not answered for so long; 0: never
	Sticky        *Sticky       // nil: no cookie
	ReplicaHeader string        // of answers; "": none
	Upgrades      []string
	H2C           bool
	Careful       bool // no fast path
	Loops         int

	once   sync.Once
	engine *forward.Engine
}

// Sticky keeps a browser at its replica by a cookie. Its value tells nobody an address: it is a digest, with a key where
// there is one.
type Sticky struct {
	Name   string
	Secret string

	known sync.Map // digest by address
}

func (s *Sticky) value(addr string) string {
	if v, ok := s.known.Load(addr); ok {
		return v.(string)
	}
	mac := hmac.New(sha256.New, []byte(s.Secret))
	mac.Write([]byte(addr))
	v := hex.EncodeToString(mac.Sum(nil)[:10])
	s.known.Store(addr, v)
	return v
}

// find is the address that a request's cookie names, or "".
func (s *Sticky) find(p *Pool, h balance.Getter) string {
	if s == nil {
		return ""
	}
	if v := balance.Cookie(h.Get("Cookie"), s.Name); v != "" {
		for _, r := range p.Replicas() {
			if hmac.Equal([]byte(v), []byte(s.value(r.Addr))) {
				return r.Addr
			}
		}
	}
	return ""
}

// Engine is what carries the requests.
func (p *Proxy) Engine() *forward.Engine {
	p.once.Do(func() {
		p.engine = &forward.Engine{
			Handle: p.handle, Done: p.done,
			Refused:   func(_ net.Addr, reason string) { p.Metrics.refused.WithLabelValues(reason).Inc() },
			Connected: func(c *forward.Conn) []byte { c.User = new(visitor); return nil },
			Forwarder: p.Forwarder, Upgrades: p.Upgrades, H2C: p.H2C, Loops: p.Loops, Limits: p.Limits, Log: p.Log,
		}
		door := &p.engine.Door
		door.Accepted = p.Metrics.accepted.Inc
		door.Rejected = func(reason string) { p.Metrics.rejected.WithLabelValues(reason).Inc() }
		door.Closed = p.forget
		if !p.Careful && p.Hedge == 0 {
			p.engine.Fast = &fast{p}
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

// exchange is one request on its way.
type exchange struct {
	*forward.Exchange
	facts   balance.Facts
	choice  Choice
	sticky  bool // it came with a cookie that names a replica
	assign  bool // it gets one
	outcome Outcome
}

// handle answers one request.
func (p *Proxy) handle(fx *forward.Exchange) {
	x := &exchange{Exchange: fx}
	fx.User = x
	r := fx.Request
	x.facts = balance.Facts{
		Method: r.Method, Host: r.Host, Header: r.Header,
		Client: p.Forwarder.Client(r.RemoteAddr, r.Header["X-Forwarded-For"]),
	}
	x.facts.SetTarget(fx.Target)
	if kept := taken(fx.Client); kept != nil {
		x.choice, x.sticky, x.assign = kept.choice, kept.sticky, kept.assign
	} else if reason := p.choose(x); reason != "" {
		p.Metrics.refused.WithLabelValues(reason).Inc()
		x.Header().Set("Retry-After", "1")
		x.Fail(http.StatusServiceUnavailable, "no replica takes requests now")
		return
	}
	if p.Retry.On && (forward.Idempotent(r.Method) || p.Retry.NonIdempotent) {
		fx.Keep = p.Retry.Body
	}
	fx.Final = func(_ int, h http.Header) { p.say(x, h) }
	resp, err := p.carry(x)
	if err != nil {
		x.Explain(err, "the replica")
		return
	}
	if err := x.Answer(resp); errors.Is(err, forward.ErrBroken) {
		x.outcome = Failed
		x.choice.counter.failed("broken")
	}
}

// choose finds a replica, and waits for one where all have as much as they may. The reason is why there is none.
func (p *Proxy) choose(x *exchange) (reason string) {
	named := p.Sticky.find(p.Pool, x.facts.Header)
	x.sticky = named != ""
	choice, err := p.Pool.Choose(&x.facts, named)
	if err == errFull && p.Wait > 0 {
		ctx, cancel := context.WithTimeout(x.Context(), p.Wait)
		defer cancel()
		for again := false; err == errFull; again = true {
			if !p.Pool.Wait(ctx.Done(), again) {
				if ctx.Err() == nil {
					return "queue_full"
				}
				return "queue_timeout"
			}
			choice, err = p.Pool.Choose(&x.facts, named)
		}
	}
	switch err {
	case nil:
	case errFull:
		return "full"
	default:
		return "no_replica"
	}
	x.choice = choice
	p.chosen(&x.choice, x.sticky)
	x.assign = p.Sticky != nil && !choice.Sticky
	return ""
}

func (p *Proxy) chosen(c *Choice, sticky bool) {
	if c.Panicked {
		p.Metrics.panicked.Inc()
	}
	if sticky {
		if c.Sticky {
			p.Metrics.sticky.WithLabelValues("kept").Inc()
		} else {
			p.Metrics.sticky.WithLabelValues("moved").Inc()
		}
	}
}

// carry asks the replica and, where that fails and it is safe, others.
func (p *Proxy) carry(x *exchange) (*http.Response, error) {
	for {
		resp, err := p.ask(x)
		reason := p.failure(x, resp, err)
		if reason == "" {
			return resp, err
		}
		failed := x.choice.Replica
		failed.counter.failed(reason)
		p.Log.Debug("replica failed", "replica", failed.Addr, "reason", reason, "error", err)
		if !p.Retry.On || !x.MayRepeat(err, forward.Idempotent(x.Request.Method) || p.Retry.NonIdempotent) {
			return resp, err
		}
		if !p.Pool.Again(&x.choice, &x.facts, !forward.NotSent(err)) {
			p.Metrics.denied.Inc()
			return resp, err
		}
		x.choice.counter.retried()
		x.assign = p.Sticky != nil
		if resp != nil {
			io.CopyN(io.Discard, resp.Body, 4<<10)
			resp.Body.Close()
		}
	}
}

// failure judges what came of an attempt; "" is no failure of the replica's.
func (p *Proxy) failure(x *exchange, resp *http.Response, err error) string {
	x.outcome = Failed
	if err == nil {
		if p.Retry.Status[resp.StatusCode] {
			return "status"
		}
		x.outcome = Good
		return ""
	}
	switch x.FaultOf(err) {
	case forward.ServerSlow:
		return "timeout"
	case forward.ServerFailed:
		if forward.NotSent(err) {
			return "dial"
		}
		return "broken"
	}
	x.outcome = Unknown // the client's
	return ""
}

// say adds what the client is told.
func (p *Proxy) say(x *exchange, h http.Header) {
	if x.choice.Replica == nil {
		return
	}
	if p.ReplicaHeader != "" {
		h.Set(p.ReplicaHeader, x.choice.Addr)
	}
	if x.assign {
		h.Add("Set-Cookie", p.Sticky.cookie(x.choice.Addr))
	}
}

func (s *Sticky) cookie(addr string) string {
	return s.Name + "=" + s.value(addr) + "; Path=/; HttpOnly; SameSite=Lax"
}

// done is the end of an exchange.
func (p *Proxy) done(fx *forward.Exchange) {
	x, _ := fx.User.(*exchange)
	if x == nil { // refused before anybody chose, unless the fast path had
		p.forget(fx.Client)
	}
	if x == nil || x.choice.Replica == nil {
		p.Metrics.own(fx.Code())
		return
	}
	p.Pool.Done(x.choice.Replica, x.outcome)
	x.choice.counter.answered(fx.Code(), time.Since(fx.Began))
}

// visitor is what is kept with a client's connection, for its exchange on the fast path.
type visitor struct {
	kept
	waiting atomic.Pointer[kept] // for the careful path
}

type kept struct {
	choice         Choice
	sticky, assign bool
	outcome        Outcome
}

// taken is the choice that the fast path has left, once.
func taken(c *forward.Conn) *kept {
	if v, _ := c.User.(*visitor); v != nil {
		return v.waiting.Swap(nil)
	}
	return nil
}

// forget is for a request that the fast path has left, and that never came to be served.
func (p *Proxy) forget(c *forward.Conn) {
	if k := taken(c); k != nil && k.choice.Replica != nil {
		p.Pool.Done(k.choice.Replica, Unknown)
	}
}
