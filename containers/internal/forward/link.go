package forward

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// link is a connection to a server. It carries one exchange at a time: one
// goroutine reads the answer, and where there is a body another one writes it.
type link struct {
	net.Conn
	t      *Transport
	addr   string
	r      *bufio.Reader
	timer  *time.Timer // of an idle one
	failed error       // instead of what comes after the buffered beginning

	read    atomic.Int64 // bytes of the present answer
	mu      sync.Mutex
	began   bool     // the head of the answer has come; guarded by mu
	writing *sending // the body of the present request; nil: none
}

// sending is a request's body on its way.
type sending struct {
	done     chan struct{} // closed when the goroutine has ended
	go100    chan struct{} // closed when the server says 100; nil: nobody waits
	once     sync.Once
	stop     chan struct{} // closed when the answer makes the body needless
	stopOnce sync.Once
	unsent   []byte      // goes before it
	ended    atomic.Bool // the body has come to its end
	whole    bool        // it was sent; valid after done
}

func newLink(t *Transport, addr string, conn net.Conn, begun []byte) *link {
	l := &link{Conn: conn, t: t, addr: addr}
	l.r = bufio.NewReader(&counted{l, bytes.NewReader(begun)})
	return l
}

// counted reads a link's connection, behind what was read of it already.
type counted struct {
	l     *link
	begun *bytes.Reader
}

func (c *counted) Read(p []byte) (int, error) {
	if c.begun.Len() > 0 {
		n, err := c.begun.Read(p)
		c.l.read.Add(int64(n))
		return n, err
	}
	if c.l.failed != nil {
		return 0, c.l.failed
	}
	n, err := c.l.Conn.Read(p)
	c.l.read.Add(int64(n))
	return n, err
}

// silent is whether nothing of an answer came.
func (l *link) silent() bool { return l.read.Load() == 0 }

// ask sends a request and reads the head of its answer. On an error the link is
// closed.
func (l *link) ask(r *http.Request) (*http.Response, error) {
	text, chunked, err := appendHead(make([]byte, 0, 1<<10), r)
	if err != nil {
		l.Close()
		closeBody(r)
		return nil, err
	}
	l.read.Store(0)
	l.writing, l.began = nil, false
	if _, err := l.Conn.Write(text); err != nil {
		l.Close()
		closeBody(r)
		return nil, fmt.Errorf("write: %w", err)
	}
	if r.Body == nil || r.Body == http.NoBody {
		l.limit()
		return l.await(r)
	}
	s := &sending{done: make(chan struct{}), stop: make(chan struct{})}
	if tokenIn(r.Header["Expect"], "100-continue") {
		s.go100 = make(chan struct{})
	}
	l.writing = s
	go l.send(s, r, chunked)
	return l.await(r)
}

// limit begins the time in which the answer must begin, if it has not.
func (l *link) limit() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.t.Response > 0 && !l.began {
		l.Conn.SetReadDeadline(time.Now().Add(l.t.Response))
	}
}

// unlimited ends it.
func (l *link) unlimited() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.began = true
	l.Conn.SetReadDeadline(time.Time{})
}

// send is the goroutine that writes a body. Whatever goes wrong in reading the
// body ends the link; a server that takes no more may still have answered.
func (l *link) send(s *sending, r *http.Request, chunked bool) {
	defer close(s.done)
	defer closeBody(r)
	defer func() {
		if p := recover(); p != nil { // nothing of one request may end the process
			l.Close()
		}
	}()
	if s.go100 != nil {
		wait := time.NewTimer(continueAfter)
		defer wait.Stop()
		select {
		case <-s.go100:
		case <-wait.C:
		case <-s.stop:
			return
		}
	}
	if s.whole = l.copyBody(s, r, chunked); s.whole {
		l.limit()
	}
}

// copyBody is false if the server did not get all.
func (l *link) copyBody(s *sending, r *http.Request, chunked bool) bool {
	if _, err := l.Conn.Write(s.unsent); err != nil {
		return false
	}
	if r.Body == nil || r.Body == http.NoBody {
		s.ended.Store(true)
		return true
	}
	buf := largeBuffers.Get().(*[]byte)
	defer largeBuffers.Put(buf)
	const room = 24 // for the chunk's size and its end
	left := r.ContentLength
	for {
		n, err := r.Body.Read((*buf)[room : len(*buf)-room])
		if n > 0 {
			p := (*buf)[room : room+n]
			switch {
			case chunked:
				p = inChunk(*buf, room, n)
			case left < int64(n):
				l.Close() // more than it said
				return false
			}
			left -= int64(n)
			if _, err := l.Conn.Write(p); err != nil {
				return false
			}
		}
		switch {
		case err == nil:
			continue
		case err != io.EOF || !chunked && left != 0:
			l.Close()
			return false
		}
		s.ended.Store(true)
		if chunked {
			end := appendFields([]byte("0\r\n"), r.Trailer)
			if _, err := l.Conn.Write(append(end, "\r\n"...)); err != nil {
				return false
			}
		}
		return true
	}
}

// inChunk makes a chunk of the n bytes at buf[room:], in place.
func inChunk(buf []byte, room, n int) []byte {
	var size [20]byte
	line := append(strconv.AppendInt(size[:0], int64(n), 16), "\r\n"...)
	from := room - len(line)
	copy(buf[from:], line)
	copy(buf[room+n:], "\r\n")
	return buf[from : room+n+2]
}

// await reads informational answers and the head of the final one.
func (l *link) await(r *http.Request) (*http.Response, error) {
	stop := context.AfterFunc(r.Context(), func() { l.Close() })
	resp, err := l.answer(r)
	if err != nil {
		stop()
		l.Close()
		l.finish()
		return nil, err
	}
	if b, ok := resp.Body.(*answerBody); ok {
		b.stop = stop
		if b.done() {
			b.release(true)
		}
	} else {
		stop() // a tunnel is cut by whoever has it
	}
	return resp, nil
}

// finish ends the goroutine that writes the body. It does not wait for it: it may
// be reading the body, whose owner ends that.
func (l *link) finish() {
	if s := l.writing; s != nil {
		s.stopOnce.Do(func() { close(s.stop) })
	}
}

func (l *link) answer(r *http.Request) (*http.Response, error) {
	trace := httptrace.ContextClientTrace(r.Context())
	left := maxAnswerHead
	for {
		h, err := readHead(l.r, &left)
		if err != nil {
			return nil, fmt.Errorf("read: %w", err)
		}
		if h.status == http.StatusSwitchingProtocols {
			return l.switched(r, h)
		}
		if h.status >= 200 {
			l.unlimited()
			l.finishExpecting()
			return l.response(r, h), nil
		}
		if s := l.writing; h.status == http.StatusContinue && s != nil && s.go100 != nil {
			s.once.Do(func() { close(s.go100) })
		}
		if trace != nil && trace.Got1xxResponse != nil {
			if err := trace.Got1xxResponse(h.status, textproto.MIMEHeader(h.header)); err != nil {
				return nil, err
			}
		}
	}
}

// finishExpecting: who waits for 100 and gets the answer sends no body.
func (l *link) finishExpecting() {
	if s := l.writing; s != nil && s.go100 != nil {
		select {
		case <-s.go100:
		default:
			l.finish()
		}
	}
}

func (l *link) response(r *http.Request, h *head) *http.Response {
	resp := &http.Response{
		Status: strconv.Itoa(h.status) + " " + h.reason, StatusCode: h.status,
		Proto: "HTTP/1." + strconv.Itoa(h.minor), ProtoMajor: 1, ProtoMinor: h.minor,
		Header: h.header, ContentLength: h.length, Request: r, Close: h.last,
	}
	b := &answerBody{l: l, last: h.last, kind: sized, left: h.length}
	switch {
	case h.status == http.StatusNoContent || h.status == http.StatusNotModified || r.Method == http.MethodHead:
		b.kind, b.left = sized, 0
		if h.status == http.StatusNoContent {
			b.last = b.last || h.length > 0 || h.chunked // it may well send what it must not
			delete(h.header, "Content-Length")
			resp.ContentLength = 0
		}
	case h.chunked:
		b.kind = inChunks
		b.resp = resp
		resp.Trailer = announced(h.header)
	case h.length < 0:
		b.kind, b.last = toTheEnd, true
	}
	delete(h.header, "Trailer")
	resp.Body = b
	return resp
}

// announced are the trailers that are said to come, without values.
func announced(h http.Header) http.Header {
	var t http.Header
	for _, list := range h["Trailer"] {
		for name := range splitList(list) {
			if key := textproto.CanonicalMIMEHeaderKey(name); mayTrail(key) {
				if t == nil {
					t = make(http.Header)
				}
				t[key] = nil
			}
		}
	}
	return t
}

// switched makes a tunnel of the connection, if that was asked for.
func (l *link) switched(r *http.Request, h *head) (*http.Response, error) {
	if r.Header.Get("Upgrade") == "" || l.writing != nil {
		return nil, malformed("it switches protocols, which nobody asked for")
	}
	l.unlimited()
	resp := l.response(r, h)
	resp.Body = &tunnelEnd{link: l}
	return resp, nil
}

// tunnelEnd is the server's end of a tunnel, with what it has sent already.
type tunnelEnd struct{ *link }

func (t *tunnelEnd) Read(p []byte) (int, error) { return t.r.Read(p) }
func (t *tunnelEnd) CloseWrite() error          { return CloseWrite(t.Conn) }
