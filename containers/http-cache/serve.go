package main

import (
	"fmt"
	"iter"
	"net/http"
	"strconv"
	"strings"
	"time"

	"distlab/containers/internal/forward"
)

// fields are the elements of a list in a header.
func fields(line string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for part := range strings.SplitSeq(line, ",") {
			if part = strings.TrimSpace(part); part != "" && !yield(part) {
				return
			}
		}
	}
}

// told is what Cache-Status says of an answer (RFC 9211).
type told struct {
	hit       bool
	fwd       string // why the origin was asked: bypass, method, request, uri-miss, vary-miss, stale
	status    int    // what it said; 0: nothing
	stored    bool
	collapsed bool
	ttl       time.Duration
	hasTTL    bool
	detail    string
}

func (t told) String() string {
	var b strings.Builder
	switch {
	case t.hit:
		b.WriteString("; hit")
	default:
		b.WriteString("; fwd=" + t.fwd)
		if t.status > 0 {
			fmt.Fprintf(&b, "; fwd-status=%d", t.status)
		}
		if t.stored {
			b.WriteString("; stored")
		}
		if t.collapsed {
			b.WriteString("; collapsed")
		}
	}
	if t.hasTTL {
		fmt.Fprintf(&b, "; ttl=%d", int64(t.ttl/time.Second))
	}
	if t.detail != "" {
		b.WriteString("; detail=" + t.detail)
	}
	return b.String()
}

// mark adds what every answer through the cache has.
func (c *Cache) mark(h http.Header, t told) {
	h["Cache-Status"] = append(h["Cache-Status"][:len(h["Cache-Status"]):len(h["Cache-Status"])], c.Name+t.String())
	h["Via"] = append(h["Via"][:len(h["Via"]):len(h["Via"])], "1.1 "+c.Name)
}

// serve answers with an object, as the request wants it: whole, a part of it, or that it has not changed.
func (c *Cache) serve(x *forward.Exchange, o *Object, t told) {
	now := c.Store.Now()
	h := x.Header()
	for name, values := range o.Header {
		h[name] = values[:len(values):len(values)]
	}
	h["Age"] = []string{strconv.FormatInt(int64(o.Age(now)/time.Second), 10)}
	t.ttl, t.hasTTL = o.Left(now), true
	c.mark(h, t)
	if o.Status == http.StatusOK && unchanged(x.Request.Header, o.Header) {
		for _, name := range ofBody {
			delete(h, name)
		}
		x.WriteHeader(http.StatusNotModified)
		return
	}
	data, whole := o.Body.Whole()
	length := o.Body.Length
	if whole {
		length = int64(len(data))
	}
	status, from, n := o.Status, int64(0), int64(-1)
	if status == http.StatusOK && x.Request.Method == http.MethodGet && length >= 0 {
		h["Accept-Ranges"] = []string{"bytes"}
		switch span, first, count := ranged(x.Request.Header, o.Header, length); span {
		case spanBad:
			for _, name := range ofBody {
				delete(h, name)
			}
			h["Content-Range"] = []string{fmt.Sprintf("bytes */%d", length)}
			x.Fail(http.StatusRequestedRangeNotSatisfiable, "the range begins behind the end")
			return
		case spanPart:
			status, from, n = http.StatusPartialContent, first, count
			h["Content-Range"] = []string{fmt.Sprintf("bytes %d-%d/%d", first, first+count-1, length)}
		}
	}
	if n >= 0 {
		h["Content-Length"] = []string{strconv.FormatInt(n, 10)}
	} else if length >= 0 && status != http.StatusNoContent {
		h["Content-Length"] = []string{strconv.FormatInt(length, 10)}
	}
	if x.Request.Method == http.MethodHead {
		x.WriteHeader(status)
		return
	}
	if whole {
		x.WriteHeader(status)
		if n >= 0 {
			data = data[from : from+n]
		}
		if len(data) > 0 {
			x.Write(data)
		}
		return
	}
	body := o.Body.Read(from, n, x.Context().Done())
	if body == nil { // its beginning is gone, and nobody may join it then; but who was told so may have been slow
		for name := range h {
			delete(h, name)
		}
		c.mark(h, t)
		x.Fail(http.StatusBadGateway, "the answer is too large to be shared")
		return
	}
	// Answer adds the header that it is given to what is there.
	resp := &http.Response{StatusCode: status, Body: body, ContentLength: length, Header: http.Header{}}
	x.Answer(resp)
}

// ofBody are headers that say what the body is like.
var ofBody = []string{"Content-Length", "Content-Type", "Content-Encoding", "Content-Language", "Content-Range"}

// unchanged is whether the client has the answer already: RFC 9110 section 13.2.2 for GET and HEAD.
func unchanged(asked, has http.Header) bool {
	if tags := asked["If-None-Match"]; len(tags) > 0 {
		tag := has.Get("Etag")
		for _, line := range tags {
			for t := range entityTags(line) {
				if t == "*" || tag != "" && weak(t) == weak(tag) {
					return true
				}
			}
		}
		return false
	}
	since, there := date(asked, "If-Modified-Since")
	modified, known := date(has, "Last-Modified")
	return there && known && !since.IsZero() && !modified.IsZero() && !modified.After(since)
}

func weak(tag string) string { return strings.TrimPrefix(tag, "W/") }

// entityTags are those of a list; a comma may be in one.
func entityTags(line string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for line != "" {
			line = strings.TrimLeft(line, " \t,")
			begin := strings.IndexByte(line, '"')
			if comma := strings.IndexByte(line, ','); begin < 0 || comma >= 0 && comma < begin {
				tag, rest, _ := strings.Cut(line, ",")
				if tag = strings.TrimSpace(tag); tag != "" && !yield(tag) {
					return
				}
				line = rest
				continue
			}
			end := strings.IndexByte(line[begin+1:], '"')
			if end < 0 {
				return
			}
			if end += begin + 2; !yield(line[:end]) {
				return
			}
			line = line[end:]
		}
	}
}

type span uint8

const (
	spanAll span = iota
	spanPart
	spanBad
)

// ranged is the part of an object that a request asks for. Several parts, or a unit that is not bytes, are answered
// with all of it (RFC 9110 section 14.2 lets a server).
func ranged(asked, has http.Header, length int64) (s span, from, n int64) {
	values := asked["Range"]
	if len(values) != 1 {
		return spanAll, 0, -1
	}
	unit, set, _ := strings.Cut(values[0], "=")
	if !strings.EqualFold(strings.TrimSpace(unit), "bytes") || strings.Contains(set, ",") {
		return spanAll, 0, -1
	}
	if cond := asked.Get("If-Range"); cond != "" && !same(cond, has) {
		return spanAll, 0, -1
	}
	first, last, dash := strings.Cut(strings.TrimSpace(set), "-")
	a, okA := number(first)
	b, okB := number(last)
	switch {
	case !dash || first != "" && !okA || last != "" && !okB || first == "" && last == "":
		return spanAll, 0, -1 // not a range at all
	case first == "": // the last b bytes
		if b == 0 || length == 0 {
			return spanBad, 0, 0
		}
		b = min(b, length)
		return spanPart, length - b, b
	case last != "" && b < a:
		return spanAll, 0, -1
	case a >= length:
		return spanBad, 0, 0
	case last == "" || b >= length:
		b = length - 1
	}
	return spanPart, a, b - a + 1
}

func number(s string) (n int64, ok bool) {
	if s == "" || strings.Trim(s, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		n = 1<<63 - 1
	}
	return n, true
}

// same is If-Range's strong comparison (RFC 9110 section 13.1.5).
func same(cond string, has http.Header) bool {
	if strings.Contains(cond, `"`) {
		return !strings.HasPrefix(cond, "W/") && cond == has.Get("Etag")
	}
	t, err := http.ParseTime(cond)
	modified, known := date(has, "Last-Modified")
	sent, dated := date(has, "Date")
	return err == nil && known && t.Equal(modified) && dated && sent.Sub(modified) >= time.Second
}
