package main

import (
	"context"
	"crypto/tls"
	"net"
	"time"

	"distlab/containers/internal/forward"

	"github.com/pires/go-proxyproto"
	"github.com/pires/go-proxyproto/tlvparse"
)

// admitted is the TCP mode's way in.
func (p *Proxy) admitted(c *forward.Conn) {
	c.Busy() // it has no requests to be idle between
	go p.relay(c, p.Certificates.Config())
}

// relay shakes hands, and passes bytes both ways until both sides have ended. The
// end of one direction is passed on as such: a client that has said all may
// still wait for the answer.
func (p *Proxy) relay(c *forward.Conn, config *tls.Config) {
	began := time.Now()
	err := forward.Shake(c, config, p.Limits.Handshake)
	p.shook(c, c.TLS.ConnectionState(), time.Since(began), err)
	if err != nil {
		c.Close()
		return
	}
	var preface []byte
	if p.SendProxy {
		if preface, err = proxyHeader(c, c.TLS.ConnectionState()); err != nil {
			p.appFailed("", err)
			c.TLS.Close()
			return
		}
	}
	if !p.loops.take(c, preface) {
		p.relayHere(c.TLS, preface)
	}
}

// relayHere does without a loop: two goroutines.
func (p *Proxy) relayHere(client *tls.Conn, preface []byte) {
	p.tunnels.Add(1)
	defer p.tunnels.Add(-1)
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
	t := &forward.Tunnel{Client: client, App: app, Idle: p.Limits.Tunnel, Half: p.HalfClose}
	t.Run()
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
