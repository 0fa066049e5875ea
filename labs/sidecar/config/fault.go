package config

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"distlab/lab/check"
)

// refused waits until the sidecar says why a version is not applied, and then sees that nothing has changed.
func refused(m *check.M, number string, reason []string, f files, loads int) error {
	_, last := m.Until(patient, func(m *check.M) error {
		s := told(m)
		for _, part := range append(reason, "version "+number+" refused") {
			if !strings.Contains(s.Reason, part) {
				return fmt.Errorf("the reason has no %q: %q", part, s.Reason)
			}
		}
		return nil
	})
	if last != nil {
		return last
	}
	return m.Hold(600*time.Millisecond, unchanged(f, loads)).Broke
}

// unchanged asks whether app and disk have these files, and the app was not disturbed.
func unchanged(f files, loads int) func(*check.M) error {
	return func(m *check.M) error {
		if err := has(f)(m); err != nil {
			return err
		}
		if v := shown(m); v.Loads != loads || v.Refused != "" {
			return fmt.Errorf("the app has loaded %d times, not %d: %s", v.Loads, loads, v.Refused)
		}
		return same(m, f)
	}
}

// badConfig publishes versions that are bad in several ways, and after each the good one again. With the last of them
// in the API the sidecar is killed: it must not apply at its start what it has refused.
func badConfig(m *check.M) check.Result {
	f := settle(m)
	loads := shown(m).Loads
	good := f["site.conf"]
	cases := []struct {
		name   string
		bad    files
		reason []string
	}{
		{"a typo", files{"site.conf": "title = x\n\ntitel = y\n", "texts.conf": f["texts.conf"]}, []string{"check", "site.conf:3:", "titel"}},
		{"in the included file", files{"site.conf": good, "texts.conf": "# texts\nslow = soon\n"}, []string{"check", "texts.conf:2:", "soon"}},
		{"a file too few", files{"site.conf": good}, []string{"check", "texts.conf", "no such file"}},
		{"an error page", files{"site.conf": "<html>502</html>\n", "texts.conf": f["texts.conf"]}, []string{"check", "site.conf:1:"}},
	}
	var ways check.Ways
	for i, c := range cases {
		number := put(m, c.bad)
		err := refused(m, number, c.reason, f, loads)
		if err == nil && i == len(cases)-1 {
			killed := m.Kill(sidecar)
			m.Heal(killed)
			err = refused(m, number, c.reason, f, loads)
		}
		if ways.Way(c.name).Note(err == nil, "%v", err); err != nil {
			put(m, f)
			break
		}
		number = put(m, f)
		_, err = m.Until(patient, func(m *check.M) error {
			if s := told(m); !s.InSync || !s.Applied.is(number) {
				return fmt.Errorf("after the revert: %s", s.Reason)
			}
			return nil
		})
		if err == nil {
			err = unchanged(f, loads)(m)
		}
		ways.Way("reverts").Note(err == nil, "%s: %v", c.name, err)
	}
	next := shop(m.Fresh())
	put(m, next)
	_, err := m.Until(patient, has(next))
	ways.Way("a good one after").Note(err == nil, "%v", err)
	return ways.Decide()
}

// apiDown takes the API away, in order and out of order.
func apiDown(m *check.M) check.Result {
	var ways check.Ways
	late, wrong := false, false
	for _, way := range []struct {
		name string
		do   func() *check.Fault
	}{
		{"killed", func() *check.Fault { return m.Kill(api) }},
		{"frozen", func() *check.Fault { return m.Pause(api) }},
	} {
		f := settle(m)
		loads := shown(m).Loads
		away := way.do()
		_, err := m.Until(patient, func(m *check.M) error {
			if s := told(m); s.Source.Up || s.Source.Error == "" {
				return errors.New("the sidecar does not say that the API is away")
			}
			return nil
		})
		if err == nil {
			err = m.Hold(time.Second, func(m *check.M) error {
				if err := m.Get(pod, adminPort, "/readyz").Is(200); err != nil {
					return fmt.Errorf("the sidecar: %w", err)
				}
				return unchanged(f, loads)(m)
			}).Broke
		}
		wrong = wrong || err != nil
		ways.Way(way.name).Note(err == nil, "%v", err)
		m.Heal(away)
		next := shop(m.Fresh())
		put(m, next)
		took, why := m.Until(patient, has(next))
		late, wrong = late || !took.Within(catchUp), wrong || took == check.Never
		ways.Way("after it was "+way.name).Note(took.Within(catchUp), "caught up after %v: %v", took, why)
	}
	return timely(m, late && !wrong, ways.Decide())
}

// lateApp changes the configuration while the app is away, restarts the sidecar too, and counts what the app is told.
func lateApp(m *check.M) check.Result {
	const soon = 6 * time.Second // its start, the second for which it is left alone, and the wait for the next try
	settle(m)
	was := m.Counter(pod, helped, "legacy_app_reloads_total")
	away := m.Stop(app)
	f := shop(m.Fresh())
	number := put(m, f)
	waits := func(m *check.M) error {
		if s := told(m); !s.Applied.is(number) || s.Applied.Told || !strings.Contains(s.Reason, "not told: the app is not there") {
			return fmt.Errorf("the status is %+v, %q", s.Applied, s.Reason)
		}
		return nil
	}
	m.Await(patient, "a version that nobody was told of", waits)
	killed := m.Kill(sidecar)
	m.Heal(killed)
	m.Await(patient, "the same after a restart of the sidecar", waits)
	begun := time.Now()
	m.Heal(away)
	_, err := m.Until(patient+soon, func(m *check.M) error {
		if v := shown(m); v.Loads < 2 {
			return fmt.Errorf("it has loaded %d times", v.Loads)
		}
		return inSync(m)
	})
	took := time.Since(begun)
	held := m.Hold(1500*time.Millisecond, func(m *check.M) error {
		if v := shown(m); v.Loads != 2 {
			return fmt.Errorf("it was told %d times", v.Loads-1)
		}
		return has(f)(m)
	})
	others := m.Counter(pod, helped, "legacy_app_reloads_total") - was
	ok := err == nil && held.Broke == nil && others == 0 && took <= soon
	res := check.Decide(ok, "told %.1f s after its start was asked for, and %v; the helper was told %v times", took.Seconds(), held, others)
	return timely(m, err == nil && held.Broke == nil && others == 0 && took > soon, res.Want("once, within %v", soon).Of(held.Asked).Because("%v", err))
}

// restartKeeps kills sidecar and app while the API is away.
func restartKeeps(m *check.M) check.Result {
	f := settle(m)
	number := told(m).Applied.Version
	gone := m.Stop(api)
	sidecarGone, appGone := m.Kill(sidecar), m.Kill(app)
	for _, g := range []struct {
		name string
		*check.Fault
	}{{"sidecar", sidecarGone}, {"app", appGone}} {
		if err := g.Heal(m.Context()); err != nil {
			check.Must(m.Context().Err())
			return check.Decide(false, "the %s did not come back: %v", g.name, err).Of(1)
		}
	}
	held := m.Hold(time.Second, func(m *check.M) error {
		if s := told(m); s.Source.Up || !s.Applied.is(number) || !s.Applied.Told {
			return fmt.Errorf("the sidecar has %+v, and the source is up: %t", s.Applied, s.Source.Up)
		}
		return unchanged(f, 1)(m)
	})
	m.Heal(gone)
	next := shop(m.Fresh())
	put(m, next)
	took, why := m.Until(patient, has(next))
	res := check.Decide(held.Broke == nil && took.Within(catchUp), "what was there %v; with the API back a change arrived after %v", held, took).
		Want("kept, then within %v", catchUp).Of(held.Asked).Because("%v", why)
	return timely(m, held.Broke == nil && took > check.Took(catchUp), res)
}

// rightProcess changes the configuration while a helper of the app's name is beside it, older than the app and younger.
func rightProcess(m *check.M) check.Result {
	settle(m)
	var ways check.Ways
	reloads := func() float64 { return m.Counter(pod, helped, "legacy_app_reloads_total") }
	round := func(name string) {
		pid, loads, was := helperPID(m), shown(m).Loads, reloads()
		f := shop(m.Fresh())
		put(m, f)
		m.Await(patient, "the app with a change", has(f))
		m.Await(patient, "a sidecar in sync", inSync)
		app, other, still := shown(m).Loads-loads, reloads()-was, helperPID(m) == pid
		ways.Way(name).Note(app == 1 && other == 0 && still, "the app was told %d times, the helper %v times; it is the same process: %t", app, other, still)
	}
	renew := func(service string) { f := m.Stop(service); m.Heal(f) }
	renew(app)
	round("the helper is older")
	renew(helper)
	round("the helper is younger")
	// The helper would have counted a signal.
	m.Signal(helper, "SIGHUP", func(*check.M) string { return fmt.Sprintf("%v reloads", reloads()) })
	return ways.Decide()
}

// helperPID is the helper's process; its admin port has the same page as the app's.
func helperPID(m *check.M) int {
	var v version
	m.JSON(pod, helped, "/status", &v)
	return v.PID
}

// volumeFull publishes a version that is larger than the app's volume.
func volumeFull(m *check.M) check.Result {
	f := settle(m)
	loads := shown(m).Loads
	large := shop(m.Fresh())
	large["catalog.txt"] = strings.Repeat("a line of a catalog that nobody needs\n", 20000) // 760 kB; the volume has 1 MiB, and three versions on it
	number := put(m, large)
	err := refused(m, number, []string{"write", "no space left"}, f, loads)
	next := shop(m.Fresh())
	put(m, next)
	took, why := m.Until(patient, has(next))
	fits := same(m, next)
	ok := err == nil && took.Within(within) && fits == nil
	res := check.Decide(ok, "kept: %t; one that fits was there after %v", err == nil, took).Want("kept, then within %v", within).Of(2)
	return timely(m, err == nil && took > check.Took(within), res.Because("%v", errors.Join(err, why, fits)))
}

// goesBack asks the sidecar for the version before, as a person would who sees the app fail with the new one.
func goesBack(m *check.M) check.Result {
	old := settle(m)
	settle(m)
	begun := time.Now()
	m.Signal(sidecar, "SIGUSR1", func(m *check.M) string { return "the app has " + shown(m).Title })
	took, why := m.Until(patient, has(old))
	if took != check.Never {
		took = check.Took(time.Since(begun)) // it began with the signal
	}
	held := m.Hold(time.Second, func(m *check.M) error {
		if s := told(m); s.InSync || !strings.Contains(s.Reason, "held") {
			return fmt.Errorf("the reason is %q", s.Reason)
		}
		return has(old)(m)
	})
	next := shop(m.Fresh())
	put(m, next)
	m.Await(patient, "the next version", has(next))
	ok := took.Within(within) && held.Broke == nil
	res := check.Decide(ok, "back after %v, and it %v", took, held).Want("within %v, held until the next", within).Of(held.Asked)
	return timely(m, held.Broke == nil && took > check.Took(within), res.Because("%v", why))
}
