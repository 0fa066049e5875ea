package broker

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"distlab/lab/check"

	"github.com/gomodule/redigo/redis"
)

// eachItsOwn has apps and visitors connect in each environment, before and after there are registrations that are nearly, but
// not, for staging. Each of those leads to another environment's Redis.
func eachItsOwn(m *check.M) check.Result {
	const n = 40
	pods := environments
	var ways check.Ways
	alike := map[string]bool{}
	for _, e := range pods {
		alike[m.Exec(e.app, "sh", "-c", "tr '\\0' ' ' </proc/1/cmdline; env | grep -v ^HOSTNAME= | sort")] = true
	}
	ways.Way("one app").Note(len(alike) == 1, "the apps differ: %v", alike)
	ask := func(when string) {
		for _, e := range pods {
			seen, at := map[string]bool{}, m.Address(e.pod, redisPort)
			for range n {
				who, err := met(m, at)
				seen[who] = true
				ways.Way(e.pod+", "+when).Note(err == nil && slices.Contains(e.redis, who), "%s met %q, %v", e.pod, who, err)
			}
			ways.Way(e.pod+", "+when).Note(len(seen) == len(e.redis), "%s met %v", e.pod, seen)
			_, who, _ := strings.Cut(strings.TrimSpace(m.Exec(e.app, "redis-cli", "-h", "127.0.0.1", "config", "get", "syslog-ident")), "\n")
			ways.Way(e.pod+"'s app, "+when).Note(slices.Contains(e.redis, who), "the app met %q", who)
		}
	}
	ask("as registered")
	const strangers = "/services/redis/stranger-"
	m.Run(registry, "register strangers", []string{"etcdctl", "put", strangers + "1", `{"address":"redis-production:6379"}`},
		[]string{"etcdctl", "del", "--prefix", strangers}, func(m *check.M) string { return etcdctl(m, "get", "--prefix", strangers) })
	lies := []string{
		`{"address":"redis-production:6379","labels":{"env":"Staging","team":"shop"}}`,
		`{"address":"redis-production:6379","labels":{"env":"staging2","team":"shop"}}`,
		`{"address":"redis-production:6379","labels":{"environment":"staging"}}`,
		`{"address":"redis-production:6379","labels":{"env":"development","team":"shop"}}`,
		`{"address":"redis-production:6379","labels":{"env":"staging"}`, // its end is missing
	}
	m.Each(len(lies), 2, func(m *check.M, i int) { etcdctl(m, "put", fmt.Sprint(strangers, i+2), lies[i]) })
	m.Await(patience, "the ambassador's having read them", func(m *check.M) error {
		if s := told(m, staging).Services[0]; len(s.Garbled) != 1 {
			return fmt.Errorf("%d garbled", len(s.Garbled))
		}
		return nil
	})
	ask("with others beside them")
	return ways.Decide()
}

// joinsLeaves has one of two instances go in order, and then by its lease, and come back each time.
func joinsLeaves(m *check.M) check.Result {
	const soon, hold, n = 2 * time.Second, time.Second, 20
	var ways check.Ways
	for _, way := range []struct {
		name  string
		do    func(string, ...check.FaultOption) *check.Fault
		limit time.Duration
	}{{"taken back", m.Stop, soon}, {"its lease runs out", m.Kill, ttl + 5*time.Second}} {
		well(m)
		as := ways.Way(way.name)
		gone := way.do(registerA) // returns when it is stopped, and so taken back, or dead
		begun := time.Now()
		_, last := m.Until(patience, is("staging-b up"))
		took := check.Took(time.Since(begun))
		held := m.Hold(hold, only(m, as, redisB))
		as.Note(took.Within(way.limit) && held.Broke == nil, "gone after %v (%v), and it %v", took, last, held)
		as = ways.Way(way.name + ", and it is back")
		m.Heal(gone) // returns when it is registered
		took, last = m.Until(patience, only(m, as, redisA))
		as.Note(took.Within(soon), "met after %v: %v", took, last)
		meets(m, as, n, redisA, redisB)
	}
	return ways.Decide().Want("gone within %v and %v, back within %v, and none fails", soon, ttl+5*time.Second, soon)
}

// drained holds connections to an instance that leaves, and asks them all the time, beside new ones. When it left says the
// ambassador's log: on a busy machine the engine tells much later that the registrar has been stopped.
func drained(m *check.M) check.Result {
	const n, late = 8, 5 * time.Second
	well(m)
	lines := open(m, n, redisA)
	defer func() { closeAll(lines) }()
	cut := m.Counter(staging, adminPort, "broker_ambassador_cut_total")
	begun, at := time.Now(), door(m)
	var gone *check.Fault
	var good, ended [n]time.Time
	type visit struct {
		begun time.Time
		who   string
		err   error
	}
	var visits []visit
	m.Together(func(m *check.M) { gone = m.Stop(registerA) }, func(m *check.M) {
		for over := 0; over < n && time.Since(begun) < 2*patience; {
			v := visit{begun: time.Now()}
			v.who, v.err = met(m, at)
			visits = append(visits, v)
			for i, l := range lines {
				if !ended[i].IsZero() {
					continue
				}
				if who, err := name(l); err != nil || who != redisA {
					ended[i] = time.Now()
					over++
				} else {
					good[i] = time.Now()
				}
			}
		}
	})
	var left time.Time
	for _, l := range check.Lines[struct {
		Time    time.Time
		Msg, ID string
	}](m, ambassador, begun) {
		if l.Msg == "instance leaves" && l.ID == "staging-a" {
			left = l.Time
		}
	}
	m.Need(!left.IsZero(), "the ambassador has not seen it leave")
	var ways check.Ways
	for i := range lines {
		ways.Way("go on").Note(good[i].Sub(left) >= leaveTimeout/2, "connection %d answered last %v after", i, good[i].Sub(left))
		ways.Way("end").Note(!ended[i].IsZero() && ended[i].Sub(left) < leaveTimeout+late, "connection %d ended %v after", i, ended[i].Sub(left))
	}
	for _, v := range visits {
		if v.begun.After(left) {
			ways.Way("new ones").Note(v.err == nil && v.who == redisB, "a new one met %q, %v, %v after", v.who, v.err, v.begun.Sub(left))
		}
	}
	counted := m.Counter(staging, adminPort, "broker_ambassador_cut_total") - cut
	ways.Way("counted").Note(counted == n, "%v were counted as cut", counted)
	m.Heal(gone)
	return ways.Decide().Want("answers for %v, an end within %v", leaveTimeout/2, leaveTimeout+late)
}

// open is so many connections in staging that are with that instance. The ambassador deals them out evenly, as long as the others
// are there.
func open(m *check.M, n int, instance string) (lines []redis.Conn) {
	var others []redis.Conn
	defer func() { closeAll(others) }()
	at := door(m)
	for len(lines) < n {
		m.Need(len(others) < 10*n, "of %d connections %d met %s", len(others)+len(lines), len(lines), instance)
		c := check.Got(dial(m, at, patience))
		if who, err := name(c); err == nil && who == instance {
			lines = append(lines, c)
		} else {
			others = append(others, c)
		}
	}
	return lines
}

func closeAll(lines []redis.Conn) {
	for _, l := range lines {
		l.Close()
	}
}

// registryDown takes etcd away in two ways. In the second its connections stay open, and nothing comes.
func registryDown(m *check.M) check.Result {
	const hold, n = 1500 * time.Millisecond, 30
	var ways check.Ways
	for _, way := range []struct {
		name string
		do   func(string, ...check.FaultOption) *check.Fault
	}{{"stopped", m.Stop}, {"frozen", m.Pause}} {
		well(m)
		as := ways.Way(way.name)
		away := way.do(registry)
		noticed, last := m.Until(patience, func(m *check.M) error {
			if s := told(m, staging).Services[0]; !s.Stale {
				return fmt.Errorf("%+v", s)
			}
			return nil
		})
		as.Note(noticed != check.Never, "it is not said: %v", last)
		first := told(m, staging).Services[0].Age
		begun := time.Now()
		held := m.Hold(hold, only(m, as, redisA, redisB))
		as.Note(held.Broke == nil, "new connections: %v", held)
		meets(m, as, n, redisA, redisB)
		aged := told(m, staging).Services[0].Age - first - time.Since(begun).Seconds()
		as.Note(first > 0 && aged > -1 && aged < 1, "the age was %.1f s, and after %v %.1f s more than that", first, time.Since(begun), aged)
		ready := m.Get(staging, adminPort, "/readyz")
		as.Note(ready.Status == 200, "/readyz says %d %s", ready.Status, ready.Body)
		m.Heal(away)
		m.Until(patience, is("staging-a up", "staging-b up"))
		as.Note(!told(m, staging).Services[0].Stale, "it is not believed again")
	}
	return ways.Decide()
}

// registryLies freezes who keeps the registrations, overwrites them, and lets them go: etcd answers well, and that there is nobody.
func registryLies(m *check.M) check.Result {
	const hold = 2500 * time.Millisecond // two periods in which all is read again
	well(m)
	var ways check.Ways
	var away []*check.Fault
	for _, r := range []string{registerA, registerB, "register-production"} {
		away = append(away, m.Kill(r))
	}
	// Overwritten, they are bound to no lease.
	put(m, "staging-a", `{"address":"redis-staging-a:6379"`)
	put(m, "staging-b", `{"address":"nowhere"}`)
	held := m.Hold(hold, only(m, ways.Way("garbled"), redisA, redisB))
	s := told(m, staging).Services[0]
	ways.Way("garbled").Note(held.Broke == nil && s.Ready, "it %v, %s", held, s.Doubt)
	ways.Way("garbled, and told").Note(s.Stale && len(s.Garbled) == 2, "of %d registrations it is said that they cannot be read: %s", len(s.Garbled), s.Doubt)
	m.Await(patience, "the end of production's lease", func(m *check.M) error {
		if k := keys(m); strings.Contains(k, "production") {
			return fmt.Errorf("%s", k)
		}
		return nil
	})
	etcdctl(m, "del", "--prefix", "/services/") // who registers puts it there again
	m.Await(patience, "an empty registry", func(m *check.M) error {
		if s := told(m, staging).Services[0]; len(s.Garbled) > 0 {
			return fmt.Errorf("%d garbled", len(s.Garbled))
		}
		return nil
	})
	held = m.Hold(hold, only(m, ways.Way("empty"), redisA, redisB))
	s = told(m, staging).Services[0]
	ways.Way("empty").Note(held.Broke == nil && s.Ready, "it %v, %s", held, s.Doubt)
	ways.Way("empty, and told").Note(s.Stale && s.Age > hold.Seconds(), "an age of %.1f s: %s", s.Age, s.Doubt)
	who, err := met(m, m.Address(production, redisPort))
	ways.Way("empty, in production").Note(err == nil && who == "redis-production", "met %q, %v", who, err)
	for _, f := range away {
		m.Heal(f)
	}
	_, last := m.Until(patience, is("staging-a up", "staging-b up"))
	ways.Way("believed again").Note(last == nil, "%v", last)
	return ways.Decide()
}

// deadInstance takes a Redis away in two ways; who registers it goes on. Killed, it costs no connection at all.
func deadInstance(m *check.M) check.Result {
	const limit, hold, n = 8 * time.Second, time.Second, 40
	var ways check.Ways
	for _, way := range []struct {
		name string
		do   func(string, ...check.FaultOption) *check.Fault
	}{{"killed", m.Kill}, {"hangs", m.Pause}} {
		well(m)
		as := ways.Way(way.name)
		gone := way.do(redisA)
		if way.name == "killed" {
			meets(m, as, n, redisB)
		} else { // it accepts, and nothing comes: only a check can know
			took, last := m.Until(patience, func(m *check.M) error {
				if s := told(m, staging).states(); s != "staging-a failing, staging-b up" {
					return fmt.Errorf("%s", s)
				}
				return nil
			})
			as.Note(took.Within(limit), "passed over after %v: %v", took, last)
			if took == check.Never { // it is decided, and each connection would hang
				m.Heal(gone)
				break
			}
		}
		held := m.Hold(hold, only(m, as, redisB))
		as.Note(held.Broke == nil, "it %v", held)
		m.Need(strings.Contains(keys(m), prefix+"staging-a"), "the registry has dropped it by itself")
		m.Heal(gone)
		_, last := m.Until(patience, is("staging-a up", "staging-b up"))
		as.Note(last == nil, "it is not used again: %v", last)
	}
	return ways.Decide().Want("none fails; within %v", limit)
}

// sticky counts on open connections through all that happens around them.
func sticky(m *check.M) check.Result {
	const n = 12
	well(m)
	lines := open(m, n, redisA)
	defer closeAll(lines)
	key := m.Fresh()
	ids := make([]int, n)
	for i, l := range lines {
		ids[i] = check.Got(redis.Int(l.Do("CLIENT", "ID")))
	}
	var ways check.Ways
	count := 0
	ask := func(when string) {
		for range 3 {
			for i, l := range lines {
				got, err := redis.Int(l.Do("INCR", key))
				count++
				ways.Way(when).Note(err == nil && got == count, "connection %d: counted %d, not %d: %v", i, got, count, err)
			}
		}
		for i, l := range lines {
			id, err := redis.Int(l.Do("CLIENT", "ID"))
			ways.Way(when).Note(err == nil && id == ids[i], "connection %d: it is %d there, and was %d: %v", i, id, ids[i], err)
		}
	}
	ask("at first")
	joined := put(m, "staging-c", `{"address":"redis-staging-b:6379","labels":{"env":"staging"}}`)
	m.Await(patience, "another instance", is("staging-a up", "staging-b up", "staging-c up"))
	ask("one has joined")
	m.Heal(joined)
	m.Await(patience, "its leaving", is("staging-a up", "staging-b up"))
	ask("it has left")
	gone := m.Kill(redisB)
	m.Await(patience, "its being passed over", is("staging-a up", "staging-b failing"))
	ask("another has died")
	m.Heal(gone)
	away := m.Stop(registry)
	m.Await(patience, "its being noticed", func(m *check.M) error {
		if !told(m, staging).Services[0].Stale {
			return fmt.Errorf("the registry is believed")
		}
		return nil
	})
	ask("the registry is away")
	m.Heal(away)
	m.Await(patience, "all of it again", is("staging-a up", "staging-b up"))
	ask("the registry is another")
	return ways.Decide()
}

// coldStart kills the ambassador while there is no registry.
func coldStart(m *check.M) check.Result {
	const hold, n = time.Second, 20
	well(m)
	before := m.State(ambassador).StartedAt
	away := m.Stop(registry)
	gone := m.Kill(ambassador)
	// It is healed when it is ready again. One that never is without a registry gets that back.
	ready := check.Never
	m.Together(
		func(m *check.M) { m.Heal(gone) },
		func(m *check.M) {
			ready, _ = m.Until(patience, func(m *check.M) error { return m.Get(staging, adminPort, "/readyz").Is(200) })
			if ready == check.Never {
				m.Heal(away)
			}
		},
	)
	if ready == check.Never {
		return check.Decide(false, "without a registry it was not ready in %v", patience).Of(1)
	}
	var as check.Tally
	started := m.State(ambassador).StartedAt
	m.Need(started.After(before), "it was not started again")
	m.Await(patience, "both instances' being checked", func(m *check.M) error {
		if s := told(m, staging).states(); s != "staging-a up, staging-b up" {
			return fmt.Errorf("%s", s)
		}
		return nil
	})
	held := m.Hold(hold, only(m, &as, redisA, redisB))
	meets(m, &as, n, redisA, redisB)
	s := told(m, staging).Services[0]
	honest := s.Stale && s.From == "disk" && s.Age > hold.Seconds()
	m.Heal(away)
	_, last := m.Until(patience, is("staging-a up", "staging-b up"))
	from := told(m, staging).Services[0].From
	return check.Decide(held.Broke == nil && as.Whole() && honest && last == nil && from == "registry",
		"%v connections were well, it %v; from the %s, %.1f s old; then from the %s", &as, held, s.From, s.Age, from).
		Want("all; from the disk, with its age; then from the registry").Of(as.All()).Because("%s", as.Odd())
}

// relist hides from the ambassador that an instance has left.
func relist(m *check.M) check.Result {
	const limit, hold = 5 * time.Second, time.Second
	well(m)
	frozen := m.Pause(ambassador)
	gone := m.Stop(registerB)
	m.Await(patience, "its being taken out of the registry", func(m *check.M) error {
		if k := keys(m); strings.Contains(k, "staging-b") {
			return fmt.Errorf("%s", k)
		}
		return nil
	})
	// Two more revisions, so that the one that took it out is history, and then no history before the last.
	etcdctl(m, "put", "/elsewhere", "1")
	etcdctl(m, "del", "/elsewhere")
	var revision int64
	_, err := fmt.Sscanf(revisionOf(etcdctl(m, "endpoint", "status", "--write-out=json")), "%d", &revision)
	m.Need(err == nil, "no revision of etcd's: %v", err)
	etcdctl(m, "compact", "--physical", fmt.Sprint(revision))
	begun := time.Now()
	m.Heal(frozen)
	_, last := m.Until(patience, is("staging-a up"))
	took := check.Took(time.Since(begun))
	var as check.Tally
	held := m.Hold(hold, only(m, &as, redisA))
	m.Heal(gone)
	return check.Decide(took.Within(limit) && last == nil && held.Broke == nil && as.Whole(), "gone after %v (%v), and it %v", took, last, held).
		Want("within %v, and so for %v", limit, hold).Of(as.All()).Because("%s", as.Odd())
}

// revisionOf is the number in etcd's own status.
func revisionOf(text string) string {
	_, after, _ := strings.Cut(text, `"revision":`)
	return after
}
