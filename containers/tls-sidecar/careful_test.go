package main

import (
	"io"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
)

// carefully has the sidecars of the tests do without the fast path.
var carefully atomic.Bool

// TestWithoutTheFastPath holds the careful path to the same, for the others run
// with both.
func TestWithoutTheFastPath(t *testing.T) {
	carefully.Store(true)
	t.Cleanup(func() { carefully.Store(false) })
	for _, test := range []struct {
		name string
		f    func(*testing.T)
	}{
		{"RefusalArrives", TestRefusalArrives},
		{"SameBytes", TestSameBytes},
		{"Streaming", TestStreaming},
		{"EarlyParts", TestEarlyParts},
		{"Trailers", TestTrailers},
		{"Informational", TestInformational},
		{"KeepAlive", TestKeepAlive},
		{"AppErrors", TestAppErrors},
		{"CutAnswer", TestCutAnswer},
		{"ClientLeaves", TestClientLeaves},
		{"StalledReader", TestStalledReader},
		{"SlowClients", TestSlowClients},
		{"MaxRequests", TestMaxRequests},
		{"MaxConnections", TestMaxConnections},
		{"IdleMakesRoom", TestIdleMakesRoom},
		{"HeadersEndToEnd", TestHeadersEndToEnd},
		{"Identity", TestIdentity},
		{"WebSocket", TestWebSocket},
		{"NoContentType", TestNoContentType},
		{"EarlyTunnelBytes", TestEarlyTunnelBytes},
		{"ShutdownWaits", TestShutdownWaits},
		{"ShutdownIdle", TestShutdownIdle},
		{"ShutdownUnderLoad", TestShutdownUnderLoad},
	} {
		t.Run(test.name, test.f)
	}
}

// TestNoContentType: what the app does not say is not guessed for it.
func TestNoContentType(t *testing.T) {
	app := startApp(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header()["Content-Type"] = nil
		io.WriteString(w, "ok")
	})
	s := start(t, app, nil)
	for _, version := range []int{1, 2} {
		resp, err := s.client(t, version, nil).Get(s.url("/"))
		check(t, err)
		resp.Body.Close()
		if types, said := resp.Header["Content-Type"]; said {
			t.Errorf("HTTP/%d: Content-Type %q", version, types)
		}
	}
}

// TestFastPathIsTaken: plain exchanges stay on it, others leave it, and both are
// counted.
func TestFastPathIsTaken(t *testing.T) {
	app := startApp(t, func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) })
	s := start(t, app, nil)
	c := s.client(t, 1, nil)
	for range 3 {
		resp, err := c.Post(s.url("/"), "text/plain", strings.NewReader("body"))
		check(t, err)
		if got := string(must(io.ReadAll(resp.Body))); got != "body" {
			t.Errorf("got %q", got)
		}
		resp.Body.Close()
	}
	// The client has its answer before the loop has counted it.
	eventually(t, "all 3 plain requests on the fast path", func() bool { return s.metric(t, "fast_requests_total") == 3 })
	if n := s.engine.FastClients(); n != 1 {
		t.Errorf("%d connections there, want 1", n)
	}
	resp, err := c.Post(s.url("/"), "text/plain", io.MultiReader(strings.NewReader("chunked")))
	check(t, err)
	resp.Body.Close()
	eventually(t, "no connection there after a chunked request", func() bool { return s.engine.FastClients() == 0 })
	if n := s.metric(t, "requests_total", "code=200"); n != 4 {
		t.Errorf("counted %v requests in all", n)
	}
	// A client with a trusted proxy's word is the careful path's.
	s = start(t, app, func(p *Proxy) { p.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} })
	req := must(http.NewRequest("GET", s.url("/"), nil))
	req.Header.Set("X-Forwarded-For", "192.0.2.1")
	resp, err = s.client(t, 1, nil).Do(req)
	check(t, err)
	resp.Body.Close()
	if n := s.metric(t, "fast_requests_total"); n != 0 {
		t.Errorf("%v of a trusted proxy's", n)
	}
}
