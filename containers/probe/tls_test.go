package main

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// tlsServer makes handshakes and reads until the peer goes.
func tlsServer(t *testing.T, config *tls.Config) string {
	return serve(t, func(c net.Conn) {
		conn := tls.Server(c, config)
		buf := make([]byte, 100)
		for {
			if _, err := conn.Read(buf); err != nil {
				return
			}
		}
	})
}

func TestTLS(t *testing.T) {
	ca := newAuthority(t)
	pair, _, _ := ca.issue(0x1f, "web.example")
	second, _, _ := ca.issue(0x2f, "second.example")
	_, clientCert, clientKey := ca.issue(3, "client")
	_, strangerCert, strangerKey := newAuthority(t).issue(4, "stranger")
	config := func(change func(*tls.Config)) *tls.Config {
		c := &tls.Config{Certificates: []tls.Certificate{pair, second}, NextProtos: []string{"h2", "http/1.1"}, MinVersion: tls.VersionTLS10}
		change(c)
		return c
	}
	any := tlsServer(t, config(func(*tls.Config) {}))
	floor := tlsServer(t, config(func(c *tls.Config) { c.MinVersion = tls.VersionTLS12 }))
	weak := tlsServer(t, config(func(c *tls.Config) {
		c.MaxVersion, c.CipherSuites = tls.VersionTLS12, []uint16{tls.TLS_ECDHE_ECDSA_WITH_RC4_128_SHA}
	}))
	old := tlsServer(t, config(func(c *tls.Config) { c.MaxVersion = tls.VersionTLS10 }))
	mutual12 := tlsServer(t, config(func(c *tls.Config) {
		c.ClientAuth, c.ClientCAs, c.MaxVersion = tls.RequireAndVerifyClientCert, ca.pool(), tls.VersionTLS12
	}))
	mutual13 := tlsServer(t, config(func(c *tls.Config) { c.ClientAuth, c.ClientCAs = tls.RequireAndVerifyClientCert, ca.pool() }))
	mutualNoTickets := tlsServer(t, config(func(c *tls.Config) {
		c.ClientAuth, c.ClientCAs, c.SessionTicketsDisabled = tls.RequireAndVerifyClientCert, ca.pool(), true
	}))

	type seen struct {
		Handshake bool
		Kind      errorKind
		Version   string
		ALPN      string
		Serial    string
	}
	for _, c := range []struct {
		name string
		args []string
		want seen
	}{
		{"verified", []string{"-ca", ca.pem, any}, seen{true, "", "1.3", "", "1f"}},
		{"alpn", []string{"-ca", ca.pem, "-alpn", "h2,http/1.1", any}, seen{true, "", "1.3", "h2", "1f"}},
		{"alpn, other order", []string{"-ca", ca.pem, "-alpn", "http/1.1", any}, seen{true, "", "1.3", "http/1.1", "1f"}},
		{"no common protocol", []string{"-ca", ca.pem, "-alpn", "spdy/1", any}, seen{false, tlsFailed, "", "", ""}},
		{"by name", []string{"-ca", ca.pem, "-sni", "second.example", any}, seen{true, "", "1.3", "", "2f"}},
		{"wrong name", []string{"-ca", ca.pem, "-sni", "third.example", any}, seen{false, tlsFailed, "", "", "1f"}},
		{"unknown authority", []string{"-ca", newAuthority(t).pem, any}, seen{false, tlsFailed, "", "", "1f"}},
		{"no authority", []string{any}, seen{false, tlsFailed, "", "", "1f"}},
		{"unverified", []string{"-insecure", any}, seen{true, "", "1.3", "", "1f"}},
		{"1.0", []string{"-insecure", "-max", "1.0", any}, seen{true, "", "1.0", "", "1f"}},
		{"1.1", []string{"-insecure", "-min", "1.1", "-max", "1.1", any}, seen{true, "", "1.1", "", "1f"}},
		{"1.2", []string{"-insecure", "-min", "1.2", "-max", "1.2", any}, seen{true, "", "1.2", "", "1f"}},
		{"1.0 refused", []string{"-insecure", "-max", "1.0", floor}, seen{false, tlsFailed, "", "", ""}},
		{"1.1 refused", []string{"-insecure", "-max", "1.1", floor}, seen{false, tlsFailed, "", "", ""}},
		{"weak cipher", []string{"-insecure", weak}, seen{true, "", "1.2", "", "1f"}},
		{"old server", []string{"-insecure", old}, seen{true, "", "1.0", "", "1f"}},
		{"old server refused", []string{"-insecure", "-min", "1.2", old}, seen{false, tlsFailed, "", "", ""}},
		{"mutual 1.2", []string{"-ca", ca.pem, "-cert", clientCert, "-key", clientKey, mutual12}, seen{true, "", "1.2", "", "1f"}},
		{"mutual 1.2, none shown", []string{"-ca", ca.pem, mutual12}, seen{false, tlsFailed, "", "", ""}},
		{"mutual 1.3", []string{"-ca", ca.pem, "-cert", clientCert, "-key", clientKey, mutual13}, seen{true, "", "1.3", "", "1f"}},
		{"mutual 1.3, none shown", []string{"-ca", ca.pem, mutual13}, seen{false, tlsFailed, "1.3", "", "1f"}},
		{"mutual 1.3, stranger", []string{"-ca", ca.pem, "-cert", strangerCert, "-key", strangerKey, mutual13}, seen{false, tlsFailed, "1.3", "", "1f"}},
		{"mutual 1.3, no tickets", []string{"-ca", ca.pem, "-cert", clientCert, "-key", clientKey, mutualNoTickets}, seen{true, "", "1.3", "", "1f"}},
		{"mutual 1.3, no tickets, stranger", []string{"-ca", ca.pem, "-cert", strangerCert, "-key", strangerKey, mutualNoTickets}, seen{false, tlsFailed, "1.3", "", "1f"}},
		{"refused", []string{closedPort(t)}, seen{false, refused, "", "", ""}},
		{"hangs up", []string{serve(t, func(c net.Conn) { c.Read(make([]byte, 1500)) })}, seen{false, closed, "", "", ""}},
		{"no such name", []string{"nosuch.example:443"}, seen{false, unreachable, "", "", ""}},
		{"silent", []string{"-timeout", "50ms", serve(t, func(c net.Conn) {
			for buf := make([]byte, 1500); ; {
				if _, err := c.Read(buf); err != nil {
					return
				}
			}
		})}, seen{false, timedOut, "", "", ""}},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := ask[tlsAnswer](t, append([]string{"tls"}, c.args...)...)
			got := seen{a.Handshake, a.ErrorKind, a.Version, a.ALPN, ""}
			if len(a.Certificates) > 0 {
				got.Serial = a.Certificates[0].Serial
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("error %q; want (-), got (+):\n%s", a.Error, diff)
			}
		})
	}
}

func TestCertificateFields(t *testing.T) {
	ca := newAuthority(t)
	pair, _, _ := ca.issue(0xbeef, "web.example")
	a := ask[tlsAnswer](t, "tls", "-ca", ca.pem, tlsServer(t, &tls.Config{Certificates: []tls.Certificate{pair}}))
	want := certificates([]*x509.Certificate{pair.Leaf})
	if diff := cmp.Diff(want, a.Certificates); diff != "" {
		t.Errorf("certificates:\n%s", diff)
	}
	if got := a.Certificates[0]; got.Serial != "beef" || len(got.SHA256) != 64 || !got.NotAfter.Equal(pair.Leaf.NotAfter) ||
		!cmp.Equal(got.Names, []string{"web.example", "127.0.0.1"}) {
		t.Errorf("certificate: %+v", got)
	}
	if a.Cipher != "TLS_AES_128_GCM_SHA256" && a.Cipher != "TLS_CHACHA20_POLY1305_SHA256" {
		t.Errorf("cipher %q", a.Cipher)
	}
}
