package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io"
	"math/big"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// TestMain: with HEALTH_ADAPTER_TEST set the test's binary is the program itself.
func TestMain(m *testing.M) {
	if os.Getenv("HEALTH_ADAPTER_TEST") != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// process is the program, running.
type process struct {
	cmd               *exec.Cmd
	web, agent, admin string
	mu                sync.Mutex
	log               bytes.Buffer
	listening, ended  chan struct{}
}

func start(t *testing.T, settings ...string) *process {
	t.Helper()
	p := &process{cmd: exec.Command(os.Args[0]), ended: make(chan struct{}), listening: make(chan struct{})}
	p.cmd.Env = append([]string{
		"HEALTH_ADAPTER_TEST=1", "LISTEN_ADDR=127.0.0.1:0", "AGENT_ADDR=127.0.0.1:0", "ADMIN_ADDR=127.0.0.1:0",
		"MYSQL_PASSWORD=hunter2", "TIMEOUT=200ms", "CACHE_TTL=0s",
	}, settings...)
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go p.read(stderr)
	t.Cleanup(func() { p.cmd.Process.Kill(); <-p.ended; p.cmd.Wait() })
	select {
	case <-p.listening:
	case <-p.ended:
		t.Fatalf("ended at once: %s", p.said())
	}
	return p
}

func (p *process) read(r io.Reader) {
	defer close(p.ended)
	lines := json.NewDecoder(io.TeeReader(r, writer(func(b []byte) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.log.Write(b)
	})))
	for {
		var line struct{ Msg, Address, Agent string }
		if err := lines.Decode(&line); err != nil {
			return
		}
		switch line.Msg {
		case "admin listening":
			p.admin = line.Address
		case "listening":
			p.web, p.agent = line.Address, line.Agent
		case "ready":
			close(p.listening)
		}
	}
}

type writer func([]byte)

func (w writer) Write(b []byte) (int, error) { w(b); return len(b), nil }

func (p *process) said() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.String()
}

func fetch(t *testing.T, url string) (int, string) {
	t.Helper()
	res, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(body)
}

// TestProcess: the program whole, over its ports: both questions, the signals, and no password in anything that it says.
func TestProcess(t *testing.T) {
	db := &minimal{answer: one("1")}
	f := newFake(t, db.serve)
	p := start(t, "MYSQL_ADDR="+f.addr, "LIVE_QUERY=SELECT 'live'", "READY_QUERY=SELECT 'ready'", "LOG_LEVEL=debug")
	all := ""
	get := func(url string, want int) string {
		t.Helper()
		code, body := fetch(t, url)
		all += body
		if code != want {
			t.Errorf("%s: %d %s, want %d", url, code, body, want)
		}
		return body
	}
	get("http://"+p.web+"/livez", 200)
	get("http://"+p.web+"/readyz", 200)
	if asked := strings.Join(db.queries(), ";"); !strings.Contains(asked, "SELECT 'live'") || !strings.Contains(asked, "SELECT 'ready'") {
		t.Errorf("asked %s", asked)
	}
	if n := f.open(); n != 2 {
		t.Errorf("%d connections, want one for each check", n)
	}
	if got := line(t, p.agent, ""); got != "up 100%\n" {
		t.Errorf("agent: %q", got)
	}
	signal := func(sig syscall.Signal, code int) {
		t.Helper()
		if err := p.cmd.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
		eventually(t, sig.String(), func() bool { got, _ := fetch(t, "http://"+p.web+"/readyz"); return got == code })
	}
	signal(syscall.SIGUSR1, 503)
	get("http://"+p.web+"/livez", 200)
	if got := line(t, p.agent, ""); got != "maint\n" {
		t.Errorf("agent: %q", got)
	}
	signal(syscall.SIGUSR2, 200)
	status := get("http://"+p.admin+"/status", 200)
	if !strings.Contains(status, `"status": "up"`) {
		t.Errorf("/status: %s", status)
	}
	if metrics := get("http://"+p.admin+"/metrics", 200); !strings.Contains(metrics, `health_adapter_checks_total{check="live",result="ok"} 1`) {
		t.Errorf("/metrics: %s", metrics)
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	<-p.ended
	if p.cmd.Wait(); p.cmd.ProcessState.ExitCode() != 0 {
		t.Errorf("ended with %s: %s", p.cmd.ProcessState, p.said())
	}
	if all += p.said(); strings.Contains(all, "hunter2") {
		t.Errorf("the password is in what it said: %s", all)
	}
}

// TestDrain: a question that waits at SIGTERM is answered.
func TestDrain(t *testing.T) {
	asked, release := make(chan struct{}), make(chan struct{})
	f := newFake(t, (&minimal{answer: func(string) [][]any {
		close(asked)
		<-release
		return nil
	}}).serve)
	p := start(t, "MYSQL_ADDR="+f.addr, "TIMEOUT=1m")
	got := make(chan int, 1)
	go func() { code, _ := fetch(t, "http://"+p.web+"/readyz"); got <- code }()
	<-asked
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	eventually(t, "draining", func() bool { return strings.Contains(p.said(), `"draining"`) })
	close(release)
	if code := <-got; code != 200 {
		t.Errorf("in flight: %d", code)
	}
	<-p.ended
	if p.cmd.Wait(); p.cmd.ProcessState.ExitCode() != 0 {
		t.Errorf("ended with %s: %s", p.cmd.ProcessState, p.said())
	}
}

// TestPasswordFile: the password comes from a file as well, as the public images have it.
func TestPasswordFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(path, []byte("hunter2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	f := newFake(t, (&minimal{answer: one("1")}).serve)
	p := start(t, "MYSQL_ADDR="+f.addr, "MYSQL_PASSWORD=", "MYSQL_PASSWORD_FILE="+path)
	if code, body := fetch(t, "http://"+p.web+"/readyz"); code != 200 {
		t.Errorf("%d %s", code, body)
	}
}

// certificate is a self-signed one for a name, as PEM.
func certificate(t *testing.T, name string) (pair tls.Certificate, text []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{name}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// TestTLS: each mode against a server with a certificate of its own, and against one without TLS.
func TestTLS(t *testing.T) {
	pair, ca := certificate(t, "db.example")
	_, other := certificate(t, "db.example")
	dir := t.TempDir()
	mine, theirs := filepath.Join(dir, "mine.pem"), filepath.Join(dir, "theirs.pem")
	for path, text := range map[string][]byte{mine: ca, theirs: other} {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	with := newFake(t, (&minimal{answer: one("1"), tls: &tls.Config{Certificates: []tls.Certificate{pair}}}).serve)
	without := newFake(t, (&minimal{answer: one("1")}).serve)
	for _, tt := range []struct {
		files  tlsFiles
		server *fake
		want   string // the reason; "": up
	}{
		{tlsFiles{Mode: "disabled"}, with, ""},
		{tlsFiles{Mode: "disabled"}, without, ""},
		{tlsFiles{Mode: "preferred"}, with, ""},
		{tlsFiles{Mode: "preferred"}, without, ""},
		{tlsFiles{Mode: "required"}, with, ""},
		{tlsFiles{Mode: "required"}, without, "tls: the server does not speak it"},
		{tlsFiles{Mode: "verify-ca", CAPath: mine}, with, ""},
		{tlsFiles{Mode: "verify-ca", CAPath: theirs}, with, "tls: the certificate is not from a trusted authority"},
		{tlsFiles{Mode: "verify-identity", CAPath: mine}, with, "tls: the certificate is for another name"},
		{tlsFiles{Mode: "verify-identity", CAPath: mine, ServerName: "db.example"}, with, ""},
		{tlsFiles{Mode: "verify-identity", CAPath: theirs, ServerName: "db.example"}, with, "tls: the certificate is not from a trusted authority"},
	} {
		s, err := config{ServerAddr: tt.server.addr, tlsFiles: tt.files}.server()
		if err != nil {
			t.Fatal(err)
		}
		r, _ := check(t, s, Question{Query: "SELECT 1"})
		if r.Reason != tt.want || r.Up != (tt.want == "") {
			t.Errorf("%s: %+v, want %q", tt.files.Mode, r, tt.want)
		}
	}
	eventually(t, "no connection left", func() bool { return with.open()+without.open() == 0 })
	for _, files := range []tlsFiles{
		{Mode: "required", CAPath: "/no/such"},
		{Mode: "required", CAPath: os.Args[0]},
		{Mode: "required", CertPath: mine},
	} {
		if _, err := files.config("x:1"); err == nil {
			t.Errorf("%+v is taken", files)
		}
	}
}
