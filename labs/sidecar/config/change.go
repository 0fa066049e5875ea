package config

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"distlab/lab/check"
)

// propagates changes the configuration in each way that the API has, and waits for the app to have it. The first
// change is what the others are seen against.
func propagates(m *check.M) check.Result {
	var ways check.Ways
	late, never := false, false
	slowest := check.Took(0)
	try := func(way string, want files, change func()) {
		if never {
			return
		}
		change()
		took, last := m.Until(patient, has(want))
		never = took == check.Never
		slowest = max(slowest, took)
		late = late || !took.Within(within)
		ways.Way(way).Note(took.Within(within), "after %v: %v", took, last)
	}
	var f files
	for range 2 {
		next := shop(m.Fresh())
		var was string
		try("all files", next, func() { was = put(m, next) })
		one := files{"site.conf": next["site.conf"], "texts.conf": shop(m.Fresh())["texts.conf"]}
		try("one file", one, func() {
			if m.Stack.Variant == standIn {
				put(m, files{"texts.conf": one["texts.conf"]})
				return
			}
			number(m.Do("PUT", api, apiPort, "/configs/shop/files/texts.conf", []byte(one["texts.conf"]), "Authorization", token))
		})
		try("rollback", next, func() {
			if m.Stack.Variant == standIn { // it has no such thing: the same is put again
				put(m, next)
				return
			}
			number(m.Do("POST", api, apiPort, "/configs/shop/rollback?to="+was, nil, "Authorization", token))
		})
		f = next
	}
	res := ways.Decide().Because("the slowest took %v", slowest)
	if never {
		return res
	}
	if held := m.Hold(500*time.Millisecond, has(f)); held.Broke != nil {
		return check.Decide(false, "it had the last change, and then no more: %v", held).Of(held.Asked)
	}
	return timely(m, late, res)
}

// seen is a line of what a reader saw: the sums of the two files, and how often.
type seen struct {
	Files  []string
	Count  int
	Absent int // the last line's: how often there was no file at all
}

// watched is what a reader and the app saw while versions followed each other.
type watched struct {
	published map[string]files // by mark
	reader    []seen
	reads     int
	app       check.Tally // answers of the app whose title and greeting are of one version
	versions  int         // that the reader saw whole
}

// While somebody reads, so many versions are published at least, and more in the time that there is.
const (
	changes  = 12
	most     = 60
	watching = 4 * time.Second
)

// watch publishes versions, one after the other, under the eyes of a reader who resolves the folder once and takes both
// files from it, and of the app's own clients. The reader stands where the sidecar does: the app's image has no shell.
func watch(m *check.M) *watched {
	w := &watched{published: map[string]files{}}
	w.published["first"] = settle(m)
	var marks []string
	for range most {
		mark := m.Fresh()
		marks = append(marks, mark)
		w.published[mark] = shop(mark)
	}
	last := shop(m.Fresh())
	w.published["last"] = last
	var over atomic.Bool
	m.Together(
		func(m *check.M) {
			defer over.Store(true)
			out := m.Exec(sidecar, "/config-sidecar", "read", "-for", "40s", "-until", sum(last["site.conf"]), "/config", "site.conf", "texts.conf")
			for line := range strings.Lines(out) {
				var s seen
				check.Must(json.Unmarshal([]byte(line), &s))
				w.reader = append(w.reader, s)
				w.reads += s.Count
			}
		},
		func(m *check.M) {
			publish := func(f files) {
				number := put(m, f)
				m.Await(patient, "a version in place", func(m *check.M) error {
					if s := told(m); !s.Applied.is(number) {
						return fmt.Errorf("not yet: %s", s.Reason)
					}
					return nil
				})
			}
			begun := time.Now()
			for i := 0; i < most && (i < changes || time.Since(begun) < watching); i++ {
				publish(w.published[marks[i]])
			}
			publish(last)
		},
		func(m *check.M) {
			for !over.Load() {
				v := shown(m)
				mark, ok := strings.CutPrefix(v.Greeting, "hello from ")
				w.app.Note(ok && mark == v.Title && v.Refused == "", "%q with %q %s", v.Title, v.Greeting, v.Refused)
			}
		},
	)
	for _, f := range w.published {
		for _, s := range w.reader {
			if len(s.Files) == 2 && s.Files[0] == sum(f["site.conf"]) && s.Files[1] == sum(f["texts.conf"]) {
				w.versions++
			}
		}
	}
	return w
}

// decide is the result of a watch. What was wrong is wrong, however little was seen; that nothing was, says something only
// where enough was switched under the reader's eyes.
func (w *watched) decide(m *check.M, ways *check.Ways, wrong bool) check.Result {
	m.Need(wrong || w.versions >= 4, "a reader saw only %d versions: nothing was switched under its eyes", w.versions)
	return ways.Decide().Because("%d reads of %d versions, %d answers of the app", w.reads, w.versions, w.app.All())
}

// oneVersion compares what was read together.
func oneVersion(m *check.M) check.Result {
	w := watch(m)
	var ways check.Ways
	wrong := !w.app.Whole()
	for _, s := range w.reader {
		if len(s.Files) == 0 {
			continue
		}
		one := false
		for _, f := range w.published {
			one = one || s.Files[0] == sum(f["site.conf"]) && s.Files[1] == sum(f["texts.conf"])
		}
		wrong = wrong || !one
		ways.Way("sets that a reader saw").Note(one, "site.conf %.8s with texts.conf %.8s, %d times", s.Files[0], s.Files[1], s.Count)
	}
	ways.Way("answers of the app").Note(w.app.Whole(), "%v: %s", &w.app, w.app.Odd())
	return w.decide(m, &ways, wrong)
}

// neverTorn compares each file with what was published under its name.
func neverTorn(m *check.M) check.Result {
	w := watch(m)
	var ways check.Ways
	wrong := false
	for i, name := range []string{"site.conf", "texts.conf"} {
		whole := map[string]bool{}
		for _, f := range w.published {
			whole[sum(f[name])] = true
		}
		for _, s := range w.reader {
			if len(s.Files) == 0 {
				wrong = wrong || s.Absent > 0
				ways.Way("is there").Note(s.Absent == 0, "%d times there was no file", s.Absent)
			} else {
				what := "part of a file"
				if s.Files[i] == sum("") {
					what = "an empty file"
				}
				wrong = wrong || !whole[s.Files[i]]
				ways.Way(name).Note(whole[s.Files[i]], "%s, %d times", what, s.Count)
			}
		}
	}
	return w.decide(m, &ways, wrong)
}

// coalesced makes 50 changes in a second and counts the app's reloads.
func coalesced(m *check.M) check.Result {
	const most, n, limit = 3, 50, 2 * time.Second
	settle(m)
	before := shown(m).Loads
	var last files
	first := m.Fresh()
	addr := m.Address(api, apiPort) // asked once: the engine would be asked for each change else
	begun := time.Now()
	change := func(m *check.M, i int) {
		mark := fmt.Sprintf("%d-%s", i, first)
		f := files{"site.conf": "title = " + mark + "\ninclude = texts.conf\n", "texts.conf": "greeting = hello from " + mark + "\n"}
		body := check.Got(json.Marshal(map[string]any{"files": f}))
		due := time.NewTimer(time.Until(begun.Add(time.Duration(i) * time.Second / n)))
		defer due.Stop()
		select { // each leaves at its time, and does not wait for the one before
		case <-due.C:
		case <-m.Context().Done():
		}
		if m.Stack.Variant == standIn {
			revision(m.Send("POST", "http://"+addr+"/v3/kv/txn", transaction(f)))
		} else {
			number(m.Send("PUT", "http://"+addr+"/configs/shop", body, "Authorization", token))
		}
		if i == n-1 {
			last = f
		}
	}
	m.Each(n-1, 8, change)
	change(m, n-1)
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
		if ask(); !kept.Whole() {
			break
		}
	}
	answers := check.Got(flight.Result(m.Context()))
	after, restarted := shown(m), m.State(app).StartedAt
	same := after.PID == before.PID && after.Started.Equal(before.Started) && restarted.Equal(started)
	ok := same && answers.OK == inFlight && kept.Whole() && after.Loads == before.Loads+rounds
	return check.Decide(ok, "the same process: %t, %d reloads; %d of %d requests in flight answered, %v on an open connection",
		same, after.Loads-before.Loads, answers.OK, inFlight, &kept).
		Want("the same, %d reloads, all answered", rounds).Of(inFlight+kept.All()).Because("%v\n%s", answers.First, kept.Odd())
}
