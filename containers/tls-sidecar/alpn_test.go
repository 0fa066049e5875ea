package main

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// TestALPN: in tcp mode the program agrees on a protocol where it is told the app's, and never on one that the app does
// not speak. Source: RFC 7301, 3.2; hitch's alpn-protos, HAProxy's alpn.
func TestALPN(t *testing.T) {
	app := startTCPApp(t, echo)
	files, _ := writePairFiles(t, t.TempDir(), "localhost")
	for setting, tests := range map[string][]struct {
		offers []string
		want   string // "-": the handshake ends with no_application_protocol
	}{
		"": {
			{nil, ""},
			{[]string{"h2"}, ""}, // what grpc-go from 1.67 on does not put up with
		},
		"h2": {
			{nil, ""}, // who does not ask is served
			{[]string{"h2"}, "h2"},
			{[]string{"http/1.1", "h2"}, "h2"},
			{[]string{"imap"}, "-"},
			{[]string{"http/1.1"}, ""}, // Go's way with clients from before HTTP/2
		},
		"h2, http/1.1": {
			{[]string{"http/1.1", "h2"}, "h2"}, // the server's order counts
			{[]string{"http/1.1"}, "http/1.1"},
			{[]string{"H2"}, "-"}, // names are bytes
		},
		"postgresql": {
			{[]string{"postgresql"}, "postgresql"},
			{[]string{"h2"}, "-"},
		},
	} {
		for _, fast := range []string{"true", "false"} {
			p := launch(t, "MODE=tcp", "ALPN="+setting, "FAST_PATH="+fast, proxyTo(app), "CERT_PATH="+files.Cert, "KEY_PATH="+files.Key)
			for _, tt := range tests {
				conn, err := tls.DialWithDialer(&net.Dialer{Timeout: patience}, "tcp", p.addr, tlsConfig(tt.offers...))
				if err != nil {
					if tt.want != "-" || !strings.Contains(err.Error(), "no application protocol") {
						t.Errorf("ALPN=%s, offered %q: %v, want %q", setting, tt.offers, err, tt.want)
					}
					continue
				}
				conn.SetDeadline(time.Now().Add(patience))
				io.WriteString(conn, "ping")
				buf := make([]byte, 4)
				if _, err := io.ReadFull(conn, buf); err != nil || string(buf) != "ping" {
					t.Errorf("ALPN=%s, offered %q: echoed %q, %v", setting, tt.offers, buf, err)
				}
				if got := conn.ConnectionState().NegotiatedProtocol; got != tt.want {
					t.Errorf("ALPN=%s, offered %q: %q, want %q", setting, tt.offers, got, tt.want)
				}
				conn.Close()
			}
		}
	}
}

// TestALPNForGRPC: an HTTP/2 client that insists on ALPN, as gRPC's do, speaks through to an app that has HTTP/2 by prior
// knowledge: requests, trailers and all.
func TestALPNForGRPC(t *testing.T) {
	app := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "Grpc-Status")
		io.Copy(w, r.Body)
		w.Header().Set("Grpc-Status", "0")
	}))
	app.Config.Protocols = new(http.Protocols)
	app.Config.Protocols.SetUnencryptedHTTP2(true)
	app.Start()
	t.Cleanup(app.Close)
	s := start(t, strings.TrimPrefix(app.URL, "http://"), inTCPMode(func(p *Proxy) { p.Certificates.NextProtos = []string{"h2"} }))
	resp, err := s.client(t, 2, nil).Post(s.url("/pkg.Service/Method"), "application/grpc", strings.NewReader("message"))
	check(t, err)
	defer resp.Body.Close()
	if body := string(must(io.ReadAll(resp.Body))); body != "message" || resp.ProtoMajor != 2 || resp.Trailer.Get("Grpc-Status") != "0" {
		t.Errorf("%s, %q, trailer %v", resp.Proto, body, resp.Trailer)
	}
}
