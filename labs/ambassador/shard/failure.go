package shard

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"distlab/lab/check"
)

// within bounds every answer while a shard is away: the pool's timeout is 2 s, and a busy machine gets some more.
const within = 4 * time.Second

// answer is what came of one key.
type answer struct {
	reply
	err  error
	took time.Duration
}

// askEach asks for every key at once, each on a connection of its own, so that no answer waits for another.
func askEach(m *check.M, lines []*wire, requests [][]string) []answer {
	answers := make([]answer, len(requests))
	var wg sync.WaitGroup
	for i, args := range requests {
		wg.Go(func() {
			begun := time.Now()
			lines[i].conn.SetDeadline(begun.Add(2 * within)) // what is late is measured, and what hangs ends
			r, err := lines[i].ask(args...)
			answers[i] = answer{r, err, time.Since(begun)}
		})
	}
	wg.Wait()
	check.Must(m.Context().Err())
	return answers
}

// openEach are that many connections.
func openEach(m *check.M, n int) []*wire {
	lines := make([]*wire, n)
	for i := range lines {
		lines[i] = open(m)
		check.Got(lines[i].ask("PING"))
	}
	return lines
}

// blastRadius takes one shard away, first frozen and then stopped, and has every key read and written, one by one and together.
func blastRadius(m *check.M) check.Result {
	const n, victim = 60, "redis-b"
	var ways check.Ways
	var slowest time.Duration
	hangs := false
	for _, fault := range []struct {
		name string
		do   func(string, ...check.FaultOption) *check.Fault
	}{{"hangs", m.Pause}, {"stopped", m.Stop}} {
		lines := openEach(m, n)
		keys := numbered(m, fresh(m), n)
		values := valued(m, keys)
		lines[0].fill(keys, values)
		owner := owners(m, keys, values)
		away := func(i int) bool { return owner[i] == victim }
		m.Need(slices.Contains(owner, victim) && slices.ContainsFunc(owner, func(o string) bool { return o != victim }), "all keys are alike")
		gone := fault.do(victim)
		note := func(what string, i int, a answer, want string) {
			way := ways.Way(fault.name + ", " + what)
			late := a.took > within || a.err != nil
			slowest, hangs = max(slowest, a.took), hangs || late
			if away(i) { // no answer but an error: another one would be made up
				way.Note(!late && a.kind == '-', "%s, of the shard that is away: %v, %v, after %.1f s", keys[i], a.reply, a.err, a.took.Seconds())
				return
			}
			way.Note(!late && a.is(want), "%s, of another shard: %v, %v, after %.1f s", keys[i], a.reply, a.err, a.took.Seconds())
		}
		for i, a := range askEach(m, lines, each("GET", keys, nil)) {
			note("GET", i, a, values[i])
		}
		if !hangs { // else it is decided, and would only hang again
			together(m, lines[0], keys, values, note)
			whole(m, fault.name, lines, keys, away, &ways)
		}
		for _, l := range lines {
			l.close()
		}
		if hangs {
			break
		}
		m.Heal(gone)
		m.Await(patience, "all shards", func(m *check.M) error { return served(m, keys) })
	}
	return ways.Decide().Because("the slowest answer took %.2f s", slowest.Seconds()).
		Want("own keys an error, others as ever, within %v", within)
}

// together asks for all keys in one MGET: each must have its own value or error in its place.
func together(m *check.M, w *wire, keys, values []string, note func(what string, i int, a answer, want string)) {
	a := askEach(m, []*wire{w}, [][]string{append([]string{"MGET"}, keys...)})[0]
	for i := range keys {
		one := answer{reply{kind: '?'}, a.err, a.took}
		if len(a.list) == len(keys) {
			one.reply = a.list[i]
		}
		note("MGET", i, one, values[i])
	}
}

// whole has commands that are right as a whole or not at all: with a part of the keys away they must not say that all is well.
// Of what they were to write, the keys of the other shards may be there, and none of another value.
func whole(m *check.M, fault string, lines []*wire, keys []string, away func(int) bool, ways *check.Ways) {
	values := valued(m, keys)
	mset := []string{"MSET"}
	for i, key := range keys {
		mset = append(mset, key, values[i])
	}
	var requests [][]string
	for _, name := range []string{"EXISTS", "TOUCH", "DEL", "UNLINK"} {
		requests = append(requests, append([]string{name}, keys...))
	}
	requests = append(requests, mset)
	for _, args := range requests {
		a := askEach(m, lines, [][]string{args})[0]
		ways.Way(fault+", "+args[0]+" as a whole").Note(a.err == nil && a.kind == '-' && a.took <= within,
			"%s over all keys: %v, %v, after %.1f s", args[0], a.reply, a.err, a.took.Seconds())
	}
	// A key at a time, writing tells the same: OK is said of what is there afterwards, and of nothing else.
	values = valued(m, keys)
	for i, a := range askEach(m, lines, each("SET", keys, func(i int) []string { return []string{values[i], "EX", keep} })) {
		ways.Way(fault+", SET").Note(a.err == nil && a.took <= within && (a.kind == '-') == away(i) && (a.kind == '-' || a.text == "OK"),
			"%s: %v, %v, after %.1f s", keys[i], a.reply, a.err, a.took.Seconds())
	}
	var others, written []string
	for i, key := range keys {
		if !away(i) {
			others, written = append(others, key), append(written, values[i])
		}
	}
	for i, a := range askEach(m, lines, each("GET", others, nil)) {
		ways.Way(fault+", SET").Note(a.err == nil && a.is(written[i]), "what %s says OK of is %v", others[i], a.reply)
	}
}

// served says whether every key is answered without an error.
func served(m *check.M, keys []string) error {
	w := open(m)
	defer w.close()
	for i, r := range check.Got(w.all(each("GET", keys, nil))) {
		if r.kind == '-' {
			return fmt.Errorf("%s: %v", keys[i], r)
		}
	}
	return nil
}

// recovers stops a shard until the ambassador has given it up, starts it, and waits until its keys are served. The
// server is empty then, and may have another address.
func recovers(m *check.M) check.Result {
	const n, victim, limit, hold = 30, "redis-c", 5 * time.Second, 2 * time.Second
	w := open(m)
	keys := numbered(m, fresh(m), n)
	values := valued(m, keys)
	w.fill(keys, values)
	w.close()
	m.Need(slices.Contains(owners(m, keys, values), victim), "none of %d keys is on %s", n, victim)
	before := m.State(ambassador)
	gone := m.Stop(victim, check.Seen(m.Watch(func(m *check.M) string {
		if served(m, keys) != nil {
			return "its keys fail"
		}
		return "all keys are answered"
	})))
	// It is given up, and not only missed once: else nothing would have to come back.
	m.Await(patience, "the shard's ejection", func(m *check.M) error {
		var st status
		m.JSON(pod, adminPort, "/status", &st)
		if state := st.Pools["redis"].Servers[strings.TrimPrefix(victim, "redis-")].State; state != "ejected" {
			return fmt.Errorf("it is %s, and its keys: %v", state, served(m, keys))
		}
		return nil
	})
	m.Heal(gone) // returns when the server is healthy
	back, last := m.Until(2*limit, func(m *check.M) error { return served(m, keys) })
	m.Need(back != check.Never || m.State(victim).Status == "running", "%s is not running", victim)
	res := check.Decide(false, "its keys are served after %v: %v", back, last).Want("within %v", limit).Of(n)
	if back == check.Never {
		return res
	}
	// They are its own again, are read as written, and stay so.
	w = open(m)
	defer w.close()
	values = valued(m, keys)
	w.fill(keys, values)
	its := 0
	for _, owner := range owners(m, keys, values) {
		if owner == victim {
			its++
		}
	}
	held := m.Hold(hold, func(*check.M) error {
		for i, r := range check.Got(w.all(each("GET", keys, nil))) {
			if !r.is(values[i]) {
				return fmt.Errorf("%s: %v", keys[i], r)
			}
		}
		return nil
	})
	after := m.State(ambassador)
	same := after.StartedAt.Equal(before.StartedAt) && after.Restarts == before.Restarts
	return check.Decide(back.Within(limit) && held.Broke == nil && its > 0 && same,
		"all %d keys served after %v, %d of them its own, and so it %v; ambassador restarted: %v", n, back, its, held, !same).
		Want("within %v, for %v, without a restart", limit, hold).Of(n * held.Asked)
}
