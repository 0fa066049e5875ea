package main

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"distlab/containers/internal/forward"
)

// Flight is one question to the origin, for all who wait for its answer. It runs under a context of its own: the client
// that began it may leave, and the others get their answer still. It ends with the last of them, unless its answer is
// to be stored.
//
// Source: RFC 9111 section 4 for what may be shared; Varnish's hit-for-miss for those who then must not wait.
type Flight struct {
	key, join string      // join: "" if nobody else may wait for it
	purged    atomic.Bool // what it brings is not stored
	overtaken atomic.Bool // by a purge: who comes later must not wait for it
	seq       uint64
	asked     Asked
	header    http.Header // of the question
	stale     *Object     // what it asks about; nil: nothing is stored
	cancel    context.CancelFunc
	waiting   int // guarded by the cache's mu

	done chan struct{} // closed when the following are valid
	out  Outcome
}

// Outcome is what a flight has come to. One of object, resp and err is set; resp beside status if the origin says that
// it failed.
type Outcome struct {
	object *Object
	open   bool           // the object is for all who wait, if it fits them
	stored bool           // or about to be
	resp   *http.Response // for the one who began it
	why    string         // why it is not stored
	status int            // of the origin's answer, or ours for want of one
	err    error
}

// failed is whether the origin could not answer: stale-if-error's four (RFC 5861 section 4), and no answer.
func (o *Outcome) failed() bool {
	switch o.status {
	case http.StatusInternalServerError, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return o.err != nil
}

var errLeft = errors.New("the client left")

// board finds the flight that a request may wait for, or begins one; first is whether it did. A flight that is begun is
// held by who began it.
func (c *Cache) board(r *request, join string, stale *Object) (f *Flight, first bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f = c.flights[join]; join != "" && f != nil && !f.overtaken.Load() && !f.past(c.Store.Now()) {
		f.waiting++
		return f, false
	}
	ctx, cancel := context.WithCancel(context.Background())
	req := r.question(ctx, stale)
	f = &Flight{key: r.key, join: join, asked: r.asked, header: req.Header, stale: stale, cancel: cancel, waiting: 1, done: make(chan struct{})}
	if join != "" {
		c.flights[join] = f
	}
	c.Store.began(f)
	go c.fly(f, req, r.backend)
	return f, true
}

// past is whether a flight has brought what is stale by now, its body still on the way: who comes now asks anew.
func (f *Flight) past(now time.Time) bool {
	select {
	case <-f.done:
		return f.out.object == nil || f.out.object.Left(now) <= 0
	default:
		return false
	}
}

// leave is the end of one's waiting.
func (c *Cache) leave(f *Flight) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f.waiting--; f.waiting > 0 {
		return
	}
	f.cancel()
	c.close(f)
	select {
	case <-f.done:
		if f.out.resp != nil {
			f.out.resp.Body.Close()
		}
	default:
	}
}

// close has nobody else come aboard.
func (c *Cache) close(f *Flight) {
	if f.join != "" && c.flights[f.join] == f {
		delete(c.flights, f.join)
	}
}

// landed tells what has come of it.
func (c *Cache) landed(f *Flight, o Outcome) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f.out = o; !o.stored || !o.open {
		c.close(f)
	}
	close(f.done)
	if f.waiting == 0 && o.resp != nil {
		o.resp.Body.Close()
	}
}

// fly asks, and stores the answer where it may.
func (c *Cache) fly(f *Flight, req *http.Request, b *forward.Backend) {
	defer c.Store.over(f)
	began := c.Store.Now()
	resp, err := c.Engine().Transport(b).RoundTrip(req)
	if err != nil {
		c.Metrics.asked("error")
		status := http.StatusBadGateway
		if forward.TimedOut(err) {
			status = http.StatusGatewayTimeout
		}
		c.landed(f, Outcome{err: err, status: status})
		c.failing(f)
		return
	}
	c.Metrics.asked(class(resp.StatusCode))
	now := c.Store.Now()
	if _, there := date(resp.Header, "Date"); !there {
		resp.Header.Set("Date", now.UTC().Format(http.TimeFormat)) // RFC 9110 section 6.6.1
	}
	out := Outcome{status: resp.StatusCode}
	if out.failed() {
		out.resp, out.why = resp, "status"
		c.landed(f, out)
		c.failing(f)
		return
	}
	status, header, body := resp.StatusCode, resp.Header, (*Body)(nil)
	if status == http.StatusNotModified && f.stale != nil {
		status, header, body = f.stale.Status, f.stale.refreshed(resp.Header), f.stale.Body
		io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<10))
		resp.Body.Close()
	}
	o := &Object{Status: status, Header: header, Born: birth(header, began, now), Tags: tagsOf(header)}
	if body != nil {
		o.Born = birth(resp.Header, began, now)
	}
	o.Terms = c.Rules.Judge(status, header, f.asked)
	if !c.Rules.IgnoreVary {
		o.Vary = varyNames(header)
		o.Varied = varied(o.Vary, f.header)
	}
	if o.Why == "" && body == nil && (resp.ContentLength > c.MaxObject || len(resp.Trailer) > 0) {
		o.Why = "too-large"
	}
	out.why, out.open = o.Why, o.Why == "" && !o.Check && o.Left(now) > 0
	c.learn(f, o, out.open)
	switch {
	case body != nil: // not modified
		if o.Body = body; o.Why == "" {
			out.stored = c.Store.put(f, o)
		} else {
			c.Store.drop(f.key, f.stale)
		}
		out.object = o
		c.landed(f, out)
		c.shut(f)
	case o.Why != "":
		if f.stale != nil && o.Why != "request-no-store" && o.Why != "personal" {
			c.Store.drop(f.key, f.stale)
		}
		out.resp = resp
		c.landed(f, out)
	default:
		clean(header)
		o.Header = compact(header)
		o.Body = newBody(resp.ContentLength)
		out.object, out.stored = o, true
		c.mu.Lock()
		f.waiting++ // the store's own waiting
		c.mu.Unlock()
		c.landed(f, out)
		c.pump(f, o, resp.Body)
		c.leave(f)
	}
}

// recovers is what an origin that has failed gets before it is asked again for what may be used stale: nobody is to
// wait for a server that is away, while there is something to tell.
const recovers = time.Second

func (c *Cache) failing(f *Flight) {
	if f.stale != nil && f.stale.Error > 0 {
		c.Store.spare(f.key, recovers)
	}
}

// learn has the next ones know whether it is worth to wait for another's answer. One with a password says nothing of
// those without.
func (c *Cache) learn(f *Flight, o *Object, open bool) {
	switch {
	case open:
		c.Store.learn(f.key, o.Vary, 0)
	case o.Why == "request-no-store":
	case o.Why == "personal":
		c.Store.learn(f.key+forPersons, nil, c.Apart)
	default:
		c.Store.learn(f.key, o.Vary, c.Apart)
	}
}

// shut has nobody else come aboard.
func (c *Cache) shut(f *Flight) {
	c.mu.Lock()
	c.close(f)
	c.mu.Unlock()
}

// window is what is kept of a body that turns out to be too large to be stored.
const window = 256 << 10

// pump reads a body for all who read it, and stores the object when it is whole.
func (c *Cache) pump(f *Flight, o *Object, body io.ReadCloser) {
	defer body.Close()
	stall := time.AfterFunc(c.Stall, f.cancel)
	defer stall.Stop()
	buf := c.buffers.Get().(*[]byte)
	defer c.buffers.Put(buf)
	held, large := int64(0), false
	defer func() { c.held.Add(-held) }()
	for {
		n, err := body.Read(*buf)
		stall.Reset(c.Stall)
		if n > 0 {
			held += int64(n)
			if c.held.Add(int64(n)); !large && (held > c.MaxObject || c.held.Load() > c.MaxHeld) {
				large = true
				c.shut(f)
				c.Store.learn(f.key, o.Vary, c.Apart)
				c.seated(f, o)
				o.Body.narrow(window)
			}
			if !o.Body.append((*buf)[:n]) {
				o.Body.end(errLeft)
				f.cancel()
				return
			}
			if large { // what has been read by all is not held
				c.held.Add(window - held)
				held = window
			}
			stall.Reset(c.Stall)
		}
		switch {
		case err == io.EOF && o.Body.Length >= 0 && int64(o.Body.Len()) != o.Body.Length && !large:
			err = io.ErrUnexpectedEOF
			fallthrough
		case err != nil && err != io.EOF:
			o.Body.end(errors.Join(forward.ErrBroken, err))
			c.shut(f)
			return
		case err == io.EOF:
			if o.Body.end(nil); !large {
				c.Store.put(f, o)
			}
			c.shut(f)
			return
		}
	}
}

// seated waits until all who are aboard read, or have left: who has yet to begin needs the beginning.
func (c *Cache) seated(f *Flight, o *Object) {
	for {
		c.mu.Lock()
		aboard := f.waiting - 1
		c.mu.Unlock()
		if aboard <= o.Body.Readers() {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// hopByHop are for one connection, and not stored; what Connection names is neither. RFC 9111 section 3.1.
var hopByHop = []string{
	"Connection", "Proxy-Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authentication-Info", "Proxy-Authorization",
	"Te", "Trailer", "Transfer-Encoding", "Upgrade", "Age",
}

func clean(h http.Header) {
	for _, line := range h["Connection"] {
		for name := range fields(line) {
			h.Del(name)
		}
	}
	for _, name := range hopByHop {
		delete(h, name)
	}
	if values := h["Content-Length"]; len(values) > 1 {
		h["Content-Length"] = slices.Compact(values)[:1]
	}
}

// Waiting is how many requests wait for an origin, or for one that asks it.
func (c *Cache) Waiting() (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, f := range c.flights {
		n += f.waiting
	}
	return n
}
