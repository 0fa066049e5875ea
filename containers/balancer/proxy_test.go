package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"distlab/containers/internal/balance"
	"distlab/containers/internal/forward"
	"distlab/containers/internal/http1"
)

// server is a replica whose answers say its name.
type server struct {
	*httptest.Server
	addr string
	seen atomic.Int64
}

func startServer(t *testing.T, name string, handler http.HandlerFunc) *server {
	t.Helper()
	s := &server{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.seen.Add(1)
		if handler != nil {
			handler(w, r)
			return
		}
		io.Copy(io.Discard, r.Body)
		io.WriteString(w, name)
	}))
	s.addr = strings.TrimPrefix(s.URL, "http://")
	t.Cleanup(func() { s.CloseClientConnections(); s.Close() })
	return s
}

// nobody is an address that refuses.
func nobody(t *testing.T) string {
	t.Helper()
	ln := must(net.Listen("tcp", "127.0.0.1:0"))
	defer ln.Close()
	return ln.Addr().String()
}

// start serves a proxy before replicas, with the fast path or without.
func start(t *testing.T, careful bool, edit func(*Proxy), addrs ...string) (url string, p *Proxy) {
	t.Helper()
	m := NewMetrics(prometheus.NewRegistry())
	cfg := config{RetryOn: []string{"error", "timeout", "http_503"}, RetryBody: 1 << 10}
	p = &Proxy{
		Pool:      &Pool{Policy: "smooth", Budget: balance.Budget{PerSecond: 1e6}, Metrics: m, Queue: 10},
		Forwarder: &http1.Forwarder{Scheme: "http"}, Retry: must(cfg.retry()), ReplicaHeader: "X-Replica", Wait: time.Minute,
		Limits: forward.Limits{DrainIdle: 50 * time.Millisecond, HeaderBytes: 32 << 10, ServerIdle: 4 * time.Second, Connect: time.Second},
		Log:    slog.New(slog.DiscardHandler), Metrics: m, Careful: careful, Loops: 1,
	}
	if edit != nil {
		edit(p)
	}
	var list []Member
	for _, a := range addrs {
		list = append(list, Member{Addr: a, Weight: 1})
	}
	p.Pool.Set(list)
	var lc net.ListenConfig
	lc.SetMultipathTCP(false)
	ln := must(lc.Listen(t.Context(), "tcp", "127.0.0.1:0"))
	go p.Serve(ln)
	t.Cleanup(func() { p.Close() })
	return "http://" + ln.Addr().String(), p
}

// both runs a test on the fast path and on the careful one.
func both(t *testing.T, f func(t *testing.T, careful bool)) {
	for name, careful := range map[string]bool{"fast": false, "careful": true} {
		t.Run(name, func(t *testing.T) { f(t, careful) })
	}
}

func do(t *testing.T, method, url, body string, headers ...string) (int, string, http.Header) {
	t.Helper()
	req := must(http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body)))
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	return resp.StatusCode, string(must(io.ReadAll(resp.Body))), resp.Header
}

func TestDeals(t *testing.T) {
	both(t, func(t *testing.T, careful bool) {
		a, b := startServer(t, "a", nil), startServer(t, "b", nil)
		url, p := start(t, careful, nil, a.addr, b.addr)
		got := ""
		for i := range 6 {
			code, body, h := do(t, "GET", fmt.Sprint(url, "/", i), "")
			if code != 200 || h.Get("X-Replica") == "" {
				t.Fatalf("%d %s %v", code, body, h)
			}
			got += body
		}
		if got != "ababab" {
			t.Errorf("dealt %s", got)
		}
		// A client has its answer a moment before the place is free again.
		eventually(t, "nothing is in flight", func() bool {
			return !slices.ContainsFunc(p.Pool.States(), func(s State) bool { return s.InFlight != 0 })
		})
	})
}

// TestRetry: what was not sent goes on, whatever its method; what may have been done is never done twice.
func TestRetry(t *testing.T) {
	big := strings.Repeat("x", 4<<10)
	breaks := func(w http.ResponseWriter, r *http.Request) { // has read the request, and may have done it
		io.Copy(io.Discard, r.Body)
		panic(http.ErrAbortHandler)
	}
	says503 := func(w http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body); w.WriteHeader(503) }
	for _, c := range []struct {
		name, method, body string
		bad                http.HandlerFunc // nil: nobody is there
		want               int
		edit               func(*Proxy)
	}{
		{"GET, nobody there", "GET", "", nil, 200, nil},
		{"POST, nobody there", "POST", "hello", nil, 200, nil},
		{"GET, broken", "GET", "", breaks, 200, nil},
		{"PUT, broken", "PUT", "hello", breaks, 200, nil},
		{"PUT of more than is kept, broken", "PUT", big, breaks, 502, nil},
		{"POST, broken", "POST", "hello", breaks, 502, nil},
		{"POST, 503", "POST", "hello", says503, 503, nil},
		{"GET, 503", "GET", "", says503, 200, nil},
		{"POST, 503, every method", "POST", "hello", says503, 200, func(p *Proxy) { p.Retry.NonIdempotent = true }},
		{"GET, 503, no retries", "GET", "", says503, 503, func(p *Proxy) { p.Retry.On = false }},
		{"GET, 503, no budget", "GET", "", says503, 503, func(p *Proxy) { p.Pool.Budget = balance.Budget{} }},
		{"POST, nobody there, no budget", "POST", "hello", nil, 200, func(p *Proxy) { p.Pool.Budget = balance.Budget{} }},
	} {
		t.Run(c.name, func(t *testing.T) {
			both(t, func(t *testing.T, careful bool) {
				good := startServer(t, "good", nil)
				bad := nobody(t)
				var s *server
				if c.bad != nil {
					s = startServer(t, "bad", c.bad)
					bad = s.addr
				}
				url, p := start(t, careful, c.edit, bad, good.addr)
				code, _, _ := do(t, c.method, url, c.body)
				if code != c.want {
					t.Errorf("answered %d, want %d", code, c.want)
				}
				if s != nil && s.seen.Load() != 1 || (c.want == 200) != (good.seen.Load() == 1) {
					t.Errorf("the other replica saw %d requests", good.seen.Load())
				}
				eventually(t, "nothing in flight", func() bool {
					for _, s := range p.Pool.States() {
						if s.InFlight != 0 {
							return false
						}
					}
					return true
				})
			})
		})
	}
}

func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !done(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

func TestNoReplica(t *testing.T) {
	both(t, func(t *testing.T, careful bool) {
		url, _ := start(t, careful, nil)
		code, body, h := do(t, "GET", url, "")
		if code != 503 || h.Get("Retry-After") == "" || !strings.Contains(body, "no replica") {
			t.Errorf("%d %q %v", code, body, h)
		}
	})
}

func TestSticky(t *testing.T) {
	both(t, func(t *testing.T, careful bool) {
		a, b := startServer(t, "a", nil), startServer(t, "b", nil)
		url, p := start(t, careful, func(p *Proxy) { p.Sticky = &Sticky{Name: "at", Secret: "s"} }, a.addr, b.addr)
		_, first, h := do(t, "GET", url, "")
		cookie, _, _ := strings.Cut(h.Get("Set-Cookie"), ";")
		if !strings.HasPrefix(cookie, "at=") || strings.Contains(cookie, a.addr) {
			t.Fatalf("cookie %q", cookie)
		}
		for range 5 {
			if _, body, h := do(t, "GET", url, "", "Cookie", "x=1; "+cookie); body != first || h.Get("Set-Cookie") != "" {
				t.Errorf("came to %s after %s, %v", body, first, h)
			}
		}
		if _, _, h := do(t, "GET", url, "", "Cookie", cookie+"0"); h.Get("Set-Cookie") == "" {
			t.Error("a cookie that is none of ours is believed")
		}
		// Its replica leaves: the browser moves, and is told.
		p.Pool.Set([]Member{{Addr: b.addr, Weight: 1}})
		if _, body, h := do(t, "GET", url, "", "Cookie", cookie); body != "b" || h.Get("Set-Cookie") == "" {
			t.Errorf("came to %s, %v", body, h)
		}
	})
}

// TestSetWhileAsked: the list may be said anew at any moment; the race detector looks on.
func TestSetWhileAsked(t *testing.T) {
	both(t, func(t *testing.T, careful bool) {
		a, b := startServer(t, "a", nil), startServer(t, "b", nil)
		url, p := start(t, careful, func(p *Proxy) { p.Sticky = &Sticky{Name: "at", Secret: "s"} }, a.addr, b.addr)
		for i := range 100 {
			if code, _, _ := do(t, "GET", url, ""); code != 200 {
				t.Fatalf("answered %d", code)
			}
			p.Pool.Set([]Member{{Addr: a.addr, Weight: 1 + i%2}, {Addr: b.addr, Weight: 1, MaxConns: i % 3 * 10}})
		}
	})
}

func TestWaitsForRoom(t *testing.T) {
	both(t, func(t *testing.T, careful bool) {
		release := make(chan struct{})
		a := startServer(t, "a", func(w http.ResponseWriter, _ *http.Request) { <-release; io.WriteString(w, "a") })
		url, p := start(t, careful, nil, a.addr)
		p.Pool.Set([]Member{{Addr: a.addr, Weight: 1, MaxConns: 1}})
		codes := make(chan int, 4)
		for range 4 {
			go func() {
				resp, err := http.Get(url)
				if err != nil {
					codes <- 0
					return
				}
				resp.Body.Close()
				codes <- resp.StatusCode
			}()
		}
		eventually(t, "three wait for one", func() bool { return p.Pool.Waiting() == 3 && a.seen.Load() > 0 })
		if n := a.seen.Load(); n != 1 {
			t.Errorf("%d at once, of at most one", n)
		}
		close(release)
		for range 4 {
			if code := <-codes; code != 200 {
				t.Errorf("answered %d", code)
			}
		}
	})
}

func TestWaitEnds(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	a := startServer(t, "a", func(http.ResponseWriter, *http.Request) { <-release })
	url, p := start(t, false, func(p *Proxy) { p.Wait = 50 * time.Millisecond }, a.addr)
	p.Pool.Set([]Member{{Addr: a.addr, Weight: 1, MaxConns: 1}})
	go http.Get(url)
	eventually(t, "one in flight", func() bool { return a.seen.Load() == 1 })
	if code, _, _ := do(t, "GET", url, ""); code != 503 {
		t.Errorf("after its time: %d", code)
	}
}

// The slow one is cancelled, the quick one is heard; without a budget nobody is asked twice.
func TestHedge(t *testing.T) {
	for _, budget := range []float64{1e6, 0} {
		t.Run(fmt.Sprint("budget ", budget), func(t *testing.T) {
			left, release := make(chan struct{}, 10), make(chan struct{})
			slow := startServer(t, "slow", func(w http.ResponseWriter, r *http.Request) {
				select {
				case <-r.Context().Done():
					left <- struct{}{}
				case <-release:
					io.WriteString(w, "slow")
				}
			})
			quick := startServer(t, "quick", nil)
			url, p := start(t, false, func(p *Proxy) {
				p.Hedge = 20 * time.Millisecond
				p.Pool.Budget = balance.Budget{PerSecond: budget}
			}, slow.addr, quick.addr)
			if budget == 0 {
				time.AfterFunc(100*time.Millisecond, func() { close(release) })
			}
			_, body, _ := do(t, "GET", url, "")
			if want := map[bool]string{true: "quick", false: "slow"}[budget > 0]; body != want {
				t.Errorf("heard %s, want %s", body, want)
			}
			if budget > 0 {
				<-left
			}
			eventually(t, "nothing in flight", func() bool { s := p.Pool.States(); return s[0].InFlight+s[1].InFlight == 0 })
			// A POST is asked once, however slow.
			if budget > 0 {
				seen := slow.seen.Load() + quick.seen.Load()
				close(release)
				do(t, "POST", url, "x")
				if n := slow.seen.Load() + quick.seen.Load() - seen; n != 1 {
					t.Errorf("a POST was sent %d times", n)
				}
			}
		})
	}
}

func TestHealth(t *testing.T) {
	var sick atomic.Bool
	a := startServer(t, "a", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/readyz" && sick.Load() {
			w.WriteHeader(503)
		}
	})
	_, p := start(t, false, func(p *Proxy) { p.Pool.Checks = true }, a.addr, nobody(t))
	h := &Health{
		Pool: p.Pool, Interval: 10 * time.Millisecond, Timeout: time.Second, Path: "/readyz", Rise: 2, Fall: 2,
		Transport: p.Engine().Transport, Log: p.Log, Checked: func() {},
	}
	ctx, cancel := context.WithCancel(t.Context())
	over := make(chan struct{})
	go func() { h.Run(ctx); close(over) }()
	up := func() string {
		var names []string
		for _, s := range p.Pool.States() {
			names = append(names, fmt.Sprint(s.Checked, s.Up))
		}
		return strings.Join(names, " ")
	}
	eventually(t, "one up, one down", func() bool { return up() == "true true true false" })
	sick.Store(true)
	eventually(t, "both down", func() bool { return up() == "true false true false" })
	sick.Store(false)
	eventually(t, "one up again", func() bool { return up() == "true true true false" })
	cancel()
	<-over
}

func TestRelay(t *testing.T) {
	ln := must(net.Listen("tcp", "127.0.0.1:0"))
	defer ln.Close()
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() { // says it all back once the other side has ended
				text, _ := io.ReadAll(c)
				c.Write(text)
				c.Close()
			}()
		}
	}()
	m := NewMetrics(prometheus.NewRegistry())
	p := &Pool{Policy: "smooth", Metrics: m}
	p.Set([]Member{{Addr: nobody(t), Weight: 1}, {Addr: ln.Addr().String(), Weight: 1}})
	relay := &Relay{Pool: p, Connect: time.Second, Log: slog.New(slog.DiscardHandler), Metrics: m}
	front := must(net.Listen("tcp", "127.0.0.1:0"))
	served := make(chan error, 1)
	go func() { served <- relay.Serve(front) }()
	for range 4 { // half of them meet the one that is not there
		c := must(net.Dial("tcp", front.Addr().String())).(*net.TCPConn)
		io.WriteString(c, "hello")
		c.CloseWrite()
		if text, err := io.ReadAll(c); string(text) != "hello" || err != nil {
			t.Errorf("read %q, %v", text, err)
		}
		c.Close()
	}
	open := must(net.Dial("tcp", front.Addr().String()))
	eventually(t, "one open", func() bool { return relay.InFlight() == 1 })
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	if err := relay.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("shutdown with one open: %v", err)
	}
	open.Close()
	if err := relay.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if err := <-served; err != http.ErrServerClosed {
		t.Error(err)
	}
}

func TestMembersFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "replicas")
	write := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("a:1 # the first\n\nb:2 weight=3 max_conns=7 drain\n")
	p := &Pool{Policy: "smooth"}
	ms := &Membership{Pool: p, Path: path, Interval: time.Hour, Log: slog.New(slog.DiscardHandler)}
	if err := ms.Start(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	want := []Member{{Addr: "a:1", Weight: 1}, {Addr: "b:2", Weight: 3, MaxConns: 7, Drain: true}}
	if diff := cmp.Diff(want, ms.known); diff != "" {
		t.Error(diff)
	}
	for text, says := range map[string]string{
		"a:1\nb\n": `line 2: "b" is not host:port`, "a:1 weigth=2": `"weigth=2" is none of`, "a:1\na:1": "named twice", "# none\n": "no replica",
		"a:0": "not host:port", "a:1 weight=-1": "none of", strings.Repeat("# x\n", 1<<19): "less than 1 MiB",
	} {
		write(text)
		if err := ms.look(t.Context(), "test"); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%.20q: %v, want %q", text, err, says)
		}
		if len(p.Replicas()) != 2 {
			t.Errorf("%.20q was believed", text)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	reload := make(chan struct{}, 1)
	go ms.Run(ctx, reload)
	write("c:3\n")
	reload <- struct{}{}
	eventually(t, "the new file", func() bool { r := p.Replicas(); return len(r) == 1 && r[0].Addr == "c:3" })
	if _, err := ms.Last(); err != nil {
		t.Errorf("a good file after bad ones: %v", err)
	}
}

func TestMembersName(t *testing.T) {
	var addrs []netip.Addr
	err := errors.New("no such name")
	p := &Pool{Policy: "smooth"}
	ms := &Membership{
		Pool: p, Name: "web:80", Interval: time.Hour, Log: slog.New(slog.DiscardHandler),
		Lookup: func(context.Context, string) ([]netip.Addr, error) { return addrs, err },
	}
	if err := ms.Start(t.Context(), nil); err != nil {
		t.Fatalf("a name that is to come: %v", err)
	}
	now := func() string {
		var list []string
		for _, r := range p.Replicas() {
			list = append(list, r.Addr)
		}
		return strings.Join(list, " ")
	}
	for _, c := range []struct {
		addrs string
		err   error
		want  string
	}{
		{"10.0.0.2 10.0.0.1 fd00::1", nil, "10.0.0.1:80 10.0.0.2:80 [fd00::1]:80"},
		{"", nil, "10.0.0.1:80 10.0.0.2:80 [fd00::1]:80"},                    // not believed
		{"", errors.New("SERVFAIL"), "10.0.0.1:80 10.0.0.2:80 [fd00::1]:80"}, // nor that
		{"10.0.0.3 10.0.0.3 ::ffff:10.0.0.1", nil, "10.0.0.1:80 10.0.0.3:80"},
	} {
		addrs, err = nil, c.err
		for _, a := range strings.Fields(c.addrs) {
			addrs = append(addrs, netip.MustParseAddr(a))
		}
		ms.look(t.Context(), "test")
		if got := now(); got != c.want {
			t.Errorf("%q, %v: %s, want %s", c.addrs, c.err, got, c.want)
		}
	}
}

func TestConfig(t *testing.T) {
	good := func() config {
		return config{Mode: "http", Policy: "smooth", Replicas: []Member{{Addr: "a:1", Weight: 1}}, RetryOn: []string{"error"}}
	}
	for _, c := range []struct {
		name string
		edit func(*config)
		want string
	}{
		{"good", func(*config) {}, ""},
		{"nobody", func(c *config) { c.Replicas = nil }, "no replica: set REPLICAS"},
		{"two ways", func(c *config) { c.ReplicasName = "web:80" }, "set one of them"},
		{"twice", func(c *config) { c.Replicas = append(c.Replicas, c.Replicas[0]) }, "a:1 is named twice"},
		{"name", func(c *config) { c.Replicas, c.ReplicasName = nil, "web" }, `REPLICAS_NAME="web" is not host:port`},
		{"retry", func(c *config) { c.RetryOn = []string{"http_200"} }, `RETRY_ON: "http_200" is none of`},
		{"none and more", func(c *config) { c.RetryOn = []string{"none", "error"} }, `"none" is none of`},
		{"bound", func(c *config) { c.HashBound = 1 }, "means nothing without POLICY=hash"},
		{"secret", func(c *config) { c.StickySecret = "s" }, "means nothing without STICKY_COOKIE"},
		{"cookie", func(c *config) { c.StickyCookie = "a b" }, `STICKY_COOKIE="a b": not a name`},
		{"path", func(c *config) { c.HealthPath = "readyz" }, "does not begin with /"},
		{"tcp", func(c *config) { c.Mode, c.H2C = "tcp", true }, "are of HTTP"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := good()
			c.edit(&cfg)
			err := cfg.Check()
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

func FuzzMembers(f *testing.F) {
	for _, text := range []string{"a:1 weight=2\n", "# x", "[::1]:80 max_conns=1 drain", "a:1\na:1", "x=y"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		list, err := parseMembers(text)
		if err != nil {
			return
		}
		p := &Pool{Policy: "smooth"}
		p.Set(list)
		for range 3 {
			if c, err := p.Choose(asking("/"), ""); err == nil {
				p.Done(c.Replica, Good)
			}
		}
	})
}
