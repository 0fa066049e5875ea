package main

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// sourceFunc is a source for a test.
type sourceFunc func(ctx context.Context) (*page, error)

func (f sourceFunc) Collect(ctx context.Context) (*page, error) { return f(ctx) }

func (sourceFunc) Frame(p *page, t tally) {
	p.add(gauge, "it_up", "Up.", truth(t.Up), "reason", t.Reason)
	p.add(counter, "it_scrapes_total", "Scrapes.", float64(t.Number))
}

// TestShared: who comes while a target is asked has that answer; who comes later has a new one.
func TestShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		target := newTarget(sourceFunc(func(context.Context) (*page, error) {
			asked++
			time.Sleep(time.Second)
			return nil, nil
		}), time.Minute)
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() { wants(t, gather(t, target.Scrape(t.Context())), "it_up 1", "it_scrapes_total 1") })
		}
		wg.Wait()
		wants(t, gather(t, target.Scrape(t.Context())), "it_scrapes_total 2")
		if asked != 2 {
			t.Errorf("asked %d times, want 2", asked)
		}
	})
}

// TestHung: each waits for as long as it can. One in a hurry does not spoil the answer for the others, nor does one who leaves.
func TestHung(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		target := newTarget(sourceFunc(func(ctx context.Context) (*page, error) {
			select {
			case <-time.After(3 * time.Second):
				return nil, nil
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}), 5*time.Second)
		scrape := func(limit time.Duration, want string) {
			t.Helper()
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			begun := time.Now()
			wants(t, gather(t, target.Scrape(ctx)), want)
			if took := time.Since(begun); took > limit {
				t.Errorf("took %v, limit %v", took, limit)
			}
		}
		var wg sync.WaitGroup
		wg.Go(func() { scrape(time.Second, "it_up{reason=timeout} 0") })
		wg.Go(func() { scrape(4*time.Second, "it_up{reason=} 1") })
		wg.Wait()
		target.Timeout = 2 * time.Second
		scrape(4*time.Second, "it_up{reason=timeout} 0")
	})
}

// TestTTL: an answer is given again for so long, and one that failed never.
func TestTTL(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var err error
		target := newTarget(sourceFunc(func(context.Context) (*page, error) { return nil, err }), time.Second)
		target.TTL = 10 * time.Second
		scrape := func(want ...string) { t.Helper(); wants(t, gather(t, target.Scrape(t.Context())), want...) }
		scrape("it_scrapes_total 1")
		time.Sleep(9 * time.Second)
		scrape("it_scrapes_total 1")
		time.Sleep(2 * time.Second)
		err = errors.New("no")
		scrape("it_scrapes_total 2", "it_up 0")
		err = nil
		scrape("it_scrapes_total 3", "it_up 1")
	})
}

// TestPanic: what a server makes of us ends one collection.
func TestPanic(t *testing.T) {
	target := newTarget(sourceFunc(func(context.Context) (*page, error) { panic("oh") }), time.Second)
	wants(t, gather(t, target.Scrape(context.Background())), "it_up{reason=protocol} 0")
	if s := target.status(); s.Up == nil || *s.Up || !strings.Contains(s.Error, "oh") || s.Collections != 1 {
		t.Errorf("status %+v", s)
	}
}

// TestLimit: the scraper's own time less the offset, and never more than TIMEOUT.
func TestLimit(t *testing.T) {
	d := &Door{Timeout: 5 * time.Second, Offset: 500 * time.Millisecond}
	for header, want := range map[string]time.Duration{
		"": 5 * time.Second, "10": 5 * time.Second, "2": 1500 * time.Millisecond, "1": 500 * time.Millisecond, "0.5": 250 * time.Millisecond,
		"0": 5 * time.Second, "-1": 5 * time.Second, "NaN": 5 * time.Second, "Inf": 5 * time.Second, "1e300": 5 * time.Second, "x": 5 * time.Second,
	} {
		if got := d.limit(http.Header{"X-Prometheus-Scrape-Timeout-Seconds": {header}}); got != want {
			t.Errorf("%q: %v, want %v", header, got, want)
		}
	}
}

// TestDoor: who may be asked for, and in which form the answer comes.
func TestDoor(t *testing.T) {
	f := startRedis(t, server(golden(t, "info-8.0.2-master.txt")))
	stranger := startRedis(t, server("redis_version:8\r\n"))
	target := newTarget(&Redis{Addr: f.addr}, time.Second)
	d := &Door{Main: target, Targets: map[string]*Target{f.addr: target}, Timeout: time.Second, Metrics: newMetrics(prometheus.NewRegistry())}
	srv := httptest.NewServer(d.Handler())
	defer srv.Close()
	get := func(path, accept string) (int, string, string) {
		t.Helper()
		req, _ := http.NewRequest(http.MethodGet, srv.URL+path, nil)
		req.Header.Set("Accept", accept)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		body, _ := io.ReadAll(res.Body)
		return res.StatusCode, res.Header.Get("Content-Type"), string(body)
	}
	for path, want := range map[string]int{
		"/metrics": 200, "/": 200, "/scrape": 400, "/scrape?target=": 400, "/scrape?target=" + f.addr: 200, "/scrape?target=redis://" + f.addr: 200,
		"/scrape?target=" + stranger.addr: 403, "/scrape?target=redis://user:pass@" + f.addr: 403, "/scrape?target=::bad::": 403, "/other": 404,
	} {
		if code, _, body := get(path, ""); code != want {
			t.Errorf("%s: %d, want %d: %s", path, code, want, body)
		}
	}
	if n := stranger.count("INFO ALL"); n != 0 {
		t.Errorf("a target that is not allowed was asked %d times", n)
	}
	_, form, text := get("/metrics", "text/plain;version=0.0.4")
	_, openForm, open := get("/metrics", "application/openmetrics-text;version=1.0.0,text/plain;q=0.5")
	if !strings.HasPrefix(form, "text/plain; version=0.0.4") || !strings.HasPrefix(openForm, "application/openmetrics-text; version=1.0.0") {
		t.Errorf("forms %q and %q", form, openForm)
	}
	// The series are the same, in both.
	for _, body := range []string{text, open} {
		for _, line := range []string{"\nredis_up 1", "\nredis_total_error_replies ", "\nredis_commands_processed_total ", "\nredis_rdb_saves_total 0"} {
			if !strings.Contains(body, line) {
				t.Errorf("no line %q", line)
			}
		}
	}
	if !strings.HasSuffix(open, "# EOF\n") || !strings.Contains(open, "# TYPE redis_total_error_replies unknown\n") ||
		!strings.Contains(text, "# TYPE redis_total_error_replies counter\n") {
		t.Error("not OpenMetrics, or legacy counters have the wrong type")
	}
}
