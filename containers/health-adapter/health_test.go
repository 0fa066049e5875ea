package main

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

var errNo = errors.New("no")

// script answers checks in order, and counts them. After its end it repeats the last answer.
type script struct {
	answers []error
	asked   atomic.Int32
}

func (s *script) ask(context.Context) (Finding, error) {
	i := int(s.asked.Add(1)) - 1
	return Finding{}, s.answers[min(i, len(s.answers)-1)]
}

// TestHysteresis: the first check decides; then it takes Fall failures in a row, or Rise successes.
func TestHysteresis(t *testing.T) {
	ok, no := error(nil), errNo
	for _, tt := range []struct {
		name    string
		answers []error
		want    []bool
	}{
		{"first up", []error{ok, ok}, []bool{true, true}},
		{"first down", []error{no, no}, []bool{false, false}},
		{"one failure is no change", []error{ok, no, ok}, []bool{true, true, true}},
		{"two are none", []error{ok, no, no, ok}, []bool{true, true, true, true}},
		{"three are", []error{ok, no, no, no}, []bool{true, true, true, false}},
		{"not three in all, but in a row", []error{ok, no, no, ok, no, no}, []bool{true, true, true, true, true, true}},
		{"one success is no change", []error{no, ok, no}, []bool{false, false, false}},
		{"two are", []error{no, ok, ok}, []bool{false, false, true}},
		{"not two in all", []error{no, ok, no, ok}, []bool{false, false, false, false}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &script{answers: tt.answers}
				changes := 0
				h := &Health{Ask: s.ask, TTL: time.Second, Rise: 2, Fall: 3, Changed: func(Report) { changes++ }}
				var got []bool
				for range tt.answers {
					got = append(got, h.Get(t.Context()).Up)
					time.Sleep(time.Second)
				}
				if diff := cmp.Diff(tt.want, got); diff != "" {
					t.Errorf("(-want +got)\n%s", diff)
				}
				want := 1 // from unknown
				for i := range tt.want[1:] {
					if tt.want[i] != tt.want[i+1] {
						want++
					}
				}
				if changes != want {
					t.Errorf("%d changes, want %d", changes, want)
				}
			})
		})
	}
}

// TestCache: a thousand who ask cost one check in each TTL, and are told how old their answer is.
func TestCache(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{answers: []error{nil}}
		h := &Health{Ask: s.ask, TTL: time.Second}
		for i := range 5000 {
			r := h.Get(t.Context())
			if age := time.Since(r.At); age >= time.Second {
				t.Fatalf("answer %d is %s old", i, age)
			}
			time.Sleep(time.Millisecond)
		}
		if n := s.asked.Load(); n != 5 {
			t.Errorf("%d checks in 5 s, want 5", n)
		}
		if r := h.Last(); !r.Cached || time.Since(r.At) != time.Second {
			t.Errorf("the last is %s old, cached %t", time.Since(r.At), r.Cached)
		}
	})
}

// TestSingleFlight: all who ask while a check is made wait for that one.
func TestSingleFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int32
		h := &Health{Timeout: time.Second, Ask: func(context.Context) (Finding, error) {
			asked.Add(1)
			time.Sleep(500 * time.Millisecond)
			return Finding{}, nil
		}}
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				if r := h.Get(t.Context()); !r.Up || r.Cached {
					t.Errorf("got %+v", r)
				}
			})
		}
		wg.Wait()
		if n := asked.Load(); n != 1 {
			t.Errorf("%d checks, want 1", n)
		}
		h.Get(t.Context())
		if n := asked.Load(); n != 2 {
			t.Errorf("%d checks without a cache, want 2", n)
		}
	})
}

// TestWaiterLeaves: who goes away gets what is known, and does not end the check for the others.
func TestWaiterLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &Health{Timeout: time.Second, Ask: func(ctx context.Context) (Finding, error) {
			select {
			case <-ctx.Done():
				return Finding{}, ctx.Err()
			case <-time.After(500 * time.Millisecond):
				return Finding{}, nil
			}
		}}
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if r := h.Get(ctx); r.known() {
			t.Errorf("got %+v, want nothing yet", r)
		}
		if r := h.Get(t.Context()); !r.Up {
			t.Errorf("the other got %+v", r)
		}
	})
}

// TestTimeout: an answer comes within Timeout whatever Ask does: at its end if Ask heeds it, shortly after if not. No
// second Ask is begun while the first one is stuck, and it goes on when that has ended.
func TestTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &Health{Timeout: time.Second, Ask: func(ctx context.Context) (Finding, error) {
			<-ctx.Done()
			return Finding{}, errors.New("whatever the driver says")
		}}
		begun := time.Now()
		if r := h.Get(t.Context()); r.Up || r.Reason != "no answer within 1s" || time.Since(begun) != time.Second {
			t.Errorf("after %s: %+v", time.Since(begun), r)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int32
		release := make(chan struct{})
		h := &Health{Timeout: time.Second, Rise: 1, Ask: func(context.Context) (Finding, error) {
			asked.Add(1)
			<-release
			return Finding{}, nil
		}}
		begun := time.Now()
		if r := h.Get(t.Context()); r.Up || time.Since(begun) != time.Second+grace {
			t.Errorf("after %s: %+v", time.Since(begun), r)
		}
		if r := h.Get(t.Context()); r.Reason != errStuck.Error() {
			t.Errorf("while stuck: %+v", r)
		}
		if n := asked.Load(); n != 1 {
			t.Errorf("%d checks at a time", n)
		}
		close(release)
		synctest.Wait()
		if r := h.Get(t.Context()); !r.Up {
			t.Errorf("after it: %+v", r)
		}
	})
}

// TestNoTimeout: without one, the answer takes as long as the server.
func TestNoTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &Health{Ask: func(context.Context) (Finding, error) {
			time.Sleep(time.Hour)
			return Finding{}, nil
		}}
		begun := time.Now()
		if r := h.Get(t.Context()); !r.Up || time.Since(begun) != time.Hour {
			t.Errorf("after %s: %+v", time.Since(begun), r)
		}
	})
}
