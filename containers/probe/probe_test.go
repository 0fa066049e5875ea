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
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestMain lets the test's binary be the probe, for the tests that send real signals, and gives the others
// a name server.
func TestMain(m *testing.M) {
	if os.Getenv("BE_THE_PROBE") != "" {
		main()
		return
	}
	if err := nameServer(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func runProbe(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(t.Context(), args, &out, &errs)
	return out.String(), errs.String(), code
}

// ask runs a probe whose answer is the last line that it prints.
func ask[T any](t *testing.T, args ...string) T {
	t.Helper()
	stdout, stderr, code := runProbe(t, args...)
	if code != 0 || stderr != "" {
		t.Fatalf("probe %q: exit code %d: %s", args, code, stderr)
	}
	return decode[T](t, lastLine(stdout))
}

func decode[T any](t *testing.T, line string) T {
	t.Helper()
	var answer T
	d := json.NewDecoder(strings.NewReader(line))
	d.DisallowUnknownFields()
	if err := d.Decode(&answer); err != nil {
		t.Fatalf("answer %q: %v", line, err)
	}
	return answer
}

func lastLine(s string) string {
	lines := strings.Split(strings.TrimSuffix(s, "\n"), "\n")
	return lines[len(lines)-1]
}

// running is a probe that goes on while the test does something.
type running struct {
	t      *testing.T
	lines  *bufio.Scanner
	stop   context.CancelFunc
	exited chan int
}

func start(t *testing.T, args ...string) *running {
	ctx, cancel := context.WithCancel(t.Context())
	r, w := io.Pipe()
	p := &running{t: t, lines: bufio.NewScanner(r), stop: cancel, exited: make(chan int, 1)}
	go func() {
		code := run(ctx, args, w, io.Discard)
		w.Close()
		p.exited <- code
	}()
	t.Cleanup(func() { cancel(); io.Copy(io.Discard, r) })
	return p
}

func (p *running) line() string {
	p.t.Helper()
	if !p.lines.Scan() {
		p.t.Fatalf("no further line: %v", p.lines.Err())
	}
	return p.lines.Text()
}

// authority issues certificates for tests.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  string
}

func newAuthority(t *testing.T) *authority {
	a := &authority{t: t}
	a.key, _ = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &a.key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	a.cert, _ = x509.ParseCertificate(der)
	a.pem = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	return a
}

// issue makes a certificate for 127.0.0.1 and a name, and gives it in PEM too.
func (a *authority) issue(serial int64, name string) (pair tls.Certificate, cert, key string) {
	a.t.Helper()
	private, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &private.PublicKey, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	pkcs8, _ := x509.MarshalPKCS8PrivateKey(private)
	cert = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	key = string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}))
	if pair, err = tls.X509KeyPair([]byte(cert), []byte(key)); err != nil {
		a.t.Fatal(err)
	}
	return pair, cert, key
}

// pool is what trusts the authority.
func (a *authority) pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(a.cert)
	return p
}

// httpsServer serves HTTP/1.1 and HTTP/2 with a certificate of the authority; change may change its settings first.
func (a *authority) httpsServer(h http.Handler, change func(*httptest.Server)) *httptest.Server {
	s := httptest.NewUnstartedServer(h)
	pair, _, _ := a.issue(0xabc, "web.example")
	s.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	s.EnableHTTP2 = true
	s.Config.ErrorLog = quiet()
	if change != nil {
		change(s)
	}
	s.StartTLS()
	a.t.Cleanup(s.Close)
	return s
}

// serve handles each connection to a new address with f.
func serve(t *testing.T, f func(net.Conn)) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				f(conn)
			}()
		}
	}()
	return ln.Addr().String()
}

// closedPort is an address where nothing listens, nor will: its port is taken.
func closedPort(t *testing.T) string {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(fd) })
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("127.0.0.1:%d", name.(*syscall.SockaddrInet4).Port)
}

func TestCommandLine(t *testing.T) {
	for _, c := range []struct {
		name string
		args []string
		want string // on standard error, in one line
	}{
		{"nothing", nil, "which probe"},
		{"unknown", []string{"ping"}, `unknown probe "ping"`},
		{"no URL", []string{"http"}, "needs a URL"},
		{"a hundred URLs and one", append([]string{"http"}, slices.Repeat([]string{"http://a/"}, 101)...), "100 URLs at most"},
		{"two URLs", []string{"flight", "-n", "1", "http://a/", "http://b/"}, "1 URL at most"},
		{"flag behind", []string{"http", "http://a/", "-insecure"}, "flag -insecure stands behind"},
		{"unknown flag", []string{"http", "-nope", "http://a/"}, "-nope"},
		{"scheme", []string{"http", "ftp://a/"}, "not a URL with http"},
		{"no host", []string{"http", "http:///x"}, "not a URL with http"},
		{"bad URL", []string{"http", "http://a b/"}, "invalid character"},
		{"bad method", []string{"http", "-method", "A B", "http://a/"}, "invalid method"},
		{"header", []string{"http", "-header", "nocolon", "http://a/"}, `not a "Key: value"`},
		{"header bytes", []string{"http", "-header", "A: b\nC: d", "http://a/"}, "not a valid header"},
		{"host header", []string{"http", "-header", "Host: x", "http://a/"}, "the Host is -host's"},
		{"both bodies", []string{"http", "-data", "x", "-data-size", "3", "http://a/"}, "exclude each other"},
		{"negative body", []string{"http", "-data-size", "-3", "http://a/"}, "not a size"},
		{"both versions", []string{"http", "-http1", "-http2", "http://a/"}, "exclude each other"},
		{"timeout", []string{"http", "-timeout", "0s", "http://a/"}, "not a time"},
		{"ca", []string{"http", "-ca", "/etc/ca.pem", "https://a/"}, "no certificate in PEM form"},
		{"ca and insecure", []string{"http", "-ca", "x", "-insecure", "https://a/"}, "exclude each other"},
		{"cert alone", []string{"tls", "-cert", "x", "a:1"}, "need each other"},
		{"bad pair", []string{"tls", "-cert", "x", "-key", "y", "a:1"}, "-cert and -key: "},
		{"tls address", []string{"tls", "a"}, "missing port"},
		{"tls versions", []string{"tls", "-min", "1.3", "-max", "1.2", "a:1"}, "not a range"},
		{"tls version", []string{"tls", "-min", "3", "a:1"}, "not a range"},
		{"tls timeout", []string{"tls", "-timeout", "-1s", "a:1"}, "not a time"},
		{"tcp address", []string{"tcp", ":80"}, "not a HOST:PORT"},
		{"tcp port", []string{"tcp", "a:nosuchport"}, "nosuchport"},
		{"tcp addresses", []string{"tcp", "a:1", "b:1"}, "needs one HOST:PORT"},
		{"tcp escape", []string{"tcp", "-send", `\q`, "a:1"}, "not an escape"},
		{"tcp read", []string{"tcp", "-read", "-1", "a:1"}, "cannot be negative"},
		{"sockets of what", []string{"sockets", "a:1"}, "takes no arguments"},
		{"load rate", []string{"load", "-duration", "1s", "http://a/"}, "needs a -rate"},
		{"load duration", []string{"load", "-rate", "1", "http://a/"}, "-duration above 0"},
		{"load bad duration", []string{"load", "-rate", "1", "-duration", "5", "http://a/"}, "-duration"},
		{"flight", []string{"flight", "http://a/"}, "needs an -n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			stdout, stderr, code := runProbe(t, c.args...)
			if code != 2 || stdout != "" {
				t.Errorf("exit code %d, stdout %q; want 2 and nothing", code, stdout)
			}
			if !strings.Contains(stderr, c.want) || strings.Count(stderr, "\n") != 1 {
				t.Errorf("stderr %q: want one line with %q", stderr, c.want)
			}
		})
	}
}

func TestHelp(t *testing.T) {
	stdout, stderr, code := runProbe(t, "-h")
	if code != 0 || stderr != "" {
		t.Fatalf("exit code %d, stderr %q", code, stderr)
	}
	for _, v := range verbs {
		if !strings.Contains(stdout, "probe "+v.name+" ") {
			t.Errorf("help does not list %s:\n%s", v.name, stdout)
		}
	}
}

// deaf is an output that nobody reads.
type deaf struct{}

func (deaf) Write([]byte) (int, error) { return 0, errors.New("nobody listens") }

func TestAnswerNotHeard(t *testing.T) {
	for _, args := range [][]string{
		{"tcp", closedPort(t)},
		{"load", "-rate", "1", "-duration", "1ms", "http://" + closedPort(t)},
	} {
		var stderr strings.Builder
		code := run(t.Context(), args, deaf{}, &stderr)
		if code != 1 || !strings.Contains(stderr.String(), "nobody listens") {
			t.Errorf("probe %s: exit code %d, stderr %q; want 1 and why", args[0], code, stderr.String())
		}
	}
}

// TestSignals sends a real SIGTERM to a real process: a load stops and tells its result.
func TestSignals(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer s.Close()
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "load", "-rate", "20", "-duration", "10m", s.URL)
		cmd.Env = append(os.Environ(), "BE_THE_PROBE=1")
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		if !lines.Scan() || lines.Text() != `{"event":"started"}` {
			t.Fatalf("first line %q", lines.Text())
		}
		if err := cmd.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
		if !lines.Scan() {
			t.Fatalf("%v: no result: %v", sig, lines.Err())
		}
		a := decode[loadAnswer](t, lines.Text())
		if a.OK < 1 || a.OK != a.Requests {
			t.Errorf("%v: %d of %d requests ok", sig, a.OK, a.Requests)
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("%v: %v", sig, err)
		}
	}
}
