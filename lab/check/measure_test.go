package check

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestBy: a measurement on M ends where it must, with what must be said of it.
func TestBy(t *testing.T) {
	good := Decide(true, "3 of 3").Of(3)
	for _, c := range []struct {
		name    string
		measure func(*M) Result
		want    Verdict
		detail  string
	}{
		{"pass", func(*M) Result { return good }, Pass, ""},
		{"must", func(*M) Result { Must(nil); Must(errTest); return good }, Inconclusive, errTest.Error()},
		{"got", func(*M) Result { return Decide(Got(3, error(nil)) == 3, "").Of(Got(1, errTest)) }, Inconclusive, errTest.Error()},
		{"unknown", func(m *M) Result { m.Unknown("no %s", "idea"); return good }, Inconclusive, "no idea"},
		{"need", func(m *M) Result { m.Need(true, "x"); m.Need(false, "no ground"); return good }, Inconclusive, "no ground"},
		{"no such service", func(m *M) Result { m.Address("stranger", 1); return good }, Inconclusive, "service stranger: has no container"},
		{"panic", func(*M) Result { panic("oh") }, Inconclusive, "panicked: oh"},
		{"in a part", func(m *M) Result {
			m.Together(func(*M) {}, func(*M) { Must(errTest) })
			return good
		}, Inconclusive, errTest.Error()},
		{"panic in a part", func(m *M) Result { m.Together(func(*M) { panic("oh") }); return good }, Inconclusive, "panicked: oh"},
		{"one of each", func(m *M) Result {
			m.Each(100, 4, func(m *M, i int) { m.Need(i != 50, "not %d", i) })
			return good
		}, Inconclusive, "not 50"},
		{"the others end", func(m *M) Result {
			m.Together(func(m *M) { <-m.Context().Done() }, func(*M) { Must(errTest) })
			return good
		}, Inconclusive, errTest.Error()},
		{"time is up in a part", func(m *M) Result { m.Together(func(m *M) { <-m.Context().Done() }); return good }, Inconclusive, "the claim took longer than 1m0s"},
		{"time is up while waiting", func(m *M) Result {
			m.Until(time.Hour, func(*M) error { return errTest })
			return good
		}, Inconclusive, "the claim took longer than 1m0s"},
		{"time is up while it holds", func(m *M) Result { m.Hold(time.Hour, func(*M) error { return nil }); return good }, Inconclusive, "the claim took longer than 1m0s"},
		{"awaited in vain", func(m *M) Result {
			m.Await(time.Second, "a sign", func(*M) error { return errTest })
			return good
		}, Inconclusive, "a sign was not seen in 1s: the test's error"},
		{"unknown while waiting", func(m *M) Result {
			m.Until(time.Second, func(m *M) error { m.Unknown("hopeless"); return nil })
			return good
		}, Inconclusive, "hopeless"},
		{"command that fails", func(m *M) Result { m.Exec("web", "false"); return good }, Inconclusive, "false in web: exit code 1: no luck"},
		{"log that is no JSON", func(m *M) Result { Lines[map[string]any](m, "web", time.Time{}); return good }, Inconclusive, `web wrote "log of web-1"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake()
				f.exec = func(cmd []string) Output { return Output{ExitCode: 1, Stderr: "no luck\n"} }
				got := judge(t, t.Context(), f, By(c.measure))
				if got.Verdict != c.want || !strings.Contains(got.Detail, c.detail) || c.detail == "" && got.Detail != "" {
					t.Errorf("%s: %s; want %s: %s", got.Verdict, got.Detail, c.want, c.detail)
				}
			})
		})
	}
}

// on is a measurement for a test: it must not end before its time.
func on(t *testing.T, f *fake, do func(m *M)) {
	t.Helper()
	got := judge(t, t.Context(), f, By(func(m *M) Result { do(m); return Decide(true, "").Of(1) }))
	if got.Verdict != Pass {
		t.Errorf("it ended: %s", got.Detail)
	}
}

func TestEach(t *testing.T) {
	on(t, newFake(), func(m *M) {
		var sum, at, most atomic.Int64
		m.Each(1000, 8, func(_ *M, i int) {
			if n := at.Add(1); n > most.Load() {
				most.Store(n)
			}
			sum.Add(int64(i))
			at.Add(-1)
		})
		if sum.Load() != 499500 || most.Load() > 8 {
			t.Errorf("sum %d of 499500, %d at a time of at most 8", sum.Load(), most.Load())
		}
		m.Each(0, 8, func(*M, int) { t.Error("called for none") })
	})
}

func TestUntil(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		on(t, newFake(), func(m *M) {
			begun := time.Now()
			// An error that would end the measurement elsewhere is "not yet" here.
			took, last := m.Until(10*time.Second, func(*M) error {
				if time.Since(begun) < 3*time.Second {
					Must(errTest)
				}
				return nil
			})
			if !took.Within(3100*time.Millisecond) || took.Within(2900*time.Millisecond) || last != nil {
				t.Errorf("took %v, %v; want 3 s", took, last)
			}
			took, last = m.Until(2*time.Second, func(*M) error { return errTest })
			if took != Never || took.Within(time.Hour) || !errors.Is(last, errTest) || took.String() != "never" {
				t.Errorf("took %v, %v; want never", took, last)
			}
			// Who hangs sees the end of the patience, and not of the claim.
			took, last = m.Until(time.Second, func(m *M) error { <-m.Context().Done(); return context.Cause(m.Context()) })
			if took != Never || last == nil || !strings.Contains(last.Error(), "1s are over") {
				t.Errorf("took %v, %v; want never, since the time was over", took, last)
			}
			if took := m.Await(time.Second, "it", func(*M) error { return nil }); took != 0 {
				t.Errorf("took %v at once", took)
			}
		})
	})
}

func TestHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		on(t, newFake(), func(m *M) {
			begun := time.Now()
			h := m.Hold(2*time.Second, func(*M) error { return nil })
			if h.Broke != nil || h.For < 2*time.Second || h.Asked < 30 {
				t.Errorf("%v; want 2 s and some 40 looks", h)
			}
			h = m.Hold(10*time.Second, func(*M) error {
				if time.Since(begun) > 5*time.Second {
					Must(errTest)
				}
				return nil
			})
			if !errors.Is(h.Broke, errTest) || h.For > 3200*time.Millisecond {
				t.Errorf("%v; want it broken after 3 s", h)
			}
		})
	})
}

func TestTally(t *testing.T) {
	var none Tally
	if none.Whole() {
		t.Error("all of none is whole")
	}
	var some Tally
	for i := range 20 {
		some.Note(i < 10, "odd %d", i)
	}
	if got := some.String(); got != "10 of 20" || some.Wrong() != 10 || some.Odd() != "odd 10\nodd 11\nodd 12\nodd 13\nodd 14" {
		t.Errorf("%s, odd:\n%s", got, some.Odd())
	}
}

func TestWays(t *testing.T) {
	for _, c := range []struct {
		name string
		ask  func(*Ways)
		want Verdict
		said string
	}{
		{"all", func(w *Ways) { w.Way("h1").Note(true, ""); w.Way("h2").Note(true, "") }, Pass, "2 of 2 in 2 ways"},
		{"one is wrong", func(w *Ways) { w.Way("h1").Note(true, ""); w.Way("h2").Note(false, "lost") }, Fail, "h2: 0 of 1; all in 1 other ways"},
		{"one was not asked", func(w *Ways) { w.Way("h2"); w.Way("h1").Note(true, "") }, Fail, "h2: 0 of 0; all in 1 other ways"},
		{"none", func(*Ways) {}, Fail, "0 of 0 in 0 ways"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var w Ways
			c.ask(&w)
			if got := w.Decide(); got.Verdict != c.want || got.Measured != c.said {
				t.Errorf("%s %q, want %s %q", got.Verdict, got.Measured, c.want, c.said)
			}
		})
	}
}

func TestAsk(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/json":
			fmt.Fprintf(w, `{"host": %q, "x": %q, "method": %q}`, r.Host, r.Header.Get("X-A"), r.Method)
		case "/metrics":
			fmt.Fprint(w, "# TYPE a_total counter\na_total{code=\"200\",way=\"x\\\"y\"} 3\na_total{code=\"500\",way=\"z\"} 4\n"+
				"# TYPE up gauge\nup 1\n# TYPE t histogram\nt_bucket{le=\"+Inf\"} 7\nt_sum 1\nt_count 7\n")
		case "/moved":
			http.Redirect(w, r, "/json", http.StatusFound)
		default:
			http.NotFound(w, r)
		}
	}))
	defer srv.Close()
	f := newFake()
	f.addr = srv.Listener.Addr().String()
	on(t, f, func(m *M) {
		var got struct{ Host, X, Method string }
		m.JSON("web", 8080, "/json", &got, "Host", "shop", "X-A", "b")
		if got.Host != "shop" || got.X != "b" || got.Method != "GET" {
			t.Errorf("the server was asked %+v", got)
		}
		if p := m.Do(http.MethodPost, "web", 8080, "/json", []byte("hello")); p.Is(200) != nil || !strings.Contains(string(p.Body), "POST") {
			t.Errorf("a POST came as %s", p.Body)
		}
		if p := m.Get("web", 8080, "/moved"); p.Is(302) != nil {
			t.Errorf("a redirect was followed: %d", p.Status)
		}
		if err := m.Get("web", 8080, "/absent").Is(200); err == nil || !strings.Contains(err.Error(), "status 404") {
			t.Errorf("error %v of a 404", err)
		}
		for _, c := range []struct {
			name   string
			labels []string
			want   float64
		}{
			{"a_total", nil, 7},
			{"a_total", []string{`code="200"`}, 3},
			{"a_total", []string{`code="200"`, `way="x\"y"`}, 3},
			{"a_total", []string{`code="200"`, `way="z"`}, 0},
			{"up", nil, 1},
			{"t", nil, 7},
		} {
			if got := m.Metric("web", 8080, c.name, c.labels...); got != c.want {
				t.Errorf("%s %v is %v, want %v", c.name, c.labels, got, c.want)
			}
		}
		if got := m.Counter("web", 8080, "absent_total"); got != 0 {
			t.Errorf("a counter that is not there is %v", got)
		}
	})
	got := judge(t, t.Context(), f, By(func(m *M) Result { m.Metric("web", 8080, "absent"); return Decide(true, "").Of(1) }))
	if got.Verdict != Inconclusive || !strings.Contains(got.Detail, "web has no metric absent") {
		t.Errorf("a metric that is not there: %s %s", got.Verdict, got.Detail)
	}
	got = judge(t, t.Context(), f, By(func(m *M) Result { m.JSON("web", 8080, "/absent", nil); return Decide(true, "").Of(1) }))
	if got.Verdict != Inconclusive || !strings.Contains(got.Detail, "web:8080/absent: status 404") {
		t.Errorf("JSON that is not there: %s %s", got.Verdict, got.Detail)
	}
}

// TestAskInside: where a port is not published, a probe beside the service asks.
func TestAskInside(t *testing.T) {
	f := newFake()
	f.probe = says(`{"error":"","status":200,"body":"eyJhIjoxfQ=="}`)
	on(t, f, func(m *M) {
		var got struct{ A int }
		m.JSON("web", 9090, "/status", &got, "X-A", "b")
		if got.A != 1 {
			t.Errorf("read %+v", got)
		}
	})
	want := []string{`probe ["http" "-header" "X-A: b" "http://127.0.0.1:9090/status"] beside "web"`, "close probe"}
	if diff := cmp.Diff(want, f.done()); diff != "" {
		t.Error(diff)
	}
}
