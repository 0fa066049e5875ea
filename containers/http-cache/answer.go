package main

import (
	"net/http"
	"time"
)

// answer takes part in a flight and answers with what comes of it. It is false where the request must try again: what
// came was not for it, or, the first time, was nothing.
func (c *Cache) answer(r *request, stale *Object, join string, t *told, again bool) bool {
	f, first := c.board(r, join, stale)
	defer c.leave(f)
	if !first {
		t.collapsed = true
		timer := time.NewTimer(c.Patience)
		defer timer.Stop()
		select {
		case <-f.done:
		case <-r.Context().Done():
			r.result = "left"
			r.Explain(errLeft, "the origin")
			return true
		case <-timer.C:
			t.detail, t.collapsed = "alone", false
			return false
		}
	} else {
		select {
		case <-f.done:
		case <-r.Context().Done():
			r.result = "left"
			r.Explain(errLeft, "the origin")
			return true
		}
	}
	out := &f.out
	t.status, t.stored = out.status, out.stored
	switch {
	case out.failed():
		return c.failed(r, f, stale, t, first, again)
	case out.object != nil && (first || out.open && out.object.Fits(r.asked, r.Out.Header)):
		r.result = map[bool]string{true: "miss", false: "collapsed"}[first]
		if first && stale != nil && out.status == http.StatusNotModified {
			r.result = "revalidated"
		}
		c.serve(r.Exchange, out.object, *t)
		return true
	case first:
		r.result = "pass"
		resp := out.resp
		c.mu.Lock()
		out.resp = nil // it is ours to close
		c.mu.Unlock()
		t.detail = out.why
		c.mark(resp.Header, *t)
		c.give(r, resp)
		return true
	}
	t.collapsed = false
	if !out.open {
		t.detail = "alone"
	}
	return false
}

// give passes the origin's answer to a question on to the one client that it is for, who may have wanted less.
func (c *Cache) give(r *request, resp *http.Response) {
	same := resp.StatusCode == http.StatusOK && unchanged(r.Request.Header, resp.Header)
	if !same && r.Request.Method != http.MethodHead {
		r.Answer(resp)
		return
	}
	resp.Body.Close()
	clean(resp.Header)
	h, status := r.Header(), resp.StatusCode
	for name, values := range resp.Header {
		h[name] = values
	}
	if same {
		status = http.StatusNotModified
		for _, name := range ofBody {
			delete(h, name)
		}
	}
	r.WriteHeader(status)
}

// failed answers when the origin could not: with what is stale where that may be, else with the origin's own words to
// the one who asked, and with ours to those who waited, after one more try for all of them together.
func (c *Cache) failed(r *request, f *Flight, stale *Object, t *told, first, again bool) bool {
	now := c.Store.Now()
	if stale != nil && c.mayFail(stale, now) {
		r.result = "stale"
		t.detail = "stale-if-error"
		c.serve(r.Exchange, stale, *t)
		return true
	}
	out := &f.out
	switch {
	case !first && !again:
		t.collapsed = false
		return false
	case first && out.resp != nil:
		r.result = "pass"
		c.mu.Lock()
		resp := out.resp
		out.resp = nil
		c.mu.Unlock()
		t.detail = out.why
		c.mark(resp.Header, *t)
		c.give(r, resp)
	case first && out.err != nil:
		r.result = "error"
		c.mark(r.Header(), *t)
		r.Explain(out.err, "the origin")
	default:
		r.result = "error"
		c.mark(r.Header(), *t)
		r.Header().Set("Retry-After", "1")
		r.Fail(out.status, "the origin failed one who asked the same")
	}
	return true
}

// mayFail is whether an object may be used since the origin cannot answer.
func (c *Cache) mayFail(o *Object, now time.Time) bool { return !o.Check && -o.Left(now) < o.Error }
