package replicated

import (
	"fmt"

	"distlab/lab/check"
)

// unreadySkipped has a copy say that it is not ready, while it goes on answering: whatever still comes to it is counted
// there. The balancer's checks are counted as well, so that it is their number that decides, and not a clock.
func unreadySkipped(m *check.M) check.Result {
	const from, until = 2, 7
	well(m)
	victim := copies[1]
	var asked, still, again check.Took
	stray, before := 0, 0
	t := m.Beside(lead, traffic(), func() {
		before = served(m, victim)
		said := ready(m, victim, false)
		checks := refusals(m, victim) // the fault has looked at it as well
		checked := func(n int) func(m *check.M) error {
			return func(m *check.M) error {
				if got := refusals(m, victim) - checks; got < n {
					return fmt.Errorf("it has said %d times that it is not ready", got)
				}
				return nil
			}
		}
		asked, _ = m.Until(patience, checked(from))
		words := served(m, victim)
		still, _ = m.Until(patience, checked(until))
		now := served(m, victim)
		stray = now - words
		m.Heal(said)
		again, _ = m.Until(patience, func(m *check.M) error {
			if served(m, victim) == now {
				return fmt.Errorf("nothing has come to %s", victim)
			}
			return nil
		})
	})
	m.Need(before > 0, "%s was never asked", victim)
	ok := asked != check.Never && still != check.Never && stray == 0 && again != check.Never && t.Failed() == 0
	return t.Fair(check.Decide(ok,
		"it said no %d times in %v; in the next %d checks it got %d requests; ready again, one after %v; %d of %d failed",
		from, asked, until-from, stray, again, t.Failed(), t.Requests()).
		Want("heard; none; one; none").Of(t.Requests()))
}

// warmUp starts a copy under load. It listens while it loads, and has an answer for who comes too early, 503: it counts
// them.
func warmUp(m *check.M) check.Result {
	well(m)
	victim := copies[2]
	var first check.Took
	early, noes := 0, 0
	t := m.Beside(lead, traffic(), func() {
		gone := m.Stop(victim)
		m.Heal(gone)
		first, _ = m.Until(patience, func(m *check.M) error {
			if served(m, victim, `code="200"`) == 0 {
				return fmt.Errorf("%s has given no word", victim)
			}
			return nil
		})
		early, noes = served(m, victim, `code="503"`), refusals(m, victim)
	})
	res := check.Decide(early == 0 && first != check.Never,
		"while it loaded it said %d times that it is not ready, and got %d requests for words; one %v after it had loaded",
		noes, early, first).Want("none; one").Of(t.Requests())
	if noes == 0 && early == 0 {
		return check.Unknown("nobody asked it for anything while it loaded: it was not known that soon").
			Because("%s", res.Measured)
	}
	return t.Fair(res)
}
