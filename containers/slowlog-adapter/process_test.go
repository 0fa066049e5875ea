package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
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

// program is the adapter as a process of its own.
type program struct {
	*exec.Cmd
	stdout *os.File // what it writes, if the test reads it
	admin  string
	log    *sink
	ended  chan struct{} // closed when its log has ended
}

func launch(t *testing.T, f *fakeRedis, env ...string) *program {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := &program{Cmd: exec.Command(self), log: &sink{}, ended: make(chan struct{})}
	p.Env = append([]string{"TEST_AS_PROGRAM=1", "ADMIN_ADDR=127.0.0.1:0", "REDIS_ADDR=" + f.addr}, env...)
	stderr, err := p.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p.stdout, p.Stdout = read, write
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	write.Close()
	t.Cleanup(func() { p.Process.Kill(); <-p.ended; p.Wait(); read.Close() })
	admin := make(chan string, 1)
	go func() {
		defer close(p.ended)
		var once sync.Once
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			p.log.Write(append(lines.Bytes(), '\n'))
			var l struct{ Msg, Address string }
			if json.Unmarshal(lines.Bytes(), &l) == nil && l.Msg == "admin listening" {
				once.Do(func() { admin <- l.Address })
			}
		}
	}()
	select {
	case p.admin = <-admin:
	case <-p.ended:
		t.Fatalf("ended at once:\n%s", p.log)
	case <-time.After(patience):
		t.Fatal("does not listen")
	}
	return p
}

func (p *program) status(t *testing.T) (s Status) {
	t.Helper()
	resp, err := http.Get("http://" + p.admin + "/status")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusNotFound {
		return s // the admin port is there before the adapter
	}
	if err := json.NewDecoder(resp.Body).Decode(&s); err != nil {
		t.Fatal(err)
	}
	return s
}

// code is the exit code after SIGTERM.
func (p *program) terminate(t *testing.T) (code int) {
	t.Helper()
	if err := p.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case <-p.ended:
	case <-time.After(patience):
		t.Fatal("does not end")
	}
	var exit *exec.ExitError
	if err := p.Wait(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return p.ProcessState.ExitCode()
}

func TestProcess(t *testing.T) {
	f := startRedis(t, func(f *fakeRedis) { f.user, f.password = "bob", "s3cret" })
	f.slow("SETEX", "a", "1", "hunter2")
	p := launch(t, f, "INTERVAL=1h", "REDIS_USERNAME=bob", "REDIS_PASSWORD=s3cret", "REDACT=SETEX", "OUTPUT=logfmt")
	await(t, "the first poll", func() bool { return p.status(t).Polls == 1 })
	f.slow("GET", "late")
	if code := p.terminate(t); code != 0 {
		t.Errorf("exit code %d", code)
	}
	out, err := io.ReadAll(p.stdout)
	if err != nil {
		t.Fatal(err)
	}
	rows := strings.Split(strings.TrimSpace(string(out)), "\n")
	if len(rows) != 2 || !strings.Contains(rows[0], `command="SETEX (redacted)"`) || !strings.Contains(rows[1], `command="GET late"`) {
		t.Errorf("wrote\n%s", out)
	}
	if strings.Contains(p.log.String(), "s3cret") {
		t.Errorf("the password is in the log:\n%s", p.log)
	}
}

// Nobody reads standard output: the adapter waits, and Redis's log overflows meanwhile; but it ends when it must.
func TestNobodyReads(t *testing.T) {
	f := startRedis(t, func(f *fakeRedis) { f.maxLen = 2000 })
	for range 1500 {
		f.slow("GET", strings.Repeat("x", 128))
	}
	p := launch(t, f, "INTERVAL=10ms", "MAX_ENTRIES=2000", "DRAIN_TIMEOUT=50ms")
	await(t, "a poll", func() bool { return p.status(t).Polls == 1 })
	if code := p.terminate(t); code != 1 || !strings.Contains(p.log.String(), "drain cut") {
		t.Errorf("exit code %d:\n%s", code, p.log)
	}
}

func TestTLSWithoutCAs(t *testing.T) {
	f := startRedis(t, nil)
	p := launch(t, f, "REDIS_TLS=true", "TIMEOUT=100ms")
	await(t, "a failed poll", func() bool { return p.status(t).Failed > 0 })
	if code := p.terminate(t); code != 0 {
		t.Errorf("exit code %d", code)
	}
}
