package format

import (
	_ "embed"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"distlab/lab/check"
)

//go:embed new/shop.yaml
var shop string

// sourceDown takes a source away in each of the ways in which one goes.
func sourceDown(m *check.M) check.Result {
	well(m)
	var ways check.Ways
	look := func(way, away, state string) {
		p := ask(m, "/records?limit=1000")
		others := true
		for _, f := range feeds {
			if f != away {
				others = others && p.count(f) == parts && p.of(f).State == "ok"
			}
		}
		s := p.of(away)
		ways.Way(way).Note(p.code == http.StatusOK && p.Partial && others && s.State == state && s.Error != "",
			"%d, partial %v, %+v", p.code, p.Partial, p.Sources)
		whole := m.Get(adapter, apiPort, "/records?limit=1000&partial=forbid")
		ways.Way(way+", a part forbidden").Note(whole.Status == http.StatusServiceUnavailable &&
			whole.Header.Get("Content-Type") == "application/problem+json", "%d %s", whole.Status, whole.Body)
		alone := ask(m, "/records?source="+away)
		right := alone.code == http.StatusServiceUnavailable
		if state == "incomplete" { // what came is told, and that it is a part
			right = alone.code == http.StatusOK && alone.Partial && len(alone.Items) == parts/2 && alone.of(away).State == state
		}
		ways.Way(way+", asked alone").Note(right, "%d, %d records, %+v", alone.code, len(alone.Items), alone.Sources)
	}
	for i, mode := range []string{"error", "hang", "cut"} {
		state := "down"
		if mode == "cut" {
			state = "incomplete"
		}
		f := fault(m, feeds[i], mode)
		look(feeds[i]+" "+mode, feeds[i], state)
		m.Heal(f)
	}
	gone := m.Stop("catalog")
	look("catalog stopped", "catalog", "down")
	m.Heal(gone)
	took, last := m.Until(20*time.Second, func(m *check.M) error {
		if p := ask(m, "/records?limit=1000"); p.Partial || len(p.Items) != len(feeds)*parts {
			return fmt.Errorf("%d records, partial %v", len(p.Items), p.Partial)
		}
		return nil
	})
	ways.Way("back").Note(took != check.Never, "%v", last)
	return ways.Decide()
}

// halfFile has each feed end after half of its records: by a connection that breaks, and in order.
func halfFile(m *check.M) check.Result {
	atLeast(m, parts) // who takes a trailer for a part has one more
	var ways check.Ways
	for _, f := range feeds {
		for _, mode := range []string{"half", "cut"} {
			fell := fault(m, f, mode)
			p := ask(m, "/records?limit=1000&source="+f)
			s := stream(m, f)
			told := ask(m, "/problems?source="+f)
			m.Heal(fell)
			way := ways.Way(f + " " + mode)
			way.Note(p.Partial && p.of(f).State == "incomplete" && len(p.Items) == parts/2, "page: %+v, %d items", p.Sources, len(p.Items))
			way.Note(s.end != nil && s.end.Partial && s.end.of(f).State == "incomplete", "stream: %+v", s.end)
			way.Note(told.Partial, "problems: %+v", told.Sources)
		}
	}
	return ways.Decide()
}

// streams has each feed pause after some records. They must come to the client while it does.
func streams(m *check.M) check.Result {
	well(m)
	var ways check.Ways
	for _, f := range feeds {
		fell := fault(m, f, "slow")
		s := stream(m, f)
		m.Heal(fell)
		m.Need(s.last >= pause, "%s did not pause: all came in %v", f, s.last)
		ways.Way(f).Note(s.first < pause && len(s.records) == parts, "the first of %d after %v, the last after %v", len(s.records), s.first, s.last)
	}
	return ways.Decide()
}

// attacks are what a feed sends that means harm, and what the adapter must say of it.
var attacks = []struct {
	feed, mode, query string
	state             string
	within            time.Duration
}{
	{"catalog", "bomb", "", "refused", 5 * time.Second},
	{"catalog", "deep", "", "refused", 5 * time.Second},
	{"catalog", "line", "", "refused", 5 * time.Second},
	{"warehouse", "line", "", "refused", 10 * time.Second},
	{"warehouse", "deep", "", "incomplete", 10 * time.Second},
	{"ledger", "line", "", "refused", 20 * time.Second},
	{"warehouse", "big", "&id=P-000007&limit=1", "more", 10 * time.Second},
	{"warehouse", "big", "&id=nobody", "ok", 60 * time.Second},
}

// hostile looks at the adapter's memory while it reads what means harm, and asks it for something else.
func hostile(m *check.M) check.Result {
	well(m)
	was := m.State(adapter)
	var ways check.Ways
	most, looks := 0.0, 0
	for _, a := range attacks {
		fell := fault(m, a.feed, a.mode)
		other := feeds[(slices.Index(feeds, a.feed)+1)%len(feeds)]
		done := make(chan struct{})
		way := a.feed + " " + a.mode + a.query
		m.Together(func(m *check.M) {
			defer close(done)
			begun := time.Now()
			var p page
			_, err := m.Until(a.within+5*time.Second, func(m *check.M) error {
				if asked := ask(m, "/problems?source="+other); asked.code != http.StatusOK {
					return errors.New("it does not answer")
				}
				p = patiently(m, "/records?source="+a.feed+a.query)
				return nil
			})
			s := p.of(a.feed)
			if strings.Contains(a.mode, "big") && s.State == "ok" && s.Records < 200_000 {
				s.State = "smaller than it was to be"
			}
			ways.Way(way).Note(err == nil && s.State == a.state && time.Since(begun) < a.within, "%+v after %v, %v", s, time.Since(begun), err)
		}, func(m *check.M) {
			for over := false; !over; {
				select {
				case <-done:
					over = true
				default:
				}
				answered := check.Took(check.Never)
				var took time.Duration
				answered, _ = m.Until(2*time.Second, func(m *check.M) error {
					most = max(most, m.Metric(adapter, adminPort, "process_resident_memory_bytes"))
					looks++
					got := m.Get(adapter, apiPort, "/records?limit=5&source="+other)
					took = got.Took
					return got.Is(http.StatusOK)
				})
				ways.Way("others meanwhile").Note(answered != check.Never && took < 2*time.Second, "%s: %v", way, took)
			}
		})
		m.Heal(fell)
		now := m.State(adapter)
		runs := now.Status == "running" && now.StartedAt.Equal(was.StartedAt)
		ways.Way("it runs on").Note(runs, "after %s: %s, out of memory: %v", way, now.Status, now.OOMKilled)
		if !runs {
			break // nobody is there who could be asked about the rest
		}
	}
	ways.Way("memory").Note(most > 0 && most <= resident, "%.0f MB", most/1e6)
	res := ways.Decide()
	return res.Because("%.0f MB resident at most, of %.0f, in %d looks", most/1e6, float64(resident)/1e6, looks)
}
