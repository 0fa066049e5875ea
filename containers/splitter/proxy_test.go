package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"distlab/containers/internal/balance"
)

func two(t *testing.T, weights ...int) (*testArm, *testArm, []ArmSpec) {
	t.Helper()
	a, b := startArm(t, "production", nil), startArm(t, "experiment", nil)
	return a, b, []ArmSpec{a.spec(fmt.Sprintf("weight=%d", weights[0])), b.spec(fmt.Sprintf("weight=%d", weights[1]))}
}

func TestWeights(t *testing.T) {
	_, _, arms := two(t, 9, 1)
	s := start(t, arms, nil)
	c := client(t)
	count := map[string]int{}
	for range 100 {
		r := s.do(t, c, "GET", "/", "")
		if r.code != 200 || r.arm() != r.body || r.reason() != "smooth" {
			t.Fatalf("answered %+v", r)
		}
		count[r.body]++
	}
	if count["production"] != 90 || count["experiment"] != 10 {
		t.Errorf("shares: %v", count)
	}
	if got := s.metric(t, "requests_total", "arm=experiment", "code=2xx"); got != 10 {
		t.Errorf("metric: %v", got)
	}
}

func TestStickyCookie(t *testing.T) {
	for _, secret := range []string{"", "secret"} {
		_, _, arms := two(t, 1, 1)
		s := start(t, arms, func(p *Proxy) {
			p.Splitter.Rules.Sticky = Sticky{Kind: "cookie", Cookie: "split", MaxAge: time.Hour, Secret: secret}
		})
		c := client(t)
		for range 10 {
			first := s.do(t, c, "GET", "/", "")
			set := first.header.Get("Set-Cookie")
			value, _, _ := strings.Cut(set, ";")
			if !strings.Contains(set, "; Path=/; Max-Age=3600; HttpOnly; SameSite=Lax") {
				t.Fatalf("Set-Cookie: %s", set)
			}
			for range 3 {
				r := s.do(t, c, "GET", "/", "", "Cookie", "a=b; "+value+"; c=d")
				if r.body != first.body || r.reason() != "cookie" || r.header.Get("Set-Cookie") != "" {
					t.Fatalf("came back to %+v, was on %s", r, first.body)
				}
			}
		}
		forged := s.do(t, c, "GET", "/", "", "Cookie", "split=experiment")
		if secret != "" && forged.reason() == "cookie" {
			t.Errorf("a cookie without signature was believed")
		}
	}
}

// One whose arm fails goes elsewhere, and back when that is well again.
func TestStickyFallback(t *testing.T) {
	_, b, arms := two(t, 1, 1)
	s := start(t, arms, func(p *Proxy) { p.Splitter.Rules.Sticky = Sticky{Kind: "cookie", Cookie: "split"} })
	c := client(t)
	arm := s.Splitter.Arms()[1]
	s.Splitter.Health(arm, false)
	r := s.do(t, c, "GET", "/", "", "Cookie", "split=experiment")
	if r.body != "production" || r.reason() != "fallback" || r.header.Get("Set-Cookie") != "" {
		t.Errorf("unhealthy: %+v", r)
	}
	s.Splitter.Health(arm, true)
	if r := s.do(t, c, "GET", "/", "", "Cookie", "split=experiment"); r.body != "experiment" {
		t.Errorf("healthy: %+v", r)
	}
	b.stop()
	if r := s.do(t, c, "GET", "/", "", "Cookie", "split=experiment"); r.body != "production" || r.reason() != "retry" {
		t.Errorf("stopped: %+v", r)
	}
}

func TestStickyHeaderAndAddress(t *testing.T) {
	_, _, arms := two(t, 1, 1)
	s := start(t, arms, func(p *Proxy) {
		p.Splitter.Rules.Sticky = Sticky{Kind: "header", Header: "X-User-Id"}
	})
	c := client(t)
	count := map[string]int{}
	for n := range 100 {
		user := fmt.Sprint("user-", n)
		first := s.do(t, c, "GET", "/", "", "X-User-Id", user)
		count[first.body]++
		if r := s.do(t, c, "GET", "/", "", "X-User-Id", user); r.body != first.body || r.reason() != "header" {
			t.Fatalf("%s: %s, then %+v", user, first.body, r)
		}
	}
	if count["experiment"] < 20 || count["production"] < 20 {
		t.Errorf("shares: %v", count)
	}
	if r := s.do(t, c, "GET", "/", ""); r.reason() != "smooth" {
		t.Errorf("without the header: %+v", r)
	}

	s = start(t, arms, func(p *Proxy) {
		p.Splitter.Rules.Sticky = Sticky{Kind: "address"}
		p.Forwarder.Trusted = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
	})
	clear(count)
	for n := range 100 {
		addr := fmt.Sprintf("10.0.%d.7", n)
		first := s.do(t, c, "GET", "/", "", "X-Forwarded-For", addr)
		count[first.body]++
		if r := s.do(t, c, "GET", "/", "", "X-Forwarded-For", addr); r.body != first.body || r.reason() != "address" {
			t.Fatalf("%s: %s, then %+v", addr, first.body, r)
		}
	}
	if count["experiment"] < 20 || count["production"] < 20 {
		t.Errorf("shares: %v", count)
	}
}

func TestOverride(t *testing.T) {
	_, _, arms := two(t, 1, 0)
	s := start(t, arms, func(p *Proxy) {
		p.Splitter.Rules.Override = Override{
			Header: "X-Arm", Cookie: "arm", Query: "arm", Token: "t0ken",
			Networks: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
		}
	})
	c := client(t)
	tests := []struct {
		name, path string
		header     []string
		want       string
	}{
		{"none", "/", nil, "production"},
		{"header", "/", []string{"X-Arm", "experiment:t0ken"}, "experiment"},
		{"cookie", "/", []string{"Cookie", "arm=experiment:t0ken"}, "experiment"},
		{"query", "/?a=b&arm=experiment:t0ken", nil, "experiment"},
		{"no token", "/", []string{"X-Arm", "experiment"}, "production"},
		{"wrong token", "/", []string{"X-Arm", "experiment:token"}, "production"},
		{"no such arm", "/", []string{"X-Arm", "other:t0ken"}, "production"},
	}
	for _, tt := range tests {
		if r := s.do(t, c, "GET", tt.path, "", tt.header...); r.body != tt.want || (r.reason() == "override") != (tt.want == "experiment") {
			t.Errorf("%s: %+v", tt.name, r)
		}
	}
}

// Nobody sees an error of an arm that is stopped: what can be sent once more
// is, and then the arm is left.
func TestExperimentDown(t *testing.T) {
	a := startArm(t, "production", nil)
	arms := []ArmSpec{a.spec("weight=1"), armSpec("experiment=http://" + nobody(t) + " weight=1 fail_timeout=1h")}
	s := start(t, arms, nil)
	c := client(t)
	retried := 0
	for _, method := range []string{"GET", "POST", "PUT", "POST", "PATCH", "GET"} {
		body := ""
		if method != "GET" {
			body = "some text"
		}
		r := s.do(t, c, method, "/", body)
		if r.code != 200 || r.body != "production" {
			t.Fatalf("%s: %+v", method, r)
		}
		if r.reason() == "retry" {
			retried++
		}
	}
	if retried != 1 || s.metric(t, "retries_total", "arm=experiment") != 1 {
		t.Errorf("%d were retried, want one", retried)
	}

	s = start(t, arms, func(p *Proxy) { p.Splitter.Rules.Fallback = false })
	codes := map[int]int{}
	for range 10 {
		codes[s.do(t, c, "GET", "/", "").code]++
	}
	if codes[200] != 5 || codes[502] != 5 {
		t.Errorf("without fallback: %v", codes)
	}
}

func TestRetrySafety(t *testing.T) {
	breaks := func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		panic(http.ErrAbortHandler)
	}
	says := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			w.WriteHeader(code)
		}
	}
	long := strings.Repeat("x", 100<<10)
	tests := []struct {
		name    string
		handler http.HandlerFunc
		method  string
		body    string
		want    int
	}{
		{"GET broken off", breaks, "GET", "", 200},
		{"PUT broken off", breaks, "PUT", "text", 200},
		{"long PUT broken off", breaks, "PUT", long, 502},
		{"POST broken off", breaks, "POST", "text", 502},
		{"GET 503", says(503), "GET", "", 200},
		{"PUT 503", says(503), "PUT", "text", 200},
		{"POST 503", says(503), "POST", "text", 503},
		{"GET 500", says(500), "GET", "", 500},
		{"GET 404", says(404), "GET", "", 404},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got bytes.Buffer
			a := startArm(t, "experiment", tt.handler)
			b := startArm(t, "production", func(w http.ResponseWriter, r *http.Request) { io.Copy(&got, r.Body) })
			s := start(t, []ArmSpec{a.spec("weight=2"), b.spec("weight=1")}, nil)
			r := s.do(t, client(t), tt.method, "/", tt.body)
			if r.code != tt.want {
				t.Fatalf("answered %d, want %d", r.code, tt.want)
			}
			if retried := tt.want == 200; retried && got.String() != tt.body || !retried && b.seen.Load() != 0 {
				t.Errorf("the other arm saw %d bytes in %d requests", got.Len(), b.seen.Load())
			}
		})
	}
}

// Of a storm of failures only the budget's share is sent once more. Those that never reached the arm cost nothing: they
// are no more work for anybody.
func TestRetryBudget(t *testing.T) {
	broken := startArm(t, "experiment", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) })
	for _, tt := range []struct {
		name        string
		bad         ArmSpec
		least, most int // that fail of 200 requests, of which 100 meet the bad arm
	}{
		{"an arm that answers 503", broken.spec("weight=1 max_fails=0"), 75, 85},
		{"an arm that is not there", armSpec("experiment=http://" + nobody(t) + " weight=1 max_fails=0"), 0, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := startArm(t, "production", nil)
			s := start(t, []ArmSpec{tt.bad, a.spec("weight=1")}, func(p *Proxy) { p.Splitter.Budget = balance.Budget{Ratio: 0.1} })
			c := client(t)
			codes := map[int]int{}
			for range 200 {
				codes[s.do(t, c, "GET", "/", "").code]++
			}
			failed := 200 - codes[200]
			if failed < tt.least || failed > tt.most {
				t.Errorf("with a budget of a tenth: %v, want %d to %d that fail", codes, tt.least, tt.most)
			}
			if got := s.metric(t, "retries_denied_total", "arm=experiment"); int(got) != failed {
				t.Errorf("denied: %v, failed %d", got, failed)
			}
		})
	}
}

// Weights change under load, and no request fails.
func TestReweight(t *testing.T) {
	a, b, arms := two(t, 1, 0)
	s := start(t, arms, nil)
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for range 4 {
		c := client(t)
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				resp, err := c.Get(s.url("/"))
				if err != nil {
					t.Error(err)
					return
				}
				io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
				if resp.StatusCode != 200 {
					t.Errorf("answered %d", resp.StatusCode)
				}
			}
		})
	}
	for i := range 50 {
		s.Splitter.Set([]ArmSpec{a.spec(fmt.Sprintf("weight=%d", i%3)), b.spec(fmt.Sprintf("weight=%d", 1+i%2))})
		n := a.seen.Load() + b.seen.Load()
		eventually(t, "requests go on", func() bool { return a.seen.Load()+b.seen.Load() > n })
	}
	close(stop)
	wg.Wait()
	eventually(t, "nothing is in flight", func() bool {
		got := s.Splitter.states()
		return got[0].InFlight == 0 && got[1].InFlight == 0
	})
}

func TestForwarded(t *testing.T) {
	seen := make(chan http.Header, 1)
	a := startArm(t, "a", func(_ http.ResponseWriter, r *http.Request) { seen <- r.Header })
	s := start(t, []ArmSpec{a.spec("")}, nil)
	s.do(t, client(t), "GET", "/", "", "X-Forwarded-For", "6.6.6.6", "X-Forwarded-Proto", "https", "X_Forwarded_For", "6.6.6.6",
		"X-Real-Ip", "6.6.6.6", "Forwarded", "for=6.6.6.6", "Connection", "X-Hop", "X-Hop", "1")
	h := <-seen
	if h.Get("X-Forwarded-For") != "127.0.0.1" || h.Get("X-Forwarded-Proto") != "http" || h.Get("X-Real-Ip") != "127.0.0.1" ||
		h.Get("X-Forwarded-Host") != s.addr || h.Get("X-Hop") != "" || strings.Contains(fmt.Sprint(h), "6.6.6.6") {
		t.Errorf("the arm saw %v", h)
	}
}

func TestUpgrade(t *testing.T) {
	a := startArm(t, "a", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") != "websocket" {
			w.WriteHeader(400)
			return
		}
		c, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		line, _ := rw.ReadString('\n')
		io.WriteString(c, "echo "+line)
	})
	s := start(t, []ArmSpec{a.spec("")}, nil)
	c := s.dial(t)
	io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	r := bufio.NewReader(c)
	resp := must(http.ReadResponse(r, nil))
	if resp.StatusCode != 101 || resp.Header.Get("X-Split-Arm") != "a" {
		t.Fatalf("answered %d %v", resp.StatusCode, resp.Header)
	}
	io.WriteString(c, "hello\n")
	if line, _ := r.ReadString('\n'); line != "echo hello\n" {
		t.Errorf("got %q", line)
	}
	if got := s.Splitter.states()[0].InFlight; got != 1 {
		t.Errorf("in flight: %d", got)
	}
	c.Close()
	eventually(t, "the arm is done", func() bool { return s.Splitter.states()[0].InFlight == 0 })
}

func TestH2C(t *testing.T) {
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	protocols.SetHTTP1(true)
	arm := &http.Server{Protocols: &protocols, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "X-Sum")
		fmt.Fprint(w, r.Proto, " ", string(must(io.ReadAll(r.Body))))
		w.Header().Set("X-Sum", r.Trailer.Get("X-Up"))
	})}
	ln := must(listen(t.Context(), "127.0.0.1:0"))
	go arm.Serve(ln)
	t.Cleanup(func() { arm.Close() })

	for scheme, want := range map[string]string{"http": "HTTP/1.1 body", "h2c": "HTTP/2.0 body"} {
		s := start(t, []ArmSpec{armSpec("a=" + scheme + "://" + ln.Addr().String())}, func(p *Proxy) { p.H2C = true })
		for _, h2 := range []bool{false, true} {
			var protocols http.Protocols
			protocols.SetHTTP1(!h2)
			protocols.SetUnencryptedHTTP2(h2)
			transport := &http.Transport{Protocols: &protocols}
			c := &http.Client{Transport: transport, Timeout: patience}
			req := must(http.NewRequest("POST", s.url("/"), io.NopCloser(strings.NewReader("body"))))
			req.Trailer = http.Header{"X-Up": {"up"}}
			resp, err := c.Do(req)
			check(t, err)
			body := string(must(io.ReadAll(resp.Body)))
			resp.Body.Close()
			if body != want || (resp.ProtoMajor == 2) != h2 || resp.Trailer.Get("X-Sum") != "up" {
				t.Errorf("to %s, from HTTP/2 %v: %s %q, trailer %v", scheme, h2, resp.Proto, body, resp.Trailer)
			}
			transport.CloseIdleConnections()
		}
	}
}
