package tls

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"distlab/lab/check"
)

// within is how soon a dead app must show, and one that is back.
const within = 2 * time.Second

// appDown stops the app, and starts it again. In every way in which clients come, on connections from before as on new
// ones, the answer must become 502 and stay so, and become the page and stay that.
func appDown(m *check.M) check.Result {
	visitors := []visitor{visit(m, kept, nil), visit(m, anew, nil), visit(m, second, nil)}
	all := func(status int) func(*check.M) error {
		return func(m *check.M) error {
			for _, v := range visitors {
				if err := v.is(m.Context(), status); err != nil {
					return fmt.Errorf("%s: %w", v.name, err)
				}
			}
			return nil
		}
	}
	m.Await(patience, "the page, in every way", all(http.StatusOK))
	res, _ := timeline(m, func() *check.Fault { return m.Stop(app) }, all(http.StatusBadGateway), all(http.StatusOK))
	return res
}

// unready is what the sidecar itself says of the same: an orchestrator asks /readyz, an operator the status.
func unready(m *check.M) check.Result {
	var slowest time.Duration
	says := func(code int, up bool) func(*check.M) error {
		return func(m *check.M) error {
			live := m.Get(pod, adminPort, "/livez") // nobody restarts the sidecar for the app
			slowest = max(slowest, live.Took)
			if err := live.Is(http.StatusOK); err != nil {
				return err
			}
			if err := m.Get(pod, adminPort, "/readyz").Is(code); err != nil {
				return err
			}
			var st struct{ Backend struct{ OK bool } }
			m.JSON(pod, adminPort, "/status", &st)
			if st.Backend.OK != up {
				return fmt.Errorf("the status says that the app is up: %t", st.Backend.OK)
			}
			return nil
		}
	}
	m.Await(patience, "readiness", says(http.StatusOK, true))
	res, ok := timeline(m, func() *check.Fault { return m.Stop(app) }, says(http.StatusServiceUnavailable, false), says(http.StatusOK, true))
	m.Need(ok || slowest < within/4, "the machine is too busy: /livez took %v; it would have said: %s", slowest, res.Measured)
	return res
}

// timeline does a fault, waits for what it must bring and sees whether that holds, and the same for its end. What counts is
// when the last question was asked that had another answer: how long an answer takes is the machine's business as well.
func timeline(m *check.M, do func() *check.Fault, broken, well func(*check.M) error) (check.Result, bool) {
	sees := func(state func(*check.M) error) (last check.Took, held check.Held) {
		begun := time.Now()
		took, err := m.Until(3*within, func(m *check.M) error {
			asked := check.Took(time.Since(begun))
			err := state(m)
			if err != nil {
				last = asked
			}
			return err
		})
		if took == check.Never {
			return took, check.Held{Broke: err}
		}
		return last, m.Hold(hold, state)
	}
	f := do()
	gone, bad := sees(broken)
	m.Heal(f)
	back, good := sees(well)
	ok := gone.Within(within) && bad.Broke == nil && back.Within(within) && good.Broke == nil
	return check.Decide(ok, "the last other answer was asked for %v after the end of the app, and what followed %v; %v after its start, and what followed %v",
		gone, bad, back, good).Want("each within %v, and so it stays", within).Of(bad.Asked + good.Asked), ok
}

// drain has requests in flight, of several kinds, under load, and stops the sidecar. A request that the stopped sidecar
// refused was never in flight; one that was sent and not answered whole is lost.
func drain(m *check.M) check.Result {
	const each = 20
	kinds := [][]string{{"-http1"}, {"-http2"}, {"-http1", "-header", "Connection: close"}}
	answers := make([]check.LoadAnswer, len(kinds))
	var code int
	t := m.Beside(lead, traffic(), func() {
		loads := make([]*check.Load, len(kinds))
		for i, kind := range kinds {
			args := slices.Concat([]string{"-insecure"}, kind, []string{outside + "/slow?ms=3000"})
			loads[i] = check.Got(m.Stack.Flight(m.Context(), check.Outside, each, args...))
		}
		f := m.Stop(sidecar, check.Grace(20*time.Second))
		code = m.State(sidecar).ExitCode
		for i, l := range loads {
			answers[i] = check.Got(l.Result(m.Context()))
		}
		m.Heal(f)
	})
	flown, first := 0, []string{}
	for _, a := range answers {
		flown += a.OK
		first = append(first, a.First...)
	}
	res := check.Decide(flown == each*len(kinds) && t.Lost() == 0 && code == 0,
		"%d of %d requests in flight answered, %d of %d under load lost, exit code %d", flown, each*len(kinds), t.Lost(), t.Requests(), code)
	return t.Fair(res.Want("all answered, none lost, exit code 0").Of(each*len(kinds)+t.Requests()).Because("%s", strings.Join(first, "\n")))
}
