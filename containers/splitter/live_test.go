package main

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
)

func newLive(t *testing.T, path string) *Live {
	t.Helper()
	metrics := NewMetrics(prometheus.NewRegistry())
	return &Live{
		Splitter: &Splitter{Rules: Rules{Balance: "smooth", Fallback: true}, Metrics: metrics},
		Path:     path, Interval: 10 * time.Millisecond, Log: slog.New(slog.DiscardHandler), Metrics: metrics,
	}
}

func weightsOf(s *Splitter) map[string]int {
	m := map[string]int{}
	for _, a := range s.Specs() {
		m[a.Name] = a.Weight
	}
	return m
}

func TestLiveFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "arms")
	write := func(text string) { t.Helper(); check(t, os.WriteFile(path, []byte(text), 0o644)) }
	write("# comment\nproduction=http://web:8080 weight=9 # much\n\nexperiment=http://exp:8080\n")
	l := newLive(t, path)
	check(t, l.Start(nil))
	want := func(what string, production, experiment int) {
		t.Helper()
		want := map[string]int{"production": production, "experiment": experiment}
		eventually(t, what, func() bool { return cmp.Equal(weightsOf(l.Splitter), want) })
	}
	want("start", 9, 1)
	reload := make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); l.Run(ctx, reload) }()
	defer func() { cancel(); <-done }()

	write("production=http://web:8080 weight=5\nexperiment=http://exp:8080 weight=5\n")
	want("a change", 5, 5)
	write("production=http://web:8080 weight=x\n")
	eventually(t, "a bad file is told", func() bool { l.mu.Lock(); defer l.mu.Unlock(); return l.err != nil })
	want("a bad file", 5, 5)
	check(t, rewriteFails(path))
	write("production=http://web:8080 weight=1\nexperiment=http://exp:8080 weight=2\n")
	want("a good file after it", 1, 2)
	check(t, rewriteArms(path, map[string]int{"experiment": 7}))
	want("a file renamed over it", 1, 7)
	check(t, l.Change("test", func(arms []ArmSpec) ([]ArmSpec, error) {
		return withWeights(arms, map[string]int{"production": 100})
	}))
	want("the admin's change", 100, 7)
	reload <- struct{}{}
	want("SIGHUP", 1, 7)
}

// rewriteFails is nil if a bad file is not edited.
func rewriteFails(path string) error {
	if err := rewriteArms(path, map[string]int{"production": 1}); err == nil {
		return os.ErrInvalid
	}
	return nil
}

func TestEditWeights(t *testing.T) {
	text := "# all\nproduction=http://web:8080 max_fails=3 weight=9 # much\nexperiment=http://exp:8080\n"
	got, err := editWeights(text, map[string]int{"production": 5, "experiment": 5})
	check(t, err)
	want := "# all\nproduction=http://web:8080 weight=5 max_fails=3 # much\nexperiment=http://exp:8080 weight=5\n"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for _, weights := range []map[string]int{{"other": 1}, {"experiment": -1}, {"production": 0, "experiment": 0}} {
		if _, err := editWeights(text, weights); err == nil {
			t.Errorf("%v: no error", weights)
		}
	}
}

func TestStartErrors(t *testing.T) {
	dir := t.TempDir()
	empty := filepath.Join(dir, "empty")
	check(t, os.WriteFile(empty, nil, 0o644))
	for path, want := range map[string]string{
		filepath.Join(dir, "absent"): "no such file", empty: "no arm", dir: "not a file",
	} {
		if err := newLive(t, path).Start(nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", path, err, want)
		}
	}
}

// adminServer is the admin port as it would be.
func adminServer(t *testing.T, l *Live, token string) *httptest.Server {
	t.Helper()
	mux := http.NewServeMux()
	(&Admin{Splitter: l.Splitter, Live: l, Token: token}).Register(mux.Handle)
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	return srv
}

func ask(t *testing.T, method, url, body, token string) (int, string) {
	t.Helper()
	req := must(http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body)))
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := http.DefaultClient.Do(req)
	check(t, err)
	defer resp.Body.Close()
	return resp.StatusCode, string(must(io.ReadAll(resp.Body)))
}

func TestAdminWeights(t *testing.T) {
	l := newLive(t, "")
	check(t, l.Start([]ArmSpec{armSpec("production=http://web weight=9"), armSpec("experiment=http://exp")}))
	srv := adminServer(t, l, "t0ken")
	tests := []struct {
		body, token string
		want        int
	}{
		{`{"experiment": 3}`, "", 401},
		{`{"experiment": 3}`, "t0keN", 401},
		{`{"experiment": -3}`, "t0ken", 400},
		{`{"other": 3}`, "t0ken", 400},
		{`{"experiment": 0, "production": 0}`, "t0ken", 400},
		{`[]`, "t0ken", 400},
	}
	for _, tt := range tests {
		if code, text := ask(t, "PUT", srv.URL+"/weights", tt.body, tt.token); code != tt.want {
			t.Errorf("%s with %q: %d %s", tt.body, tt.token, code, text)
		}
	}
	if got := weightsOf(l.Splitter); got["experiment"] != 1 {
		t.Errorf("changed to %v", got)
	}
	code, text := ask(t, "PUT", srv.URL+"/weights", `{"experiment": 3}`, "t0ken")
	var got map[string]int
	check(t, json.Unmarshal([]byte(text), &got))
	if want := map[string]int{"production": 9, "experiment": 3}; code != 200 || !cmp.Equal(got, want) || !cmp.Equal(weightsOf(l.Splitter), want) {
		t.Errorf("%d %s", code, text)
	}
	closed := adminServer(t, l, "")
	if code, _ := ask(t, "PUT", closed.URL+"/weights", `{"experiment": 9}`, ""); code != 403 {
		t.Errorf("without a token in the settings: %d", code)
	}
}
