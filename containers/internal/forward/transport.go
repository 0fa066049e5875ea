package forward

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"distlab/containers/internal/http1"
)

// Transport asks servers by HTTP/1.1. It is an http.RoundTripper for a proxy: what
// it is given goes out as it is. The target is that of the request's URL.Opaque,
// which SetTarget sets; no header is added but for the length and the trailers;
// an answer comes as soon as there is one, while the body is still on its
// way. A body is read by one goroutine, and no more once the answer has been closed.
//
// net/http's own transport escapes targets anew, refuses or loses answers that
// every browser takes, and reads on in a body for as long as it likes.
type Transport struct {
	Dial     func(ctx context.Context, addr string) (net.Conn, error) // nil: Dial
	Response time.Duration                                            // for a server to begin its answer; 0: no limit
	Idle     time.Duration                                            // to keep a connection for the next request; 0: no limit
	MaxIdle  int                                                      // connections kept for one server; 0 is 256

	mu     sync.Mutex // guards the following
	idle   map[string][]*link
	closed bool
}

// continueAfter is how long a server gets to say 100 Continue.
const continueAfter = time.Second

// maxRetries bounds how many dead connections a request tries.
const maxRetries = 8

// SetTarget has a request ask for exactly this target: a path, perhaps with a
// query, or "*".
func SetTarget(r *http.Request, target string) {
	r.URL.Path, r.URL.RawPath, r.URL.RawQuery, r.URL.ForceQuery = "", "", "", false
	if r.URL.Opaque = target; target != "*" {
		r.URL.Opaque = "//" + r.Host + target // as net/http's HTTP/2 wants it
	}
}

// Target is what SetTarget has set, or what the URL says.
func Target(r *http.Request) string {
	if target, ok := strings.CutPrefix(r.URL.Opaque, "//"+r.Host); ok {
		return target
	}
	return r.URL.RequestURI()
}

// RoundTrip asks the server at the request's URL.Host. A connection that dies
// while it lies idle is not noticed by a request that may be sent twice.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	for tries := 0; ; tries++ {
		l, used, err := t.get(r, tries < maxRetries)
		if err != nil {
			closeBody(r)
			return nil, err
		}
		if trace := httptrace.ContextClientTrace(r.Context()); trace != nil && trace.GotConn != nil {
			trace.GotConn(httptrace.GotConnInfo{Conn: l.Conn, Reused: used})
		}
		resp, err := l.ask(r)
		switch {
		case err == nil:
			return resp, nil
		case r.Context().Err() != nil:
			return nil, context.Cause(r.Context())
		case !used || !l.silent() || !repeatable(r):
			return nil, err
		}
	}
}

// repeatable is RFC 9110's idempotent methods, without a body.
func repeatable(r *http.Request) bool {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace, http.MethodPut, http.MethodDelete:
		return r.Body == nil || r.Body == http.NoBody
	}
	return false
}

func closeBody(r *http.Request) {
	if r.Body != nil {
		r.Body.Close()
	}
}

// get finds an idle connection that lives, or makes one.
func (t *Transport) get(r *http.Request, old bool) (l *link, used bool, err error) {
	addr := r.URL.Host
	for old {
		if l = t.pop(addr); l == nil {
			break
		}
		if alive(l.Conn) {
			return l, true, nil
		}
		l.Close()
	}
	dial := t.Dial
	if dial == nil {
		dial = Dial
	}
	conn, err := dial(r.Context(), addr)
	if err != nil {
		if r.Context().Err() != nil {
			return nil, false, context.Cause(r.Context())
		}
		return nil, false, err
	}
	return newLink(t, addr, conn, nil), false, nil
}

func (t *Transport) pop(addr string) *link {
	t.mu.Lock()
	defer t.mu.Unlock()
	list := t.idle[addr]
	if len(list) == 0 {
		return nil
	}
	l := list[len(list)-1]
	t.idle[addr] = list[:len(list)-1]
	if l.timer != nil {
		l.timer.Stop()
	}
	return l
}

// put keeps a connection for the next request.
func (t *Transport) put(l *link) {
	most := t.MaxIdle
	if most == 0 {
		most = 256
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed || len(t.idle[l.addr]) >= most {
		l.Close()
		return
	}
	if t.idle == nil {
		t.idle = make(map[string][]*link)
	}
	t.idle[l.addr] = append(t.idle[l.addr], l)
	if t.Idle > 0 {
		if l.timer == nil {
			l.timer = time.AfterFunc(t.Idle, func() { t.expire(l) })
		} else {
			l.timer.Reset(t.Idle)
		}
	}
}

func (t *Transport) expire(l *link) {
	t.mu.Lock()
	defer t.mu.Unlock()
	list := t.idle[l.addr]
	if i := slices.Index(list, l); i >= 0 {
		if list = slices.Delete(list, i, i+1); len(list) == 0 {
			delete(t.idle, l.addr)
		} else {
			t.idle[l.addr] = list
		}
		l.Close()
	}
}

// CloseIdleConnections closes those that carry nothing.
func (t *Transport) CloseIdleConnections() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, list := range t.idle {
		for _, l := range list {
			if l.timer != nil {
				l.timer.Stop()
			}
			l.Close()
		}
	}
	t.idle = nil
}

// Close closes the idle connections, and from now on each after its answer.
func (t *Transport) Close() {
	t.mu.Lock()
	t.closed = true
	t.mu.Unlock()
	t.CloseIdleConnections()
}

// early returns the answer to a request that was sent by somebody else.
func (t *Transport) early(e *http1.Early, r *http.Request) (*http.Response, error) {
	if e.Conn == nil {
		closeBody(r)
		if e.Err == nil {
			return nil, io.ErrUnexpectedEOF
		}
		return nil, e.Err
	}
	l := newLink(t, "", e.Conn, e.Begun)
	l.failed = e.Err
	switch hasBody := r.Body != nil && r.Body != http.NoBody; {
	case e.Deaf:
		closeBody(r)
	case hasBody || len(e.Unsent) > 0:
		l.writing = &sending{done: make(chan struct{}), stop: make(chan struct{}), unsent: e.Unsent}
		go l.send(l.writing, r, false)
	default:
		l.limit()
	}
	return l.await(r)
}

// alwaysSized are the methods whose requests have a Content-Length even without
// a body.
func alwaysSized(method string) bool {
	return method == http.MethodPost || method == http.MethodPut || method == http.MethodPatch
}

// appendHead writes the head of a request. chunked says how its body is sent.
func appendHead(b []byte, r *http.Request) (out []byte, chunked bool, err error) {
	target := Target(r)
	for _, text := range []string{r.Method, target, r.Host} {
		if i := strings.IndexFunc(text, func(c rune) bool { return c <= ' ' || c == 0x7f }); i >= 0 || text == "" {
			if text == "" && r.Host == "" {
				continue
			}
			return nil, false, fmt.Errorf("%q cannot be in a request's head", text)
		}
	}
	b = append(append(append(b, r.Method...), ' '), target...)
	b = append(b, " HTTP/1.1\r\nHost: "...)
	b = append(append(b, r.Host...), "\r\n"...)
	hasBody := r.Body != nil && r.Body != http.NoBody
	switch {
	case hasBody && (r.ContentLength < 0 || len(r.Trailer) > 0):
		chunked = true
		b = append(b, "Transfer-Encoding: chunked\r\n"...)
		if len(r.Trailer) > 0 {
			b = append(b, "Trailer: "...)
			b = append(b, strings.Join(sortedKeys(r.Trailer), ", ")...)
			b = append(b, "\r\n"...)
		}
	case hasBody || alwaysSized(r.Method):
		b = append(b, "Content-Length: "...)
		b = strconv.AppendInt(b, max(0, r.ContentLength), 10)
		b = append(b, "\r\n"...)
	}
	return append(appendFields(b, r.Header), "\r\n"...), chunked, nil
}

func sortedKeys(h http.Header) []string {
	keys := make([]string, 0, len(h))
	for name := range h {
		keys = append(keys, name)
	}
	slices.Sort(keys)
	return keys
}

// appendFields writes header lines, but for those that appendHead writes, and
// those that would end a line.
func appendFields(b []byte, h http.Header) []byte {
	for _, name := range sortedKeys(h) {
		switch name {
		case "Host", "Content-Length", "Transfer-Encoding", "Trailer":
			continue
		}
		if name == "" || !isToken([]byte(name)) {
			continue
		}
		for _, value := range h[name] {
			if strings.ContainsAny(value, "\r\n\x00") {
				continue
			}
			b = append(append(b, name...), ": "...)
			b = append(append(b, value...), "\r\n"...)
		}
	}
	return b
}

// NotSent is an error before the first byte of a request.
func NotSent(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

// TimedOut is an error for want of an answer in time.
func TimedOut(err error) bool {
	var network net.Error
	return errors.As(err, &network) && network.Timeout()
}
