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
	gone, bad, back, page := timeline(m, func() *check.Fault { return m.Stop(app) }, all(http.StatusBadGateway), all(http.StatusOK))
	ok := gone.Within(within) && bad.Broke == nil && back.Within(within) && page.Broke == nil
	return check.Decide(ok, "502 after %v, which %v; the page after %v, which %v", gone, bad, back, page).
		Want("each within %v, and so it stays", within).Of(bad.Asked + page.Asked)
}

// unready is what the sidecar itself says of the same: an orchestrator asks /readyz, an operator the status.
func unready(m *check.M) check.Result {
	says := func(code int, up bool) func(*check.M) error {
		return func(m *check.M) error {
			if err := m.Get(pod, adminPort, "/readyz").Is(code); err != nil {
				return err
			}
			var st struct{ Backend struct{ OK bool } }
			m.JSON(pod, adminPort, "/status", &st)
			if st.Backend.OK != up {
				return fmt.Errorf("the status says that the app is up: %t", st.Backend.OK)
			}
			return m.Get(pod, adminPort, "/livez").Is(http.StatusOK) // nobody restarts the sidecar for the app
		}
	}
	m.Await(patience, "readiness", says(http.StatusOK, true))
	gone, not, back, ready := timeline(m, func() *check.Fault { return m.Stop(app) },
		says(http.StatusServiceUnavailable, false), says(http.StatusOK, true))
	ok := gone.Within(within) && not.Broke == nil && back.Within(within) && ready.Broke == nil
	return check.Decide(ok, "unready after %v, which %v; ready after %v, which %v", gone, not, back, ready).
		Want("each within %v, and so it stays", within).Of(not.Asked + ready.Asked)
}

// timeline does a fault, waits for what it must bring and sees whether that holds, and the same for its end.
func timeline(m *check.M, do func() *check.Fault, broken, well func(*check.M) error) (gone check.Took, bad check.Held, back check.Took, good check.Held) {
	f := do()
	if gone, _ = m.Until(3*within, broken); gone != check.Never {
		bad = m.Hold(hold, broken)
	}
	m.Heal(f)
	if back, _ = m.Until(3*within, well); back != check.Never {
		good = m.Hold(hold, well)
	}
	return gone, bad, back, good
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
