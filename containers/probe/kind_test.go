package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

func quiet() *log.Logger { return log.New(io.Discard, "", 0) }

// readRequest reads a request's head, so that a close after it is not a reset.
func readRequest(conn net.Conn) { http.ReadRequest(bufio.NewReader(conn)) }

func reset(conn net.Conn) {
	conn.(*net.TCPConn).SetLinger(0)
	conn.Close()
}

// TestErrorKinds meets each error on a real socket that causes it.
func TestErrorKinds(t *testing.T) {
	ca, other := newAuthority(t), newAuthority(t)
	nothing := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	abort := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Write([]byte("half"))
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	})
	mutual := func(v uint16) func(*httptest.Server) {
		return func(s *httptest.Server) {
			s.TLS.ClientAuth, s.TLS.ClientCAs = tls.RequireAndVerifyClientCert, ca.pool()
			s.TLS.MinVersion, s.TLS.MaxVersion = v, v
		}
	}
	httpOnly := httptest.NewServer(nothing)
	t.Cleanup(httpOnly.Close)
	https := ca.httpsServer(nothing, nil)
	aborts := ca.httpsServer(abort, nil)
	answers := func(s string) func(net.Conn) {
		return func(c net.Conn) { readRequest(c); io.WriteString(c, s) }
	}
	silent := serve(t, func(c net.Conn) { io.Copy(io.Discard, c) })

	for _, c := range []struct {
		name string
		want errorKind
		args []string
	}{
		{"nothing listens", refused, []string{"http://" + closedPort(t)}},
		{"nothing listens for TLS", refused, []string{"https://" + closedPort(t)}},
		{"no route", unreachable, []string{"http://255.255.255.255:80"}}, // Linux routes no TCP to the broadcast address
		{"no such name", unreachable, []string{"http://nosuch.example"}},
		{"silent", timedOut, []string{"-timeout", "50ms", "http://" + silent}},
		{"silent in the handshake", timedOut, []string{"-timeout", "50ms", "https://" + silent}},
		{"silent in the body", timedOut, []string{"-timeout", "100ms", "http://" + serve(t, func(c net.Conn) {
			readRequest(c)
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
			io.Copy(io.Discard, c)
		})}},
		{"name server silent", timedOut, []string{"-timeout", "50ms", "http://silent.example"}},
		{"closed at once", closed, []string{"http://" + serve(t, readRequest)}},
		{"reset", closed, []string{"http://" + serve(t, func(c net.Conn) { readRequest(c); reset(c) })}},
		{"closed in the handshake", closed, []string{"https://" + serve(t, func(c net.Conn) { c.Read(make([]byte, 1500)) })}},
		{"closed in the head", closed, []string{"http://" + serve(t, answers("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n"))}},
		{"closed in a line of the head", closed, []string{"http://" + serve(t, answers("HTTP/1.1 200 OK\r\nConte"))}},
		{"closed in the body", closed, []string{"http://" + serve(t, answers("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"))}},
		{"closed in a chunk", closed, []string{"http://" + serve(t, answers("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhalf"))}},
		{"HTTP/1.1 over TLS aborted", closed, []string{"-http1", "-insecure", aborts.URL}},
		{"HTTP/2 stream reset", closed, []string{"-http2", "-insecure", aborts.URL}},
		{"HTTP/2 connection closed", closed, []string{"-http2", "http://" + serve(t, closeAfterSettings)}},
		{"HTTP/2 GOAWAY", closed, []string{"-http2", "http://" + serve(t, goAway)}},
		{"not TLS", tlsFailed, []string{"https://" + httpOnly.Listener.Addr().String()}},
		{"unknown authority", tlsFailed, []string{"-ca", other.pem, https.URL}},
		{"wrong name", tlsFailed, []string{"-ca", ca.pem, "-sni", "other.example", https.URL}},
		{"no certificate shown, 1.2", tlsFailed, []string{"-ca", ca.pem, ca.httpsServer(nothing, mutual(tls.VersionTLS12)).URL}},
		{"no certificate shown, 1.3", tlsFailed, []string{"-ca", ca.pem, ca.httpsServer(nothing, mutual(tls.VersionTLS13)).URL}},
		{"no certificate shown, HTTP/1.1", tlsFailed, []string{"-http1", "-ca", ca.pem, ca.httpsServer(nothing, mutual(tls.VersionTLS13)).URL}},
		{"no HTTP/2", tlsFailed, []string{"-http2", "-ca", ca.pem, ca.httpsServer(nothing, func(s *httptest.Server) { s.EnableHTTP2 = false }).URL}},
		{"no ALPN", tlsFailed, []string{"-http2", "-insecure", "https://" + tlsServer(t, &tls.Config{Certificates: https.TLS.Certificates})}},
		{"not HTTP", otherKind, []string{"http://" + serve(t, answers("SSH-2.0-OpenSSH_9.2\r\n"))}},
		{"HTTP/1.1 where HTTP/2 is meant", otherKind, []string{"-http2", "http://" + serve(t, func(c net.Conn) {
			io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n")
			io.Copy(io.Discard, c)
		})}},
		{"no error", "", []string{"-ca", ca.pem, https.URL}},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := ask[httpAnswer](t, append([]string{"http"}, c.args...)...)
			if a.ErrorKind != c.want {
				t.Errorf("kind %q (%s), want %q", a.ErrorKind, a.Error, c.want)
			}
			if (a.Error == "") != (c.want == "") {
				t.Errorf("error %q with kind %q", a.Error, a.ErrorKind)
			}
		})
	}
}

// nameServer makes net ask a name server of the tests' for all names: it does not know nosuch.example, and says
// nothing to any other.
func nameServer() error {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
	go func() {
		buf := make([]byte, 1500)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(buf[:n]) != nil || m.Questions[0].Name.String() != "nosuch.example." {
				continue
			}
			m.Response, m.RCode, m.Additionals = true, dnsmessage.RCodeNameError, nil
			answer, _ := m.Pack()
			conn.WriteTo(answer, from)
		}
	}()
	return nil
}
