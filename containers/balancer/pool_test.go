package main

import (
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"distlab/containers/internal/balance"
)

// pool is one with replicas of these weights, named a:1, b:1 …, all of them well.
func pool(policy string, weights ...int) *Pool {
	p := &Pool{Policy: policy, Budget: balance.Budget{PerSecond: 1e6}, Queue: 10}
	if policy == "hash" {
		p.Key.UnmarshalText([]byte("$uri"))
	}
	p.Set(members(weights...))
	return p
}

func members(weights ...int) []Member {
	var list []Member
	for i, w := range weights {
		list = append(list, Member{Addr: string(rune('a'+i)) + ":1", Weight: w})
	}
	return list
}

func asking(path string) *balance.Facts {
	f := &balance.Facts{Header: http.Header{}}
	f.SetTarget(path)
	return f
}

// deal chooses n times, ending each use at once, and is the replicas' letters.
func deal(t *testing.T, p *Pool, n int, path func(int) string) string {
	t.Helper()
	var b strings.Builder
	for i := range n {
		c, err := p.Choose(asking(path(i)), "")
		if err != nil {
			t.Fatal(err)
		}
		b.WriteByte(c.Addr[0])
		p.Done(c.Replica, Good)
	}
	return b.String()
}

func root(int) string { return "/" }

// The order is nginx's: weights of 5, 1, 1 give a a b a c a a.
func TestSmooth(t *testing.T) {
	if got := deal(t, pool("smooth", 5, 1, 1), 14, root); got != "aabacaaaabacaa" {
		t.Errorf("got %s", got)
	}
	p := pool("smooth", 1, 1)
	p.SlowStart = time.Hour // not for those that are there at the start
	if got := deal(t, p, 6, root); got != "ababab" {
		t.Errorf("got %s", got)
	}
}

func counts(text string) map[byte]int {
	n := map[byte]int{}
	for i := range len(text) {
		n[text[i]]++
	}
	return n
}

// Of two the less busy one: a replica that never ends anything gets little more.
func TestLeast(t *testing.T) {
	p := pool("least", 1, 1, 1)
	held := 0
	got := map[byte]int{}
	for range 300 {
		c, err := p.Choose(asking("/"), "")
		if err != nil {
			t.Fatal(err)
		}
		got[c.Addr[0]]++
		if c.Addr[0] == 'a' {
			held++
			continue
		}
		p.Done(c.Replica, Good)
	}
	if got['a'] > 3 || held != got['a'] || got['b'] < 100 || got['c'] < 100 {
		t.Errorf("dealt %v: a, which ends nothing, may have 3 at most", got)
	}
	// By weight, where all are idle.
	if n := counts(deal(t, pool("least", 3, 1), 4000, root)); n['a'] < 2700 || n['a'] > 3300 {
		t.Errorf("weights of 3 and 1 were dealt %v", n)
	}
}

// The ring is nginx's (balance compares it with the real one); here: that a key stays, and few move.
func TestHash(t *testing.T) {
	path := func(i int) string { return fmt.Sprintf("/page/%d", i) }
	three, four := pool("hash", 1, 1, 1), pool("hash", 1, 1, 1, 1)
	before, again, after := deal(t, three, 2000, path), deal(t, three, 2000, path), deal(t, four, 2000, path)
	if before != again {
		t.Error("a key does not stay")
	}
	moved := 0
	for i := range before {
		if before[i] != after[i] {
			moved++
			if after[i] != 'd' {
				t.Fatalf("key %d moved from %c to %c", i, before[i], after[i])
			}
		}
	}
	if moved < 350 || moved > 650 {
		t.Errorf("%d of 2000 keys moved to a fourth", moved)
	}
}

// A key that all ask for goes on to the next when its replica has a quarter more than its share.
func TestBound(t *testing.T) {
	for _, bound := range []float64{0, 0.25} {
		p := pool("hash", 1, 1, 1, 1)
		p.Bound = bound
		got := map[string]int{}
		for range 100 {
			c, err := p.Choose(asking("/hot"), "")
			if err != nil {
				t.Fatal(err)
			}
			got[c.Addr]++
		}
		most := slices.Max(slices.Collect(func(yield func(int) bool) {
			for _, n := range got {
				yield(n)
			}
		}))
		if bound == 0 && (len(got) != 1 || most != 100) || bound > 0 && most > int(math.Ceil(1.25*100/4)) {
			t.Errorf("bound %v: %v", bound, got)
		}
	}
}

// fail has a replica fail so often in a row.
func fail(p *Pool, addr string, times int) {
	for range times {
		for {
			c, err := p.Choose(asking("/"), "")
			if err != nil {
				panic(err)
			}
			if c.Addr == addr {
				p.Done(c.Replica, Failed)
				break
			}
			p.Done(c.Replica, Good)
		}
	}
}

func state(p *Pool, addr string) State {
	for _, s := range p.States() {
		if s.Addr == addr {
			return s
		}
	}
	return State{}
}

func TestEjection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := pool("smooth", 1, 1, 1, 1)
		p.Eject = Ejection{After: 3, For: 10 * time.Second, Most: 25 * time.Second, Share: 0.5}
		fail(p, "a:1", 2)
		if s := state(p, "a:1"); !s.Up || s.Failures != 2 {
			t.Errorf("after 2 failures: %+v", s)
		}
		for _, want := range []float64{10, 20, 25, 25} {
			fail(p, "a:1", 3-state(p, "a:1").Failures)
			s := state(p, "a:1")
			if s.Up || s.Why != "ejected" || s.Ejected < 0.9*want-1 || s.Ejected > 1.1*want {
				t.Errorf("out for %.1f s, want some %.0f: %+v", s.Ejected, want, s)
			}
			if got := deal(t, p, 30, root); strings.Contains(got, "a") {
				t.Errorf("ejected, it is dealt %s", got)
			}
			time.Sleep(time.Duration(s.Ejected*float64(time.Second)) + time.Millisecond)
			if s := state(p, "a:1"); !s.Up {
				t.Errorf("its time is over: %+v", s)
			}
		}
		// After a quiet time it begins anew.
		time.Sleep(10 * time.Minute)
		fail(p, "a:1", 3)
		if s := state(p, "a:1"); s.Ejected > 11 {
			t.Errorf("after a quiet time: %+v", s)
		}
		// Half of four may be out, and no more.
		fail(p, "b:1", 3)
		fail(p, "c:1", 9)
		if !state(p, "c:1").Up || state(p, "b:1").Up {
			t.Errorf("%+v", p.States())
		}
		fail(p, "d:1", 2)
		p.Done(must(p.Choose(asking("/"), "d:1")).Replica, Good)
		if s := state(p, "d:1"); s.Failures != 0 {
			t.Errorf("a success ends the row: %+v", s)
		}
	})
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestHealthDecides(t *testing.T) {
	p := pool("smooth", 1, 1, 1, 1)
	p.Checks = true
	if _, err := p.Choose(asking("/"), ""); err != errNone {
		t.Errorf("before any check: %v", err)
	}
	for i, r := range p.Replicas() {
		if !p.Health(r, i < 2) {
			t.Errorf("the first check of %s is no news", r.Addr)
		}
	}
	if got := deal(t, p, 4, root); got != "abab" {
		t.Errorf("dealt %s", got)
	}
	if p.Health(p.Replicas()[0], true) {
		t.Error("the same again is news")
	}
	// Panic: half can be used, and 60 % must be.
	p.Panic = 0.6
	if got := counts(deal(t, p, 40, root)); len(got) != 4 {
		t.Errorf("in panic dealt %v", got)
	}
	p.Panic = 0.5
	if got := counts(deal(t, p, 40, root)); len(got) != 2 {
		t.Errorf("at the threshold dealt %v", got)
	}
	// None can: no panic helps, and the answer is quick.
	p.Panic = 1
	for _, r := range p.Replicas() {
		p.Health(r, false)
	}
	if _, err := p.Choose(asking("/"), ""); err != errNone {
		t.Errorf("all are dead: %v", err)
	}
	// The first that is back gets everything at once, whatever slow start there is.
	p.Panic, p.SlowStart = 0, time.Hour
	p.Health(p.Replicas()[2], true)
	if got := deal(t, p, 4, root); got != "cccc" || state(p, "c:1").Why != "up" {
		t.Errorf("dealt %s: %+v", got, state(p, "c:1"))
	}
}

func TestSlowStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := pool("smooth", 1, 1)
		p.SlowStart = 10 * time.Second
		deal(t, p, 2, root)
		p.Set(members(1, 1, 1))
		share := func() float64 { return float64(counts(deal(t, p, 3000, root))['c']) / 1000 }
		for _, c := range []struct {
			after     time.Duration
			low, high float64 // of a third
		}{{0, 0.1, 0.2}, {5 * time.Second, 0.6, 0.75}, {11 * time.Second, 0.99, 1.01}} {
			time.Sleep(c.after)
			if got := share(); got < c.low || got > c.high {
				t.Errorf("after %v more it gets %.2f of its share, want %.2f to %.2f", c.after, got, c.low, c.high)
			}
		}
	})
}

func TestMembershipKeepsWhatIsKnown(t *testing.T) {
	p := pool("smooth", 1, 1)
	c := must(p.Choose(asking("/"), ""))
	if c.Addr != "a:1" {
		t.Fatal(c.Addr)
	}
	p.Set(members(1, 1, 1)[1:]) // a leaves with a request in flight, c comes
	if got := deal(t, p, 4, root); strings.Contains(got, "a") || counts(got)['b'] != 2 {
		t.Errorf("dealt %s", got)
	}
	// A retry after the change does not go where it has been, nor to one that left.
	next := c
	if !p.Again(&next, asking("/"), true) || next.Addr == "a:1" {
		t.Fatalf("a retry went to %+v", next.Replica)
	}
	p.Done(next.Replica, Good)
	if n := c.Replica.peer.Conns(); n != 0 {
		t.Errorf("a has %d in flight", n)
	}
	p.Set([]Member{{Addr: "b:1", Weight: 1, Drain: true}, {Addr: "c:1", Weight: 1}})
	if got := deal(t, p, 4, root); got != "cccc" {
		t.Errorf("dealt %s though b drains", got)
	}
	if c := must(p.Choose(asking("/"), "b:1")); c.Addr != "b:1" || !c.Sticky {
		t.Errorf("b keeps those that it has: %+v", c.Replica)
	}
}

func TestBudgetAndUnsent(t *testing.T) {
	p := pool("smooth", 1, 1, 1)
	p.Budget = balance.Budget{}
	c := must(p.Choose(asking("/"), ""))
	if p.Again(&c, asking("/"), true) {
		t.Error("sent once more without a budget")
	}
	seen := []string{c.Addr}
	for p.Again(&c, asking("/"), false) {
		seen = append(seen, c.Addr)
	}
	slices.Sort(seen)
	if diff := cmp.Diff([]string{"a:1", "b:1", "c:1"}, seen); diff != "" {
		t.Errorf("what was not sent costs nothing, and goes to each once:\n%s", diff)
	}
	p.Done(c.Replica, Failed)
	for _, s := range p.States() {
		if s.InFlight != 0 {
			t.Errorf("%+v", s)
		}
	}
}

func TestQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := pool("smooth", 1)
		p.Queue = 2
		m := members(1)
		m[0].MaxConns = 1
		p.Set(m)
		c := must(p.Choose(asking("/"), ""))
		if _, err := p.Choose(asking("/"), ""); err != errFull {
			t.Fatalf("a second one: %v", err)
		}
		order := make(chan int, 3)
		late := make(chan struct{})
		for i := range 2 {
			go func() {
				if p.Wait(late, false) {
					order <- i
				} else {
					order <- -1
				}
			}()
			synctest.Wait()
		}
		if p.Wait(late, false) {
			t.Error("a third one waits in a queue of two")
		}
		if p.Waiting() != 2 {
			t.Errorf("%d wait", p.Waiting())
		}
		p.Done(c.Replica, Good)
		synctest.Wait()
		if got := <-order; got != 0 || p.Waiting() != 1 {
			t.Errorf("served %d first, %d wait", got, p.Waiting())
		}
		close(late)
		if got := <-order; got != -1 {
			t.Errorf("after its time: %d", got)
		}
	})
}
