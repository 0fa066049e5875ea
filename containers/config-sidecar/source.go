package main

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"
)

// Source is where a configuration comes from.
type Source interface {
	// Next is the newest set. With the tag of one that is known it waits for another for a while; then it is the known one
	// again, or errSame. It returns when ctx is done.
	Next(ctx context.Context, known string) (Set, error)
}

// errSame says that there is nothing new. The source has answered.
var errSame = errors.New("nothing new")

// errPoked ends a wait, because a person asks for a look at once.
var errPoked = errors.New("asked to look")

// Follower asks a source over and over, and hands on each set that it gives.
type Follower struct {
	Source             Source
	RetryMin, RetryMax time.Duration
	New                func(Set)   // a set; it may be the one before
	Contact            func(error) // after each question; nil: it has answered

	// Poke has a value when the source shall be asked at once, and for all of it.
	Poke <-chan struct{}
}

// Run follows until ctx is done. After an error it waits longer each time, and not as long as all others that follow
// the same source.
func (f *Follower) Run(ctx context.Context) {
	known, failures := "", 0
	for ctx.Err() == nil {
		set, err := f.next(ctx, known)
		switch {
		case ctx.Err() != nil:
			return
		case errors.Is(err, errPoked):
			known = ""
			continue
		case err == nil:
			known, failures = set.Tag, 0
			f.Contact(nil)
			f.New(set)
			continue
		case errors.Is(err, errSame):
			failures = 0
			f.Contact(nil)
			continue
		}
		f.Contact(err)
		failures++
		timer := time.NewTimer(backoff(f.RetryMin, f.RetryMax, failures))
		select {
		case <-ctx.Done():
		case <-f.Poke:
			known = ""
		case <-timer.C:
		}
		timer.Stop()
	}
}

// next asks once. A poke cuts the waiting short.
func (f *Follower) next(ctx context.Context, known string) (set Set, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	done := make(chan struct{})
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		select {
		case <-f.Poke:
			cancel(errPoked)
		case <-done:
		}
	}()
	set, err = f.Source.Next(ctx, known)
	close(done)
	<-watched
	if err != nil && errors.Is(context.Cause(ctx), errPoked) {
		err = errPoked
	}
	return set, err
}

// backoff is the wait after so many failures in a row: doubled each time up to the most, and of that a random part
// between a half and all of it.
func backoff(least, most time.Duration, failures int) time.Duration {
	d := least
	for i := 1; i < failures && d < most; i++ {
		d *= 2
	}
	d = min(d, most)
	return d/2 + time.Duration(rand.Int64N(int64(d/2)+1))
}
