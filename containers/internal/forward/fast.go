package forward

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/http"
	"runtime"
	"time"

	"distlab/containers/internal/fastpath"
	"distlab/containers/internal/http1"
)

// Fast is what a container decides for a plain exchange, on the event loops: what
// Handle does for it, in the same words. The methods are called by the loops, and
// must not block; those for one client never at once.
type Fast interface {
	// Begin decides to whom a request goes. nil leaves it, and the connection, to
	// Handle.
	Begin(c *Conn, r *http1.Request) *Backend
	// Answer is told of the head of the answer, and when the exchange began. It
	// appends the header lines that the client gets besides the server's. An answer
	// that is not plain after all, since the request is to be sent elsewhere, say,
	// is left to Handle, which will get it from its first Ask.
	Answer(dst []byte, c *Conn, r *http1.Response, began time.Time) (lines []byte, plain bool)
	// Says appends the lines that the client gets in an answer of the engine's own.
	Says(dst []byte, c *Conn) []byte
	// End is told the end of what Begin began, with the status that the client
	// got.
	End(c *Conn, status int, how fastpath.Ending, took time.Duration)
	// Undo takes back a Begin: Handle will do it all again, but for the sending.
	Undo(c *Conn)
}

// policy is the part of a fast path that is the same for all.
type policy struct {
	e    *Engine
	fast Fast
}

// newFastPath is nil where there is none.
func (e *Engine) newFastPath() *fastpath.Path {
	l := e.Limits
	path := &fastpath.Path{
		Policy: &policy{e, e.Fast},
		Limits: fastpath.Limits{
			HeaderBytes: l.HeaderBytes,
			Header:      l.Header,
			Idle:        l.Idle,
			Body:        l.Body,
			Send:        l.Send,
			Response:    l.Response,
			AppIdle:     l.ServerIdle,
		},
		Panicked: func(v any) { e.Log.Error("panic", "error", fmt.Sprint(v)) },
	}
	if err := path.Start(cmp.Or(e.Loops, runtime.GOMAXPROCS(0))); err != nil {
		e.Log.Info("no fast path", "error", err)
		return nil
	}
	return path
}

// takeFast is false if the connection stays with the careful path.
func (e *Engine) takeFast(c *Conn) bool {
	if e.fast == nil {
		return false
	}
	socket, ok := c.Conn.(*fastpath.Socket)
	return ok && e.fast.Take(&fastpath.Client{Socket: socket, TLS: c.TLS, User: c})
}

func (p *policy) Begin(c *fastpath.Client, r *http1.Request) *fastpath.Backend {
	e, conn := p.e, c.User.(*Conn)
	conn.Settle()
	if conn.About.Trusted && r.Forged {
		return nil
	}
	inFlight := e.inFlight.Add(1)
	if limit := e.Limits.Requests; limit > 0 && inFlight > int64(limit) {
		e.inFlight.Add(-1)
		return nil
	}
	b := p.fast.Begin(conn, r)
	if b == nil {
		e.inFlight.Add(-1)
		return nil
	}
	conn.Busy()
	return p.backend(b)
}

func (p *policy) backend(b *Backend) *fastpath.Backend {
	if f := b.fast.Load(); f != nil {
		return f
	}
	dial := p.e.Dial
	b.fast.CompareAndSwap(nil, &fastpath.Backend{
		Dial: func() (net.Conn, error) { return dial(context.Background(), b.Addr) },
	})
	return b.fast.Load()
}

func (p *policy) Lines(dst []byte, c *fastpath.Client, r *http1.Request) []byte {
	return p.e.Forwarder.Lines(dst, c.User.(*Conn).About, r)
}

func (p *policy) Answer(dst []byte, c *fastpath.Client, r *http1.Response) (lines []byte, last, plain bool) {
	lines, plain = p.fast.Answer(dst, c.User.(*Conn), r, c.Began)
	return lines, p.e.Door.Retired(), plain
}

func (p *policy) End(c *fastpath.Client, status int, how fastpath.Ending) {
	conn, now := c.User.(*Conn), time.Now()
	p.e.inFlight.Add(-1)
	p.fast.End(conn, status, how, now.Sub(c.Began))
	conn.idle.Store(now.UnixNano())
}

func (p *policy) Undo(c *fastpath.Client) {
	p.e.inFlight.Add(-1)
	p.fast.Undo(c.User.(*Conn))
}

func (p *policy) BadBody(c *fastpath.Client, slow bool) (answer []byte, status int) {
	status, text, reason := http.StatusBadRequest, brokenBody, "broken_body"
	if slow {
		status, text, reason = http.StatusRequestTimeout, slowBody, "slow_body"
	}
	conn := c.User.(*Conn)
	p.e.refuse(conn.RemoteAddr(), reason)
	body := failure(status, text)
	answer = fmt.Appendf(nil, "HTTP/1.1 %d %s\r\nContent-Type: text/plain; charset=utf-8\r\nX-Content-Type-Options: nosniff\r\n"+
		"Content-Length: %d\r\nConnection: close\r\n", status, http.StatusText(status), len(body))
	answer = p.fast.Says(answer, conn)
	answer = append(http1.AppendDate(answer, time.Now()), "\r\n"...)
	return append(answer, body...), status
}

// Careful takes over what is not plain.
func (p *policy) Careful(h *fastpath.Handover) {
	e, conn := p.e, h.Client.User.(*Conn)
	conn.stall.Store(int64(e.Limits.Send))
	conn.early.Store(h.Early)
	e.put(conn.serve(e.refusing(conn), h.Begun, e.H2C && conn.TLS == nil && h.Early == nil))
}

func (p *policy) Closed(c *fastpath.Client) { c.User.(*Conn).Close() }
