package main

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"distlab/containers/internal/forward"
	"distlab/containers/internal/http1"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// clock is the cache's and the origin's.
type clock struct{ ahead atomic.Int64 }

func (c *clock) Now() time.Time               { return time.Now().Add(time.Duration(c.ahead.Load())) }
func (c *clock) Pass(d time.Duration)         { c.ahead.Add(int64(d)) }
func (c *clock) date(in time.Duration) string { return c.Now().Add(in).UTC().Format(http.TimeFormat) }

// dates are written {now}, {now+60} or {now-60} in what an origin says.
var dates = regexp.MustCompile(`\{now([+-]\d+)?\}`)

func (c *clock) fill(s string) string {
	return dates.ReplaceAllStringFunc(s, func(m string) string {
		n, _ := strconv.Atoi(strings.TrimPrefix(strings.Trim(m, "{}now"), "+"))
		return c.date(time.Duration(n) * time.Second)
	})
}

// bench is a cache before an origin.
type bench struct {
	*clock
	t      testing.TB
	Cache  *Cache
	URL    string
	Origin *httptest.Server

	mu      sync.Mutex
	handler http.HandlerFunc
	asked   []*http.Request
}

// start serves a cache before an origin that answers what the handler says; edit may change the cache before.
func start(t testing.TB, handler http.HandlerFunc, edit func(*Cache)) *bench {
	t.Helper()
	b := &bench{clock: &clock{}, t: t, handler: handler}
	b.Origin = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b.mu.Lock()
		b.asked = append(b.asked, r)
		n, h := len(b.asked), b.handler
		b.mu.Unlock()
		w.Header().Set("Date", b.date(0))
		w.Header().Set("X-Serial", strconv.Itoa(n))
		h(w, r)
	}))
	t.Cleanup(func() { b.Origin.CloseClientConnections(); b.Origin.Close() })
	c := &Cache{
		Name: "test", Origins: must(NewOrigins([]Origin{{Addr: strings.TrimPrefix(b.Origin.URL, "http://")}})),
		Store:     &Store{Size: 8 << 20, Variants: 8, Now: b.Now},
		Rules:     Rules{Heuristic: 0.1, HeurMax: time.Hour},
		Forwarder: &http1.Forwarder{Scheme: "http"},
		Limits:    forward.Limits{DrainIdle: 50 * time.Millisecond, HeaderBytes: 32 << 10, ServerIdle: 4 * time.Second, Connect: time.Second},
		Log:       slog.New(slog.DiscardHandler), MaxObject: 1 << 20, MaxHeld: 4 << 20, Stall: 10 * time.Second,
		Patience: 5 * time.Second, Apart: 10 * time.Second, Token: "secret", Unkeyed: []string{"X-Host", "X-Original-Url"},
	}
	if edit != nil {
		edit(c)
	}
	c.Metrics = NewMetrics(prometheus.NewRegistry(), c.Store, func() int { return c.Engine().InFlight() })
	b.Cache = c
	var lc net.ListenConfig
	lc.SetMultipathTCP(false)
	ln := must(lc.Listen(t.Context(), "tcp", "127.0.0.1:0"))
	go c.Serve(ln)
	t.Cleanup(func() { c.Close() })
	b.URL = "http://" + ln.Addr().String()
	return b
}

// say is what the origin answers from now on.
func (b *bench) say(h http.HandlerFunc) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.handler = h
}

// fetches is how often the origin was asked.
func (b *bench) fetches() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.asked)
}

func (b *bench) last() *http.Request {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.asked[len(b.asked)-1]
}

type answer struct {
	Status int
	Header http.Header
	Body   string
	Err    error
}

// result is the last word of Cache-Status: hit, or what fwd says.
func (a answer) result() string {
	s := a.Header.Get("Cache-Status")
	if strings.Contains(s, "; hit") {
		return "hit"
	}
	_, fwd, _ := strings.Cut(s, "fwd=")
	fwd, _, _ = strings.Cut(fwd, ";")
	return fwd
}

var client = &http.Client{
	Transport:     &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 200},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	Timeout:       20 * time.Second,
}

// do asks the cache; headers are names and values in turns.
func (b *bench) do(method, target string, headers ...string) answer {
	req := must(http.NewRequest(method, b.URL+target, nil))
	req.Host = "app.example"
	for i := 0; i+1 < len(headers); i += 2 {
		if headers[i] == "Host" {
			req.Host = headers[i+1]
			continue
		}
		req.Header.Add(headers[i], headers[i+1])
	}
	resp, err := client.Do(req)
	if err != nil {
		return answer{Err: err}
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, string(body), err}
}

func (b *bench) get(target string, headers ...string) answer {
	b.t.Helper()
	a := b.do("GET", target, headers...)
	if a.Err != nil {
		b.t.Fatal(a.Err)
	}
	b.stored()
	return a
}

// stored waits until what has come whole is in the store: a client has its answer a moment before. What is still on its way,
// or asked for in the background, is not waited for.
func (b *bench) stored() {
	b.t.Helper()
	until(b.t, func() error {
		s := b.Cache.Store
		s.mu.Lock()
		defer s.mu.Unlock()
		for f := range s.flights {
			select {
			case <-f.done:
			default:
				continue
			}
			whole := true
			if o := f.out.object; o != nil {
				_, whole = o.Body.Whole()
				whole = whole || o.Body.Length == int64(o.Body.Len())
			}
			if whole {
				return fmt.Errorf("the answer for %q is not stored yet", f.key)
			}
		}
		return nil
	})
}

// together asks n times at once.
func (b *bench) together(n int, ask func(i int) answer) []answer {
	list := make([]answer, n)
	var wg sync.WaitGroup
	for i := range list {
		wg.Go(func() { list[i] = ask(i) })
	}
	wg.Wait()
	return list
}

// with answers a body and headers, "Name: value" each.
func (b *bench) with(body string, headers ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		for _, line := range headers {
			name, value, _ := strings.Cut(line, ": ")
			w.Header().Add(name, b.fill(value))
		}
		if tag := w.Header().Get("Etag"); tag != "" && r.Header.Get("If-None-Match") == tag {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		io.WriteString(w, body)
	}
}

// slowly answers after a while.
func slowly(d time.Duration, h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(d)
		h(w, r)
	}
}

// mints answers what is different each time.
func mints(header ...string) http.HandlerFunc {
	var n atomic.Int64
	return func(w http.ResponseWriter, r *http.Request) {
		id := n.Add(1)
		for _, line := range header {
			name, value, _ := strings.Cut(line, ": ")
			w.Header().Add(name, strings.ReplaceAll(value, "{id}", fmt.Sprint(id)))
		}
		fmt.Fprintf(w, "number %d for %s", id, r.Header.Get("Accept-Language"))
	}
}
