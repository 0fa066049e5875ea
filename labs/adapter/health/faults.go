package health

import (
	"fmt"
	"net/http"
	"time"

	"distlab/lab/check"
)

// hold is how long an answer must stay what it has become: some checks, and some probes of the restarter.
const hold = 3 * time.Second

// refused waits until /readyz is 503 for that reason, sees that it stays so, and decides. Liveness is as it is claimed:
// 0 asks for nothing.
func refused(m *check.M, words string, limit time.Duration, live int) check.Result {
	w := until(m, "/readyz", http.StatusServiceUnavailable, words, limit)
	var held check.Held
	var alive check.Took
	if w.took != check.Never {
		// The two are answers to two questions, and one of them is asked first.
		if live != 0 {
			alive, _ = m.Until(limit, is("/livez", live, ""))
		}
		held = m.Hold(hold, func(m *check.M) error {
			if live != 0 {
				if err := is("/livez", live, "")(m); err != nil {
					return fmt.Errorf("/livez: %w", err)
				}
			}
			return is("/readyz", http.StatusServiceUnavailable, words)(m)
		})
	}
	secret := leaks(m, w.said)
	ok := w.took.Within(limit) && alive.Within(limit) && w.silent == nil && w.slowest <= timeout+margin && held.Broke == nil && secret == 0
	return check.Decide(ok, "503 after %v, which %v; slowest answer %.2f s, reason %q, %d secrets", w.took, held, w.slowest.Seconds(), w.last.Reason, secret).
		Want("within %v, and so it stays; each answer within %v, %q, no secret", limit, timeout+margin, words).Of(w.asked+held.Asked).
		Because("%v", w.silent)
}

// hung freezes MySQL: connections are accepted, by the kernel, and nothing answers. No prober may wait for longer than
// the timeout, before the state changes as after.
func hung(m *check.M) check.Result {
	ready(m)
	m.Pause(database)
	res := refused(m, "no answer within", downWithin, http.StatusServiceUnavailable)
	port := m.TCP(check.Inside(pod), "127.0.0.1:3306")
	m.Need(port.Connected, "the frozen server's port does not accept: %s", port.Error)
	return res
}

// down stops MySQL in order: its port is closed.
func down(m *check.M) check.Result {
	ready(m)
	m.Stop(database, check.Grace(20*time.Second))
	return refused(m, "connection refused", soonWithin, http.StatusServiceUnavailable)
}

// recovers kills MySQL, sees that this shows, and starts it again. The adapter must find its way back by itself, and stay.
func recovers(m *check.M) check.Result {
	ready(m)
	was := m.State(adapter)
	f := m.Kill(database)
	gone := until(m, "/readyz", http.StatusServiceUnavailable, "", 3*downWithin)
	m.Need(gone.took != check.Never, "the kill did not show: %d %s", gone.last.Code, gone.last.Reason)
	m.Heal(f) // until the engine has seen it answer
	// A server that has just repaired its files answers pings before it writes: the clock starts when it does, in time.
	m.Await(time.Minute, "a write in time", func(m *check.M) error {
		begun := time.Now()
		sql(m, "REPLACE INTO shop.heartbeat (id, at) VALUES (1, NOW(6))")
		if took := time.Since(begun); took > timeout {
			return fmt.Errorf("it took %v", took)
		}
		return nil
	})
	w := until(m, "/readyz", http.StatusOK, "", upWithin)
	held := m.Hold(hold, is("/readyz", http.StatusOK, ""))
	same := m.State(adapter).StartedAt.Equal(was.StartedAt)
	return check.Decide(w.took.Within(upWithin) && held.Broke == nil && same, "200 after %v, which %v; adapter restarted: %t", w.took, held, !same).
		Want("within %v, and so it stays; not restarted", upWithin).Of(w.asked+held.Asked).Because("last: %d %s", w.last.Code, w.last.Reason)
}

// flap freezes MySQL until one check has run into the timeout, and lets it go on. Nobody may hear of it but in the count
// of failures: neither who asks for readiness, nor for liveness, nor HAProxy. Checks are made when somebody asks, so that
// none is made while it thaws.
func flap(m *check.M) check.Result {
	ready(m)
	f := m.Pause(database)
	var seen check.Tally
	failures := 0
	look := func(m *check.M) answer {
		a := ask(m, "/readyz")
		failures = max(failures, a.Failures)
		seen.Note(a.Code == http.StatusOK, "%d %s after %d failures", a.Code, a.Reason, a.Failures)
		return a
	}
	m.Await(5*(timeout+cacheTTL), "a check that fails", func(m *check.M) error {
		if look(m).Failures == 0 {
			return fmt.Errorf("none has failed yet")
		}
		return nil
	})
	m.Heal(f)
	m.Await(20*time.Second, "a check that succeeds", func(m *check.M) error {
		if a := look(m); a.Failures > 0 {
			return fmt.Errorf("%d have failed: %s", a.Failures, a.Reason)
		}
		return nil
	})
	m.Need(failures < fall, "the fault lasted for %d checks, which is no flap", failures)
	for range 3 { // what comes after it, in each form
		said := all(m)
		seen.Note(said == well || said == again, "%s", said)
	}
	return check.Decide(seen.Whole(), "%d of %d answers were not up, %d checks in a row failed", seen.Wrong(), seen.All(), failures).
		Want("none").Of(seen.All()).Because("%s", seen.Odd())
}
