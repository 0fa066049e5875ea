package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"distlab/containers/internal/balance"
	"distlab/containers/internal/http1"

	"github.com/prometheus/client_golang/prometheus"
)

// patience is how long a test waits for what must happen.
const patience = 10 * time.Second

// eventually waits for a condition.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !done(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// arm is a server whose answers say its name.
type testArm struct {
	name string
	addr string
	seen atomic.Int64
	srv  *httptest.Server
}

// startArm serves handler, or the arm's name.
func startArm(t *testing.T, name string, handler http.HandlerFunc) *testArm {
	t.Helper()
	a := &testArm{name: name}
	a.srv = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.seen.Add(1)
		if handler != nil {
			handler(w, r)
			return
		}
		io.Copy(io.Discard, r.Body)
		fmt.Fprint(w, name)
	}))
	a.addr = strings.TrimPrefix(a.srv.URL, "http://")
	t.Cleanup(a.stop)
	return a
}

func (a *testArm) stop() {
	a.srv.CloseClientConnections()
	a.srv.Close()
}

// spec is the arm with parameters such as "weight=9".
func (a *testArm) spec(parameters string) ArmSpec {
	return armSpec(a.name + "=http://" + a.addr + " " + parameters)
}

func armSpec(text string) ArmSpec {
	var s ArmSpec
	if err := s.UnmarshalText([]byte(text)); err != nil {
		panic(err)
	}
	return s
}

// running is a Proxy that serves.
type running struct {
	*Proxy
	addr     string
	registry *prometheus.Registry
	served   chan error
}

// start serves a proxy in front of arms; edit may change it before.
func start(t *testing.T, arms []ArmSpec, edit func(*Proxy)) *running {
	t.Helper()
	registry := prometheus.NewRegistry()
	metrics := NewMetrics(registry)
	retry := must(config{FallbackOn: []string{"error", "timeout", "http_502", "http_503", "http_504"}, RetryBody: 64 << 10}.retry())
	p := &Proxy{
		Splitter: &Splitter{
			Rules:   Rules{Balance: "smooth", Fallback: true, Sticky: Sticky{Kind: "none"}},
			Budget:  balance.Budget{Ratio: 0.2, PerSecond: 1000},
			Metrics: metrics,
		},
		Forwarder: &http1.Forwarder{Scheme: "http"}, Upgrades: []string{"websocket"}, Retry: retry,
		ArmHeader: "X-Split-Arm", ReasonHeader: "X-Split-Reason", Careful: carefully.Load(),
		Limits:  Limits{DrainIdle: 50 * time.Millisecond, HeaderBytes: 32 << 10, ServerIdle: 4 * time.Second},
		Log:     slog.New(slog.DiscardHandler),
		Metrics: metrics,
	}
	if edit != nil {
		edit(p)
	}
	p.Splitter.Set(arms)
	registry.MustRegister(newStates(p.Splitter))
	ln := must(listen(t.Context(), "127.0.0.1:0"))
	s := &running{Proxy: p, addr: ln.Addr().String(), registry: registry, served: make(chan error, 1)}
	go func() { s.served <- p.Serve(ln) }()
	t.Cleanup(func() { p.Close() })
	return s
}

// metric is the value of a series, its labels as name=value in any order.
func (s *running) metric(t *testing.T, name string, labels ...string) float64 {
	t.Helper()
	families, err := s.registry.Gather()
	check(t, err)
	for _, f := range families {
		if f.GetName() != "splitter_"+name {
			continue
		}
		for _, m := range f.GetMetric() {
			got := map[string]bool{}
			for _, l := range m.GetLabel() {
				got[l.GetName()+"="+l.GetValue()] = true
			}
			matches := true
			for _, l := range labels {
				matches = matches && got[l]
			}
			if matches {
				switch {
				case m.Counter != nil:
					return m.GetCounter().GetValue()
				case m.Gauge != nil:
					return m.GetGauge().GetValue()
				case m.Histogram != nil:
					return float64(m.GetHistogram().GetSampleCount())
				}
			}
		}
	}
	return 0
}

// client makes an HTTP client of its own.
func client(t *testing.T) *http.Client {
	t.Helper()
	transport := &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 100}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: patience, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}}
}

func (s *running) url(path string) string { return "http://" + s.addr + path }

// reply is an answer that was read.
type reply struct {
	code   int
	body   string
	header http.Header
}

func (r reply) arm() string    { return r.header.Get("X-Split-Arm") }
func (r reply) reason() string { return r.header.Get("X-Split-Reason") }

// do sends a request; header is pairs.
func (s *running) do(t *testing.T, c *http.Client, method, path, body string, header ...string) reply {
	t.Helper()
	var r io.Reader
	if body != "" {
		r = strings.NewReader(body)
	}
	req := must(http.NewRequestWithContext(t.Context(), method, s.url(path), r))
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := c.Do(req)
	check(t, err)
	defer resp.Body.Close()
	return reply{resp.StatusCode, string(must(io.ReadAll(resp.Body))), resp.Header}
}

// dial makes a connection for bytes.
func (s *running) dial(t *testing.T) net.Conn {
	t.Helper()
	c := must(net.DialTimeout("tcp", s.addr, patience))
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience))
	return c
}

// nobody is an address on which nothing listens.
func nobody(t *testing.T) string {
	t.Helper()
	ln := must(net.Listen("tcp", "127.0.0.1:0"))
	defer ln.Close()
	return ln.Addr().String()
}

// within is a context for one step of a test.
func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}
