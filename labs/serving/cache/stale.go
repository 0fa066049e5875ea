package cache

import (
	"fmt"
	"net/http"
	"time"

	"distlab/lab/check"
)

// staleIfError has a word stored and go stale. Then the service fails, then it cannot be reached, then it is well.
func staleIfError(m *check.M) check.Result {
	end := begin(m)
	defer end()
	target, path := fresh(m, vocabulary(m, 1)[0])
	tell(m, trouble{Path: path, Header: map[string]string{"Cache-Control": "public, max-age=1, stale-if-error=600", "X-Mark": "good"}})
	p := m.Get(first, webPort, target)
	m.Need(p.Status == http.StatusOK && p.Header.Get("X-Mark") == "good", "%d", p.Status)
	filled := time.Now()
	tell(m, trouble{Path: path, Status: http.StatusInternalServerError, Header: map[string]string{"X-Mark": "bad"}})
	past(m, filled, 2500*time.Millisecond)
	var ways check.Ways
	good := func(way string) func(m *check.M) error {
		t := ways.Way(way)
		return func(m *check.M) error {
			p, err := m.Asked(first, webPort, target)
			t.Note(err == nil && p.Status == http.StatusOK && p.Header.Get("X-Mark") == "good" && age(p) >= 2,
				"%d, %q, %d s old, %v", p.Status, p.Header.Get("X-Mark"), age(p), err)
			return nil
		}
	}
	before := fetched(m)
	m.Hold(1200*time.Millisecond, good("it fails"))
	m.Need(fetched(m) > before, "nobody asked the service meanwhile")
	gone := m.Kill(balancer)
	m.Hold(1200*time.Millisecond, good("it cannot be reached"))
	m.Heal(gone)
	tell(m, trouble{Path: path, Header: map[string]string{"Cache-Control": "public, max-age=1, stale-if-error=600", "X-Mark": "better"}})
	back, last := m.Until(patience, func(m *check.M) error {
		if p := m.Get(first, webPort, target); p.Header.Get("X-Mark") != "better" {
			return fmt.Errorf("%d, %q", p.Status, p.Header.Get("X-Mark"))
		}
		return nil
	})
	ways.Way("it is well again").Note(back != check.Never, "the new answer was not seen in %v: %v", patience, last)
	return ways.Decide().Because("the new answer came after %v", back)
}

// staleWhileRevalidate asks for a word that is stale, when the service takes some seconds: an answer that is old did
// not wait for it.
func staleWhileRevalidate(m *check.M) check.Result {
	end := begin(m)
	defer end()
	target, path := fresh(m, vocabulary(m, 1)[0])
	says := func(mark, delay string) {
		tell(m, trouble{Path: path, Delay: delay, Header: map[string]string{
			"Cache-Control": "public, max-age=1, stale-while-revalidate=600", "X-Mark": mark,
		}})
	}
	says("old", "")
	m.Get(first, webPort, target)
	filled := time.Now()
	says("new", "2s")
	past(m, filled, 2500*time.Millisecond)
	before := fetched(m)
	var stale check.Tally
	m.Each(20, 20, func(m *check.M, i int) {
		p, err := m.Asked(first, webPort, target)
		stale.Note(err == nil && p.Status == http.StatusOK && p.Header.Get("X-Mark") == "old" && age(p) > 1,
			"%d, %q, %d s old, %v", p.Status, p.Header.Get("X-Mark"), age(p), err)
	})
	took, last := m.Until(patience, func(m *check.M) error {
		if p := m.Get(first, webPort, target); p.Header.Get("X-Mark") != "new" {
			return fmt.Errorf("%d, %q", p.Status, p.Header.Get("X-Mark"))
		}
		return nil
	})
	asked := fetched(m) - before
	return check.Decide(stale.Whole() && took != check.Never && asked == 1,
		"%v had the old answer at once, the new one came after %v, the service was asked %d times", &stale, took, asked).
		Want("all, in the end, once").Of(stale.All()).Because("%s", stale.Odd()).Because("last: %v", last)
}

// purge forgets by URL and by tag, with the token and without, and while a question is under way.
func purge(m *check.M) check.Result {
	end := begin(m)
	defer end()
	list := vocabulary(m, 3)
	var ways check.Ways
	mark := func(m *check.M, cache, target, accept string) string {
		return m.Get(cache, webPort, target, "Accept", accept).Header.Get("X-Mark")
	}
	says := func(path, mark, delay string) {
		tell(m, trouble{Path: path, Delay: delay, Header: map[string]string{"Cache-Control": "public, max-age=600", "X-Mark": mark, "Cache-Tag": tag + ", red"}})
	}
	forms := []string{"application/json", "text/plain"}
	for i, way := range []struct {
		name   string
		purge  func(cache, target string) check.Page
		status int
		want   string
	}{
		{"without the token", func(cache, target string) check.Page { return m.Do("PURGE", cache, webPort, target, nil) }, 401, "old"},
		{"by URL", func(cache, target string) check.Page { return forget(m, cache, target) }, 200, "new"},
		{"by tag", func(cache, target string) check.Page { return forget(m, cache, "/", "Cache-Tag", "red") }, 200, "new"},
	} {
		t := ways.Way(way.name)
		target, path := fresh(m, list[i])
		says(path, "old", "")
		for _, c := range caches {
			for _, f := range forms {
				m.Need(mark(m, c, target, f) == "old", "%s does not have it", c)
			}
		}
		says(path, "new", "")
		for _, c := range caches {
			p := way.purge(c, target)
			t.Note(p.Status == way.status, "PURGE: %d", p.Status)
			for _, f := range forms {
				got := mark(m, c, target, f)
				t.Note(got == way.want, "%s, %s: %q", c, f, got)
			}
		}
	}
	// A question is under way, and will bring what was before the purge.
	for i, way := range []struct {
		name  string
		purge func(target string) check.Page
	}{
		{"by URL, under way", func(target string) check.Page { return forget(m, first, target) }},
		{"by tag, under way", func(string) check.Page { return forget(m, first, "/", "Cache-Tag", "red") }},
	} {
		t := ways.Way(way.name)
		target, path := fresh(m, list[i])
		says(path, "old", "1500ms")
		m.Together(func(m *check.M) {
			got := mark(m, first, target, forms[0])
			t.Note(got == "old", "who asked before got %q", got)
		}, func(m *check.M) {
			m.Await(patience, "the question to be under way", func(m *check.M) error {
				var status struct{ Waiting int }
				if m.JSON(first, adminPort, "/status", &status); status.Waiting == 0 {
					return fmt.Errorf("nobody waits")
				}
				n := 0.0
				for _, c := range copies {
					n += m.Metric(c, adminPort, "dictionary_in_flight")
				}
				if n == 0 {
					return fmt.Errorf("the service is not asked")
				}
				return nil
			})
			says(path, "new", "")
			p := way.purge(target)
			t.Note(p.Status == http.StatusOK, "PURGE: %d", p.Status)
			got := mark(m, first, target, forms[0])
			t.Note(got == "new", "who asked after the purge, while it was under way, got %q", got)
		})
		for range 3 {
			got := mark(m, first, target, forms[0])
			t.Note(got == "new", "after the purge: %q", got)
		}
	}
	return ways.Decide()
}
