package main

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"distlab/containers/internal/env"
)

// The test binary is its own children, as the program is.
func TestMain(m *testing.M) {
	if os.Getenv(roleVariable) == roleStay {
		os.Exit(stay())
	}
	os.Exit(m.Run())
}

// until waits for a condition.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); {
		if time.Now().After(end) {
			t.Fatalf("no %s in 30 s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

// It takes what it is told, never more, and what the record says of it is what the kernel says.
func TestBurn(t *testing.T) {
	b := NewBurn()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	begun := time.Now()
	before, _ := processorTime()
	b.Set(0.3)
	go func() { b.Run(ctx); close(done) }()
	used := func() time.Duration { now, _ := processorTime(); return now - before }
	until(t, "100 ms of processor time", func() bool { return used() > 100*time.Millisecond })
	took, over := used(), time.Since(begun)
	if most := time.Duration(0.3*float64(over)) + 2*step; took > most {
		t.Errorf("%v in %v is more than 0.3 of a processor", took, over)
	}
	var first, last reading
	b.mu.Lock()
	first, last = b.record[0], b.record[len(b.record)-1]
	b.mu.Unlock()
	if got, err := b.Between(first.at, last.at); err != nil || got != last.used-first.used {
		t.Errorf("%v, %v; the readings say %v", got, err, last.used-first.used)
	}
	b.Set(0)
	cancel()
	<-done
	if got := b.Appetite(); got != 0 {
		t.Errorf("appetite %v", got)
	}
}

// What it did not get is forgiven, but for a little.
func TestForgiven(t *testing.T) {
	b := NewBurn()
	b.cores, b.since = 1, time.Now().Add(-time.Hour)
	b.used, _ = processorTime()
	if got := b.behind(); got != forgiven {
		t.Errorf("%v behind after an hour", got)
	}
	if got := b.behind(); got < forgiven-step || got > forgiven+time.Second {
		t.Errorf("%v behind right after", got)
	}
}

func TestBetween(t *testing.T) {
	at := func(ms int) time.Time { return time.Unix(1000, 0).Add(time.Duration(ms) * time.Millisecond) }
	b := NewBurn()
	for i := range cap(b.record) + 10 { // the ring has gone round: the first ten are forgotten
		b.put(reading{at(10 * i), time.Duration(i) * 3 * time.Millisecond})
	}
	for _, test := range []struct {
		from, to int
		want     time.Duration
		err      bool
	}{
		{from: 100, to: 1100, want: 300 * time.Millisecond},
		{from: 105, to: 115, want: 3 * time.Millisecond},
		{from: 99, to: 200, err: true}, // forgotten
		{from: 200, to: 100, err: true},
		{from: 100, to: 70000, err: true}, // not over yet
	} {
		got, err := b.Between(at(test.from), at(test.to))
		if got != test.want || (err != nil) != test.err {
			t.Errorf("%d to %d: %v, %v", test.from, test.to, got, err)
		}
	}
}

func TestHold(t *testing.T) {
	h := &Hold{Limit: 64 << 20}
	resident := func() int {
		text, err := os.ReadFile("/proc/self/statm")
		if err != nil {
			t.Fatal(err)
		}
		pages, _ := strconv.Atoi(strings.Fields(string(text))[1])
		return pages * os.Getpagesize()
	}
	before := resident()
	if err := h.Set(40 << 20); err != nil {
		t.Fatal(err)
	}
	if got := resident() - before; got < 38<<20 || got > 46<<20 {
		t.Errorf("%d bytes more are resident", got)
	}
	if err := h.Set(49 << 20); err == nil || !strings.Contains(err.Error(), "49MiB is more than three quarters") {
		t.Errorf("too much: %v", err)
	}
	if h.Size() != 40<<20 {
		t.Errorf("a refusal leaves %d", h.Size())
	}
	if err := h.Set(0); err != nil || h.Size() != 0 {
		t.Errorf("%v, %d", err, h.Size())
	}
	if got := resident() - before; got > 6<<20 {
		t.Errorf("%d bytes are still resident", got)
	}
}

func TestNames(t *testing.T) {
	for text, want := range map[string]string{
		`two words`: "two words", `a) R 1 (b c\n`: "a) R 1 (b c\n", `<b>"x"</b>`: `<b>"x"</b>`, `\xff\u202e`: "\xff\u202e", `\x2c`: ",",
		`\`: "", `\x00`: "", `\q`: "",
	} {
		var n Name
		err := n.UnmarshalText([]byte(text))
		if string(n) != want || (err != nil) != (want == "") {
			t.Errorf("%s: %q, %v", text, n, err)
		}
	}
}

// Children that stay have their name in the kernel and as their only argument, and end with their parent.
func TestNamed(t *testing.T) {
	names := []Name{"two words", "a) R 1 (b c\n", "\xff<i>", "longer than fifteen bytes"}
	list, err := startNamed(names)
	if err != nil {
		t.Fatal(err)
	}
	for i, n := range list {
		dir := filepath.Join("/proc", strconv.Itoa(n.PID))
		comm, _ := os.ReadFile(dir + "/comm")
		line, _ := os.ReadFile(dir + "/cmdline")
		if want := string(names[i])[:min(15, len(names[i]))]; string(comm) != want+"\n" || n.Name != want {
			t.Errorf("comm %q, name %q, want %q", comm, n.Name, want)
		}
		if string(line) != string(names[i])+"\x00" {
			t.Errorf("command line %q", line)
		}
	}
	stopNamed(list)
	for _, n := range list {
		if err := syscall.Kill(n.PID, 0); err == nil {
			t.Errorf("%q lives on", n.Name)
		}
	}
}

func TestChildren(t *testing.T) {
	c := &Children{Log: slog.New(slog.DiscardHandler)}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	c.Set(500)
	go func() { c.Run(ctx); close(done) }()
	_, before := processorTime()
	until(t, "children", func() bool { n, _, _ := c.Counts(); return n >= 20 })
	cancel()
	<-done
	if _, after := processorTime(); after <= before {
		t.Error("their time is nowhere")
	}
	if c.running.Load() != 0 {
		t.Error("some are running still")
	}
}

func TestAdmin(t *testing.T) {
	b := &burner{NewBurn(), &Hold{Limit: 64 << 20}, &Children{}, nil}
	defer b.memory.Set(0)
	mux := http.NewServeMux()
	mux.HandleFunc("PUT /appetite", b.putAppetite)
	mux.HandleFunc("GET /burnt", b.getBurnt)
	mux.HandleFunc("GET /processes", getProcesses)
	srv := httptest.NewServer(mux)
	defer srv.Close()
	ask := func(method, path, body string) (int, string) {
		req, _ := http.NewRequest(method, srv.URL+path, strings.NewReader(body))
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, string(text)
	}
	for _, test := range []struct {
		body string
		code int
		want Status // appetite after it
	}{
		{`{"cpu":0.5}`, 200, Status{CPU: 0.5}},
		{`{"memory":"1MiB","children":3}`, 200, Status{CPU: 0.5, Memory: 1 << 20, Children: 3}},
		{`{"cpu":65}`, 400, Status{CPU: 0.5, Memory: 1 << 20, Children: 3}},
		{`{"cpu":1,"memory":"60MiB"}`, 400, Status{CPU: 0.5, Memory: 1 << 20, Children: 3}},
		{`{"children":-1}`, 400, Status{CPU: 0.5, Memory: 1 << 20, Children: 3}},
		{`{"cpus":1}`, 400, Status{CPU: 0.5, Memory: 1 << 20, Children: 3}},
		{`{"memory":"x"}`, 400, Status{CPU: 0.5, Memory: 1 << 20, Children: 3}},
		{``, 400, Status{CPU: 0.5, Memory: 1 << 20, Children: 3}},
		{`{"cpu":0,"memory":"0","children":0}`, 200, Status{}},
	} {
		if code, text := ask("PUT", "/appetite", test.body); code != test.code {
			t.Errorf("%s: %d %s", test.body, code, text)
		}
		s := b.status()
		if diff := cmp.Diff(test.want, Status{CPU: s.CPU, Memory: s.Memory, Children: s.Children}); diff != "" {
			t.Errorf("%s (-want +got)\n%s", test.body, diff)
		}
	}
	if code, text := ask("GET", "/burnt?from=x&to="+url.QueryEscape(time.Now().Format(time.RFC3339Nano)), ""); code != 400 {
		t.Errorf("%d %s", code, text)
	}
	now := url.QueryEscape(time.Now().Format(time.RFC3339Nano))
	if code, text := ask("GET", "/burnt?from="+now+"&to="+now, ""); code != 404 {
		t.Errorf("%d %s", code, text)
	}
	_, text := ask("GET", "/processes", "")
	var list []Seen
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		t.Fatal(err)
	}
	for _, s := range list {
		if s.PID == os.Getpid() && s.Name != "" && s.Capabilities != "" && s.User == strconv.Itoa(os.Geteuid()) {
			return
		}
	}
	t.Errorf("this process is not in %d", len(list))
}

func TestSettings(t *testing.T) {
	for vars, want := range map[string]string{
		"CPU=-1": "not between", "CPU=65": "not between", "CHILDREN=1001": "not between", "NAMES=a,\\q": "not a name", "MEMORY=1M": "not a size",
	} {
		name, value, _ := strings.Cut(vars, "=")
		var cfg config
		err := env.Load(&cfg, func(n string) (string, bool) { return value, n == name })
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", vars, err)
		}
	}
}
