package balance

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"distlab/lab/check"
	"distlab/lab/stats"
)

// lead is how long the load runs before a change, and after it.
const lead = 2 * time.Second

// traffic asks for pages over kept connections and over new ones; the control asks a shop itself.
func traffic() []check.Flow {
	return []check.Flow{
		{Name: "kept", Rate: 80, URL: door + "/about"},
		{Name: "anew", Rate: 40, URL: door + "/about", Args: []string{"-keepalive=false"}},
		{Name: "control", Rate: 60, URL: control + "/about", Control: true},
	}
}

// replicaKilled kills a shop, sees for a while that pages come from the others, starts it again, and sees it serve.
func replicaKilled(m *check.M) check.Result {
	well(m)
	var away check.Tally
	back := check.Never
	t := m.Beside(lead, traffic(), func() {
		gone := m.Kill(shops[1])
		for begun := time.Now(); time.Since(begun) < 2*time.Second; {
			p, err := m.Asked(balancer, webPort, "/about")
			away.Note(p.Status == http.StatusOK && shop(p) != shops[1], "while it was away: %d of %s, %v", p.Status, shop(p), err)
		}
		m.Heal(gone)
		back, _ = m.Until(patience, func(m *check.M) error {
			if s := shop(m.Get(balancer, webPort, "/about")); s != shops[1] {
				return errors.New(s)
			}
			return nil
		})
	})
	// A variant without retries loses visits, too: they count, and do not end the measurement.
	ok := t.Failed() == 0 && back != check.Never && away.All() > 0 && away.Wrong() == 0
	return t.Fair(check.Decide(ok, "%d of %d requests failed; %v visits meanwhile were well; it served again after %v",
		t.Failed(), t.Requests(), &away, back).Want("none; all; at all").Of(t.Requests()).Because("%s", away.Odd()))
}

// joinsLeaves stops a shop in order and starts it again. The name has two addresses meanwhile.
func joinsLeaves(m *check.M) check.Result {
	const limit = 5 * time.Second
	well(m)
	var left, joined check.Took
	t := m.Beside(lead, traffic(), func() {
		count := func(want int) func(m *check.M) error {
			return func(m *check.M) error {
				up := 0
				for _, r := range replicas(m) {
					if r.Up {
						up++
					}
				}
				if up != want {
					return fmt.Errorf("%d take part", up)
				}
				return nil
			}
		}
		gone := m.Stop(shops[1])
		left, _ = m.Until(patience, count(2))
		begun := time.Now()
		m.Heal(gone)
		m.Until(patience, count(3))
		joined = check.Took(time.Since(begun))
	})
	ok := t.Failed() == 0 && left.Within(limit) && joined.Within(2*limit)
	return t.Fair(check.Decide(ok, "left after %v, took part again %v after its start, %d of %d requests failed",
		left, joined, t.Failed(), t.Requests()).Want("within %v, within %v, none", limit, 2*limit).Of(t.Requests()))
}

// slowStart stops a shop and starts it again, and looks at whose pages come in the first second that it takes part, and then when its
// time is over.
func slowStart(m *check.M) check.Result {
	const settings, half = 6 * time.Second, 1.0 / 6
	well(m)
	gone := m.Stop(shops[1])
	m.Await(patience, "two that take part", func(m *check.M) error {
		if n := len(replicas(m)); n != 2 {
			return fmt.Errorf("%d replicas", n)
		}
		return nil
	})
	m.Heal(gone)
	of := func(length time.Duration) (share float64, pages int) {
		var t check.Tally
		for begun := time.Now(); time.Since(begun) < length || t.All() < 60; {
			t.Note(shop(m.Get(balancer, webPort, "/about")) == shops[1], "")
		}
		return float64(t.Right()) / float64(t.All()), t.All()
	}
	m.Await(patience, "the third to take part again", func(m *check.M) error {
		n := 0
		for _, r := range replicas(m) {
			if r.Up {
				n++
			}
		}
		if n != 3 {
			return fmt.Errorf("%d take part", n)
		}
		return nil
	})
	begun := time.Now()
	early, first := of(time.Second)
	if took := time.Since(begun); took > settings/3 {
		return check.Unknown("the first pages took %.1f s: the machine is too busy to see the beginning", took.Seconds())
	}
	well(m)
	late, last := of(time.Second)
	p := stats.BinomialTest(int(late*float64(last)+0.5), last, 1.0/3)
	return check.Decide(early < half && p >= stats.Alpha, "%.0f %% of %d pages in the first second, %.0f %% of %d when its time was over (p = %.2g)",
		100*early, first, 100*late, last, p).
		Want("below %.0f %%; a third, p ≥ %.2g", 100*half, stats.Alpha).Of(first + last)
}

// noReplay begins POSTs whose bodies do not end, so that they are under way, kills a shop, and lets the bodies end. Those that
// the dead shop had may have been done, and their clients must be told; the others' must be answered.
func noReplay(m *check.M) check.Result {
	const posts = 12
	well(m)
	url := "http://" + m.Address(balancer, webPort) + "/echo"
	victim := address(m, shops[1])
	type answer struct {
		status  int
		replica string
		err     error
	}
	answers := make([]answer, posts)
	release := make(chan struct{})
	var once sync.Once
	end := func() { once.Do(func() { close(release) }) }
	defer end()
	var wg sync.WaitGroup
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 40 * time.Second}
	for i := range answers {
		wg.Go(func() {
			r, w := io.Pipe()
			go func() {
				fmt.Fprintf(w, "order %d, ", i)
				<-release
				io.Copy(w, bytes.NewReader([]byte("paid")))
				w.Close()
			}()
			resp, err := client.Post(url, "text/plain", r)
			if err != nil {
				answers[i].err = err
				return
			}
			io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
			answers[i] = answer{status: resp.StatusCode, replica: resp.Header.Get("X-Replica")}
		})
	}
	had := 0
	m.Await(patience, "the orders to be under way", func(m *check.M) error {
		n := 0
		for _, r := range replicas(m) {
			n += r.InFlight
			if r.Address == victim {
				had = r.InFlight
			}
		}
		if n != posts {
			return fmt.Errorf("%d are", n)
		}
		return nil
	})
	m.Need(had > 0, "the shop that is to die has none of the %d orders", posts)
	m.Kill(shops[1])
	end()
	wg.Wait()
	told, done, odd := 0, 0, []string{}
	for i, a := range answers {
		switch {
		case a.status == http.StatusBadGateway:
			told++
		case a.status == http.StatusOK && a.replica != victim:
			done++
		default:
			odd = append(odd, fmt.Sprintf("order %d: %d of %s, %v", i, a.status, a.replica, a.err))
		}
	}
	return check.Decide(told == had && done == posts-had, "of %d orders the dead shop had %d: %d clients were told 502, %d answered by others",
		posts, had, told, done).Want("as many told as it had, and the others answered").Of(posts).Because("%v", odd)
}

// allDead kills all shops. The answers must come quickly, since there is nobody to wait for.
func allDead(m *check.M) check.Result {
	const limit, quick = 5 * time.Second, time.Second
	well(m)
	var gone []*check.Fault
	for _, s := range shops {
		gone = append(gone, m.Kill(s))
	}
	seen, last := m.Until(patience, func(m *check.M) error {
		return m.Get(balancer, webPort, "/about").Is(http.StatusServiceUnavailable)
	})
	var dead check.Tally
	slowest := time.Duration(0)
	held := m.Hold(2*time.Second, func(m *check.M) error {
		p, err := m.Asked(balancer, webPort, "/about")
		slowest = max(slowest, p.Took)
		ok := p.Status == http.StatusServiceUnavailable && p.Header.Get("Retry-After") != ""
		dead.Note(ok, "%d, Retry-After %q, %v", p.Status, p.Header.Get("Retry-After"), err)
		return nil
	})
	m.Heal(gone[0])
	back, _ := m.Until(patience, func(m *check.M) error { return m.Get(balancer, webPort, "/about").Is(http.StatusOK) })
	ok := seen.Within(limit) && dead.Whole() && slowest <= quick && back.Within(limit)
	return check.Decide(ok, "503 after %v, %v answers were, the slowest after %.2f s; with one back, a page after %v", seen, &dead, slowest.Seconds(), back).
		Want("within %v, all, within %v, within %v", limit, quick, limit).Of(held.Asked).Because("%s", dead.Odd()).Because("last: %v", last)
}
