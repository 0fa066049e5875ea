package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
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

const patience = 30 * time.Second

// program is the ambassador as a process of its own.
type program struct {
	t     *testing.T
	cmd   *exec.Cmd
	lines chan map[string]any
	admin string
	pool  string
}

var binDir string

// binary is the program, compiled once.
var binary = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "shard-ambassador")
	if err != nil {
		return "", err
	}
	binDir = dir
	bin := filepath.Join(dir, "shard-ambassador")
	if out, err := exec.Command("go", "build", "-o", bin, ".").CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return bin, nil
})

func build(t *testing.T) string {
	t.Helper()
	bin, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	return bin
}

func TestMain(m *testing.M) {
	code := m.Run()
	if binDir != "" {
		os.RemoveAll(binDir)
	}
	os.Exit(code)
}

// start runs the program, and waits until it listens.
func start(t *testing.T, vars ...string) *program {
	t.Helper()
	return startAs(t, exec.Command(build(t)), vars...)
}

func startAs(t *testing.T, cmd *exec.Cmd, vars ...string) *program {
	t.Helper()
	p := &program{t: t, cmd: cmd, lines: make(chan map[string]any, 1000)}
	p.cmd.Env = append([]string{"ADMIN_ADDR=127.0.0.1:0"}, vars...)
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.cmd.Process.Kill(); p.cmd.Wait() })
	go func() {
		defer close(p.lines)
		for s := bufio.NewScanner(stderr); s.Scan(); {
			var line map[string]any
			if json.Unmarshal(s.Bytes(), &line) == nil {
				p.lines <- line
			}
		}
	}()
	p.admin = p.logged("admin listening")["address"].(string)
	p.pool = p.logged("listening")["address"].(string)
	p.logged("ready")
	return p
}

// logged waits for a line of the log.
func (p *program) logged(msg string) map[string]any {
	p.t.Helper()
	for after := time.After(patience); ; {
		select {
		case line, ok := <-p.lines:
			if !ok {
				p.t.Fatalf("ended without saying %q", msg)
			}
			if line["msg"] == msg {
				return line
			}
		case <-after:
			p.t.Fatalf("never said %q", msg)
		}
	}
}

func (p *program) get(path string) string {
	p.t.Helper()
	resp, err := (&http.Client{Timeout: patience}).Get("http://" + p.admin + path)
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return string(body)
}

// shard answers every line that ends a request of GET with its name, once release lets it.
func shard(t *testing.T, name string, release <-chan struct{}) string {
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
				for in := bufio.NewScanner(conn); in.Scan(); {
					if in.Text() == "GET" {
						<-release
						fmt.Fprintf(conn, "+%s\r\n", name)
					}
				}
			}()
		}
	}()
	return ln.Addr().String()
}

func ask(t *testing.T, conn net.Conn, in *bufio.Reader, key string) string {
	t.Helper()
	fmt.Fprintf(conn, "*2\r\n$3\r\nGET\r\n$%d\r\n%s\r\n", len(key), key)
	line, err := in.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(line)
}

func dial(t *testing.T, network, addr string) (net.Conn, *bufio.Reader) {
	t.Helper()
	conn, err := net.Dial(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(patience))
	return conn, bufio.NewReader(conn)
}

func TestReloadOnSIGHUP(t *testing.T) {
	free := make(chan struct{})
	close(free)
	a, b := shard(t, "a", free), shard(t, "b", free)
	file := filepath.Join(t.TempDir(), "pools.yml")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	socket := filepath.Join(t.TempDir(), "s")
	pools := "alpha:\n  listen: " + socket + "\n  redis: true\n  servers:\n   - %s:1 one\n"
	write(fmt.Sprintf(pools, a))
	p := start(t, "POOL_FILE="+file)
	conn, in := dial(t, "unix", p.pool)
	if got := ask(t, conn, in, "k"); got != "+a" {
		t.Errorf("got %q", got)
	}

	write("alpha:\n  listen: " + socket + "\n  redis: true\n  servers:\n   - nonsense\n")
	p.cmd.Process.Signal(syscall.SIGHUP)
	p.logged("reload refused")
	if got := p.get("/status"); !strings.Contains(got, "nonsense") {
		t.Errorf("/status does not say what is wrong:\n%s", got)
	}
	if got := ask(t, conn, in, "k"); got != "+a" {
		t.Errorf("after a bad file: %q", got)
	}

	write(strings.Replace(fmt.Sprintf(pools, b), " one", " two", 1))
	p.cmd.Process.Signal(syscall.SIGHUP)
	if line := p.logged("reloading"); line["moved_share"] != 1.0 {
		t.Errorf("%v", line)
	}
	p.logged("reloaded")
	if got := ask(t, conn, in, "k"); got != "+b" {
		t.Errorf("after the reload: %q", got)
	}
	if got := p.get("/status"); strings.Contains(got, "nonsense") || !strings.Contains(got, `"moved_share"`) {
		t.Errorf("/status:\n%s", got)
	}
	if got := p.get("/metrics"); !strings.Contains(got, `shard_ambassador_shard_requests_total{pool="alpha",shard="two"} `) {
		t.Errorf("/metrics:\n%s", got)
	}
}

// SIGTERM with requests under way: all of them are answered, and the exit code
// says whether that was so.
func TestDrainOnSIGTERM(t *testing.T) {
	for _, answered := range []bool{true, false} {
		t.Run(fmt.Sprint("answered=", answered), func(t *testing.T) {
			release := make(chan struct{})
			addr := shard(t, "a", release)
			limit, code := patience.String(), 0
			if !answered {
				limit, code = "100ms", 1
				t.Cleanup(func() { close(release) })
			}
			p := start(t, "SERVERS="+addr+":1", "LISTEN_ADDR=127.0.0.1:0", "DRAIN_TIMEOUT="+limit)
			conn, in := dial(t, "tcp", p.pool)
			fmt.Fprint(conn, strings.Repeat("*2\r\n$3\r\nGET\r\n$1\r\nk\r\n", 10))
			for deadline := time.Now().Add(patience); !strings.Contains(p.get("/metrics"), `shard_ambassador_shard_in_flight{pool="redis",shard="`+addr+`"} 10`); {
				if time.Now().After(deadline) {
					t.Fatal("the requests are not under way")
				}
			}
			p.cmd.Process.Signal(syscall.SIGTERM)
			p.logged("draining")
			if answered {
				close(release)
				for range 10 {
					if line, err := in.ReadString('\n'); line != "+a\r\n" {
						t.Errorf("%q, %v", line, err)
					}
				}
				if rest, err := io.ReadAll(in); err != nil || len(rest) != 0 {
					t.Errorf("%q, %v", rest, err)
				}
				conn.Close()
			}
			for range p.lines { // to the end of the log
			}
			if p.cmd.Wait(); p.cmd.ProcessState.ExitCode() != code {
				t.Errorf("exit code %d, want %d", p.cmd.ProcessState.ExitCode(), code)
			}
		})
	}
}

// Memcached pools are refused with one clear error, and so is a start without servers.
func TestStartRefused(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pools.yml")
	if err := os.WriteFile(file, []byte("alpha:\n  listen: 127.0.0.1:6399\n  servers:\n   - 127.0.0.1:11211:1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for env, want := range map[string]string{"POOL_FILE=" + file: "memcached", "SERVERS=": "SERVERS: required"} {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		cmd := exec.CommandContext(ctx, build(t))
		cmd.Env = []string{"ADMIN_ADDR=127.0.0.1:0", env}
		out, _ := cmd.CombinedOutput()
		if cmd.ProcessState.ExitCode() != 1 || !strings.Contains(string(out), want) {
			t.Errorf("%s: %s\n%s", env, cmd.ProcessState, out)
		}
	}
}

// With all descriptors taken by clients the servers are still served, nobody is blamed, and the log stays short.
func TestDescriptorsAreKeptForServers(t *testing.T) {
	free := make(chan struct{})
	close(free)
	addr := shard(t, "a", free)
	build(t)
	// The shell's limit is the program's.
	p := startAs(t, exec.Command("sh", "-c", "ulimit -n 60; exec \"$0\"", binDir+"/shard-ambassador"),
		"SERVERS="+addr+":1", "LISTEN_ADDR=127.0.0.1:0", "AUTO_EJECT_HOSTS=true", "SERVER_FAILURE_LIMIT=1",
		"SERVER_RETRY_TIMEOUT=1h")
	first, in := dial(t, "tcp", p.pool)
	turned := 0
	for range 100 {
		conn, in := dial(t, "tcp", p.pool)
		conn.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
		if line, err := in.ReadString('\n'); err == nil && line == "-ERR max number of clients reached\r\n" {
			turned++
		}
	}
	if turned == 0 {
		t.Error("nobody was turned away: that is no test")
	}
	// The connection to the server is made only now.
	for range 3 {
		if got := ask(t, first, in, "k"); got != "+a" {
			t.Errorf("got %q", got)
		}
	}
	metrics := p.get("/metrics")
	for _, want := range []string{
		`shard_ambassador_shard_ejected{pool="redis",shard="` + addr + `"} 0`,
		`shard_ambassador_shard_errors_total{kind="local",pool="redis",shard="` + addr + `"} 0`,
	} {
		if !strings.Contains(metrics, want) {
			t.Errorf("no %s", want)
		}
	}
	if n := len(p.lines); n > 10 {
		t.Errorf("%d lines in the log", n)
	}
}

// Too few descriptors for the servers alone are one clear error.
func TestTooFewDescriptors(t *testing.T) {
	build(t)
	cmd := exec.CommandContext(t.Context(), "sh", "-c", "ulimit -n 30; exec \"$0\"", binDir+"/shard-ambassador")
	cmd.Env = []string{"ADMIN_ADDR=127.0.0.1:0", "SERVERS=127.0.0.1:6379:1"}
	out, _ := cmd.CombinedOutput()
	if cmd.ProcessState.ExitCode() != 1 || !strings.Contains(string(out), "leave none for clients") {
		t.Errorf("%s\n%s", cmd.ProcessState, out)
	}
}
