package main

import (
	"crypto/tls"
	"net/http"
	"sync/atomic"

	"distlab/containers/internal/http1"
)

// guardConn is the plaintext side of an HTTP/1 connection, guarded.
type guardConn struct {
	*http1.Guard
	tls  *tls.Conn
	wire *wireConn

	// early is the answer to the first request, which the fast path has sent to
	// the app already.
	early atomic.Pointer[http1.Early]
}

func (p *Proxy) guard(wire *wireConn, conn *tls.Conn) *guardConn {
	g := &guardConn{tls: conn, wire: wire}
	g.Guard = &http1.Guard{
		Conn: conn,
		Refused: func(reason http1.FramingError) {
			p.Log.Debug("request refused", "remote", wire.RemoteAddr().String(), "reason", string(reason))
			p.Metrics.refuse("framing")
		},
		Linger: func() { wire.linger(http1.Lingers) },
	}
	return g
}

// Close drops the answer that nobody came for, if there is one.
func (g *guardConn) Close() error {
	if early := g.early.Swap(nil); early != nil {
		early.Close()
	}
	return g.Guard.Close()
}

// hijacked ends the guard: the connection is a tunnel now.
func (g *guardConn) hijacked() {
	g.Hijacked()
	g.wire.unlimited()
}

// guardOf finds the guard of an HTTP/1 request, nil in HTTP/2.
func guardOf(r *http.Request) *guardConn {
	g, _ := r.Context().Value(guardKey{}).(*guardConn)
	return g
}

type guardKey struct{}
