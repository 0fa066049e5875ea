package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"time"

	"distlab/containers/internal/fastpath"
	"distlab/containers/internal/http1"
)

// fast is the HTTP mode's policy on the fast path: all that handler does for a
// plain exchange.
type fast struct {
	proxy   *Proxy
	backend *fastpath.Backend
	headers *http1.Forwarder
}

// fastClient is what the policy knows of a connection.
type fastClient struct {
	wire *wireConn
	says *http1.About
}

// newFastPath is nil where there is none.
func (p *Proxy) newFastPath() *fastpath.Path {
	policy := &fast{proxy: p, headers: &http1.Forwarder{Trusted: p.TrustedProxies, Scheme: "https"}}
	policy.backend = &fastpath.Backend{Dial: func() (net.Conn, error) { return p.dialApp(context.Background()) }}
	l := p.Limits
	path := &fastpath.Path{Policy: policy, Limits: fastpath.Limits{
		HeaderBytes: l.HeaderBytes,
		Header:      l.Header,
		Idle:        l.Idle,
		Body:        l.Body,
		Send:        l.Send,
		Response:    l.Response,
		AppIdle:     l.AppIdle,
	}}
	if err := path.Start(p.loopCount()); err != nil {
		p.Log.Info("no fast path", "error", err)
		return nil
	}
	return path
}

// takeFast is false if the connection stays with the careful path.
func (p *Proxy) takeFast(wire *wireConn, conn *tls.Conn) bool {
	if p.fast == nil {
		return false
	}
	policy := p.fast.Policy.(*fast)
	says := policy.headers.About(http1.RemoteAddr(wire.RemoteAddr().String()), newPeer(conn.ConnectionState()).lines())
	return p.fast.Take(&fastpath.Client{
		Socket: wire.Conn.(*fastpath.Socket),
		TLS:    conn,
		User:   &fastClient{wire, says},
	})
}

func (f *fast) Begin(c *fastpath.Client, r *http1.Request) *fastpath.Backend {
	user := c.User.(*fastClient)
	user.wire.settle()
	if user.says.Trusted && r.Forged {
		return nil
	}
	inFlight := f.proxy.inFlight.Add(1)
	if limit := f.proxy.Limits.Requests; limit > 0 && inFlight > int64(limit) {
		f.proxy.inFlight.Add(-1)
		return nil
	}
	f.proxy.Metrics.began()
	user.wire.idle.Store(0)
	return f.backend
}

func (f *fast) Lines(dst []byte, c *fastpath.Client, r *http1.Request) []byte {
	return f.headers.Lines(dst, c.User.(*fastClient).says, r)
}

func (f *fast) Answer(dst []byte, c *fastpath.Client, r *http1.Response) (lines []byte, last, plain bool) {
	return dst, f.proxy.draining.Load(), true
}

func (f *fast) End(c *fastpath.Client, status int, _ fastpath.Ending) {
	now := time.Now()
	f.proxy.inFlight.Add(-1)
	f.proxy.Metrics.wasFast()
	f.proxy.Metrics.answered(status, now.Sub(c.Began))
	c.User.(*fastClient).wire.idle.Store(now.UnixNano())
}

func (f *fast) Undo(c *fastpath.Client) {
	f.proxy.inFlight.Add(-1)
	f.proxy.Metrics.undone()
}

func (f *fast) BadBody(c *fastpath.Client, slow bool) (answer []byte, status int) {
	status, text, reason := http.StatusBadRequest, brokenBody, "broken_body"
	if slow {
		status, text, reason = http.StatusRequestTimeout, slowBody, "slow_body"
	}
	f.proxy.Metrics.refuse(reason)
	body := failure(status, text)
	head := fmt.Sprintf("HTTP/1.1 %d %s\r\nContent-Type: text/plain; charset=utf-8\r\nX-Content-Type-Options: nosniff\r\n"+
		"Content-Length: %d\r\nConnection: close\r\n", status, http.StatusText(status), len(body))
	answer = append(http1.AppendDate([]byte(head), time.Now()), "\r\n"...)
	return append(answer, body...), status
}

// Careful takes over what is not plain.
func (f *fast) Careful(h *fastpath.Handover) {
	wire := h.Client.User.(*fastClient).wire
	wire.stall.Store(int64(f.proxy.Limits.Send))
	guard := f.proxy.guard(wire, h.Client.TLS)
	guard.Begun, guard.Skip = h.Begun, h.Skip
	guard.early.Store(h.Early)
	f.proxy.toHTTP.put(guard)
}

func (f *fast) Closed(c *fastpath.Client) { c.User.(*fastClient).wire.Close() }
