package election

import (
	"fmt"
	"slices"
	"time"

	"distlab/lab/check"
)

// oneLeader has the owner hand over again and again while clients are at work.
func oneLeader(m *check.M) check.Result {
	const rounds = 10
	owner, t := well(m)
	began := time.Now()
	c := newClients(m, 3)
	first := t.Token
	c.work(m, func(m *check.M) {
		for range rounds {
			step(m, owner, time.Second)
			m.Await(patience, "another owner", follows(nodes, t.Token, &owner, &t))
			c.more(m, 20)
		}
	})
	var ways check.Ways
	ok := c.judge(m, &ways)
	own := terms(m, began)
	apart(&ways, own)
	m.Need(len(own) >= rounds && t.Token > first, "of %d changes %d were seen", rounds, len(own))
	return ways.Decide().Because("%d operations answered, %d terms", ok, len(own))
}

// failover takes the owner away in three ways.
func failover(m *check.M) check.Result {
	const limit = lease + 4*time.Second
	var ways check.Ways
	var took []string
	traffic := beside(m, func() {
		for _, way := range []struct {
			name string
			do   func(*check.M, node) []*check.Fault
		}{{"killed", crash}, {"frozen", freeze}, {"cut off", cut}} {
			owner, t := well(m)
			c := newClients(m, 1)
			as := ways.Way(way.name)
			gone := way.do(m, owner)
			begun := time.Now() // the engine takes longer than that on a busy machine
			var next node
			_, last := m.Until(limit+lease, follows(others(owner), t.Token, &next, &t))
			after := check.Took(time.Since(begun))
			if last != nil {
				after = check.Never
			}
			as.Note(after.Within(limit), "%s, %s was followed after %v: %v", owner.pod, way.name, after, last)
			took = append(took, after.String())
			if after != check.Never {
				o := c.do(m.Context(), c.names[0], 2, "")
				as.Note(o.known && o.writer == next.pod && o.balance == 3, "then a request got %d from %q: %d %s",
					o.status, o.writer, o.balance, o.why)
			}
			heal(m, gone)
			if after == check.Never { // it is decided, and the other ways would take as long
				return
			}
		}
	})
	return traffic.Fair(ways.Decide().Want("within %v", limit).Because("followed after %q", took))
}

// fenced freezes an owner between its last look and its write.
func fenced(m *check.M) check.Result {
	const slowly, n = 7 * time.Second, 15 // longer than an engine takes to freeze two containers
	owner, t := well(m)
	c := newClients(m, 1)
	account := c.names[0]
	var ways check.Ways
	var late operation
	var next node
	thinking := func(m *check.M) error {
		if k := m.Metric(owner.pod, clerkPort, "ledger_thinking"); k != 1 {
			return fmt.Errorf("%v think", k)
		}
		return nil
	}
	old := t.Token
	m.Together(
		func(m *check.M) { late = c.do(m.Context(), account, 1000, "&think="+slowly.String()) },
		func(m *check.M) {
			m.Await(patience, "the owner's being about to write", thinking)
			frozen := freeze(m, owner)
			m.Need(len(writes(m, c.after, owner.pod, 1000)) == 0, "it was frozen too late")
			m.Await(patience, "another owner", follows(others(owner), old, &next, &t))
			for i := range n {
				o := c.do(m.Context(), account, int64(1+i%3), "")
				m.Need(o.known && o.writer == next.pod, "the next owner does not write: %d %q %s", o.status, o.writer, o.why)
			}
			heal(m, frozen)
			m.Await(patience, "the old owner's try", func(m *check.M) error {
				if len(writes(m, c.after, owner.pod, 1000)) == 0 {
					return fmt.Errorf("it has not written")
				}
				return nil
			})
		})
	for _, e := range writes(m, c.after, owner.pod, 1000) {
		ways.Way("the write of who was the owner").Note(e.Verdict == "fenced", "it was %s, with token %d after token %d",
			e.Verdict, e.Token, t.Token)
	}
	// Awake, it does not take itself for the owner, and sends clients away.
	urls := make([]string, n)
	for i := range urls {
		urls[i] = fmt.Sprintf("http://%s:%d/accounts/%s", owner.pod, httpPort, account)
	}
	for _, p := range m.HTTPEach(check.Outside, nil, urls...) {
		ways.Way("awake").Note(p.Status == 421, "it answers %d %s", p.Status, p.Error)
	}
	c.judge(m, &ways)
	return ways.Decide().Because("%s with token %d, then %s with token %d; the client of the write was told %d",
		owner.pod, old, next.pod, t.Token, late.status)
}

// writes are the tries of a writer's to write for an operation that adds so much to a balance: no other one comes so far.
func writes(m *check.M, after int64, writer string, atLeast int64) (list []entry) {
	for _, e := range since(m, after) {
		if e.Op == "write" && e.Writer == writer && e.Balance >= atLeast {
			list = append(list, e)
		}
	}
	return list
}

// noEtcd freezes all of etcd: connections stay open, and nothing comes.
func noEtcd(m *check.M) check.Result {
	owner, t := well(m)
	began := time.Now()
	c := newClients(m, 1)
	var ways check.Ways
	var away []*check.Fault
	for _, at := range members {
		away = append(away, m.Pause(at))
	}
	over, last := m.Until(3*lease, func(m *check.M) error {
		now := ask(m, owner)
		// What it says and since when it has not renewed are of one moment.
		ways.Way("in time, by its own clock").Note(!now.Owner || now.Renewed < deadline.Seconds(),
			"%.1f s after its last renewal it says that it is the owner", now.Renewed)
		if now.Owner {
			return fmt.Errorf("it is the owner, %.1f s after its last renewal", now.Renewed)
		}
		return nil
	})
	ways.Way("it gives up").Note(over != check.Never, "%v", last)
	if over != check.Never {
		held := m.Hold(time.Second, func(m *check.M) error {
			if owner, now, err := ownerOf(m, nodes); err == nil {
				return fmt.Errorf("%s is the owner with token %d", owner.pod, now.Token)
			}
			return nil
		})
		ways.Way("and nobody else takes it").Note(held.Broke == nil, "it %v", held)
		for _, n := range nodes {
			p := m.HTTP(check.Outside, fmt.Sprintf("http://%s:%d/accounts/%s", n.pod, httpPort, c.names[0]))
			ways.Way("the apps know").Note(p.Status == 421, "%s answers %d %s", n.pod, p.Status, p.Error)
		}
	}
	heal(m, away)
	next, now := well(m)
	if over != check.Never {
		ways.Way("after").Note(now.Token > t.Token, "%s is the owner with token %d, after %d", next.pod, now.Token, t.Token)
	}
	c.do(m.Context(), c.names[0], 5, "")
	c.judge(m, &ways)
	apart(&ways, terms(m, began))
	return ways.Decide().Because("%s gave up after %v, %s followed", owner.pod, over, next.pod)
}

// oneEtcdDown takes two members away, one after the other.
func oneEtcdDown(m *check.M) check.Result {
	const hold = deadline + 700*time.Millisecond
	owner, t := well(m)
	c := newClients(m, 2)
	var ways check.Ways
	silent := 0.0 // how long etcd did not answer somebody else, at most
	same := func(m *check.M) error {
		var s struct {
			Silent float64 `json:"silent_seconds"`
		}
		m.JSON(proxy, adminPort, "/status", &s)
		silent = max(silent, s.Silent)
		now := ask(m, owner)
		if !now.Owner || now.Token != t.Token {
			return fmt.Errorf("%s: owner %v, token %d", owner.pod, now.Owner, now.Token)
		}
		return nil
	}
	first := leader(m)
	second := members[0]
	if second == first {
		second = members[1]
	}
	traffic := beside(m, func() {
		c.work(m, func(m *check.M) {
			for _, way := range []struct {
				name, member string
				do           func(string, ...check.FaultOption) *check.Fault
			}{{"the leader killed", first, m.Kill}, {"a member frozen", second, m.Pause}} {
				gone := way.do(way.member)
				held := m.Hold(hold, same)
				ways.Way(way.name).Note(held.Broke == nil, "%s: the owner: it %v", way.member, held)
				m.Heal(gone)
			}
		})
	})
	for _, o := range c.all() {
		ways.Way("requests").Note(o.known, "%s was answered %d %s", o.id, o.status, o.why)
	}
	held := m.Hold(100*time.Millisecond, same)
	ways.Way("after").Note(held.Broke == nil, "it %v", held)
	c.judge(m, &ways)
	res := traffic.Fair(ways.Decide())
	if res.Verdict == check.Fail && silent > (deadline-retry).Seconds() {
		m.Unknown("two members of etcd had no leader for %.1f s, which nobody can bear; it would have said: %s", silent, res.Measured)
	}
	return res
}

// handover stops the owner's elector in order, and its app goes on as one that is not the owner.
func handover(m *check.M) check.Result {
	const limit = 3 * time.Second
	owner, t := well(m)
	c := newClients(m, 2)
	var ways check.Ways
	var next node
	var gone *check.Fault
	began := time.Now()
	traffic := beside(m, func() {
		c.work(m, func(m *check.M) {
			m.Together(
				func(m *check.M) { gone = m.Stop(owner.elector) },
				func(m *check.M) { m.Until(patience, follows(others(owner), t.Token, &next, &t)) })
			c.more(m, 20)
		})
	})
	// When it was told to stop, and when the next one began, say their logs: the engine takes its time.
	after := check.Never
	if told := stopped(m, owner, began); next.pod != "" && !told.IsZero() {
		for _, own := range terms(m, began) {
			if own.token == t.Token {
				after = check.Took(own.began.Sub(told))
			}
		}
	}
	m.Heal(gone)
	ways.Way("followed").Note(after.Within(limit), "after %v", after)
	for _, o := range c.all() {
		ways.Way("requests").Note(o.known, "%s was answered %d %s", o.id, o.status, o.why)
	}
	c.judge(m, &ways)
	return traffic.Fair(ways.Decide().Want("within %v, and no request fails", limit).Because("%s followed after %v", next.pod, after))
}

// oneAddress looks at each answer: who gave it, and with which token.
func oneAddress(m *check.M) check.Result {
	owner, t := well(m)
	c := newClients(m, 3)
	var ways check.Ways
	var crashing, crashed time.Duration
	var gone []*check.Fault
	traffic := beside(m, func() {
		c.work(m, func(m *check.M) {
			for range 3 {
				step(m, owner, time.Second)
				m.Await(patience, "another owner", follows(nodes, t.Token, &owner, &t))
			}
			m.Await(patience, "the address's knowing it", func(m *check.M) error { return leadsTo(m, owner.pod) })
			crashing = time.Since(c.began)
			gone = crash(m, owner)
			crashed = time.Since(c.began)
			m.Await(patience, "another owner", follows(others(owner), t.Token, &owner, &t))
			c.more(m, 30)
		})
	})
	heal(m, gone)
	// An answer that came before another request began is of a time before it: its token is no newer.
	ops := c.all()
	newest, at := int64(0), 0 // the newest token of all answers that had come
	byCall, byReturn := sorted(ops, calls), sorted(ops, returns)
	longest := time.Duration(0)
	for _, o := range byCall {
		for ; at < len(byReturn) && byReturn[at].ret < o.call; at++ {
			newest = max(newest, byReturn[at].token)
		}
		inFlight := o.call <= crashed && o.ret >= crashing // when the owner died
		if o.add != 0 && inFlight {
			fair := o.known || o.status == 502 || o.status == 503
			ways.Way("changes in flight at the crash").Note(fair, "%s: %d %s", o.id, o.status, o.why)
		} else {
			ways.Way("answered").Note(o.known, "%s: %d %s", o.id, o.status, o.why)
		}
		if o.known {
			ways.Way("by the owner, whom the address names").Note(o.owner == o.writer, "%s: the address says %q, who answered is %q",
				o.id, o.owner, o.writer)
			ways.Way("never by an older one").Note(o.token >= newest, "%s: token %d after an answer with %d", o.id, o.token, newest)
			longest = max(longest, o.ret-o.call)
		}
	}
	c.judge(m, &ways)
	return traffic.Fair(ways.Decide().Because("the longest request took %v", longest.Round(time.Millisecond)))
}

// skew has the node with the slow clock be the owner, and looks at it and at the others in turns: an observer with one clock.
func skew(m *check.M) check.Result {
	owner, t := own(m, slow)
	old := t.Token
	c := newClients(m, 1)
	gone := cut(m, owner)
	var ways check.Ways
	var next node
	// Who says "owner" when asked after another one was heard to say so is one beside it: nobody has taken it back since.
	m.Await(patience, "another owner", func(m *check.M) error {
		err := follows(others(owner), old, &next, &t)(m)
		if err == nil {
			for range 20 {
				now := ask(m, owner)
				ways.Way("one at a time").Note(!now.Owner, "%s says that it is the owner, %.1f s after its last renewal, and %s is",
					owner.pod, now.Renewed, next.pod)
			}
		}
		return err
	})
	last := ask(m, next)
	m.Need(last.Owner && last.Token == t.Token, "the next owner has not stayed it")
	o := c.do(m.Context(), c.names[0], 3, "")
	m.Need(o.known, "no request was answered: %d %s", o.status, o.why)
	heal(m, gone)
	well(m)
	c.judge(m, &ways)
	// It may have been the owner for long.
	all := slices.DeleteFunc(terms(m, time.Now().Add(-time.Hour)), func(t term) bool { return t.token < old })
	apart(&ways, all)
	return ways.Decide().Because("%s followed %s", next.pod, owner.pod)
}
