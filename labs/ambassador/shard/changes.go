package shard

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"distlab/lab/check"
	"distlab/lab/stats"
)

// status is the part of the ambassador's /status that the claims read.
type status struct {
	Pools map[string]struct {
		Servers map[string]struct {
			State string `json:"state"`
		} `json:"servers"`
	} `json:"pools"`
	Load struct {
		Error   string `json:"error"`
		Reloads int    `json:"reloads"`
	} `json:"load"`
}

// loaded says in a few words what the ambassador has read: what a receipt shows of a reload.
func loaded(m *check.M) string {
	var st status
	m.JSON(pod, adminPort, "/status", &st)
	if st.Load.Error != "" {
		return fmt.Sprintf("%d reloads, the last refused", st.Load.Reloads)
	}
	return fmt.Sprintf("%d reloads, %d servers", st.Load.Reloads, len(st.Pools["redis"].Servers))
}

// use has the ambassador read another pool file. The returned function puts the one before back.
func use(m *check.M, text []byte) (back func()) {
	file := m.Write(config, map[string][]byte{poolFile: text})
	m.Signal(ambassador, "SIGHUP", loaded)
	return func() {
		m.Heal(file)
		m.Signal(ambassador, "SIGHUP", loaded)
	}
}

// counter is a key that one goroutine counts up, so that it knows what the next answer must be.
type counter struct {
	key    string
	last   int
	asked  int
	failed []string // answers that were no number
	breaks int      // numbers that did not follow the one before
}

// up counts; an error is that the connection is of no use any more.
func (k *counter) up(w *wire) error {
	k.asked++
	r, err := w.ask("INCR", k.key)
	n, bad := strconv.Atoi(r.text)
	if err != nil || bad != nil {
		k.failed = append(k.failed, fmt.Sprint(r, ", ", err))
		return err
	}
	if n != k.last+1 {
		k.breaks++
	}
	k.last = n
	return nil
}

// counting is a load: counters that are counted up one after the other, again and again, by several clients. Beside them the
// control asks the servers themselves, past the ambassador.
type counting struct {
	counters []*counter
	rounds   []atomic.Int64 // of each client
	control  atomic.Int64   // the longest that a server took to answer
	stop     chan struct{}
	done     sync.WaitGroup
}

// count begins the load.
func count(m *check.M, keys []string, clients int) *counting {
	l := &counting{rounds: make([]atomic.Int64, clients), stop: make(chan struct{})}
	for _, key := range keys {
		l.counters = append(l.counters, &counter{key: key})
	}
	over := func() bool {
		select {
		case <-l.stop:
			return true
		default:
			return m.Context().Err() != nil
		}
	}
	addr := m.Address(pod, redisPort)
	for c := range clients {
		l.done.Go(func() {
			var w *wire
			for ; !over(); l.rounds[c].Add(1) {
				for i := c; i < len(l.counters) && !over(); i += clients {
					if w == nil {
						var err error
						if w, err = dial(m.Context(), addr); err != nil {
							l.counters[i].failed = append(l.counters[i].failed, err.Error())
							continue
						}
						defer w.close()
						w.conn.SetDeadline(time.Time{})
					}
					if l.counters[i].up(w) != nil {
						w = nil // it is counted, and the next one has a connection of its own
					}
				}
			}
		})
	}
	l.done.Go(func() {
		for i := 0; !over(); i++ {
			begun := time.Now()
			m.Stack.Exec(m.Context(), shards[i%len(shards)], "redis-cli", "ping")
			l.control.Store(max(l.control.Load(), int64(time.Since(begun))))
		}
	})
	return l
}

// further waits until every client has counted all of its keys up n more times.
func (l *counting) further(m *check.M, n int64) {
	for c := range l.rounds {
		begun := l.rounds[c].Load()
		m.Await(patience, "the load going on", func(*check.M) error {
			if now := l.rounds[c].Load(); now <= begun+n { // the round that is under way may have begun before
				return fmt.Errorf("%d rounds", now-begun)
			}
			return nil
		})
	}
}

// end ends the load and waits for it: then its counters can be read.
func (l *counting) end() {
	close(l.stop)
	l.done.Wait()
}

// reload adds a fourth server while keys are counted up. Then comes a file that cannot be read, which must change nothing.
func reload(m *check.M) check.Result {
	const n, clients, busy = 240, 8, 2 * time.Second // the pool's timeout
	keys := numbered(m, fresh(m), n)
	l := count(m, keys, clients)
	end := sync.OnceFunc(l.end)
	defer end()
	l.further(m, 2)
	text := four(m)
	planned := plan(m, text)
	back := use(m, text)
	l.further(m, 2)
	bad := use(m, []byte("redis:\n  listen: 0.0.0.0:6379\n  servers:\n    - nonsense\n"))
	var st status
	m.JSON(pod, adminPort, "/status", &st)
	refused := strings.Contains(st.Load.Error, "pool.yml:4: ") && len(st.Pools["redis"].Servers) == len(shards)+1
	l.further(m, 2)
	bad()
	end()
	// The fourth server has what moved to it, and the values that were counted to.
	values := make([]string, n)
	for i, k := range l.counters {
		values[i] = strconv.Itoa(k.last)
	}
	at := whereabouts(m, append(slices.Clone(shards), fourth), keys, values)
	back()
	w := open(m)
	defer w.close()
	check.Got(w.ask(append([]string{"DEL"}, keys...)...))
	var kept check.Tally
	moved, asked, failed := 0, 0, 0
	for i, k := range l.counters {
		asked += k.asked
		failed += len(k.failed)
		away := slices.Contains(at[i], fourth)
		if away {
			moved++
		}
		// A key that moved begins anew, once; any other goes on; and none has an error.
		want := 0
		if away {
			want = 1
		}
		kept.Note(k.breaks == want && len(k.failed) == 0 && len(at[i]) > 0, "%s, on %v, began anew %d times: %q", k.key, at[i], k.breaks, k.failed)
	}
	m.Need(failed == 0 || time.Duration(l.control.Load()) < busy,
		"%d of %d failed, but a server itself took %.1f s to answer: the machine is too busy", failed, asked, time.Duration(l.control.Load()).Seconds())
	p := stats.BinomialTest(moved, n, planned)
	return check.Decide(kept.Whole() && refused && moved > 0 && p >= stats.Alpha,
		"%d errors in %d requests; %d keys moved, of which plan says %.1f %% (p = %.2g); %d keys disturbed; the bad file was refused: %v",
		failed, asked, moved, 100*planned, p, kept.Wrong(), refused).
		Want("none; as plan says; none; true").Of(asked).Because("the bad file: %s\n%s", st.Load.Error, kept.Odd())
}

// plan asks the ambassador's own subcommand what a pool file would move.
func plan(m *check.M, text []byte) float64 {
	m.Write(config, map[string][]byte{fourFile: append(slices.Clone(text), '\n')}) // a blank line: a write must be seen
	var changes []struct {
		Moved float64 `json:"moved"`
	}
	check.Must(json.Unmarshal([]byte(m.Exec(ambassador, "/shard-ambassador", "plan", "-o", "json", poolFile, fourFile)), &changes))
	m.Need(len(changes) == 1, "plan tells of %d pools", len(changes))
	return changes[0].Moved
}

// drain stops the ambassador with a lot pending. On a busy machine the stop may come too late to find it so: then it
// is tried again.
func drain(m *check.M) check.Result {
	const connections, each, tries = 10, 100, 4
	for try := 1; ; try++ {
		keys := numbered(m, fresh(m), connections*each)
		answers, told, exit := stopPending(m, keys, connections)
		pending := 0
		var right check.Tally
		for i, a := range answers {
			if a.at.After(told) {
				pending++
			}
			right.Note(a.err == nil && a.is("1"), "%s: %v, %v", keys[i], a.reply, a.err)
		}
		done := 0
		for _, at := range whereabouts(m, shards, keys, slices.Repeat([]string{"1"}, len(keys))) {
			done += len(at)
		}
		w := open(m)
		check.Got(w.ask(append([]string{"DEL"}, keys...)...))
		w.close()
		if pending < len(keys)/2 {
			m.Need(try < tries || !right.Whole(), "%d of %d requests were pending when the ambassador was told to stop", pending, len(keys))
			if right.Whole() {
				continue
			}
		}
		return check.Decide(right.Whole() && done == len(keys) && exit == "exited with code 0",
			"%v requests answered and %d done once; %s", &right, done, exit).
			Want("all, all; exited with code 0").Of(len(keys)).
			Because("%d were pending when the ambassador was told to stop\n%s", pending, right.Odd())
	}
}

// timed is an answer and when it came.
type timed struct {
	reply
	err error
	at  time.Time
}

// stopPending sends a batch on each of several connections while the servers hold their answers back, and stops the
// ambassador. Each request counts a key of its own up by one: one that is lost, or done twice, shows on both sides.
func stopPending(m *check.M, keys []string, connections int) (answers []timed, told time.Time, exit string) {
	const held = "1000" // milliseconds, half of the pool's timeout: what is asked meanwhile is pending
	answers = make([]timed, len(keys))
	each := len(keys) / connections
	lines := openEach(m, connections)
	for _, l := range lines {
		check.Got(l.ask(append([]string{"EXISTS"}, keys[:60]...)...)) // the servers are connected to
	}
	m.Each(len(shards), len(shards), func(m *check.M, i int) { m.Exec(shards[i], "redis-cli", "client", "pause", held, "all") })
	since := time.Now()
	var wg sync.WaitGroup
	for c, l := range lines {
		defer l.close()
		var b strings.Builder
		for _, key := range keys[c*each : (c+1)*each] {
			b.WriteString(request("INCR", key))
		}
		check.Got(l.conn.Write([]byte(b.String())))
		wg.Go(func() {
			for i := range each {
				r, err := l.read()
				if answers[c*each+i] = (timed{r, err, time.Now()}); err != nil {
					for ; i < each; i++ {
						answers[c*each+i] = timed{reply{}, err, time.Now()}
					}
					return
				}
			}
		})
	}
	gone := m.Stop(ambassador, check.Grace(patience))
	wg.Wait()
	state := m.State(ambassador)
	type entry struct {
		Time time.Time `json:"time"`
		Msg  string    `json:"msg"`
	}
	for _, e := range check.Lines[entry](m, ambassador, since) {
		if e.Msg == "draining" {
			told = e.Time
		}
	}
	m.Need(!told.IsZero(), "the ambassador's log has no draining")
	m.Heal(gone)
	return answers, told, fmt.Sprintf("%s with code %d", state.Status, state.ExitCode)
}
