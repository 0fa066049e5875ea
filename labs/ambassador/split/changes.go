package split

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"distlab/lab/check"
	"distlab/lab/stats"
)

// userOf is a user of that arm.
func userOf(m *check.M, arm string) string {
	for _, name := range names(m.Rand(), 1000) {
		if splitClients(name) == arm {
			return name
		}
	}
	panic("none of 1,000 users is on " + arm)
}

// lead is how long the load runs before a change, and after it.
const lead = 2 * time.Second

// traffic is the load of a user and of nobody in particular, through the door that copies (on the splitter's careful
// path) and through one that does not (on its fast path); the control asks the old shop itself.
func traffic(user string) []check.Flow {
	url := func(service string) string { return fmt.Sprintf("http://%s:%d/about", service, webPort) }
	return []check.Flow{
		{Name: "a user", Rate: 60, URL: url(splitter), Args: []string{"-header", userHeader + ": " + user}},
		{Name: "nobody in particular", Rate: 60, URL: url(splitter), Args: []string{"-keepalive=false"}},
		{Name: "browsers, on the fast path", Rate: 100, URL: url(byCookie)},
		{Name: "control", Rate: 60, URL: url(production), Control: true},
	}
}

// experimentDown kills the experiment while its users come, and starts it again. It must be away from the splitter's
// view, too, and it must be seen to serve again, so that both changes fall into the load.
func experimentDown(m *check.M) check.Result {
	const visits = 30
	d, w := open(m, splitter), ways()[0]
	d.well(m)
	open(m, byCookie).well(m)
	user := userOf(m, arm1)
	met := m.Counter(splitter, adminPort, "splitter_arm_failures_total", `arm="`+arm1+`"`)
	var away check.Tally
	var said reasoning
	back, last := check.Never, error(nil)
	t := m.Beside(lead, traffic(user), func() {
		gone := m.Kill(experiment)
		m.Await(patience, "a request that meets the dead experiment", func(m *check.M) error {
			if m.Counter(splitter, adminPort, "splitter_arm_failures_total", `arm="`+arm1+`"`) == met {
				return errors.New("none has")
			}
			return nil
		})
		// Either kind of answer will do here, so that a variant without a fallback is measured as well: there a visit can
		// take as long as the splitter's patience with an arm.
		for begun := time.Now(); away.All() < visits && (away.All() < 3 || time.Since(begun) < 3*time.Second); {
			v, err := d.get(m.Context(), w, userHeader, user)
			away.Note(err == nil && v.arm == arm0 && (v.reason == "fallback" || v.reason == "retry"),
				"while it was away its user was on %q by %q (%v)", v.arm, v.reason, err)
		}
		said = d.why(m, "header", userHeader+": "+user)
		m.Heal(gone)
		back, last = m.Until(patience, func(m *check.M) error {
			v, err := d.get(m.Context(), w, userHeader, user)
			if err == nil && v.arm != arm1 {
				err = fmt.Errorf("%s by %s", v.arm, v.reason)
			}
			return err
		})
	})
	held := m.Hold(time.Second, func(m *check.M) error {
		v, err := d.get(m.Context(), w, userHeader, user)
		if err == nil && v.arm != arm1 {
			err = fmt.Errorf("%s by %s", v.arm, v.reason)
		}
		return err
	})
	ok := t.Failed() == 0 && back != check.Never && held.Broke == nil && away.Whole() && said == reasoning{arm0, "fallback"}
	return t.Fair(check.Decide(ok, "%d of %d requests failed; its user was on %s in %v visits meanwhile, and back after %v, which %v",
		t.Failed(), t.Requests(), arm0, &away, back, held).
		Want("none; all; and so it stays").Of(t.Requests()).Because("%s", away.Odd()).
		Because("/why said %s by %s", said.Arm, said.Reason).Because("last: %v", last))
}

// reweight gives each arm a half by the admin port, and then has the splitter read its file again, in which it is
// nine to one. Users are dealt by a hash: those who have the larger share's side keep it where they can.
func reweight(m *check.M) check.Result {
	const users = 1000
	d := open(m, splitter)
	d.well(m)
	who := names(m.Rand(), users)
	var before, half, after []string
	t := m.Beside(lead, traffic(who[0]), func() {
		before = armsOf(m, d, who)
		defer setWeights(m, 9, 1) // where it does not come to the SIGHUP
		setWeights(m, 1, 1)
		half = armsOf(m, d, who)
		// That the signal was heard is no evidence of what it did: that is measured, by the users' sides.
		m.Signal(splitter, "SIGHUP", func(m *check.M) string {
			return fmt.Sprintf("%.0f reloads", m.Counter(splitter, adminPort, "splitter_reloads_total"))
		})
		after = armsOf(m, d, who)
	})
	lost := count(slices.Concat(before, half, after), "")
	left, changed, wrong := 0, 0, 0
	for i := range who {
		if before[i] == arm1 && half[i] != arm1 {
			left++
		}
		if before[i] != after[i] {
			changed++
		}
		if before[i] != splitClients(who[i]) {
			wrong++
		}
	}
	n := count(half, arm1)
	p := stats.BinomialTest(n, users, 0.5)
	ok := t.Failed()+lost == 0 && p >= stats.Alpha && left+changed+wrong == 0
	res := check.Decide(ok, "%d of %d requests failed; at one half %d of %d users (p = %.2g) on the experiment, %d had left it; "+
		"after SIGHUP %d were not where they had been", t.Failed()+lost, t.Requests()+3*users, n, users, p, left, changed)
	res = t.Fair(res.Want("none; 50 %%, p ≥ %.2g; none; none", stats.Alpha).Of(t.Requests() + 3*users))
	if t.Failed()+lost > 0 {
		return res
	}
	return undisturbed(res, d)
}

// armsOf is where each user is served; "" for one who is not.
func armsOf(m *check.M, d door, who []string) []string {
	w := ways()[0]
	at := make([]string, len(who))
	m.Each(len(who), workers, func(m *check.M, i int) {
		if v, err := d.get(m.Context(), w, userHeader, who[i]); err == nil {
			at[i] = v.arm
		}
	})
	return at
}
