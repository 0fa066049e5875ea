package check

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"sync"
	"time"
)

// M is a measurement under way: what a claim is written in. Its methods are those of [Stack] and more, without the errors:
// what cannot be done ends the measurement as inconclusive, with the error as its reason, there and then. So a claim
// says what it measures, line by line:
//
//	func appDown(m *check.M) check.Result {
//		gone := m.Stop("app")
//		bad, _ := m.Until(3*limit, func(m *check.M) error { return m.Get("pod", 8443, "/").Is(502) })
//		m.Heal(gone)
//		…
//		return check.Decide(bad.Within(limit), "502 after %v", bad).Want("within %v", limit).Of(1)
//	}
//
// An M belongs to one goroutine. [M.Each] and [M.Together] give each of theirs one of its own; in a goroutine that a
// claim starts by itself, neither a method of M nor [Must] or [Got] may be used, for what ends there would end the tool.
type M struct {
	// Stack is the lab with the errors, for a claim that wants to see one.
	Stack *Stack
	ctx   context.Context
}

// By makes a claim's Measure of a function on [M].
func By(f func(*M) Result) func(context.Context, *Stack) (Result, error) {
	return func(ctx context.Context, s *Stack) (Result, error) { return f(&M{Stack: s, ctx: ctx}), nil }
}

// ended is what a measurement panics with to end itself: a result, or the error because of which there is none.
type ended struct {
	res Result
	err error
}

// Context ends when the claim's time is up.
func (m *M) Context() context.Context { return m.ctx }

// Rand is the claim's source of random numbers: [Stack.Rand]. It is for one goroutine at a time.
func (m *M) Rand() *rand.Rand { return m.Stack.Rand() }

// Fresh is a name that nothing in the lab has had before: the claim's ID and what the seed gives.
func (m *M) Fresh() string { return fmt.Sprintf("%s-%08x", m.Stack.claim, m.Rand().Uint32()) }

// Unknown ends the measurement as inconclusive, for a reason.
func (m *M) Unknown(format string, args ...any) { panic(&ended{res: Unknown(format, args...)}) }

// Need ends the measurement as inconclusive unless a precondition holds: what is measured would say nothing then.
func (m *M) Need(holds bool, format string, args ...any) {
	if !holds {
		m.Unknown(format, args...)
	}
}

// Must ends the measurement as inconclusive if there is an error. It is for the claim's own goroutine and those of
// [M.Each] and [M.Together].
func Must(err error) {
	if err != nil {
		panic(&ended{err: err})
	}
}

// Got is what a call gave; an error ends the measurement, as with [Must]:
//
//	value := check.Got(client.Get(ctx, key).Result())
func Got[T any](v T, err error) T {
	Must(err)
	return v
}

// outcome is what a panic says of a measurement: its own end, or that something is broken.
func outcome(p any) (Result, error) {
	if e, ok := p.(*ended); ok {
		return e.res, e.err
	}
	return Result{}, fmt.Errorf("the measurement panicked: %v\n%s", p, debug.Stack())
}

// Each calls f with 0 to n-1, so many at a time, and returns when all are done. One that ends the measurement ends the
// others too.
func (m *M) Each(n, atOnce int, f func(m *M, i int)) {
	next := make(chan int)
	workers := make([]func(*M), min(n, atOnce))
	for w := range workers {
		workers[w] = func(m *M) {
			for i := range next {
				f(m, i)
			}
		}
	}
	feed := func(m *M) {
		defer close(next)
		for i := range n {
			select {
			case next <- i:
			case <-m.ctx.Done():
				return
			}
		}
	}
	m.Together(append(workers, feed)...)
}

// Together calls functions at the same time and returns when all are done. One that ends the measurement ends the others
// too: their context ends.
func (m *M) Together(fs ...func(m *M)) {
	ctx, cancel := context.WithCancelCause(m.ctx)
	defer cancel(nil)
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex
		first any
	)
	for _, f := range fs {
		wg.Go(func() {
			defer func() {
				p := recover()
				if p == nil {
					return
				}
				if _, ok := p.(*ended); !ok {
					res, err := outcome(p) // with this goroutine's stack
					p = &ended{res: res, err: err}
				}
				mu.Lock()
				defer mu.Unlock()
				if first == nil {
					first = p
				}
				cancel(errors.New("another part of the measurement has ended it"))
			}()
			f(&M{Stack: m.Stack, ctx: ctx})
		})
	}
	wg.Wait()
	if first != nil {
		panic(first)
	}
	Must(context.Cause(m.ctx))
}

// Took is how long something took to be seen, or [Never].
type Took time.Duration

// Never says that something was waited for and not seen. It is a measurement, not an error.
const Never Took = -1

// Within says whether it was seen in time.
func (t Took) Within(limit time.Duration) bool { return t >= 0 && time.Duration(t) <= limit }

func (t Took) String() string {
	switch {
	case t < 0:
		return "never"
	case time.Duration(t) < 10*time.Second:
		return fmt.Sprintf("%.2f s", time.Duration(t).Seconds())
	}
	return fmt.Sprintf("%.0f s", time.Duration(t).Seconds())
}

// Until asks until the answer is no error, and says how long that took. When patience is over it took [Never]; the error
// is the last answer then. Patience is longer than what the claim allows, so that the claim tells how late it was.
// Whatever goes wrong inside ask is "not yet", also what would end the measurement elsewhere; only [M.Unknown] and
// [M.Need] end it there.
func (m *M) Until(patience time.Duration, ask func(m *M) error) (Took, error) {
	begun := time.Now()
	ctx, cancel := context.WithTimeoutCause(m.ctx, patience, fmt.Errorf("%v are over", patience))
	defer cancel()
	inner := &M{Stack: m.Stack, ctx: ctx}
	var last error
	err := Wait(ctx, "it", func(context.Context) error {
		err := inner.attempt(ask)
		if last == nil || ctx.Err() == nil {
			last = err
		}
		return err
	})
	if err == nil {
		return Took(time.Since(begun)), nil
	}
	Must(context.Cause(m.ctx))
	return Never, last
}

// Await is [M.Until] for what is a precondition and not what is measured: where it is not seen in time the measurement
// ends, inconclusive.
func (m *M) Await(patience time.Duration, what string, ask func(m *M) error) Took {
	took, last := m.Until(patience, ask)
	m.Need(took != Never, "%s was not seen in %v: %v", what, patience, last)
	return took
}

// attempt is one asking, with the errors that would end the measurement as answers.
func (m *M) attempt(ask func(*M) error) (err error) {
	defer func() {
		switch p := recover().(type) {
		case nil:
		case *ended:
			if p.err == nil {
				panic(p)
			}
			err = p.err
		default:
			panic(p)
		}
	}()
	return ask(m)
}

// Held is how a state held.
type Held struct {
	For   time.Duration // how long it was looked at
	Asked int           // how often
	Broke error         // what was seen when it did not hold; nil: it held all the time
}

// Hold asks for so long whether a state holds, some 20 times a second, and ends at the first time that it does not: a
// first good sign says nothing of what comes after it.
func (m *M) Hold(length time.Duration, ask func(m *M) error) (h Held) {
	begun := time.Now()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		h.Broke = m.attempt(ask)
		Must(context.Cause(m.ctx))
		h.Asked++
		if h.For = time.Since(begun); h.Broke != nil || h.For >= length {
			return h
		}
		select {
		case <-tick.C:
		case <-m.ctx.Done():
		}
	}
}

func (h Held) String() string {
	if h.Broke != nil {
		return fmt.Sprintf("broke after %.1f s: %v", h.For.Seconds(), h.Broke)
	}
	return fmt.Sprintf("held for %.1f s (%d looks)", h.For.Seconds(), h.Asked)
}
