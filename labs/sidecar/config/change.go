package config

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"distlab/lab/check"
)

// propagates changes the configuration in each way that the API has, and waits for the app to have it.
func propagates(m *check.M) check.Result {
	f := settle(m)
	var ways check.Ways
	late := false
	slowest := time.Duration(0)
	try := func(way string, want files, change func()) {
		begun := time.Now()
		change()
		_, last := m.Until(3*within, has(want))
		took := time.Since(begun)
		slowest = max(slowest, took)
		ok := last == nil && took <= within
		late = late || !ok
		ways.Way(way).Note(ok, "after %.1f s: %v", took.Seconds(), last)
	}
	for range 2 {
		next := shop(m.Fresh())
		var was string
		try("all files", next, func() { was = put(m, next) })
		one := files{"site.conf": next["site.conf"], "texts.conf": shop(m.Fresh())["texts.conf"]}
		try("one file", one, func() {
			number(m.Do("PUT", api, apiPort, "/configs/shop/files/texts.conf", []byte(one["texts.conf"]), "Authorization", token))
		})
		try("rollback", next, func() {
			number(m.Do("POST", api, apiPort, "/configs/shop/rollback?to="+was, nil, "Authorization", token))
		})
		f = next
	}
	held := m.Hold(500*time.Millisecond, has(f))
	res := ways.Decide().Because("the slowest took %.2f s; the last one %v", slowest.Seconds(), held)
	if held.Broke != nil {
		return check.Decide(false, "it had the last change, and then no more: %v", held).Of(held.Asked)
	}
	return timely(m, late, res)
}

// seen is a line of what a reader saw: the sums of the two files, and how often.
type seen struct {
	Files []string
	Count int
	Lost  int
}

// watched is what a reader and the app saw while versions followed each other.
type watched struct {
	published map[string]files // by mark
	reader    []seen
	reads     int
	app       check.Tally // answers of the app whose title and greeting are of one version
	versions  int         // that the reader saw whole
}

// changes is how many versions are published while somebody reads, and how long each has.
const (
	changes = 8
	each    = 500 * time.Millisecond
)

// watch publishes versions under the eyes of a reader who resolves the folder once and takes both files from it, and of
// the app's own clients. The reader stands where the sidecar does: the app's image has no shell to read with.
func watch(m *check.M) *watched {
	w := &watched{published: map[string]files{}}
	first := settle(m)
	for range changes {
		mark := m.Fresh()
		w.published[mark] = shop(mark)
	}
	length := changes*each + 2*time.Second
	m.Together(
		func(m *check.M) {
			out := m.Exec(sidecar, "/config-sidecar", "read", "-for", length.String(), "/config", "site.conf", "texts.conf")
			for line := range strings.Lines(out) {
				var s seen
				check.Must(json.Unmarshal([]byte(line), &s))
				w.reader = append(w.reader, s)
				w.reads += s.Count
			}
		},
		func(m *check.M) { publish(m, changes, each, w.published) },
		func(m *check.M) {
			for begun := time.Now(); time.Since(begun) < length; {
				v := shown(m)
				mark, ok := strings.CutPrefix(v.Greeting, "hello from ")
				w.app.Note(ok && mark == v.Title && v.Refused == "", "%q with %q %s", v.Title, v.Greeting, v.Refused)
			}
		},
	)
	w.published["first"] = first
	for _, f := range w.published {
		for _, s := range w.reader {
			if len(s.Files) == 2 && s.Files[0] == sum(f["site.conf"]) && s.Files[1] == sum(f["texts.conf"]) {
				w.versions++
			}
		}
	}
	m.Need(w.versions >= changes/2, "a reader saw only %d of %d versions: nothing was switched under its eyes", w.versions, changes+1)
	return w
}

// oneVersion compares what was read together.
func oneVersion(m *check.M) check.Result {
	w := watch(m)
	var ways check.Ways
	for _, s := range w.reader {
		if len(s.Files) == 0 {
			continue
		}
		one := false
		for _, f := range w.published {
			one = one || s.Files[0] == sum(f["site.conf"]) && s.Files[1] == sum(f["texts.conf"])
		}
		ways.Way("sets that a reader saw").Note(one, "site.conf %.8s with texts.conf %.8s, %d times", s.Files[0], s.Files[1], s.Count)
	}
	ways.Way("answers of the app").Note(w.app.Whole(), "%v: %s", &w.app, w.app.Odd())
	return ways.Decide().Because("%d reads of %d versions, %d answers of the app", w.reads, w.versions, w.app.All())
}

// neverTorn compares each file with what was published under its name.
func neverTorn(m *check.M) check.Result {
	w := watch(m)
	var ways check.Ways
	for i, name := range []string{"site.conf", "texts.conf"} {
		whole := map[string]bool{}
		for _, f := range w.published {
			whole[sum(f[name])] = true
		}
		for _, s := range w.reader {
			if len(s.Files) == 2 {
				what := "part of a file"
				if s.Files[i] == sum("") {
					what = "an empty file"
				}
				ways.Way(name).Note(whole[s.Files[i]], "%s, %d times", what, s.Count)
			}
		}
	}
	return ways.Decide().Because("%d reads of %d versions", w.reads, w.versions)
}

// coalesced makes 50 changes in a second and counts the app's reloads.
func coalesced(m *check.M) check.Result {
	const most, n, limit = 3, 50, 2 * time.Second
	settle(m)
	before := shown(m).Loads
	all := map[string]files{}
	for i := range n {
		mark := fmt.Sprintf("%02d-%s", i, m.Fresh())
		all[mark] = files{"site.conf": "title = " + mark + "\ninclude = texts.conf\n", "texts.conf": "greeting = hello from " + mark + "\n"}
	}
	var last files
	for mark, f := range all {
		if strings.HasPrefix(mark, fmt.Sprintf("%02d-", n-1)) {
			last = f
		}
	}
	begun := time.Now()
	publish(m, n, 20*time.Millisecond, all)
	took := time.Since(begun)
	m.Need(took < limit, "the changes took %.1f s: that is no burst", took.Seconds())
	arrived, why := m.Until(patient, has(last))
	held := m.Hold(1500*time.Millisecond, has(last))
	v := shown(m)
	reloads := v.Loads - before
	ok := arrived != check.Never && held.Broke == nil && reloads >= 1 && reloads <= most && v.Refused == ""
	return check.Decide(ok, "%d changes in %.1f s: %d reloads, the last one after %v, and it %v", n, took.Seconds(), reloads, arrived, held).
		Want("1 to %d, the last one wins and stays", most).Of(n).Because("%v", why)
}

// sameProcess changes the configuration while requests are in flight and a connection is open.
func sameProcess(m *check.M) check.Result {
	const rounds, inFlight = 3, 20
	settle(m)
	before, started := shown(m), m.State(app).StartedAt
	line := dial(m)
	defer line.Close()
	kept := check.Tally{}
	ask := func() {
		v, err := line.ask()
		kept.Note(err == nil && v.PID == before.PID, "process %d: %v", v.PID, err)
	}
	ask()
	flight := check.Got(m.Stack.Flight(m.Context(), check.Outside, inFlight, "http://pod:8080/slow?ms=5000"))
	for range rounds {
		f := shop(m.Fresh())
		put(m, f)
		m.Await(patient, "the app with a change", has(f))
		ask()
	}
	answers := check.Got(flight.Result(m.Context()))
	after, restarted := shown(m), m.State(app).StartedAt
	same := after.PID == before.PID && after.Started.Equal(before.Started) && restarted.Equal(started)
	ok := same && answers.OK == inFlight && kept.Whole() && after.Loads == before.Loads+rounds
	return check.Decide(ok, "the same process: %t, %d reloads; %d of %d requests in flight answered, %v on an open connection",
		same, after.Loads-before.Loads, answers.OK, inFlight, &kept).
		Want("the same, %d reloads, all answered", rounds).Of(inFlight+kept.All()).Because("%v\n%s", answers.First, kept.Odd())
}
