package replicated

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"distlab/lab/check"
)

// noDowntime restarts the copies one after the other, as a new version of a program comes to all of them, and then
// scales: two more take part, and then three of the five leave. A step begins when the last one is over.
func noDowntime(m *check.M) check.Result {
	well(m)
	var wide, narrow check.Took
	leavers := []string{copies[2], spares[0], spares[1]}
	met := 0
	var lost *ledger
	t := m.Beside(lead, traffic(), func() {
		lost = keep(m, func(m *check.M, l *ledger) {
			for _, s := range copies {
				m.Heal(m.Stop(s))
				l.know(m)
				// It has taken part when it has given words again: its count began anew with it.
				took, _ := m.Until(patience, func(m *check.M) error {
					if n := served(m, s, `code="200"`); n == 0 {
						return fmt.Errorf("%s has given none", s)
					}
					return nil
				})
				if took != check.Never {
					met++
				}
			}
			var told []*check.Fault
			for _, s := range spares {
				told = append(told, ready(m, s, true))
			}
			wide, _ = m.Until(patience, part(slices.Concat(copies, spares)...))
			gone := together(m, leavers, func(m *check.M, s string) *check.Fault { return m.Stop(s) })
			narrow, _ = m.Until(patience, part(copies[:2]...))
			held := m.Hold(time.Second, func(m *check.M) error { return m.Get(balancer, webPort, "/cat").Is(200) })
			if held.Broke != nil {
				narrow = check.Never
			}
			together(m, gone, func(m *check.M, f *check.Fault) bool { m.Heal(f); return true })
			for _, f := range told {
				m.Heal(f)
			}
		})
	})
	ok := t.Failed() == 0 && met == len(copies) && wide != check.Never && narrow != check.Never
	return t.Fair(check.Decide(ok,
		"%d of %d requests failed; %d of %d copies restarted and gave words again; 5 took part after %v, and 2 after %v",
		t.Failed(), t.Requests(), met, len(copies), wide, narrow).
		Want("none; all; at all").Of(t.Requests()).Because("%v", lost))
}

// inFlight stops a copy while answers are under way that take longer than it goes on accepting. Some clients have come
// to it through the balancer, and some by themselves: those are sure to be there.
func inFlight(m *check.M) check.Result {
	const clients = 6
	well(m)
	victim := copies[0]
	slow := []string{"/dictionary", "trouble", "delay=3s", "path=/patience"}
	m.Run(victim, "told to take 3 s for a word", slow, []string{"/dictionary", "trouble", "none"}, func(m *check.M) string {
		return strings.TrimSpace(string(m.Get(victim, adminPort, "/trouble").Body))
	})
	var ways check.Ways
	for _, way := range []string{"through the balancer", "by themselves"} {
		ways.Way(way)
	}
	ask := func(way, service string, n int) func(m *check.M) {
		return func(m *check.M) {
			m.Each(n, n, func(m *check.M, _ int) {
				p, err := m.Asked(service, webPort, "/patience")
				whole := p.Status == http.StatusOK && strings.Contains(string(p.Body), `"word": "patience"`)
				ways.Way(way).Note(whole, "%d %.40q, %v", p.Status, p.Body, err)
			})
		}
	}
	had := 0
	m.Together(
		ask("through the balancer", balancer, 3*clients),
		ask("by themselves", victim, clients),
		func(m *check.M) {
			m.Await(patience, "answers to be under way", func(m *check.M) error {
				if had = int(m.Metric(victim, adminPort, "dictionary_in_flight")); had < clients {
					return fmt.Errorf("%d are", had)
				}
				return nil
			})
			m.Stop(victim)
		},
	)
	code := m.State(victim).ExitCode
	res := ways.Decide()
	if res.Verdict == check.Pass {
		res = check.Decide(code == 0, "%s were whole, %d of them under way at its stop; it exited with %d",
			res.Measured, had, code).Of(res.Samples)
	}
	return res.Want("all; 0")
}

// killed kills a copy, which nobody could have told the balancer: what it had is lost, since nothing is sent twice
// here. The balancer must soon leave it, whether by its checks, its failures or its name, and nobody else's requests
// may be lost.
func killed(m *check.M) check.Result {
	const most = 2 * 75 / 3 // what it gets in two seconds
	well(m)
	victim := copies[1]
	var left, back check.Took
	var lost *ledger
	t := m.Beside(lead, traffic(), func() {
		lost = keep(m, func(m *check.M, l *ledger) {
			gone := m.Kill(victim)
			left, _ = m.Until(patience, part(copies[0], copies[2]))
			held := m.Hold(lead, part(copies[0], copies[2]))
			m.Heal(gone)
			if held.Broke != nil {
				left = check.Never
			}
			back, _ = m.Until(patience, part(copies...))
		})
	})
	ok := t.Failed() <= most && lost.others(victim) == 0 && left != check.Never && back != check.Never
	return t.Fair(check.Decide(ok,
		"%d of %d requests failed, and %d were lost at other copies; it was left after %v, and took part again %v later",
		t.Failed(), t.Requests(), lost.others(victim), left, back).
		Want("at most %d; none; at all", most).Of(t.Requests()).Because("%v", lost))
}

// together does the same to all of some at a time.
func together[S, T any](m *check.M, all []S, f func(m *check.M, s S) T) []T {
	done := make([]T, len(all))
	m.Each(len(all), len(all), func(m *check.M, i int) { done[i] = f(m, all[i]) })
	return done
}
