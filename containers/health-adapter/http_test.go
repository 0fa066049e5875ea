package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// checks are two of them that answer at once; each may be broken.
type testChecks struct {
	*Checks
	live, ready atomic.Pointer[error]
	metrics     *metrics
}

func newChecks(t *testing.T) *testChecks {
	t.Helper()
	c := &testChecks{metrics: newMetrics(prometheus.NewRegistry())}
	ask := func(broken *atomic.Pointer[error]) func(context.Context) (Finding, error) {
		return func(context.Context) (Finding, error) {
			if err := broken.Load(); err != nil {
				return Finding{}, *err
			}
			return Finding{Replica: true, Lag: 3 * time.Second}, nil
		}
	}
	c.Checks = &Checks{
		Live:        &Health{Name: "live", Ask: ask(&c.live)},
		Ready:       &Health{Name: "ready", Ask: ask(&c.ready)},
		Maintenance: &Maintenance{File: filepath.Join(t.TempDir(), "maintenance")},
	}
	c.metrics.watch(c.Checks)
	return c
}

func (c *testChecks) ask(t *testing.T, method, target string, header http.Header) (*http.Response, string) {
	t.Helper()
	srv := httptest.NewServer(c.Handler(c.metrics))
	defer srv.Close()
	req, err := http.NewRequestWithContext(t.Context(), method, srv.URL+target, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header = header
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(body)
}

func TestHandler(t *testing.T) {
	broken := errors.New("it is broken")
	for _, tt := range []struct {
		name, method, target string
		accept               string
		live, ready          bool
		maintenance          bool
		code                 int
		body                 string // how it begins
	}{
		{name: "live", target: "/livez", live: true, code: 200, body: "up\nage: "},
		{name: "not live", target: "/livez", ready: true, code: 503, body: "down\nreason: it is broken\nage: "},
		{name: "ready", target: "/readyz", ready: true, code: 200, body: "up\nage: 0.000s\nlag: 3s\n"},
		{name: "not ready", target: "/readyz", live: true, code: 503, body: "down\nreason: it is broken\n"},
		{name: "the root is readiness", target: "/", live: true, code: 503, body: "down\n"},
		{name: "as HAProxy asks", method: "OPTIONS", target: "/", ready: true, code: 200, body: "up\n"},
		{name: "no body", method: "HEAD", target: "/readyz", ready: true, code: 200},
		{name: "no body when down", method: "HEAD", target: "/readyz", code: 503},
		{name: "JSON by parameter", target: "/readyz?format=json", ready: true, code: 200, body: `{"check":"ready","status":"up","age`},
		{name: "JSON by header", target: "/livez", accept: "application/json", live: true, code: 200, body: `{"check":"live","status":"up"`},
		{name: "the parameter is stronger", target: "/livez?format=text", accept: "application/json", live: true, code: 200, body: "up\n"},
		{name: "a browser", target: "/livez", accept: "text/html,application/xhtml+xml,*/*;q=0.8", live: true, code: 200, body: "up\n"},
		{name: "no such format", target: "/livez?format=xml", live: true, code: 400, body: "format is json or text"},
		{name: "no such page", target: "/health", code: 404},
		{name: "no such method", method: "POST", target: "/readyz", code: 405},
		{name: "maintenance is not ready", target: "/readyz", live: true, ready: true, maintenance: true, code: 503, body: "maintenance\n"},
		{name: "and not dead", target: "/livez", maintenance: true, code: 200, body: "maintenance\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := newChecks(t)
			if !tt.live {
				c.live.Store(&broken)
			}
			if !tt.ready {
				c.ready.Store(&broken)
			}
			if tt.maintenance {
				if err := os.WriteFile(c.Maintenance.File, nil, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			header := http.Header{}
			if tt.accept != "" {
				header.Set("Accept", tt.accept)
			}
			res, body := c.ask(t, tt.method, tt.target, header)
			if res.StatusCode != tt.code || !strings.HasPrefix(body, tt.body) || tt.body == "" && tt.code < 400 && body != "" {
				t.Errorf("got %d %q, want %d %q…", res.StatusCode, body, tt.code, tt.body)
			}
			if tt.code == 200 && res.Header.Get("Cache-Control") != "no-store" {
				t.Error("may be cached by who does not know its age")
			}
		})
	}
}

// TestMaintenance: a switch by signal and one by file; no check is made meanwhile.
func TestMaintenance(t *testing.T) {
	c := newChecks(t)
	asked := 0
	c.Ready.Ask = func(context.Context) (Finding, error) { asked++; return Finding{}, nil }
	status := func() string { return c.Ask(t.Context(), c.Ready).Status }
	if got := status(); got != "up" || c.Maintenance.Ended() {
		t.Fatalf("at first: %s, ended %t", got, c.Maintenance.Ended())
	}
	c.Maintenance.Switch(true)
	if got := status(); got != "maintenance" || asked != 1 {
		t.Errorf("switched on: %s after %d checks", got, asked)
	}
	if err := os.WriteFile(c.Maintenance.File, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	c.Maintenance.Switch(false)
	if got := status(); got != "maintenance" {
		t.Errorf("with the file: %s", got)
	}
	if err := os.Remove(c.Maintenance.File); err != nil {
		t.Fatal(err)
	}
	if got := status(); got != "up" || asked != 2 || !c.Maintenance.Ended() {
		t.Errorf("without: %s after %d checks, ended %t", got, asked, c.Maintenance.Ended())
	}
}

// TestJSON: whoever reads it gets what it says in a second field, too.
func TestJSON(t *testing.T) {
	c := newChecks(t)
	_, body := c.ask(t, "GET", "/readyz?format=json", nil)
	var a Answer
	if err := json.Unmarshal([]byte(body), &a); err != nil {
		t.Fatal(err)
	}
	if a.Check != "ready" || a.Status != "up" || a.Successes != 1 || a.Lag == nil || *a.Lag != 3 || a.Since.IsZero() || a.Cached {
		t.Errorf("got %s", body)
	}
	if unknown, _ := json.Marshal(answer(c.Live, c.Live.Last())); strings.Contains(string(unknown), "since") || !strings.Contains(string(unknown), `"unknown"`) {
		t.Errorf("before the first check: %s", unknown)
	}
}

func TestPrefersJSON(t *testing.T) {
	for accept, want := range map[string]bool{
		"":                                  false,
		"*/*":                               false,
		"text/plain":                        false,
		"application/json":                  true,
		"application/*":                     true,
		"application/json, text/plain":      false,
		"text/plain;q=0.5,application/json": true,
		"application/json;q=0.5,text/plain": false,
		"*/*, application/json;q=0":         false,
		"*/*;q=0.1, application/json":       true,
		"application/json;q=nonsense":       false,
		"application/json;q=NaN":            false,
		"application/json;q=-1":             false,
		"APPLICATION/JSON":                  true,
		";;;, application/json":             true,
	} {
		if got := prefersJSON(accept); got != want {
			t.Errorf("%q: %t, want %t", accept, got, want)
		}
	}
}

func FuzzPrefersJSON(f *testing.F) {
	f.Add("text/plain;q=0.5, application/json;q=0.7")
	f.Add("*/*;q=NaN,;")
	f.Fuzz(func(t *testing.T, accept string) {
		for _, kind := range [][2]string{{"application", "json"}, {"text", "plain"}} {
			if q := liking(accept, kind[0], kind[1]); !(q >= 0 && q <= 1) {
				t.Errorf("%q: weight %v", accept, q)
			}
		}
	})
}
