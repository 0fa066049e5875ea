package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func loadArgs(args ...string) []string {
	return append([]string{"load", "-rate", "200", "-duration", "250ms", "-timeout", "30s"}, args...)
}

// TestLoad: as many requests as rate and duration make, each once, over the URLs in turns.
func TestLoad(t *testing.T) {
	var mu sync.Mutex
	seen := map[string]int{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		seen[fmt.Sprintf("%s %s %q %d vegeta:%v", r.Method, r.URL.Path, r.Header.Get("X-A"), len(body), r.Header.Get(seqHeader) != "")]++
		if r.URL.Path == "/b" {
			w.WriteHeader(http.StatusBadGateway)
		}
	}))
	defer s.Close()
	stdout, _, code := runProbe(t, loadArgs("-header", "X-A: b", "-data-size", "7", s.URL+"/a", s.URL+"/b")...)
	lines := strings.Split(strings.TrimSpace(stdout), "\n")
	if code != 0 || len(lines) != 2 || lines[0] != `{"event":"started"}` {
		t.Fatalf("exit code %d, lines %q", code, lines)
	}
	a := decode[loadAnswer](t, lines[1])
	if diff := cmp.Diff(map[string]int{`POST /a "b" 7 vegeta:false`: 25, `POST /b "b" 7 vegeta:false`: 25}, seen); diff != "" {
		t.Errorf("the server saw:\n%s", diff)
	}
	if a.Event != "result" || a.Requests != 50 || a.OK != 25 || a.Lost != 0 || len(a.Errors) != 0 || len(a.First) != 0 {
		t.Errorf("result: %+v", a)
	}
	if diff := cmp.Diff(map[string]int{"200": 25, "502": 25}, a.Status); diff != "" {
		t.Errorf("status:\n%s", diff)
	}
	if a.Seconds < 0.245 || a.Rate <= 0 || a.Rate > 201 {
		t.Errorf("%v requests a second in %v s", a.Rate, a.Seconds)
	}
	l := a.Latency
	if l.P50 <= 0 || l.P50 > l.P90 || l.P90 > l.P99 || l.P99 > l.Max || l.Mean > l.Max {
		t.Errorf("latency: %+v", l)
	}
	if last := l.Buckets[len(l.Buckets)-1]; last.LE != 0 || last.Count != 50 {
		t.Errorf("last bucket: %+v", last)
	}
}

// TestLoadIsOpen: requests leave although none is answered, and what they waited counts.
func TestLoadIsOpen(t *testing.T) {
	const n = 50
	var arrived atomic.Int32
	all := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		if arrived.Add(1) == n {
			close(all)
		}
		<-all
	}))
	defer s.Close()
	a := ask[loadAnswer](t, loadArgs(s.URL)...)
	if a.OK != n {
		t.Fatalf("%d of %d ok, errors %v %v", a.OK, n, a.Errors, a.First)
	}
	// The first waited for the last, the 25th half as long, and so on.
	if a.Latency.Max < 0.244 || a.Latency.P50 < 0.119 || a.Latency.Mean < 0.119 {
		t.Errorf("latency: %+v", a.Latency)
	}
}

// TestLoadCountsFromDue: a probe that is late itself does not hide it.
func TestLoadCountsFromDue(t *testing.T) {
	l := &load{rate: 10, period: time.Second / 10, length: time.Minute, shots: map[uint64]*shot{}}
	before := time.Now()
	if wait, stop := l.Pace(0, 0); wait != 0 || stop {
		t.Fatalf("pace: %v, %v", wait, stop)
	}
	l.Pace(3*time.Second, 20) // the 21st was due after 2 s, and it is 3 s after the start
	s := l.take(20)
	if late := s.due.Sub(before); late < 2*time.Second || late > 3*time.Second {
		t.Errorf("due %v after the start, want 2s", late)
	}
	if _, stop := l.Pace(time.Hour, 599); stop {
		t.Errorf("the last request of the minute is not sent")
	}
	if _, stop := l.Pace(time.Hour, 600); !stop {
		t.Errorf("a request after the minute is sent")
	}
}

// TestLoadEnds: after a signal no request leaves, and those that left are waited for.
func TestLoadEnds(t *testing.T) {
	var hits atomic.Int32
	entered, release := make(chan struct{}, 1000), make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		if hits.Add(1) > 1 {
			entered <- struct{}{}
			<-release
		}
	}))
	defer s.Close()
	p := start(t, "load", "-rate", "100", "-duration", "10m", s.URL)
	if got := p.line(); got != `{"event":"started"}` {
		t.Fatalf("line %q", got)
	}
	<-entered
	<-entered
	p.stop()
	close(release)
	a := decode[loadAnswer](t, p.line())
	if code := <-p.exited; code != 0 {
		t.Errorf("exit code %d", code)
	}
	if a.Requests != int(hits.Load()) || a.OK != a.Requests || a.Requests < 3 || a.Lost != 0 {
		t.Errorf("server saw %d; result: %+v", hits.Load(), a)
	}
}

func TestLoadErrors(t *testing.T) {
	ca := newAuthority(t)
	// A server that answers every first request of a connection and hangs up on every second one.
	fickle := serve(t, func(c net.Conn) {
		r := bufio.NewReader(c)
		first, _ := http.ReadRequest(r)
		io.Copy(io.Discard, first.Body)
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		http.ReadRequest(r)
	})
	half := serve(t, func(c net.Conn) {
		readRequest(c)
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
	})
	silent := serve(t, func(c net.Conn) { io.Copy(io.Discard, c) })
	https := ca.httpsServer(http.NotFoundHandler(), nil)
	type outcome struct {
		OK, Lost int
		Errors   map[errorKind]int
	}
	for _, c := range []struct {
		name string
		args []string
		want outcome
	}{
		{"refused", []string{"http://" + closedPort(t)}, outcome{0, 0, map[errorKind]int{refused: 50}}},
		{"half an answer", []string{"http://" + half}, outcome{0, 50, map[errorKind]int{closed: 50}}},
		{"no answer", []string{"-timeout", "1s", "http://" + silent}, outcome{0, 50, map[errorKind]int{timedOut: 50}}},
		{"hangs up", []string{"http://" + serve(t, readRequest)}, outcome{0, 50, map[errorKind]int{closed: 50}}},
		{"not trusted", []string{https.URL}, outcome{0, 0, map[errorKind]int{tlsFailed: 50}}},
		{"not found", []string{"-insecure", https.URL}, outcome{0, 0, map[errorKind]int{}}},
		{"POST is not tried again", []string{"-connections", "1", "-data", "x", "http://" + fickle}, outcome{25, 25, map[errorKind]int{closed: 25}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			stdout, _, code := runProbe(t, loadArgs(c.args...)...)
			if (c.want.OK > 0) != strings.Contains(stdout, "started") {
				t.Errorf("started: %s", stdout)
			}
			a := decode[loadAnswer](t, lastLine(stdout))
			if diff := cmp.Diff(c.want, outcome{a.OK, a.Lost, a.Errors}); diff != "" || code != 0 {
				t.Errorf("exit code %d, first errors %q:\n%s", code, a.First, diff)
			}
			if (len(c.want.Errors) == 0) != (len(a.First) == 0) || len(a.First) > firstErrors {
				t.Errorf("first errors: %q", a.First)
			}
		})
	}
	// A GET is: each connection carries one answer and one request that has to be sent again on another.
	a := ask[loadAnswer](t, loadArgs("-connections", "1", "http://"+fickle)...)
	if a.OK != 50 || a.Retried == 0 || a.Retried > 49 || a.Lost != 0 {
		t.Errorf("GET over kept connections that end: %+v", a)
	}
}

func TestLoadConnections(t *testing.T) {
	ca := newAuthority(t)
	for _, c := range []struct {
		name  string
		args  []string
		proto string
		want  func(int) bool
	}{
		{"kept", []string{"-http1", "-connections", "1"}, "HTTP/1.1", func(n int) bool { return n == 1 }},
		{"not kept", []string{"-http1", "-keepalive=false"}, "HTTP/1.1", func(n int) bool { return n == 50 }},
		{"HTTP/2", []string{"-http2"}, "HTTP/2.0", func(n int) bool { return n == 1 }},
	} {
		t.Run(c.name, func(t *testing.T) {
			var mu sync.Mutex
			from, protos := map[string]bool{}, map[string]bool{}
			s := ca.httpsServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				mu.Lock()
				defer mu.Unlock()
				from[r.RemoteAddr], protos[r.Proto] = true, true
			}), nil)
			a := ask[loadAnswer](t, loadArgs(append(c.args, "-ca", ca.pem, s.URL)...)...)
			if a.OK != 50 {
				t.Fatalf("%d ok, errors %q", a.OK, a.First)
			}
			if !c.want(len(from)) {
				t.Errorf("%d connections", len(from))
			}
			if diff := cmp.Diff(map[string]bool{c.proto: true}, protos); diff != "" {
				t.Errorf("protocols:\n%s", diff)
			}
		})
	}
}

// TestLoadConnectionLimit: with one connection allowed, requests to a slow server wait for it, and that counts.
func TestLoadConnectionLimit(t *testing.T) {
	const slow = 20 * time.Millisecond
	var now, most atomic.Int32
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		most.Store(max(most.Load(), now.Add(1)))
		<-time.After(slow)
		now.Add(-1)
	}))
	defer s.Close()
	a := ask[loadAnswer](t, "load", "-rate", "200", "-duration", "50ms", "-connections", "1", "-timeout", "30s", s.URL)
	if a.OK != 10 || most.Load() != 1 {
		t.Errorf("%d of 10 ok, %d at a time", a.OK, most.Load())
	}
	// The last was due at 45 ms and answered at 200 ms at the earliest.
	if want := (10*slow - 45*time.Millisecond).Seconds(); a.Latency.Max < want {
		t.Errorf("the slowest took %v s, want %v at least", a.Latency.Max, want)
	}
}

func TestDistribution(t *testing.T) {
	ms := func(n ...int) (d []time.Duration) {
		for _, n := range n {
			d = append(d, time.Duration(n)*time.Millisecond)
		}
		return d
	}
	hundred := make([]int, 100)
	for i := range hundred {
		hundred[i] = 100 - i
	}
	for _, c := range []struct {
		name string
		in   []time.Duration
		want latency
	}{
		{"none", nil, latency{}},
		{"one", ms(4), latency{Mean: 0.004, P50: 0.004, P90: 0.004, P99: 0.004, Max: 0.004}},
		{"three", ms(3, 1, 2), latency{Mean: 0.002, P50: 0.002, P90: 0.003, P99: 0.003, Max: 0.003}},
		{"1 to 100", ms(hundred...), latency{Mean: 0.0505, P50: 0.050, P90: 0.090, P99: 0.099, Max: 0.1}},
	} {
		got := distribution(c.in)
		got.Buckets = nil
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s:\n%s", c.name, diff)
		}
	}
	want := []bucket{{0.001, 1}, {0.0025, 2}, {0.005, 5}, {0.01, 10}, {0.025, 25}, {0.05, 50}, {0.1, 100}}
	if diff := cmp.Diff(want, distribution(ms(hundred...)).Buckets[:7]); diff != "" {
		t.Errorf("buckets:\n%s", diff)
	}
}
