package slowlog

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"distlab/lab/check"
)

// overflow freezes the adapter while more entries are made than Redis keeps. Then each ID from the last one read to the
// newest must be accounted for: written once, or in one report of a loss. IDs leave no gap, so this is exact
// whatever else was slow meanwhile.
func overflow(m *check.M) check.Result {
	const n = 200 // Redis keeps 128
	last, before := level(m), readStatus(m)
	since := time.Now()
	f := m.Pause(adapter)
	markers := slow(m, n, 11*time.Millisecond, 12*time.Millisecond)
	gone := n - len(logged(entries(m), markers))
	m.Need(gone >= 50, "Redis threw away %d of %d entries: too few to be missed", gone, n)
	m.Heal(f)
	awaitAll(m, since, markers[n-1:])
	newest := level(m)
	own := map[int64]bool{} // on a busy machine one of the adapter's own may be slow, and it is left out
	for _, e := range entries(m) {
		own[e.ID] = strings.HasPrefix(e.ClientName, ownName)
	}
	lines := wrote(m, since)
	m.Record("adapter.log", []byte(m.Logs(adapter, since)))
	account, lost, reports := map[int64]int{}, int64(0), check.Tally{}
	for _, l := range lines {
		switch {
		case l.Event == "slow" && l.ID <= newest:
			account[l.ID]++
		case l.Event == "lost" && l.LastID <= newest:
			lost += l.Lost
			reports.Note(l.Reason == "overflow" && l.Lost == l.LastID-l.FirstID+1, "%+v", l)
			for id := l.FirstID; id <= l.LastID; id++ {
				account[id]++
			}
		}
	}
	missing, twice := 0, 0
	for id := last + 1; id <= newest; id++ {
		switch {
		case account[id] > 1:
			twice++
		case account[id] == 0 && !own[id]:
			missing++
		}
	}
	counted := readStatus(m).Lost - before.Lost
	metric := m.Counter(pod, adminPort, "slowlog_adapter_lost_total", `reason="overflow"`)
	ok := missing == 0 && twice == 0 && lost >= int64(gone) && counted == lost && metric >= float64(lost) && reports.Whole()
	return check.Decide(ok, "%d reported lost of %d thrown away, %d counted in the status; of %d IDs %d unaccounted for, %d twice",
		lost, gone, counted, newest-last, missing, twice).
		Want("all that were thrown away; none, none").Of(int(newest-last)).Because("%s", reports.Odd())
}

// restart ends Redis after so many entries that none of its new IDs is above the last one read: in order and by SIGKILL,
// and while the adapter cannot see it go.
func restart(m *check.M) check.Result {
	const before, after = 30, 8
	var as check.Ways
	for _, how := range []struct {
		name string
		end  func() *check.Fault
		away bool // the adapter is frozen meanwhile
	}{
		{"stopped", func() *check.Fault { return m.Stop(redis) }, false},
		{"killed while the adapter is frozen", func() *check.Fault { return m.Kill(redis) }, true},
	} {
		since := time.Now()
		awaitAll(m, since, slow(m, before, 11*time.Millisecond, 12*time.Millisecond))
		read, oldRun := readStatus(m), info(m, "server", "run_id")
		var frozen *check.Fault
		if how.away {
			frozen = m.Pause(adapter)
		}
		gone := how.end()
		since = time.Now()
		m.Heal(gone)
		fresh := slow(m, after, 12*time.Millisecond, 20*time.Millisecond)
		if how.away {
			m.Heal(frozen)
		}
		newRun, log := info(m, "server", "run_id"), entries(m)
		m.Need(newRun != oldRun, "the run ID is the same after the restart")
		m.Need(len(logged(log, fresh)) == after, "Redis's own log has not all of %d slow commands", after)
		m.Need(log[0].ID < read.LastID, "the new IDs go up to %d, past the last one read before, %d", log[0].ID, read.LastID)
		lines := awaitAll(m, since, fresh)
		found := byMarker(lines, fresh)
		for _, marker := range fresh {
			got := found[marker]
			as.Way(how.name).Note(len(got) == 1 && got[0].RunID == newRun, "%s was written as %+v", marker, got)
		}
		told := 0
		for _, l := range events(lines, "restart") {
			if l.RunID == newRun && l.LastID >= read.LastID {
				told++
			}
		}
		now := readStatus(m)
		as.Way(how.name+", told").Note(told == 1 && now.Restarts == read.Restarts+1 && now.Lost == read.Lost,
			"%d lines of it; the status has %+v, before %+v", told, now, read)
	}
	return as.Decide()
}

// redisDown has Redis away for several polls: stopped, and frozen with its port open. Slow commands are made as soon as
// it is back.
func redisDown(m *check.M) check.Result {
	const n, polls = 10, 3
	is := func(code int, up bool) func(*check.M) error {
		return func(m *check.M) error {
			if st := readStatus(m); st.Up != up {
				return fmt.Errorf("the status says that Redis is up: %t", st.Up)
			}
			if got := m.Metric(pod, adminPort, "slowlog_adapter_redis_up"); (got == 1) != up {
				return fmt.Errorf("the metric says %v", got)
			}
			return m.Get(pod, adminPort, "/readyz").Is(code)
		}
	}
	var as check.Ways
	for _, how := range []struct {
		name string
		end  func() *check.Fault
	}{
		{"stopped", func() *check.Fault { return m.Stop(redis) }},
		{"frozen", func() *check.Fault { return m.Pause(redis) }},
	} {
		m.Await(patience, "readiness", is(http.StatusOK, true))
		before, since := readStatus(m), time.Now()
		f := how.end()
		unready, last := m.Until(patience, is(http.StatusServiceUnavailable, false))
		m.Await(2*patience, "failed polls", func(m *check.M) error {
			if failed := readStatus(m).Failed - before.Failed; failed < polls {
				return fmt.Errorf("%d", failed)
			}
			return nil
		})
		held := m.Hold(time.Second, is(http.StatusServiceUnavailable, false))
		m.Heal(f)
		markers := slow(m, n, 12*time.Millisecond, 20*time.Millisecond)
		lines := awaitAll(m, since, markers)
		ready, lastReady := m.Until(patience, is(http.StatusOK, true))
		found := byMarker(lines, markers)
		for _, marker := range markers {
			as.Way(how.name+": entries after it").Note(len(found[marker]) == 1, "%s was written %d times", marker, len(found[marker]))
		}
		away, back := said(lines, "redis away"), said(lines, "redis back")
		as.Way(how.name+": said").Note(away == 1 && back == 1, "away %d times, back %d times", away, back)
		as.Way(how.name+": readiness").Note(unready != check.Never && held.Broke == nil && ready != check.Never,
			"unready after %v (%v), which %v; ready after %v (%v)", unready, last, held, ready, lastReady)
	}
	return as.Decide()
}
