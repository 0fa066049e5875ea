package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// patience is how long a test waits for what must happen.
const patience = 10 * time.Second

// eventually waits for a condition.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !done(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// authority issues certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(name string) *authority {
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(24 * time.Hour),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign,
	}
	der := must(x509.CreateCertificate(rand.Reader, template, template, key.Public(), key))
	return &authority{cert: must(x509.ParseCertificate(der)), key: key}
}

func (a *authority) pem() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})
}

func (a *authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

var serials struct {
	sync.Mutex
	last int64
}

// issue makes a leaf; edit may change anything of it.
func (a *authority) issue(edit func(*x509.Certificate), names ...string) (cert, key []byte) {
	serials.Lock()
	serials.last++
	serial := serials.last + 0x1000
	serials.Unlock()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial),
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(time.Hour),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for _, name := range names {
		if err := addName(template, name); err != nil {
			panic(err)
		}
	}
	if edit != nil {
		edit(template)
	}
	private := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	der := must(x509.CreateCertificate(rand.Reader, template, a.cert, private.Public(), a.key))
	cert = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	key = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: must(x509.MarshalPKCS8PrivateKey(private))})
	return cert, key
}

// client is a certificate for a client.
func (a *authority) client(edit func(*x509.Certificate)) tls.Certificate {
	return must(tls.X509KeyPair(a.issue(edit)))
}

// serverCA signs what the sidecars of the tests show.
var serverCA = newAuthority("server CA")

// writePairFiles writes a pair for names into dir, and returns it with its
// serial.
func writePairFiles(t *testing.T, dir string, names ...string) (PairFiles, string) {
	t.Helper()
	files := PairFiles{filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")}
	cert, key := serverCA.issue(nil, names...)
	check(t, os.WriteFile(files.Key, key, 0o600))
	check(t, os.WriteFile(files.Cert, cert, 0o644))
	return files, must(newPair(cert, key)).serial()
}

// sidecar is a Proxy that serves.
type sidecar struct {
	*Proxy
	addr     string
	registry *prometheus.Registry
	served   chan error
}

// start serves a proxy in front of app; edit may change it before.
func start(t *testing.T, app string, edit func(*Proxy)) *sidecar {
	t.Helper()
	registry := prometheus.NewRegistry()
	metrics := NewMetrics(registry)
	p := &Proxy{Forward: app, Careful: carefully.Load(), Metrics: metrics, Limits: Limits{DrainIdle: 50 * time.Millisecond}}
	p.Certificates = &Certificates{Metrics: metrics, NextProtos: []string{"h2", "http/1.1"}}
	if edit != nil {
		edit(p)
	}
	c := p.Certificates
	if c.Memory == nil && c.Files == nil && c.Dir == "" {
		c.Memory = must(newPair(serverCA.issue(nil, "localhost", "127.0.0.1")))
	}
	check(t, c.Load())
	ln := must(listen(t.Context(), "127.0.0.1:0"))
	s := &sidecar{Proxy: p, addr: ln.Addr().String(), registry: registry, served: make(chan error, 1)}
	go func() { s.served <- p.Serve(ln) }()
	t.Cleanup(func() { p.Close() })
	return s
}

// metric is the value of a series, its labels as name="value" in any order.
func (s *sidecar) metric(t *testing.T, name string, labels ...string) float64 {
	t.Helper()
	families, err := s.registry.Gather()
	check(t, err)
	for _, f := range families {
		if f.GetName() != "tls_sidecar_"+name {
			continue
		}
		for _, m := range f.GetMetric() {
			got := map[string]bool{}
			for _, l := range m.GetLabel() {
				got[l.GetName()+"="+l.GetValue()] = true
			}
			matches := true
			for _, l := range labels {
				matches = matches && got[l]
			}
			if matches {
				switch {
				case m.Counter != nil:
					return m.GetCounter().GetValue()
				case m.Gauge != nil:
					return m.GetGauge().GetValue()
				case m.Histogram != nil:
					return float64(m.GetHistogram().GetSampleCount())
				}
			}
		}
	}
	return 0
}

// tlsConfig is a client's that believes serverCA.
func tlsConfig(protos ...string) *tls.Config {
	return &tls.Config{RootCAs: serverCA.pool(), ServerName: "localhost", NextProtos: protos}
}

// client makes an HTTP client of its own, for HTTP/1.1 or HTTP/2.
func (s *sidecar) client(t *testing.T, version int, edit func(*tls.Config)) *http.Client {
	t.Helper()
	config := tlsConfig()
	if edit != nil {
		edit(config)
	}
	var protocols http.Protocols
	protocols.SetHTTP1(version == 1)
	protocols.SetHTTP2(version == 2)
	transport := &http.Transport{TLSClientConfig: config, Protocols: &protocols, DisableCompression: true}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: patience, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}}
}

func (s *sidecar) url(path string) string { return "https://" + s.addr + path }

// dial makes a TLS connection for bytes.
func (s *sidecar) dial(t *testing.T, config *tls.Config) *tls.Conn {
	t.Helper()
	conn, err := s.tryDial(config)
	check(t, err)
	t.Cleanup(func() { conn.Close() })
	return conn
}

func (s *sidecar) tryDial(config *tls.Config) (*tls.Conn, error) {
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: patience}, "tcp", s.addr, config)
	if err != nil {
		return nil, err
	}
	conn.SetDeadline(time.Now().Add(patience))
	return conn, nil
}

// served is the serial that a new connection sees.
func (s *sidecar) serial(t *testing.T, config *tls.Config) string {
	t.Helper()
	conn, err := s.tryDial(config)
	check(t, err)
	defer conn.Close()
	return serialOf(conn.ConnectionState().PeerCertificates[0])
}

// startApp serves handler as the app.
func startApp(t *testing.T, handler http.HandlerFunc) string {
	t.Helper()
	srv := httptest.NewServer(handler)
	t.Cleanup(func() {
		srv.CloseClientConnections()
		srv.Close()
	})
	return strings.TrimPrefix(srv.URL, "http://")
}

// wireApp is an app that keeps the very bytes of each request, as an old app
// would see them, and answers 200 to all.
type wireApp struct {
	addr string

	mu       sync.Mutex
	requests []string
	conns    int
}

func startWireApp(t *testing.T) *wireApp {
	t.Helper()
	ln := must(net.Listen("tcp", "127.0.0.1:0"))
	a := &wireApp{addr: ln.Addr().String()}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			a.mu.Lock()
			a.conns++
			a.mu.Unlock()
			go a.serve(conn)
		}
	}()
	return a
}

// serve parses with the means of an old app: a head up to the empty line, then
// Content-Length or chunks.
func (a *wireApp) serve(conn net.Conn) {
	defer conn.Close()
	r := bufio.NewReader(conn)
	for {
		var raw bytes.Buffer
		length, chunked := 0, false
		for {
			line, err := r.ReadString('\n')
			if err != nil {
				return
			}
			raw.WriteString(line)
			name, value, _ := strings.Cut(strings.ToLower(strings.TrimSpace(line)), ":")
			switch name {
			case "":
			case "content-length":
				length, _ = strconv.Atoi(strings.TrimSpace(value))
			case "transfer-encoding":
				chunked = true
			}
			if name == "" {
				break
			}
		}
		for chunked {
			line, err := r.ReadString('\n')
			if err != nil {
				return
			}
			raw.WriteString(line)
			n, _ := strconv.ParseInt(strings.TrimSpace(line), 16, 64)
			if n == 0 {
				for {
					line, err := r.ReadString('\n')
					if err != nil {
						return
					}
					raw.WriteString(line)
					if strings.TrimSpace(line) == "" {
						chunked = false
						break
					}
				}
				continue
			}
			if _, err := io.CopyN(&raw, r, n+2); err != nil {
				return
			}
		}
		if _, err := io.CopyN(&raw, r, int64(length)); err != nil {
			return
		}
		a.mu.Lock()
		a.requests = append(a.requests, raw.String())
		a.mu.Unlock()
		io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
	}
}

// seen returns the requests so far.
func (a *wireApp) seen() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]string(nil), a.requests...)
}

// readAll reads a connection to its end, whatever that is.
func readAll(conn net.Conn) string {
	text, _ := io.ReadAll(conn)
	return string(text)
}

func get(t *testing.T, c *http.Client, url string) (int, string) {
	t.Helper()
	resp, err := c.Get(url)
	check(t, err)
	defer resp.Body.Close()
	return resp.StatusCode, string(must(io.ReadAll(resp.Body)))
}

func mustURL(s string) *url.URL { return must(url.Parse(s)) }

// within is a context for one step of a test.
func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}
