package main

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"net"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/pires/go-proxyproto"
	"github.com/pires/go-proxyproto/tlvparse"
)

// startTCPApp serves each connection with f.
func startTCPApp(t *testing.T, f func(*net.TCPConn)) string {
	t.Helper()
	ln := must(net.Listen("tcp", "127.0.0.1:0"))
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				f(conn.(*net.TCPConn))
			}()
		}
	}()
	return ln.Addr().String()
}

func inTCPMode(edit func(*Proxy)) func(*Proxy) {
	return func(p *Proxy) {
		p.TCP = true
		p.Certificates.NextProtos = nil
		if edit != nil {
			edit(p)
		}
	}
}

type tcpMode func(edit func(*Proxy)) func(*Proxy)

// bothWays runs a test on the event loops, and on the goroutines that do without
// them.
func bothWays(t *testing.T, f func(t *testing.T, inTCPMode tcpMode)) {
	for name, careful := range map[string]bool{"loops": false, "goroutines": true} {
		t.Run(name, func(t *testing.T) {
			f(t, func(edit func(*Proxy)) func(*Proxy) {
				return inTCPMode(func(p *Proxy) {
					p.Careful = careful
					if edit != nil {
						edit(p)
					}
				})
			})
		})
	}
}

func TestTCPSameBytes(t *testing.T) { bothWays(t, testTCPSameBytes) }

func testTCPSameBytes(t *testing.T, inTCPMode tcpMode) {
	app := startTCPApp(t, func(c *net.TCPConn) { io.Copy(c, c) })
	s := start(t, app, inTCPMode(nil))
	data := make([]byte, 5<<20)
	rand.Read(data)
	conn := s.dial(t, tlsConfig())
	go func() {
		// Sizes on both sides of each buffer's.
		rest := data
		for n := 1; len(rest) > 0; n = min(2*n, 100<<10) {
			k := min(n, len(rest))
			conn.Write(rest[:k])
			rest = rest[k:]
		}
		conn.CloseWrite()
	}()
	if got := must(io.ReadAll(conn)); !bytes.Equal(got, data) {
		t.Errorf("%d bytes came back, not the %d that were sent", len(got), len(data))
	}
	eventually(t, "closed", func() bool { return s.open() == 0 && s.inFlight() == 0 })
}

// TestHalfClose: who has said all may still listen, on both sides.
func TestHalfClose(t *testing.T) { bothWays(t, testHalfClose) }

func testHalfClose(t *testing.T, inTCPMode tcpMode) {
	t.Run("client first", func(t *testing.T) {
		app := startTCPApp(t, func(c *net.TCPConn) {
			question, _ := io.ReadAll(c) // to the end, or for ever
			c.Write(append([]byte("answer to "), question...))
		})
		s := start(t, app, inTCPMode(nil))
		conn := s.dial(t, tlsConfig())
		io.WriteString(conn, "question")
		check(t, conn.CloseWrite())
		if got := string(must(io.ReadAll(conn))); got != "answer to question" {
			t.Errorf("got %q", got)
		}
	})
	t.Run("app first", func(t *testing.T) {
		heard := make(chan string, 1)
		app := startTCPApp(t, func(c *net.TCPConn) {
			io.WriteString(c, "hello")
			c.CloseWrite()
			text, _ := io.ReadAll(c)
			heard <- string(text)
		})
		s := start(t, app, inTCPMode(nil))
		conn := s.dial(t, tlsConfig())
		if got := string(must(io.ReadAll(conn))); got != "hello" {
			t.Errorf("got %q", got)
		}
		io.WriteString(conn, "still here")
		conn.Close()
		if got := <-heard; got != "still here" {
			t.Errorf("the app heard %q", got)
		}
	})
	t.Run("limit", func(t *testing.T) {
		app := startTCPApp(t, func(c *net.TCPConn) { io.Copy(io.Discard, c); <-t.Context().Done() })
		s := start(t, app, inTCPMode(func(p *Proxy) { p.HalfClose = 100 * time.Millisecond }))
		conn := s.dial(t, tlsConfig())
		conn.CloseWrite()
		eventually(t, "an app that never ends is left", func() bool { return s.open() == 0 })
	})
}

// TestHalfCloseKeepsTalking: the limit is on silence, not on the time.
func TestHalfCloseKeepsTalking(t *testing.T) { bothWays(t, testHalfCloseKeepsTalking) }

func testHalfCloseKeepsTalking(t *testing.T, inTCPMode tcpMode) {
	t.Parallel()
	const words = 30
	app := startTCPApp(t, func(c *net.TCPConn) {
		io.Copy(io.Discard, c)
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for range words {
			<-tick.C
			c.Write([]byte("x"))
		}
	})
	s := start(t, app, inTCPMode(func(p *Proxy) { p.HalfClose = 300 * time.Millisecond }))
	conn := s.dial(t, tlsConfig())
	conn.CloseWrite()
	if got := readAll(conn); len(got) != words {
		t.Errorf("got %d of %d", len(got), words)
	}
}

func TestTCPEnds(t *testing.T) { bothWays(t, testTCPEnds) }

func testTCPEnds(t *testing.T, inTCPMode tcpMode) {
	t.Run("app away", func(t *testing.T) {
		ln := must(net.Listen("tcp", "127.0.0.1:0"))
		ln.Close()
		s := start(t, ln.Addr().String(), inTCPMode(nil))
		conn := s.dial(t, tlsConfig())
		if got := readAll(conn); got != "" {
			t.Errorf("got %q", got)
		}
		if n := s.metric(t, "upstream_errors_total", "reason=dial"); n != 1 {
			t.Errorf("counted %v", n)
		}
	})
	t.Run("app breaks off", func(t *testing.T) {
		app := startTCPApp(t, func(c *net.TCPConn) { c.SetLinger(0) })
		s := start(t, app, inTCPMode(nil))
		conn := s.dial(t, tlsConfig())
		readAll(conn)
		eventually(t, "closed", func() bool { return s.open() == 0 })
	})
	t.Run("client breaks off", func(t *testing.T) {
		gone := make(chan struct{})
		app := startTCPApp(t, func(c *net.TCPConn) { io.Copy(io.Discard, c); close(gone) })
		s := start(t, app, inTCPMode(nil))
		conn := s.dial(t, tlsConfig())
		conn.NetConn().(*net.TCPConn).SetLinger(0)
		conn.NetConn().Close()
		<-gone
		eventually(t, "closed", func() bool { return s.open() == 0 })
	})
	t.Run("idle", func(t *testing.T) {
		app := startTCPApp(t, func(c *net.TCPConn) { io.Copy(io.Discard, c) })
		s := start(t, app, inTCPMode(func(p *Proxy) { p.Limits.Tunnel = 100 * time.Millisecond }))
		readAll(s.dial(t, tlsConfig()))
		eventually(t, "closed", func() bool { return s.open() == 0 })
	})
}

func TestProxyProtocol(t *testing.T) { bothWays(t, testProxyProtocol) }

func testProxyProtocol(t *testing.T, inTCPMode tcpMode) {
	headers := make(chan *proxyproto.Header, 1)
	app := startTCPApp(t, func(c *net.TCPConn) {
		r := bufio.NewReader(c)
		h, err := proxyproto.Read(r)
		if err != nil {
			t.Error(err)
		}
		headers <- h
		io.Copy(c, r)
	})
	clients := newAuthority("client CA")
	s := start(t, app, inTCPMode(func(p *Proxy) {
		p.SendProxy = true
		p.Certificates.NextProtos = []string{"mqtt"}
		withClientCA(t, p.Certificates, clients, tls.VerifyClientCertIfGiven, Access{All: true})
	}))
	tests := []struct {
		name    string
		version uint16
		cert    bool
		want    map[string]string
	}{
		{"1.3", tls.VersionTLS13, false, map[string]string{
			"version": "TLSv1.3", "cipher": "TLS_AES_128_GCM_SHA256", "cn": "", "client": "1", "verified": "false",
		}},
		{"1.2 with a certificate", tls.VersionTLS12, true, map[string]string{
			"version": "TLSv1.2", "cipher": "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "cn": "Élise", "client": "7", "verified": "true",
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			config := tlsConfig("mqtt")
			config.MinVersion, config.MaxVersion = tt.version, tt.version
			if tt.cert {
				config.Certificates = []tls.Certificate{clients.client(func(c *x509.Certificate) { c.Subject = pkix.Name{CommonName: "Élise"} })}
			}
			conn := s.dial(t, config)
			io.WriteString(conn, "payload")
			h := <-headers
			if diff := cmp.Diff(conn.LocalAddr().String(), h.SourceAddr.String()); diff != "" {
				t.Errorf("source (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(s.addr, h.DestinationAddr.String()); diff != "" {
				t.Errorf("destination (-want +got):\n%s", diff)
			}
			tlvs := must(h.TLVs())
			plain := map[proxyproto.PP2Type]string{}
			for _, tlv := range tlvs {
				if tlv.Type != proxyproto.PP2_TYPE_SSL {
					plain[tlv.Type] = string(tlv.Value)
				}
			}
			want := map[proxyproto.PP2Type]string{proxyproto.PP2_TYPE_ALPN: "mqtt", proxyproto.PP2_TYPE_AUTHORITY: "localhost"}
			if diff := cmp.Diff(want, plain); diff != "" {
				t.Errorf("TLVs (-want +got):\n%s", diff)
			}
			ssl, ok := tlvparse.FindSSL(tlvs)
			if !ok {
				t.Fatal("no SSL TLV")
			}
			version, _ := ssl.SSLVersion()
			cipher, _ := ssl.SSLCipher()
			cn, _ := ssl.ClientCN()
			got := map[string]string{
				"version": version, "cipher": cipher, "cn": cn, "client": string('0' + ssl.Client),
				"verified": map[bool]string{true: "true", false: "false"}[ssl.Verified()],
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("SSL (-want +got):\n%s", diff)
			}
			buf := make([]byte, len("payload"))
			if must(io.ReadFull(conn, buf)); string(buf) != "payload" {
				t.Errorf("echoed %q", buf)
			}
		})
	}
}

// TestProxyProtocolMapped: an IPv4 client that came in through an IPv6 socket
// is an IPv4 client.
func TestProxyProtocolMapped(t *testing.T) {
	for client, want := range map[string]proxyproto.AddressFamilyAndProtocol{
		"[::ffff:192.0.2.1]:1234": proxyproto.TCPv4,
		"192.0.2.1:1234":          proxyproto.TCPv4,
		"[2001:db8::1]:1234":      proxyproto.TCPv6,
	} {
		conn := addrConn{remote: must(net.ResolveTCPAddr("tcp", client)), local: must(net.ResolveTCPAddr("tcp", client))}
		text := must(proxyHeader(conn, tls.ConnectionState{Version: tls.VersionTLS13}))
		h, err := proxyproto.Read(bufio.NewReader(bytes.NewReader(text)))
		check(t, err)
		if h.TransportProtocol != want {
			t.Errorf("%s: sent as %v, want %v", client, h.TransportProtocol, want)
		}
	}
}

type addrConn struct {
	net.Conn
	remote, local net.Addr
}

func (c addrConn) RemoteAddr() net.Addr { return c.remote }
func (c addrConn) LocalAddr() net.Addr  { return c.local }
