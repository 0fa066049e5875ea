package main

import (
	"fmt"
	"net/http"
	"testing"
	"time"
)

func TestRevalidates(t *testing.T) {
	b := start(t, nil, nil)
	b.say(b.with("one", "Cache-Control: max-age=60", `Etag: "1"`, "X-A: old"))
	b.get("/")
	b.Pass(61 * time.Second)
	b.say(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("If-None-Match") != `"1"` {
			t.Errorf("asked with %q", r.Header)
		}
		w.Header().Set("Cache-Control", "max-age=100")
		w.Header().Set("Etag", `"1"`)
		w.Header().Set("X-A", "new")
		w.Header().Set("Content-Type", "text/evil")
		w.WriteHeader(http.StatusNotModified)
	})
	a := b.get("/")
	if a.Status != 200 || a.Body != "one" || a.Header.Get("X-A") != "new" || a.result() != "stale" || a.Header.Get("Content-Type") == "text/evil" {
		t.Errorf("%+v", a)
	}
	b.Pass(90 * time.Second)
	if a := b.get("/"); a.result() != "hit" || a.Body != "one" {
		t.Errorf("%+v", a)
	}
	if n := b.fetches(); n != 2 {
		t.Errorf("%d fetches", n)
	}
}

func TestStale(t *testing.T) {
	well := func(b *bench, more string) http.HandlerFunc { return b.with("good", "Cache-Control: max-age=60"+more) }
	fails := func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "bad", http.StatusInternalServerError) }
	for _, c := range []struct {
		name, more string
		after      time.Duration
		want       int
	}{
		{"in time", ", stale-if-error=100", 150 * time.Second, 200},
		{"too late", ", stale-if-error=100", 170 * time.Second, 500},
		{"not said", "", 61 * time.Second, 500},
		{"5.2.2.2: must-revalidate", ", must-revalidate, stale-if-error=100", 61 * time.Second, 500},
		{"5.2.2.10: s-maxage is proxy-revalidate", ", s-maxage=60, stale-if-error=100", 61 * time.Second, 500},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := start(t, nil, nil)
			b.say(well(b, c.more))
			b.get("/")
			b.Pass(c.after)
			b.say(fails)
			for range 3 {
				if a := b.get("/"); a.Status != c.want {
					t.Errorf("%d, want %d", a.Status, c.want)
				}
			}
			n := b.fetches()
			b.get("/")
			if again := b.fetches() > n; again != (c.want == 500) {
				t.Errorf("at once asked again: %v", again)
			}
			b.Pass(time.Second)
			b.say(b.with("better", "Cache-Control: max-age=60"))
			if a := b.get("/"); a.Body != "better" {
				t.Errorf("after it: %q", a.Body)
			}
		})
	}
	t.Run("origin gone", func(t *testing.T) {
		b := start(t, nil, nil)
		b.say(well(b, ", stale-if-error=100"))
		b.get("/")
		b.Pass(61 * time.Second)
		b.Origin.CloseClientConnections()
		b.Origin.Listener.Close()
		if a := b.get("/"); a.Status != 200 || a.Body != "good" {
			t.Errorf("%d %q", a.Status, a.Body)
		}
		if a := b.get("/other"); a.Status != 502 {
			t.Errorf("%d", a.Status)
		}
	})
}

// TestStaleWhileRevalidate: who asks does not wait, and one question is asked.
func TestStaleWhileRevalidate(t *testing.T) {
	b := start(t, nil, nil)
	b.say(b.with("one", "Cache-Control: max-age=60, stale-while-revalidate=30"))
	b.get("/")
	b.Pass(70 * time.Second)
	held := make(chan struct{})
	b.say(func(w http.ResponseWriter, r *http.Request) {
		<-held
		b.with("two", "Cache-Control: max-age=60")(w, r)
	})
	for _, a := range b.together(20, func(int) answer { return b.get("/") }) {
		if a.Body != "one" {
			t.Errorf("%q", a.Body)
		}
	}
	close(held)
	until(t, func() error {
		if a := b.get("/"); a.Body != "two" || a.result() != "hit" {
			return fmt.Errorf("%q", a.Body)
		}
		return nil
	})
	if n := b.fetches(); n != 2 {
		t.Errorf("%d fetches", n)
	}
	b.Pass(100 * time.Second)
	b.say(b.with("three", "Cache-Control: max-age=60"))
	if a := b.get("/"); a.Body != "three" {
		t.Errorf("too late: %q", a.Body)
	}
}
