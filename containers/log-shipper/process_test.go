package main

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const patience = 60 * time.Second

// TestMain makes the test binary the program, when asked to.
func TestMain(m *testing.M) {
	if os.Getenv("TEST_AS_PROGRAM") != "" {
		main()
		panic("main returned")
	}
	os.Exit(m.Run())
}

// await asks until a condition holds.
func await(t *testing.T, what string, ask func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ask(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s was not seen in %v", what, patience)
		}
	}
}

// fakeStore keeps what is new by stream and offset, as a store should.
type fakeStore struct {
	*httptest.Server
	mu      sync.Mutex
	lines   []string
	ends    map[string]int64
	repeats int
	keys    []string
	// answer, if set, decides about a request after it was read; keep says whether its lines are kept all the same.
	answer func(n int, records []sent) (status int, keep bool)
	n      int
}

type sent struct {
	Stream string
	Offset int64
	End    int64
	Source string
	Line   *string
	Base64 string `json:"line_base64"`
}

func startStore(t *testing.T) *fakeStore {
	s := &fakeStore{ends: map[string]int64{}}
	s.Server = httptest.NewServer(http.HandlerFunc(s.take))
	t.Cleanup(s.Close)
	return s
}

func (s *fakeStore) take(w http.ResponseWriter, r *http.Request) {
	body := io.Reader(r.Body)
	if r.Header.Get("Content-Encoding") == "gzip" {
		zip, err := gzip.NewReader(body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		body = zip
	}
	var records []sent
	for dec := json.NewDecoder(body); ; {
		var rec sent
		if err := dec.Decode(&rec); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		records = append(records, rec)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.n++
	s.keys = append(s.keys, r.Header.Get("Idempotency-Key"))
	status, keep := http.StatusOK, true
	if s.answer != nil {
		status, keep = s.answer(s.n, records)
	}
	if keep {
		for _, rec := range records {
			if rec.Offset < s.ends[rec.Stream] {
				s.repeats++
				continue
			}
			s.ends[rec.Stream] = rec.End
			if rec.Line != nil {
				s.lines = append(s.lines, *rec.Line)
			} else {
				s.lines = append(s.lines, "base64:"+rec.Base64)
			}
		}
	}
	if status == 0 {
		panic(http.ErrAbortHandler)
	}
	if status == http.StatusTooManyRequests {
		w.Header().Set("Retry-After", "0")
	}
	w.WriteHeader(status)
}

func (s *fakeStore) got() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.lines...)
}

// program is the shipper as a process of its own.
type program struct {
	*exec.Cmd
	admin string
	ended chan struct{}
	mu    sync.Mutex
	log   strings.Builder
}

func (p *program) text() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.String()
}

func launch(t *testing.T, dir, store string, env ...string) *program {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := &program{Cmd: exec.Command(self), ended: make(chan struct{})}
	p.Env = append([]string{
		"TEST_AS_PROGRAM=1", "ADMIN_ADDR=127.0.0.1:0", "PATHS=" + filepath.Join(dir, "*.log"), "STORE_URL=" + store,
		"CHECKPOINT_PATH=" + filepath.Join(dir, "checkpoint.json"), "POLL=20ms", "BATCH_WAIT=20ms", "RETRY_MIN=5ms", "RETRY_MAX=50ms",
		"CHECKPOINT_WAIT=1ms",
	}, env...)
	stderr, err := p.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Process.Kill(); <-p.ended; p.Wait() })
	admin := make(chan string, 1)
	go func() {
		defer close(p.ended)
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			p.mu.Lock()
			p.log.WriteString(lines.Text() + "\n")
			p.mu.Unlock()
			var l struct{ Msg, Address string }
			if json.Unmarshal(lines.Bytes(), &l) == nil && l.Msg == "admin listening" {
				admin <- l.Address
			}
		}
	}()
	select {
	case p.admin = <-admin:
	case <-p.ended:
	case <-time.After(patience):
		t.Fatal("does not listen")
	}
	return p
}

func (p *program) end(t *testing.T, sig syscall.Signal) int {
	t.Helper()
	if err := p.Process.Signal(sig); err != nil {
		t.Fatal(err)
	}
	<-p.ended
	p.Wait()
	return p.ProcessState.ExitCode()
}

func (p *program) metric(t *testing.T, name string) string {
	t.Helper()
	res, err := http.Get("http://" + p.admin + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if v, ok := strings.CutPrefix(line, name+" "); ok {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

func appendFile(t *testing.T, path, text string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
}

func numbered(from, n int) (text string, list []string) {
	for i := from; i < from+n; i++ {
		list = append(list, fmt.Sprintf("line %d", i))
		text += list[len(list)-1] + "\n"
	}
	return text, list
}

// A store that is away in every way, whose acknowledgements are lost, and a shipper that is killed meanwhile: each line is
// there once.
func TestProcess(t *testing.T) {
	dir, s := t.TempDir(), startStore(t)
	s.answer = func(n int, _ []sent) (int, bool) {
		switch n % 6 {
		case 1:
			return http.StatusInternalServerError, false
		case 2:
			return http.StatusTooManyRequests, false
		case 3:
			return 0, true // kept, and nobody is told
		case 4:
			return http.StatusNotFound, false // a wrong address is put right by somebody
		}
		return http.StatusOK, true
	}
	log := filepath.Join(dir, "app.log")
	text, want := numbered(0, 1000)
	appendFile(t, log, text)
	p := launch(t, dir, s.URL)
	await(t, "1,000 lines", func() bool { return len(s.got()) >= 1000 })
	p.end(t, syscall.SIGKILL)
	if err := os.Rename(log, log+".1"); err != nil {
		t.Fatal(err)
	}
	text, more := numbered(1000, 500)
	appendFile(t, log, text)
	p = launch(t, dir, s.URL)
	await(t, "1,500 lines", func() bool { return len(s.got()) >= 1500 })
	text, last := numbered(1500, 10)
	appendFile(t, log, text)
	if code := p.end(t, syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d\n%s", code, p.text())
	}
	// What was written before SIGTERM is shipped before the end.
	if diff := cmp.Diff(append(append(want, more...), last...), s.got()); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
	if s.repeats == 0 {
		t.Error("nothing was sent again: the test does not test")
	}
}

// The same lines have the same key, and others another.
func TestKeys(t *testing.T) {
	dir, s := t.TempDir(), startStore(t)
	s.answer = func(n int, _ []sent) (int, bool) {
		if n < 4 {
			return 0, true
		}
		return http.StatusOK, true
	}
	log := filepath.Join(dir, "app.log")
	appendFile(t, log, "one\n")
	p := launch(t, dir, s.URL)
	await(t, "an acknowledgement", func() bool { return p.metric(t, "log_shipper_acknowledged_lines_total") == "1" })
	appendFile(t, log, "two\n")
	await(t, "another one", func() bool { return p.metric(t, "log_shipper_acknowledged_lines_total") == "2" })
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.keys)
	for _, k := range s.keys[:n-1] {
		if k != s.keys[0] || k == s.keys[n-1] || len(k) < 10 {
			t.Errorf("keys %q", s.keys)
		}
	}
}

// A line that the store will not have does not hold up the others, and is counted.
func TestRejected(t *testing.T) {
	for _, status := range []int{http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity} {
		dir, s := t.TempDir(), startStore(t)
		s.answer = func(_ int, records []sent) (int, bool) {
			for _, r := range records {
				if *r.Line == "line 37" || *r.Line == "line 63" {
					return status, false
				}
			}
			return http.StatusOK, true
		}
		text, want := numbered(0, 100)
		appendFile(t, filepath.Join(dir, "app.log"), text)
		p := launch(t, dir, s.URL, "GZIP=false")
		await(t, "98 lines", func() bool { return len(s.got()) == 98 })
		want = append(append(append([]string(nil), want[:37]...), want[38:63]...), want[64:]...)
		if diff := cmp.Diff(want, s.got()); diff != "" {
			t.Errorf("%d: lines (-want +got):\n%s", status, diff)
		}
		await(t, "the count", func() bool { return p.metric(t, `log_shipper_dropped_lines_total{reason="rejected"}`) == "2" })
		if code := p.end(t, syscall.SIGTERM); code != 0 {
			t.Errorf("exit code %d", code)
		}
	}
}

// With the store away memory stays bounded, and the end comes at once: what is not sent is in the files.
func TestStoreAway(t *testing.T) {
	dir, s := t.TempDir(), startStore(t)
	s.answer = func(int, []sent) (int, bool) { return http.StatusServiceUnavailable, false }
	text, want := numbered(0, 100_000)
	appendFile(t, filepath.Join(dir, "app.log"), text)
	p := launch(t, dir, s.URL, "BUFFER=64KiB", "BATCH_SIZE=16KiB", "DRAIN_TIMEOUT=50ms")
	await(t, "attempts", func() bool { s.mu.Lock(); defer s.mu.Unlock(); return s.n > 5 })
	res, err := http.Get("http://" + p.admin + "/status")
	if err != nil {
		t.Fatal(err)
	}
	var st Status
	if err := json.NewDecoder(res.Body).Decode(&st); err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if st.Buffered > 96<<10 || st.Unread == 0 {
		t.Errorf("%+v", st)
	}
	if code := p.end(t, syscall.SIGTERM); code != 0 || !strings.Contains(p.text(), "they stay in their files") {
		t.Errorf("exit code %d\n%s", code, p.text())
	}
	s.mu.Lock()
	s.answer = nil
	s.mu.Unlock()
	launch(t, dir, s.URL)
	await(t, "all lines", func() bool { return len(s.got()) == len(want) })
	if diff := cmp.Diff(want, s.got()); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
}

func TestBadSettings(t *testing.T) {
	for _, tt := range []struct {
		env, says string
		code      int
	}{
		{"PATHS=[", "not a pattern", 2},
		{"STORE_URL=nowhere", "not a URL like http://store:8080/logs", 2},
		{"STORE_URL=", "STORE_URL: required", 2},
		{"STORE_URL=tcp://a:1", "needs http://", 1},
		{"OUTPUT=syslog", "needs tcp://HOST:PORT", 1},
		{"STORE_CA_PATH=/nowhere", "no such file", 1},
		{"TOKEN=s3cret", "it would cross the network in the clear", 1},
		{"CHECKPOINT_PATH=/nowhere/c.json", "no such file", 1},
	} {
		p := launch(t, t.TempDir(), "http://store:8080/logs", tt.env)
		<-p.ended
		p.Wait()
		if p.ProcessState.ExitCode() != tt.code || !strings.Contains(p.text(), tt.says) || strings.Contains(p.text(), "s3cret") {
			t.Errorf("%s: exit code %d\n%s", tt.env, p.ProcessState.ExitCode(), p.text())
		}
	}
}

// A checkpoint that is none, or of another version, is an error with a remedy, and stays as it is.
func TestBadCheckpoint(t *testing.T) {
	for _, text := range []string{"", "{", `{"version":2,"files":[]}`, `{"version":1,"files":[{"stream":"a","source":"b","acknowledged":{"offset":9},"size":3}]}`} {
		dir := t.TempDir()
		path := filepath.Join(dir, "checkpoint.json")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		p := launch(t, dir, "http://127.0.0.1:9/")
		<-p.ended
		p.Wait()
		kept, _ := os.ReadFile(path)
		if p.ProcessState.ExitCode() != 1 || !strings.Contains(p.text(), "remove it to read all files from their beginning") || string(kept) != text {
			t.Errorf("%q: exit code %d\n%s", text, p.ProcessState.ExitCode(), p.text())
		}
	}
}
