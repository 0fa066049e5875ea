package main

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"github.com/pires/go-proxyproto"
	"github.com/pires/go-proxyproto/tlvparse"
)

// relay passes bytes both ways until both sides have ended, and closes. The
// end of one direction is passed on as such: a client that has said all may
// still wait for the answer.
func (p *Proxy) relay(wire *wireConn, client *tls.Conn) {
	var preface []byte
	if p.SendProxy {
		var err error
		if preface, err = proxyHeader(wire, client.ConnectionState()); err != nil {
			p.appFailed("", err)
			client.Close()
			return
		}
	}
	if !p.loops.take(wire, client, preface) {
		p.relayHere(client, preface)
	}
}

// relayHere does without a loop: two goroutines.
func (p *Proxy) relayHere(client *tls.Conn, preface []byte) {
	p.inFlight.Add(1)
	defer p.inFlight.Add(-1)
	defer client.Close()
	app, err := p.dialApp(context.Background())
	if err != nil {
		p.appFailed("", err)
		return
	}
	defer app.Close()
	if len(preface) > 0 {
		if _, err := app.Write(preface); err != nil {
			p.appFailed("", err)
			return
		}
	}
	t := &tunnel{client: client, app: app, idle: p.Limits.Tunnel, half: p.Limits.HalfClose}
	t.run()
}

// tunnel is two copies in opposite directions.
type tunnel struct {
	client, app net.Conn
	idle, half  time.Duration // without a byte, before and after one side's end

	mu    sync.Mutex // guards the following
	timer *time.Timer
	ended bool
}

func (t *tunnel) run() {
	t.alive()
	var both sync.WaitGroup
	both.Go(func() { t.copy(t.app, t.client) })
	both.Go(func() { t.copy(t.client, t.app) })
	both.Wait()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.timer != nil {
		t.timer.Stop()
	}
}

// copy ends with its source, orderly or not. A half-closed tunnel goes on in
// the other direction; a broken one does not.
func (t *tunnel) copy(dst, src net.Conn) {
	err := pump(dst, src, t.alive)
	if err == nil {
		err = closeWrite(dst)
	}
	if err != nil {
		t.cut()
		return
	}
	t.mu.Lock()
	t.ended = true
	t.mu.Unlock()
	t.alive()
}

func (t *tunnel) cut() {
	t.client.Close()
	t.app.Close()
}

// alive puts the clock back.
func (t *tunnel) alive() {
	t.mu.Lock()
	defer t.mu.Unlock()
	limit := t.idle
	if t.ended && t.half > 0 && (limit == 0 || t.half < limit) {
		limit = t.half
	}
	switch {
	case limit == 0:
	case t.timer == nil:
		t.timer = time.AfterFunc(limit, t.cut)
	default:
		t.timer.Reset(limit)
	}
}

// largeBuffers are for connections with much to say. The idle ones, which are
// most, wait with a small one.
var largeBuffers = sync.Pool{New: func() any { b := make([]byte, 32<<10); return &b }}

// pump copies src to dst until src ends. It returns nil at the end of src.
func pump(dst io.Writer, src io.Reader, alive func()) error {
	var small [1 << 10]byte
	for {
		n, err := src.Read(small[:])
		if n > 0 {
			alive()
			if _, err := dst.Write(small[:n]); err != nil {
				return err
			}
		}
		if n == len(small) && err == nil {
			err = pumpLarge(dst, src, alive)
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
	}
}

// pumpLarge goes on with a large buffer while that is filled by a quarter at
// least.
func pumpLarge(dst io.Writer, src io.Reader, alive func()) error {
	buf := largeBuffers.Get().(*[]byte)
	defer largeBuffers.Put(buf)
	for {
		n, err := src.Read(*buf)
		if n > 0 {
			alive()
			if _, err := dst.Write((*buf)[:n]); err != nil {
				return err
			}
		}
		if err != nil || n < len(*buf)/4 {
			return err
		}
	}
}

// proxyHeader is the PROXY protocol's version 2 with what TLS knows: ALPN, the
// name asked for, version, cipher, and the client's common name.
//
// Source: https://www.haproxy.org/download/2.9/doc/proxy-protocol.txt, 2.2.
func proxyHeader(conn net.Conn, state tls.ConnectionState) ([]byte, error) {
	header := proxyproto.HeaderProxyFromAddrs(2, conn.RemoteAddr(), conn.LocalAddr())
	var list []proxyproto.TLV
	add := func(list []proxyproto.TLV, kind proxyproto.PP2Type, text string) []proxyproto.TLV {
		if text == "" {
			return list
		}
		return append(list, proxyproto.TLV{Type: kind, Value: []byte(text)})
	}
	list = add(list, proxyproto.PP2_TYPE_ALPN, state.NegotiatedProtocol)
	list = add(list, proxyproto.PP2_TYPE_AUTHORITY, state.ServerName)

	ssl := tlvparse.PP2SSL{Client: tlvparse.PP2_BITFIELD_CLIENT_SSL, Verify: 1}
	ssl.TLV = add(ssl.TLV, proxyproto.PP2_SUBTYPE_SSL_VERSION, "TLSv"+tlsVersion(state.Version))
	ssl.TLV = add(ssl.TLV, proxyproto.PP2_SUBTYPE_SSL_CIPHER, tls.CipherSuiteName(state.CipherSuite))
	if len(state.VerifiedChains) > 0 {
		ssl.Verify = 0
		ssl.Client |= tlvparse.PP2_BITFIELD_CLIENT_CERT_SESS
		if !state.DidResume {
			ssl.Client |= tlvparse.PP2_BITFIELD_CLIENT_CERT_CONN
		}
		ssl.TLV = add(ssl.TLV, proxyproto.PP2_SUBTYPE_SSL_CN, state.PeerCertificates[0].Subject.CommonName)
	}
	tlv, err := ssl.Marshal()
	if err != nil {
		return nil, err
	}
	if err := header.SetTLVs(append(list, tlv)); err != nil {
		return nil, err
	}
	return header.Format()
}
