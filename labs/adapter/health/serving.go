package health

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"distlab/lab/check"
)

// healthy asks both questions in all their forms, for so long that several checks are made. An answer may be old, but no
// older than it may be, and never of the same check for ever.
func healthy(m *check.M) check.Result {
	ready(m)
	var as check.Ways
	ages, oldest := map[string][]float64{}, 0.0
	held := m.Hold(4*cacheTTL, func(m *check.M) error {
		for _, path := range []string{"/livez", "/readyz"} {
			a := ask(m, path)
			oldest = max(oldest, a.Age)
			ages[path] = append(ages[path], a.Age)
			as.Way(path+" in JSON").Note(a.Code == 200 && a.Status == "up" && a.Reason == "" && a.Failures == 0 &&
				a.Age <= (cacheTTL+margin).Seconds(), "%d %s", a.Code, a.Page.Body)
			p := m.Get(pod, healthPort, path)
			as.Way(path+" in text").Note(p.Status == 200 && strings.HasPrefix(string(p.Body), "up\nage: "), "%d %s", p.Status, p.Body)
			p = m.Get(pod, healthPort, path, "Accept", "application/json")
			as.Way(path+" by Accept").Note(p.Status == 200 && strings.HasPrefix(p.Header.Get("Content-Type"), "application/json"), "%d %v", p.Status, p.Header)
			for _, method := range []string{http.MethodHead, http.MethodOptions} {
				p := m.Do(method, pod, healthPort, path, nil)
				as.Way(path+" by "+method).Note(p.Status == 200, "%d", p.Status)
			}
		}
		line := agentLine(m)
		as.Way("HAProxy").Note(line == "up 100%" || line == "up ready 100%", "%q", line)
		return nil
	})
	m.Need(held.Broke == nil, "%v", held.Broke)
	for path, list := range ages { // the age goes up within a check, and down again with the next
		fell := 0
		for i := range list[1:] {
			if list[i+1] < list[i] {
				fell++
			}
		}
		as.Way(path+"'s age").Note(fell >= 2, "%d new checks in %v of it: %v", fell, held.For, list)
	}
	return as.Decide().Want("all, none older than %v", cacheTTL+margin).Because("the oldest was %.2f s", oldest)
}

// probes a second to each question, and for how long.
const (
	probes    = 500
	probesFor = 3 * time.Second
)

// cheap has a thousand probes a second ask the adapter, half of them on connections of their own, and counts with the
// server's own counters what came of them: of the query that writes, of logins, and of all statements.
func cheap(m *check.M) check.Result {
	ready(m)
	// The window is taken a little too long, never too short: it begins before the first count and ends after the last.
	begun := time.Now()
	before, logins := counter(m, "Com_replace"), counter(m, "Connections")
	asked := 0
	for range 2 {
		loads := make([]*check.Load, 2)
		for i, args := range [][]string{nil, {"-keepalive=false"}} {
			loads[i] = check.Got(m.Stack.Load(m.Context(), check.Outside, check.LoadSpec{
				Rate: probes, For: probesFor / 2, Args: args, URL: fmt.Sprintf("http://%s:%d/readyz", pod, healthPort),
			}))
		}
		for _, l := range loads {
			a := check.Got(l.Result(m.Context()))
			asked += a.OK
		}
	}
	after, loggedIn := counter(m, "Com_replace"), counter(m, "Connections")
	window := time.Since(begun)
	want := int(1.6 * probes * probesFor.Seconds())
	m.Need(asked >= want, "%d probes were answered 200, fewer than %d", asked, want)
	queries, most := after-before, int(window/cacheTTL)+1
	m.Need(queries >= 1, "the server counted no query at all")
	// Each of the adapter's checks logs in once in CONN_MAX_AGE; the tool's own questions and the image's health check log in, too.
	logged, mostLogins := loggedIn-logins, 2*int(window/connMaxAge+1)+2*int(window.Seconds()+1)+4
	return check.Decide(queries <= most && logged <= mostLogins, "%d queries and %d logins for %d probes in %.1f s", queries, logged, asked, window.Seconds()).
		Want("at most %d queries, one in each %v, and %d logins", most, cacheTTL, mostLogins).Of(asked)
}

// What is said while all is well, in maintenance, and after one: HAProxy keeps a "maint" until it is told "ready".
const (
	well  = `/livez 200, /readyz 200 up, agent "up 100%"`
	maint = `/livez 200, /readyz 503 maintenance, agent "maint"`
	again = `/livez 200, /readyz 200 up, agent "up ready 100%"`
)

// maintenance is switched on and off with signals: while all is well, and with MySQL frozen, as who works on a server
// leaves it. Nothing of it may get the server restarted while it lasts, however long the restarter looks on.
func maintenance(m *check.M) check.Result {
	ready(m)
	said := all(m)
	m.Need(said == well || said == again, "before it: %s", said)
	was := m.State(database)
	on := m.Signal(adapter, "SIGUSR1", all, check.Back("SIGUSR2"))
	still := func(m *check.M) error {
		if said := all(m); said != maint {
			return fmt.Errorf("%s", said)
		}
		if m.State(database).StartedAt.After(was.StartedAt) {
			return fmt.Errorf("the server was restarted")
		}
		return nil
	}
	calm := m.Hold(cacheTTL, still)
	frozen := m.Signal(database, "SIGSTOP", state, check.Back("SIGCONT"))
	probed := askOrchestrator(m).Probes
	broken := m.Hold(downWithin+threshold*(period+margin), still)
	m.Need(broken.Broke != nil || askOrchestrator(m).Probes-probed > threshold, "the restarter has hardly looked")
	if !m.State(database).StartedAt.After(was.StartedAt) {
		m.Heal(frozen)
		m.Await(startWithin, "MySQL to answer", func(m *check.M) error { sql(m, "SELECT 1"); return nil })
	}
	m.Heal(on)
	back, last := m.Until(upWithin+2*margin, func(m *check.M) error {
		if said := all(m); said != again {
			return fmt.Errorf("%s", said)
		}
		return nil
	})
	ok := calm.Broke == nil && broken.Broke == nil && back.Within(upWithin)
	return check.Decide(ok, "maintenance %v; with MySQL frozen it %v; over after %v", calm, broken, back).
		Want("%s; then %s within %v", maint, again, upWithin).Of(calm.Asked+broken.Asked).Because("last: %v", last)
}

// restarts freezes the server's process, as a fault in it would: nothing ends, so that no restart policy sees anything.
// The adapter tells, the restarter ends the process, the engine starts it again. The outage is measured by what clients
// ask before they come: /readyz, behind which is a query that writes.
func restarts(m *check.M) check.Result {
	ready(m)
	was := m.State(database)
	begun := time.Now()
	m.Signal(database, "SIGSTOP", state, check.Back("SIGCONT"))
	gone := until(m, "/readyz", http.StatusServiceUnavailable, "no answer within", downWithin)
	m.Need(gone.took != check.Never, "the freeze did not show: %d %s", gone.last.Code, gone.last.Reason)
	is := was
	m.Until(max(time.Until(begun.Add(restartWithin+2*margin)), margin), func(m *check.M) error {
		if is = m.State(database); !is.StartedAt.After(was.StartedAt) {
			return fmt.Errorf("not yet")
		}
		return nil
	})
	want := fmt.Sprintf("started again within %v, ready within %v of that, once", restartWithin, startWithin)
	if !is.StartedAt.After(was.StartedAt) {
		return check.Decide(false, "not restarted in %v, nobody is served", time.Since(begun).Round(time.Second)).
			Want("%s", want).Of(gone.asked).Because("the adapter said: %s", gone.last.Reason)
	}
	dead := is.StartedAt.Sub(begun)
	back := until(m, "/readyz", http.StatusOK, "", startWithin)
	outage, start := time.Since(begun), time.Since(is.StartedAt)
	held := m.Hold(hold, func(m *check.M) error {
		if now := m.State(database); now.Restarts != was.Restarts+1 {
			return fmt.Errorf("%d restarts", now.Restarts-was.Restarts)
		}
		return is200(m)
	})
	ok := dead <= restartWithin && back.took != check.Never && start <= startWithin && held.Broke == nil && back.slowest <= timeout+margin
	return check.Decide(ok, "frozen; started again after %.1f s, ready %.1f s later, which %v; an outage of %.1f s",
		dead.Seconds(), (outage-dead).Seconds(), held, outage.Seconds()).
		Want("%s", want).Of(gone.asked+back.asked).Because("the adapter said: %s", gone.last.Reason).Because("%v", back.silent)
}

func is200(m *check.M) error { return is("/readyz", http.StatusOK, "")(m) }
