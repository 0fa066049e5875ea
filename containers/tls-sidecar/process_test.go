package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// TestMain makes the test binary the program, when asked to.
func TestMain(m *testing.M) {
	if os.Getenv("TEST_AS_PROGRAM") != "" {
		main()
		panic("main returned")
	}
	os.Exit(m.Run())
}

// program is the sidecar as a process of its own.
type program struct {
	*exec.Cmd
	addr, admin string

	mu   sync.Mutex
	log  bytes.Buffer
	seen chan struct{} // closed when the log has ended
}

func command(t *testing.T, env []string, args ...string) *exec.Cmd {
	ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, must(os.Executable()), args...)
	cmd.Env = append([]string{"TEST_AS_PROGRAM=1"}, env...)
	return cmd
}

// launch starts the program on free ports and waits until it listens.
func launch(t *testing.T, env ...string) *program {
	t.Helper()
	p := &program{seen: make(chan struct{})}
	p.Cmd = command(t, append([]string{"LISTEN_ADDR=127.0.0.1:0", "ADMIN_ADDR=127.0.0.1:0"}, env...))
	stderr := must(p.StderrPipe())
	check(t, p.Start())
	t.Cleanup(func() { p.Process.Kill(); p.Wait() })
	listening := make(chan struct{})
	go func() {
		defer close(p.seen)
		var once sync.Once
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			p.mu.Lock()
			p.log.WriteString(lines.Text() + "\n")
			var line struct{ Msg, Address string }
			json.Unmarshal(lines.Bytes(), &line)
			switch line.Msg {
			case "admin listening":
				p.admin = line.Address
			case "listening":
				p.addr = line.Address
				once.Do(func() { close(listening) })
			}
			p.mu.Unlock()
		}
	}()
	select {
	case <-listening:
	case <-p.seen:
		t.Fatalf("it ended: %s", p.logged())
	case <-time.After(patience):
		t.Fatalf("it does not listen: %s", p.logged())
	}
	return p
}

func (p *program) logged() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.String()
}

// exit waits for the end and returns the exit code.
func (p *program) exit(t *testing.T) int {
	t.Helper()
	select {
	case <-p.seen:
	case <-time.After(patience):
		t.Fatalf("it does not exit: %s", p.logged())
	}
	p.Wait()
	return p.ProcessState.ExitCode()
}

// get asks the admin port.
func (p *program) get(path string) (int, string) {
	resp, err := http.Get("http://" + p.admin + path)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(text)
}

func (p *program) status(t *testing.T) (s status) {
	t.Helper()
	_, text := p.get("/status")
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		t.Fatalf("status %q: %v", text, err)
	}
	return s
}

func (p *program) ready() bool { code, _ := p.get("/readyz"); return code == 200 }

// client believes any certificate: most of these are self-signed.
func (p *program) client(t *testing.T) *http.Client {
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: patience}
}

func portOf(addr string) string {
	_, port, _ := net.SplitHostPort(addr)
	return port
}

func proxyTo(addr string) string { return "PROXY_PORT=" + portOf(addr) }

func TestRefusesToStart(t *testing.T) {
	dir := t.TempDir()
	files, _ := writePairFiles(t, dir, "localhost")
	pair := []string{"CERT_PATH=" + files.Cert, "KEY_PATH=" + files.Key}
	ca := "CLIENT_CA_PATH=" + files.Cert
	cut := filepath.Join(dir, "cut.crt")
	check(t, os.WriteFile(cut, append(must(os.ReadFile(files.Cert)), serverCA.pem()[:200]...), 0o600))
	taken := must(net.Listen("tcp", "127.0.0.1:0"))
	defer taken.Close()
	tests := []struct {
		name string
		env  []string
		code int
		want string
	}{
		{"no certificate", nil, 2, "CERT_PATH: no certificate"},
		{"key only", []string{"KEY_PATH=x", "SELF_SIGNED=true"}, 2, "KEY_PATH: a key without a certificate"},
		{"no access choice", append(pair, "CLIENT_AUTH=required", ca), 2, "CLIENT_AUTH=required: say who is let in"},
		{"no client CA", append(pair, "CLIENT_AUTH=optional"), 2, "CLIENT_CA_PATH: required"},
		{"lists without client certificates", append(pair, "ALLOW_CN=bob"), 2, "would let everybody in"},
		{"CA without client certificates", append(pair, ca), 2, "means nothing with CLIENT_AUTH=none"},
		{"all and a list", append(pair, "CLIENT_AUTH=required", ca, "ALLOW_ALL=true", "ALLOW_CN=bob"), 2, "ALLOW_ALL with"},
		{"URI pattern", append(pair, "CLIENT_AUTH=required", ca, "ALLOW_URI=spiffe://a/**/b"), 2, "** must be"},
		{"PROXY protocol in http mode", append(pair, "PROXY_PROTOCOL=v2"), 2, "only with MODE=tcp"},
		{"proxies in tcp mode", append(pair, "MODE=tcp", "TRUSTED_PROXIES=10.0.0.0/8"), 2, "means nothing with MODE=tcp"},
		{"ALPN in http mode", append(pair, "ALPN=h2"), 2, "ALPN: only with MODE=tcp"},
		{"a long protocol", append(pair, "MODE=tcp", "ALPN="+strings.Repeat("x", 256)), 2, "longer than the 255 bytes"},
		{"a truncated chain", []string{"CERT_PATH=" + cut, "KEY_PATH=" + files.Key}, 1, "PEM block 2 is incomplete"},
		{"a truncated client CA", append(pair, "CLIENT_AUTH=optional", "CLIENT_CA_PATH="+cut), 1, "PEM block 2 is incomplete"},
		{"TLS 1.1", append(pair, "TLS_MIN_VERSION=1.1"), 2, "TLS_MIN_VERSION"},
		{"two at once", []string{"PROXY_PROTOCOL=v2"}, 2, "PROXY_PROTOCOL=v2: only"},
		{"certificate not there", []string{"CERT_PATH=/nowhere", "KEY_PATH=/nowhere"}, 1, "no such file"},
		{"mismatch", []string{"CERT_PATH=" + files.Cert, "KEY_PATH=" + files.Cert}, 1, "private key"},
		{"half a pair, self-signed", []string{"CERT_PATH=" + files.Cert, "KEY_PATH=" + dir + "/none", "SELF_SIGNED=true"}, 1, "no such file"},
		{"port taken", append(pair, "LISTEN_ADDR="+taken.Addr().String()), 1, "address already in use"},
		{"self-signed for nothing", []string{"SELF_SIGNED=true", "SELF_SIGNED_NAMES=a b"}, 1, "not a DNS name"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cmd := command(t, append([]string{"ADMIN_ADDR=127.0.0.1:0", "LISTEN_ADDR=127.0.0.1:0"}, tt.env...))
			text, _ := cmd.CombinedOutput()
			if code := cmd.ProcessState.ExitCode(); code != tt.code || !strings.Contains(string(text), tt.want) {
				t.Errorf("exit %d, want %d; said %s, want %q", code, tt.code, text, tt.want)
			}
		})
	}
}

// TestLife is a whole life: start, serve, reload, the app away and back, stop
// with a request in flight and a SIGHUP in the middle.
func TestLife(t *testing.T) {
	g := startGate(t)
	files, before := writePairFiles(t, t.TempDir(), "localhost")
	p := launch(t, proxyTo(g.addr), "CERT_PATH="+files.Cert, "KEY_PATH="+files.Key, "ON_CHANGE=ignore")
	eventually(t, "ready", p.ready)
	c := p.client(t)
	if s := p.status(t); s.State != "ok" || !s.Backend.OK || s.Certificates[0].Serial != before || s.Certificates[0].Path != files.Cert || s.Listen != p.addr {
		t.Errorf("status %+v", s)
	}

	_, after := writePairFiles(t, filepath.Dir(files.Cert), "localhost")
	check(t, p.Process.Signal(syscall.SIGHUP))
	eventually(t, "reloaded", func() bool { return p.status(t).Certificates[0].Serial == after })
	if last := p.status(t).LastReload; !last.OK || last.Trigger != "SIGHUP" {
		t.Errorf("last reload %+v", last)
	}
	if _, text := p.get("/metrics"); !strings.Contains(text, `tls_sidecar_reloads_total{result="ok"} 1`) {
		t.Errorf("metrics do not show the reload:\n%s", text)
	}

	answer := make(chan string, 1)
	go func() {
		resp, err := c.Get("https://" + p.addr + "/")
		if err != nil {
			answer <- err.Error()
			return
		}
		answer <- string(must(io.ReadAll(resp.Body)))
	}()
	<-g.came
	check(t, p.Process.Signal(syscall.SIGTERM))
	eventually(t, "stopping", func() bool { return p.status(t).State == "stopping" })
	check(t, os.WriteFile(files.Cert, []byte("bad"), 0o600))
	check(t, p.Process.Signal(syscall.SIGHUP))
	eventually(t, "the SIGHUP has come", func() bool { return strings.Contains(p.logged(), "reload ignored") })
	if code, text := p.get("/readyz"); code != 503 || !strings.Contains(text, "draining") {
		t.Errorf("readyz %d %q", code, text)
	}
	if s := p.status(t); s.Certificates[0].Serial != after {
		t.Errorf("status %+v", s)
	}
	eventually(t, "not let in", func() bool {
		conn, err := net.DialTimeout("tcp", p.addr, 50*time.Millisecond)
		if err == nil {
			conn.Close()
		}
		return err != nil
	})
	close(g.open)
	if got := <-answer; got != "done" {
		t.Errorf("the request in flight got %q", got)
	}
	if code := p.exit(t); code != 0 {
		t.Errorf("exit %d: %s", code, p.logged())
	}
}

func TestDrainCut(t *testing.T) {
	g := startGate(t)
	defer close(g.open)
	p := launch(t, proxyTo(g.addr), "SELF_SIGNED=true", "DRAIN_TIMEOUT=200ms")
	go p.client(t).Get("https://" + p.addr + "/")
	<-g.came
	check(t, p.Process.Signal(syscall.SIGTERM))
	if code := p.exit(t); code != 1 || !strings.Contains(p.logged(), "drain cut") {
		t.Errorf("exit %d: %s", code, p.logged())
	}
}

// TestAppAway: unready and 502 when the app goes, ready when it is back.
func TestAppAway(t *testing.T) {
	t.Parallel()
	ln := must(net.Listen("tcp", "127.0.0.1:0"))
	addr := ln.Addr().String()
	serve := func(ln net.Listener) *http.Server {
		srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "ok") })}
		go srv.Serve(ln)
		return srv
	}
	app := serve(ln)
	p := launch(t, proxyTo(addr), "SELF_SIGNED=true")
	eventually(t, "ready", p.ready)
	c := p.client(t)

	app.Close()
	began := time.Now()
	eventually(t, "unready", func() bool { return !p.ready() })
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("unready after %s", took)
	}
	if code, text := get(t, c, "https://"+p.addr+"/"); code != 502 {
		t.Errorf("got %d %q, want 502", code, text)
	}
	if s := p.status(t); s.Backend.OK || !strings.Contains(s.Backend.Error, "refused") || s.State != "ok" {
		t.Errorf("status %+v", s)
	}

	app = serve(must(net.Listen("tcp", addr)))
	defer app.Close()
	eventually(t, "ready again", p.ready)
	if code, _ := get(t, c, "https://"+p.addr+"/"); code != 200 {
		t.Errorf("got %d, want 200", code)
	}
}

// TestAppOnIPv6: an app that listens on ::1 only is on localhost too.
func TestAppOnIPv6(t *testing.T) {
	ln, err := net.Listen("tcp", "[::1]:0")
	check(t, err)
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "six") })}
	go srv.Serve(ln)
	defer srv.Close()
	p := launch(t, proxyTo(ln.Addr().String()), "SELF_SIGNED=true")
	eventually(t, "ready", p.ready)
	if _, text := get(t, p.client(t), "https://"+p.addr+"/"); text != "six" {
		t.Errorf("got %q", text)
	}
}

// TestExitsOnChange: with ON_CHANGE=exit it drains and exits 0.
func TestExitsOnChange(t *testing.T) {
	g := startGate(t)
	files, _ := writePairFiles(t, t.TempDir(), "localhost")
	p := launch(t, proxyTo(g.addr), "CERT_PATH="+files.Cert, "KEY_PATH="+files.Key, "ON_CHANGE=exit")
	c := p.client(t)
	answer := make(chan string, 1)
	go func() {
		resp, err := c.Get("https://" + p.addr + "/")
		if err != nil {
			answer <- err.Error()
			return
		}
		answer <- string(must(io.ReadAll(resp.Body)))
	}()
	<-g.came
	writePairFiles(t, filepath.Dir(files.Cert), "localhost")
	eventually(t, "stopping", func() bool { return p.status(t).State == "stopping" })
	close(g.open)
	if got := <-answer; got != "done" {
		t.Errorf("the request in flight got %q", got)
	}
	if code := p.exit(t); code != 0 {
		t.Errorf("exit %d: %s", code, p.logged())
	}
}

// TestTCPProgram: the tcp mode, from the settings.
func TestTCPProgram(t *testing.T) {
	app := startTCPApp(t, echo)
	p := launch(t, proxyTo(app), "SELF_SIGNED=true", "MODE=tcp")
	conn, err := tls.Dial("tcp", p.addr, &tls.Config{InsecureSkipVerify: true})
	check(t, err)
	defer conn.Close()
	io.WriteString(conn, "hello")
	conn.CloseWrite()
	if got := readAll(conn); got != "hello" {
		t.Errorf("got %q", got)
	}
}

// TestManyIdle: thousands of connections that say nothing, of each kind, do
// not keep others out, and take a bounded memory.
func TestManyIdle(t *testing.T) {
	const silent, shaken = 3000, 300
	app := startWireApp(t)
	p := launch(t, proxyTo(app.addr), "SELF_SIGNED=true")
	eventually(t, "ready", p.ready)
	var conns sync.WaitGroup
	var mu sync.Mutex
	var open []net.Conn
	keep := func(c net.Conn) { mu.Lock(); defer mu.Unlock(); open = append(open, c) }
	defer func() {
		for _, c := range open {
			c.Close()
		}
	}()
	for range 8 {
		conns.Go(func() {
			for range silent / 8 {
				keep(must(net.Dial("tcp", p.addr)))
			}
			for range shaken / 8 {
				keep(must(tls.Dial("tcp", p.addr, &tls.Config{InsecureSkipVerify: true})))
			}
		})
	}
	conns.Wait()
	eventually(t, "all are there", func() bool { return p.status(t).Connections.Active >= silent+shaken-8 })
	if code, _ := get(t, p.client(t), "https://"+p.addr+"/"); code != 200 {
		t.Errorf("got %d", code)
	}
	const limit = 400 << 10 // KiB; the race detector takes three times the memory
	if rss := residentKiB(t, p.Process.Pid); rss > limit {
		t.Errorf("%d KiB resident with %d connections, want at most %d", rss, silent+shaken, limit)
	}
}

func residentKiB(t *testing.T, pid int) int {
	t.Helper()
	for line := range strings.Lines(string(must(os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))))) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			return must(strconv.Atoi(strings.Fields(rest)[0]))
		}
	}
	t.Fatal("no VmRSS")
	return 0
}
