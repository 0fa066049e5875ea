package main

import (
	"context"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"distlab/containers/internal/forward"
	"distlab/containers/internal/http1"
)

// Cache answers what it has stored, and asks origins for the rest. All fields but the last few are required. They must
// not be changed after Serve.
type Cache struct {
	Name      string // in Via and Cache-Status
	Origins   Origins
	Store     *Store
	Rules     Rules
	Forwarder *http1.Forwarder
	Limits    forward.Limits
	Log       *slog.Logger
	Metrics   *Metrics

	MaxObject int64         // bytes of a body; larger ones are passed on
	MaxHeld   int64         // bytes of all bodies that are on their way into the store
	Stall     time.Duration // without a byte of a body that is stored
	Patience  time.Duration // for which a request waits for another one's answer
	Apart     time.Duration // for which nobody waits, when an answer was for one alone; 0: everybody always does

	NoCollapse bool     // every miss asks
	Heed       bool     // a client's Cache-Control, beyond only-if-cached and no-store
	Unkeyed    []string // headers that origins are not told with what may be stored
	Token      string   // of PURGE; "": nobody may
	Upgrades   []string
	H2C        bool

	once    sync.Once
	engine  *forward.Engine
	buffers sync.Pool
	held    atomic.Int64

	mu      sync.Mutex // guards the following
	flights map[string]*Flight
}

// Engine is what carries the requests.
func (c *Cache) Engine() *forward.Engine {
	c.once.Do(func() {
		c.Store.Evicted = c.Metrics.evicted.Inc
		c.Store.init()
		c.flights = map[string]*Flight{}
		c.buffers.New = func() any { b := make([]byte, 32<<10); return &b }
		c.engine = &forward.Engine{
			Handle: c.handle, Done: c.done,
			Refused:   func(_ net.Addr, reason string) { c.Metrics.refused.WithLabelValues(reason).Inc() },
			Forwarder: c.Forwarder, Upgrades: c.Upgrades, H2C: c.H2C, Limits: c.Limits, Log: c.Log,
		}
		door := &c.engine.Door
		door.Accepted = c.Metrics.accepted.Inc
		door.Rejected = func(reason string) { c.Metrics.rejected.WithLabelValues(reason).Inc() }
	})
	return c.engine
}

// Serve accepts connections from ln until Shutdown or Close. It owns ln.
func (c *Cache) Serve(ln net.Listener) error { return c.Engine().Serve(ln) }

// Shutdown stops accepting, and lets what is in flight end.
func (c *Cache) Shutdown(ctx context.Context) error { return c.Engine().Shutdown(ctx) }

// Close cuts everything at once.
func (c *Cache) Close() error { return c.Engine().Close() }

// request is one on its way.
type request struct {
	*forward.Exchange
	key     string
	asked   Asked
	control Control
	backend *forward.Backend
	own     http.Header // conditions, taken out of what the origin is told; nil: none
	result  string      // for the metrics
}

// handle answers one request.
func (c *Cache) handle(x *forward.Exchange) {
	r := &request{Exchange: x, control: ParseControl(x.Request.Header["Cache-Control"])}
	x.User = r
	in, out := x.Request, x.Out
	// What the origin is told of the host is what the answer is stored under: in one spelling.
	out.Host = strings.ToLower(in.Host)
	if h := out.Header["X-Forwarded-Host"]; len(h) > 0 {
		out.Header["X-Forwarded-Host"] = []string{strings.ToLower(h[0])}
	}
	r.key = keyOf(out, x.Target)
	if r.backend = c.Origins.Find(out.Host); r.backend == nil {
		r.result = "refused"
		x.Fail(http.StatusMisdirectedRequest, "no origin for this host")
		return
	}
	if in.Method == "PURGE" {
		c.purge(r)
		return
	}
	r.asked = Asked{
		Personal: !c.Rules.IgnoreAuth && len(in.Header["Authorization"]) > 0 || !c.Rules.IgnoreCookies && len(in.Header["Cookie"]) > 0,
		NoStore:  r.control.Has("no-store") && !c.Rules.IgnoreControl,
	}
	if why := bypass(x); why != "" {
		c.pass(r, told{fwd: why})
		return
	}
	c.look(r)
}

// bypass is why a request is not for a cache: Cache-Status' word, or "".
func bypass(x *forward.Exchange) string {
	in := x.Request
	switch {
	case in.Method != http.MethodGet && in.Method != http.MethodHead:
		return "method"
	case x.HasBody(): // a fat GET: what the origin makes of the body, nobody else may get
		return "bypass"
	case x.Out.Header["Upgrade"] != nil, len(in.Header["If-Match"]) > 0, len(in.Header["If-Unmodified-Since"]) > 0, x.Target == "*":
		return "bypass"
	}
	return ""
}

// pass asks the origin for one request, as it came.
func (c *Cache) pass(r *request, t told) {
	r.result = "pass"
	resp, err := r.Ask(r.backend)
	if err != nil {
		c.Metrics.asked("error")
		c.mark(r.Header(), t)
		r.Explain(err, "the origin")
		return
	}
	c.Metrics.asked(class(resp.StatusCode))
	t.status = resp.StatusCode
	if t.fwd == "method" && resp.StatusCode < 400 && !safe(r.Request.Method) {
		c.invalidate(r, resp.Header)
	}
	c.mark(resp.Header, t)
	r.Answer(resp)
}

// conditions are a client's own, which the cache answers by itself.
var conditions = []string{"If-None-Match", "If-Modified-Since", "If-Range", "Range", "Te", "Expect"}

// common leaves in what the origin is told nothing that is one client's alone, but the headers that an answer may vary
// by.
func (r *request) common(unkeyed []string) {
	h := r.Out.Header
	for _, name := range conditions {
		if values, there := h[name]; there {
			if r.own == nil {
				r.own = http.Header{}
			}
			r.own[name] = values
			delete(h, name)
		}
	}
	for _, name := range unkeyed {
		delete(h, name)
	}
	if lines := h["Accept-Encoding"]; len(lines) > 0 {
		if e := plainEncoding(lines); e != "" {
			h["Accept-Encoding"] = []string{e}
		} else {
			delete(h, "Accept-Encoding")
		}
	}
	// The port is what host and scheme say: nothing that a proxy before this one makes of it may get into what is
	// stored.
	port := "80"
	if h.Get("X-Forwarded-Proto") == "https" {
		port = "443"
	}
	if i := strings.LastIndexByte(r.Out.Host, ':'); i > strings.LastIndexByte(r.Out.Host, ']') && i < len(r.Out.Host)-1 {
		port = r.Out.Host[i+1:]
	}
	h["X-Forwarded-Port"] = []string{port}
}

// question is what the origin is asked for all who want the same.
func (r *request) question(ctx context.Context, stale *Object) *http.Request {
	req := r.Out.Clone(ctx)
	req.Method, req.Body, req.ContentLength = http.MethodGet, http.NoBody, 0
	if stale != nil {
		if tag := stale.Header.Get("Etag"); tag != "" {
			req.Header["If-None-Match"] = []string{tag}
		}
		if modified := stale.Header.Get("Last-Modified"); modified != "" {
			req.Header["If-Modified-Since"] = []string{modified}
		}
	}
	req.URL.Host = r.backend.Addr
	forward.SetTarget(req, r.Target)
	return req
}

// look answers from the store, or asks.
func (c *Cache) look(r *request) {
	r.common(c.Unkeyed)
	header := r.Out.Header
	alone := c.NoCollapse || r.asked.NoStore
	t := told{fwd: "uri-miss"}
	for try := 0; ; try++ {
		now := c.Store.Now()
		known, o := c.Store.find(r.key, r.asked, header)
		if o != nil {
			if try == 0 && c.fresh(r, o, now) {
				r.result = "hit"
				c.serve(r.Exchange, o, told{hit: true})
				return
			}
			if try == 0 && !o.Check && o.Left(now) <= 0 && -o.Left(now) < o.While && !c.wantsNew(r) {
				c.background(r, o, header)
				r.result = "stale"
				c.serve(r.Exchange, o, told{hit: true, detail: "stale-while-revalidate"})
				return
			}
			if try == 0 && now.Before(known.failed) && c.mayFail(o, now) {
				r.result = "stale"
				c.serve(r.Exchange, o, told{hit: true, detail: "stale-if-error"})
				return
			}
			t.fwd = "stale"
			if o.Left(now) > 0 {
				t.fwd = "request"
			}
		} else if len(known.objects) > 0 {
			t.fwd = "vary-miss"
		}
		if r.control.Has("only-if-cached") {
			r.result = "refused"
			c.mark(r.Header(), told{fwd: t.fwd, detail: "only-if-cached"})
			r.Fail(http.StatusGatewayTimeout, "nothing is stored")
			return
		}
		if try == 0 && o == nil && c.Store.apart(r.key, known, r.asked, now) {
			t.detail = "apart"
			maps.Copy(header, r.own) // as it came, with the client's own conditions
			c.pass(r, t)
			return
		}
		alone = alone || try > 2 || c.Store.apart(r.key, known, r.asked, now)
		if c.answer(r, o, c.joinKey(r, known, header, alone), &t, try > 0) {
			return
		}
		alone = alone || t.detail == "alone"
		t.detail = ""
	}
}

// fresh is whether an object answers a request without the origin.
func (c *Cache) fresh(r *request, o *Object, now time.Time) bool {
	if o.Check {
		return false
	}
	left := o.Left(now)
	if !c.Heed {
		return left > 0
	}
	if r.control.Has("no-cache") || len(r.control) == 0 && slices.Contains(r.Request.Header["Pragma"], "no-cache") {
		return false
	}
	if most, there := r.control.Seconds("max-age"); there && o.Age(now) > most {
		return false
	}
	if least, there := r.control.Seconds("min-fresh"); there && left < least {
		return false
	}
	if left > 0 {
		return true
	}
	value, there := r.control["max-stale"]
	return there && !o.NoStale && (value == "" || -left <= delta(value))
}

// wantsNew is whether a client does not want what is stale.
func (c *Cache) wantsNew(r *request) bool {
	return c.Heed && (r.control.Has("no-cache") || r.control.Has("max-age") || r.control.Has("min-fresh"))
}

// joinKey is which requests may wait for one answer: those to whom all says that it will fit.
func (c *Cache) joinKey(r *request, known *resource, header http.Header, alone bool) string {
	if alone {
		return ""
	}
	personal := ""
	if r.asked.Personal {
		personal = "personal"
	}
	return strings.Join([]string{r.key, personal, varied(known.vary, header)}, "\x01")
}

// background revalidates what was served stale, once at a time.
func (c *Cache) background(r *request, o *Object, header http.Header) {
	join := strings.Join([]string{r.key, "background", o.Varied}, "\x01")
	f, first := c.board(r, join, o)
	if !first {
		c.leave(f)
		return
	}
	go func() {
		<-f.done
		c.leave(f)
	}()
}

// done is the end of an exchange.
func (c *Cache) done(x *forward.Exchange) {
	r, _ := x.User.(*request)
	result := "refused"
	if r != nil && r.result != "" {
		result = r.result
	}
	c.Metrics.answered(result, x.Code(), time.Since(x.Began))
}
