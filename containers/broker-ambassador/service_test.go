package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// fakes are servers by address: what they do to who connects.
type fakes map[string]func() (net.Conn, error)

func (f fakes) dial(_ context.Context, _, address string) (net.Conn, error) {
	if do := f[address]; do != nil {
		return do()
	}
	return nil, errors.New("connection refused")
}

func accept() (net.Conn, error) { c, _ := net.Pipe(); return c, nil }

func newService(t *testing.T, f fakes, change func(*Policy)) *Service {
	p := Policy{
		Keep: time.Hour, CheckInterval: time.Second, CheckTimeout: time.Second, CheckFall: 2,
		ConnectTimeout: time.Second, LeaveTimeout: 10 * time.Second,
	}
	if change != nil {
		change(&p)
	}
	s := &Service{
		Name: "redis", Select: Selector{"env": "staging"}, Check: Check{Kind: "tcp"}, Policy: p, Dial: f.dial,
		Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Changed: func() {}, Believed: func() {},
	}
	s.Start(t.Context(), Kept{}, "not answered yet")
	return s
}

// says is an answer with these instances in staging.
func says(ids ...string) Answer {
	a := newAnswer("1")
	for _, id := range ids {
		a.Instances["redis"] = append(a.Instances["redis"], Instance{ID: id, Address: id + ":1", Labels: map[string]string{"env": "staging"}})
	}
	return a
}

func states(s *Service) string {
	var list []string
	for _, in := range s.status().Instances {
		list = append(list, in.ID+" "+in.State)
	}
	slices.Sort(list)
	return strings.Join(list, ", ")
}

func want(t *testing.T, s *Service, what, states_ string) {
	t.Helper()
	synctest.Wait()
	if got := states(s); got != states_ {
		t.Errorf("%s: %q, want %q", what, got, states_)
	}
}

func TestBelief(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t, fakes{"a:1": accept, "b:1": accept}, nil)
		if ok, why := s.Ready(); ok || !strings.Contains(why, "not answered yet") {
			t.Errorf("%v, %q", ok, why)
		}
		s.Hear(says("a", "b"), nil)
		want(t, s, "first", "a up, b up")

		time.Sleep(time.Minute)
		s.Hear(Answer{}, errors.New("no whole answer within 2s"))
		want(t, s, "no answer", "a up, b up")
		if st := s.status(); !st.Stale || st.Age < 59 || st.Age > 61 {
			t.Errorf("its age: %+v", st)
		}
		s.Hear(says(), nil)
		want(t, s, "empty", "a up, b up")
		if st := s.status(); !strings.Contains(st.Doubt, "env=staging") || !st.Ready {
			t.Errorf("%+v", st)
		}
		other := says()
		other.Instances["redis"] = []Instance{{ID: "p", Address: "p:1", Labels: map[string]string{"env": "production"}}}
		s.Hear(other, nil)
		want(t, s, "another environment's alone", "a up, b up")

		bad := says("b")
		bad.Garbled["redis"] = map[string]string{"a": "not a registration", "z": "not a registration"}
		s.Hear(bad, nil)
		want(t, s, "one garbled", "a up, b up")
		if st := s.status(); !st.Stale || len(st.Garbled) != 2 {
			t.Errorf("%+v", st)
		}
		s.Hear(says("a", "b"), nil)
		if st := s.status(); st.Stale || st.Age > 1 || len(st.Garbled) != 0 {
			t.Errorf("believed again: %+v", st)
		}
		s.Hear(says("a"), nil)
		want(t, s, "one left", "a up")

		s.Hear(Answer{}, errors.New("away"))
		time.Sleep(time.Hour + time.Second)
		s.Tick()
		want(t, s, "too old", "")
		if ok, why := s.Ready(); ok || !strings.Contains(why, "away") {
			t.Errorf("%v, %q", ok, why)
		}
	})
}

// TestOwnFault: that this machine has no descriptor left is no fault of an instance, whoever finds it out.
func TestOwnFault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var short atomic.Bool
		own := func() (net.Conn, error) {
			if short.Load() {
				return nil, &net.OpError{Op: "dial", Err: os.NewSyscallError("socket", syscall.EMFILE)}
			}
			return accept()
		}
		s := newService(t, fakes{"a:1": own, "b:1": own}, nil)
		s.Hear(says("a", "b"), nil)
		want(t, s, "first", "a up, b up")
		short.Store(true)
		time.Sleep(time.Minute) // of checks
		want(t, s, "no descriptor for checks", "a up, b up")
		b := s.choose(map[*backend]bool{})
		_, err := own()
		s.failed(b, err)
		s.failed(b, fmt.Errorf("all addresses: %w", err))
		want(t, s, "no descriptor for a connection", "a up, b up")
		s.failed(b, syscall.ECONNREFUSED)
		if got := states(s); strings.Count(got, "failing") != 1 {
			t.Errorf("refused: %s", got)
		}
	})
}

func TestFit(t *testing.T) {
	for _, c := range []struct {
		files      uint64
		most, want int
	}{{0, 1024, 1024}, {1 << 20, 1024, 1024}, {1024, 1024, 480}, {2112, 1024, 1024}, {2110, 1024, 1023}, {10, 1024, 1}, {1 << 63, 1024, 1024}} {
		if got := fit(c.most, c.files); got != c.want {
			t.Errorf("%d files: %d, want %d", c.files, got, c.want)
		}
	}
}

func TestNothingKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t, fakes{}, nil)
		a := says()
		a.Instances["redis"] = []Instance{{ID: "p", Address: "p:1", Labels: map[string]string{"env": "production"}}}
		s.Hear(a, nil)
		if ok, why := s.Ready(); ok || !strings.Contains(why, "no instance with env=staging: the registry has env=production") {
			t.Errorf("%v, %q", ok, why)
		}
	})
}

func TestPolicies(t *testing.T) {
	garbled := says("b")
	garbled.Garbled["redis"] = map[string]string{"a": "x"}
	for _, c := range []struct {
		name   string
		policy func(*Policy)
		answer Answer
		err    error
		want   string
	}{
		{"no answer, nothing kept", func(p *Policy) { p.Keep = 0 }, Answer{}, errors.New("away"), ""},
		{"empty, nothing kept", func(p *Policy) { p.Keep = 0 }, says(), nil, ""},
		{"garbled, nothing kept", func(p *Policy) { p.Keep = 0 }, garbled, nil, "b up"},
		{"empty is believed", func(p *Policy) { p.TrustEmpty = true }, says(), nil, ""},
		{"empty is believed, and no answer is none", func(p *Policy) { p.TrustEmpty = true }, Answer{}, errors.New("away"), "a up, b up"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newService(t, fakes{"a:1": accept, "b:1": accept}, c.policy)
				s.Hear(says("a", "b"), nil)
				synctest.Wait()
				time.Sleep(time.Second)
				s.Hear(c.answer, c.err)
				want(t, s, c.name, c.want)
			})
		})
	}
}

func TestChecks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fakes{"a:1": accept}
		var alive atomic.Bool
		alive.Store(true)
		f["b:1"] = func() (net.Conn, error) {
			if !alive.Load() {
				return nil, errors.New("refused")
			}
			return accept()
		}
		s := newService(t, f, nil)
		s.Hear(says("a", "b", "c"), nil)
		want(t, s, "one that never answered", "a up, b up, c failing")
		alive.Store(false)
		time.Sleep(1100 * time.Millisecond)
		want(t, s, "one failure", "a up, b up, c failing")
		time.Sleep(1200 * time.Millisecond)
		want(t, s, "two", "a up, b failing, c failing")
		for range 10 {
			b := s.choose(nil)
			if b == nil || b.ID != "a" {
				t.Fatalf("%+v is chosen", b)
			}
			s.release(b, nil)
		}
		alive.Store(true)
		time.Sleep(1200 * time.Millisecond)
		want(t, s, "back", "a up, b up, c failing")
		s.failed(s.backends[0], errors.New("reset"))
		want(t, s, "a connection failed", "a failing, b up, c failing")
	})
}

func TestChoice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t, fakes{"a:1": accept, "b:1": accept, "c:1": accept}, nil)
		a := says("a", "b", "c")
		a.Instances["redis"][0].Weight, a.Instances["redis"][1].Weight = 1, 3
		a.Instances["redis"][2].Priority = 1
		s.Hear(a, nil)
		synctest.Wait()
		count := map[string]int{}
		for range 40 {
			count[s.choose(nil).ID]++
		}
		if count["a"] != 10 || count["b"] != 30 {
			t.Errorf("%v, and weights of 1 and 3", count)
		}
		tried := map[*backend]bool{s.backends[0]: true, s.backends[1]: true}
		if b := s.choose(tried); b == nil || b.ID != "c" {
			t.Errorf("%+v: the next priority", b)
		}
	})
}

func TestLeaving(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t, fakes{"a:1": accept, "b:1": accept}, nil)
		s.Hear(says("a"), nil)
		synctest.Wait()
		held := s.choose(nil)
		s.Hear(says("b"), nil)
		want(t, s, "with a connection", "a leaving, b up")
		if b := s.choose(nil); b.ID != "b" {
			t.Errorf("%s is chosen", b.ID)
		}
		s.Hear(says("a", "b"), nil)
		want(t, s, "back in time", "a up, b up")
		if s.backends[0] != held || held.open != 1 {
			t.Error("it is another")
		}
		s.Hear(says("b"), nil)
		time.Sleep(11 * time.Second)
		want(t, s, "its time is over", "a leaving, b up")
		if s.attach(held, nil) {
			t.Error("a connection is made when all have been told to go")
		}
		s.Hear(says("a", "b"), nil)
		want(t, s, "anew, beside what is left of it", "a leaving, a up, b up")
		s.release(held, nil)
		want(t, s, "the last connection ended", "a up, b up")
	})
}

func TestMoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t, fakes{"a:1": accept, "elsewhere:1": accept}, nil)
		s.Hear(says("a"), nil)
		synctest.Wait()
		held := s.choose(nil)
		moved := says("a")
		moved.Instances["redis"][0].Address = "elsewhere:1"
		s.Hear(moved, nil)
		want(t, s, "of the same ID elsewhere", "a leaving, a up")
		if b := s.choose(nil); b.Address != "elsewhere:1" || held.Address != "a:1" {
			t.Errorf("%s, and the old one is %s", b.Address, held.Address)
		}
	})
}
