package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// echo answers with what it received.
func echo(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	sum := sha256.Sum256(body)
	w.Header().Set("X-Seen", fmt.Sprintf("%s %s %s %d", r.Method, r.Host, r.Proto, r.ContentLength))
	w.Header()["X-Coding"] = r.Header["Accept-Encoding"]
	w.Header()["X-Sent"] = r.Header.Values("X-Sent")
	w.Header().Set("X-From", r.RemoteAddr)
	w.WriteHeader(http.StatusTeapot)
	w.Write(sum[:])
}

func TestHTTP(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(echo))
	defer s.Close()
	host := s.Listener.Addr().String()
	empty := sha256.Sum256(nil)
	text := sha256.Sum256([]byte(`{"a":"b\n"}`))
	letters := sha256.Sum256([]byte(strings.Repeat("abcdefghijklmnopqrstuvwxyz", 8000)[:200_001]))
	for _, c := range []struct {
		name string
		args []string
		seen string
		body [32]byte
	}{
		{"get", nil, "GET " + host + " HTTP/1.1 0", empty},
		{"head has no body", []string{"-method", "OPTIONS"}, "OPTIONS " + host + " HTTP/1.1 0", empty},
		{"host", []string{"-host", "shop.example"}, "GET shop.example HTTP/1.1 0", empty},
		{"data", []string{"-data", `{"a":"b\n"}`}, "POST " + host + " HTTP/1.1 11", text},
		{"data of a size", []string{"-method", "PUT", "-data-size", "200001"}, "PUT " + host + " HTTP/1.1 200001", letters},
		{"http1", []string{"-http1"}, "GET " + host + " HTTP/1.1 0", empty},
	} {
		t.Run(c.name, func(t *testing.T) {
			args := append([]string{"http", "-header", "X-Sent: one", "-header", "x-sent:two"}, c.args...)
			a := ask[httpAnswer](t, append(args, s.URL)...)
			if a.Error != "" || a.Status != http.StatusTeapot || a.Proto != "HTTP/1.1" || a.TLS != nil {
				t.Fatalf("answer: %+v", a)
			}
			if diff := cmp.Diff([]string{c.seen}, a.Header["X-Seen"]); diff != "" {
				t.Errorf("the server saw:\n%s", diff)
			}
			if diff := cmp.Diff([]string{"one", "two"}, a.Header["X-Sent"]); diff != "" {
				t.Errorf("the server got headers:\n%s", diff)
			}
			if coding := a.Header["X-Coding"]; coding != nil {
				t.Errorf("the probe asked for %q: the bytes would not be the server's", coding)
			}
			if !bytes.Equal(a.Body, c.body[:]) {
				t.Errorf("the server got another body")
			}
			if a.Local != a.Header["X-From"][0] || a.Remote != host {
				t.Errorf("from %s to %s; the server says %s", a.Local, a.Remote, a.Header["X-From"])
			}
			if a.Seconds <= 0 {
				t.Errorf("took %v s", a.Seconds)
			}
		})
	}
}

// TestHTTPBody: all of a body is counted and hashed, and its first MiB kept; what came of a cut one, too.
func TestHTTPBody(t *testing.T) {
	whole := bytes.Repeat([]byte("0123456789abcdef"), keep/16+1000)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/cut" {
			w.Header().Set("Content-Length", "10")
			w.Write([]byte("half"))
			return
		}
		w.Write(whole)
	}))
	defer s.Close()
	for _, c := range []struct {
		path string
		want []byte
		kind errorKind
	}{{"/", whole, ""}, {"/cut", []byte("half"), closed}} {
		a := ask[httpAnswer](t, "http", s.URL+c.path)
		sum := sha256.Sum256(c.want)
		if a.Bytes != int64(len(c.want)) || a.SHA256 != hex.EncodeToString(sum[:]) || a.ErrorKind != c.kind {
			t.Errorf("%s: %d bytes with hash %s, error %q; want %d bytes", c.path, a.Bytes, a.SHA256, a.Error, len(c.want))
		}
		if !bytes.Equal(a.Body, c.want[:min(len(c.want), keep)]) {
			t.Errorf("%s: kept %d bytes of the body", c.path, len(a.Body))
		}
		if a.Status != 200 {
			t.Errorf("%s: status %d", c.path, a.Status)
		}
	}
}

func TestHTTPRedirect(t *testing.T) {
	s := httptest.NewServer(http.RedirectHandler("/there", http.StatusFound))
	defer s.Close()
	a := ask[httpAnswer](t, "http", s.URL)
	if a.Status != http.StatusFound || a.Header["Location"][0] != "/there" {
		t.Errorf("status %d, header %v; want the redirect itself", a.Status, a.Header)
	}
	a = ask[httpAnswer](t, "http", "-follow", s.URL)
	if !strings.Contains(a.Error, "stopped after 10 redirects") {
		t.Errorf("-follow: error %q", a.Error)
	}
}

// TestHTTPEach: every URL has a line and a connection of its own.
func TestHTTPEach(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(echo))
	defer s.Close()
	stdout, _, code := runProbe(t, "http", s.URL+"/a", "http://"+closedPort(t), s.URL+"/b")
	lines := strings.Split(strings.TrimSpace(stdout), "\n")
	if code != 0 || len(lines) != 3 {
		t.Fatalf("exit code %d, %d lines", code, len(lines))
	}
	a, b, c := decode[httpAnswer](t, lines[0]), decode[httpAnswer](t, lines[1]), decode[httpAnswer](t, lines[2])
	if a.Status != 418 || b.ErrorKind != refused || c.Status != 418 {
		t.Errorf("answers %d, %q, %d", a.Status, b.Error, c.Status)
	}
	if a.Local == c.Local {
		t.Errorf("both requests came from %s", a.Local)
	}
}

func TestHTTPS(t *testing.T) {
	ca := newAuthority(t)
	s := ca.httpsServer(http.HandlerFunc(echo), nil)
	for _, c := range []struct {
		name  string
		args  []string
		proto string
		alpn  string
	}{
		{"by default", []string{"-ca", ca.pem}, "HTTP/2.0", "h2"},
		{"HTTP/2", []string{"-http2", "-ca", ca.pem}, "HTTP/2.0", "h2"},
		{"HTTP/1.1", []string{"-http1", "-ca", ca.pem}, "HTTP/1.1", ""}, // the server prefers HTTP/2 and does without ALPN otherwise
		{"name", []string{"-ca", ca.pem, "-sni", "web.example"}, "HTTP/2.0", "h2"},
		{"unverified", []string{"-insecure", "-sni", "other.example"}, "HTTP/2.0", "h2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := ask[httpAnswer](t, append(append([]string{"http"}, c.args...), s.URL)...)
			if a.Error != "" || a.Proto != c.proto {
				t.Fatalf("error %q, protocol %q; want %s", a.Error, a.Proto, c.proto)
			}
			if a.TLS == nil || !a.TLS.Handshake || a.TLS.ALPN != c.alpn || a.TLS.Version != "1.3" {
				t.Fatalf("tls: %+v", a.TLS)
			}
			if got := a.TLS.Certificates; len(got) != 1 || got[0].Serial != "abc" || got[0].Subject != "CN=web.example" {
				t.Errorf("certificates: %+v", got)
			}
		})
	}
	a := ask[httpAnswer](t, "http", "-ca", newAuthority(t).pem, s.URL)
	if a.TLS == nil || a.TLS.Handshake || len(a.TLS.Certificates) != 1 || a.TLS.Certificates[0].Serial != "abc" {
		t.Errorf("the refused certificate is not told: %+v", a.TLS)
	}
}

// TestAuthorityOnly: -ca takes the place of the authorities that the machine trusts.
func TestAuthorityOnly(t *testing.T) {
	ca := newAuthority(t)
	s := ca.httpsServer(http.HandlerFunc(echo), nil)
	trusted := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(trusted, []byte(ca.pem), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		want errorKind
	}{
		{[]string{"http", s.URL}, ""},
		{[]string{"http", "-ca", newAuthority(t).pem, s.URL}, tlsFailed},
	} {
		cmd := exec.CommandContext(t.Context(), os.Args[0], c.args...)
		cmd.Env = append(os.Environ(), "BE_THE_PROBE=1", "SSL_CERT_FILE="+trusted, "SSL_CERT_DIR=/nonexistent")
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		if a := decode[httpAnswer](t, string(out)); a.ErrorKind != c.want {
			t.Errorf("%d arguments: error %q (%q), want %q", len(c.args), a.Error, a.ErrorKind, c.want)
		}
	}
}

func TestHTTP2WithoutTLS(t *testing.T) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(echo))
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Start()
	defer s.Close()
	a := ask[httpAnswer](t, "http", "-http2", s.URL)
	if a.Error != "" || a.Proto != "HTTP/2.0" || a.Status != http.StatusTeapot {
		t.Errorf("answer: %+v", a)
	}
}

// TestHTTPNoProxy: the probe goes where it is told, whatever the environment says.
func TestHTTPNoProxy(t *testing.T) {
	t.Setenv("HTTP_PROXY", "http://"+closedPort(t))
	asked := serve(t, func(c net.Conn) { readRequest(c); io.WriteString(c, "HTTP/1.1 204 No Content\r\n\r\n") })
	if a := ask[httpAnswer](t, "http", "http://"+asked); a.Status != 204 {
		t.Errorf("answer: %+v", a)
	}
}
