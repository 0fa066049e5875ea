package main

import (
	"context"
	"errors"
	"math"
	"runtime"
	"sort"
	"sync"
	"syscall"
	"time"
)

// Burn keeps processors busy, and keeps a record of what that took.
type Burn struct {
	mu      sync.Mutex // guards the following
	cores   float64
	since   time.Time     // from when the appetite counts
	used    time.Duration // what had been used then
	record  []reading     // a ring, oldest at next once it is full
	next    int
	changed chan struct{} // closed at a change of the appetite
}

// reading is what the process had used at one time.
type reading struct {
	at   time.Time
	used time.Duration
}

const (
	// step is how often the burner looks whether it is behind, and takes a reading.
	step = 10 * time.Millisecond
	// remembered is how far back the record goes.
	remembered = time.Minute
	// forgiven bounds what is made up for: a machine that gave it nothing for long is not eaten up afterwards.
	forgiven = 200 * time.Millisecond
)

// NewBurn has no appetite yet.
func NewBurn() *Burn {
	return &Burn{changed: make(chan struct{}), record: make([]reading, 0, int(remembered/step))}
}

// Set changes the appetite, in processors. The process's whole use counts, that of its admin port too.
func (b *Burn) Set(cores float64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.cores, b.since = cores, time.Now()
	b.used, _ = processorTime()
	close(b.changed)
	b.changed = make(chan struct{})
}

// Appetite is the present one.
func (b *Burn) Appetite() float64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.cores
}

// Run burns until ctx is done.
func (b *Burn) Run(ctx context.Context) {
	go b.recordAll(ctx)
	for ctx.Err() == nil {
		b.mu.Lock()
		workers, changed := int(math.Ceil(b.cores)), b.changed
		b.mu.Unlock()
		round, cancel := context.WithCancel(ctx)
		var wg sync.WaitGroup
		for range workers {
			wg.Go(func() { b.work(round, workers) })
		}
		select {
		case <-changed:
		case <-ctx.Done():
		}
		cancel()
		wg.Wait()
	}
}

// work spins for its part of what the process is behind.
func (b *Burn) work(ctx context.Context, workers int) {
	runtime.LockOSThread() // a spinning goroutine shall not keep others from a thread
	defer runtime.UnlockOSThread()
	tick := time.NewTicker(step)
	defer tick.Stop()
	for {
		behind := b.behind() / time.Duration(workers)
		if behind > 0 {
			for end := time.Now().Add(min(behind, step)); time.Now().Before(end); { // burning is the work
			}
			if ctx.Err() == nil {
				continue
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// behind is how much of the appetite was not met yet.
func (b *Burn) behind() time.Duration {
	used, _ := processorTime()
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	due := time.Duration(b.cores*float64(now.Sub(b.since))) - (used - b.used)
	if due > forgiven {
		b.since, b.used = now, used+forgiven
		due = forgiven
	}
	return due
}

// recordAll takes readings.
func (b *Burn) recordAll(ctx context.Context) {
	tick := time.NewTicker(step)
	defer tick.Stop()
	for {
		b.take()
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (b *Burn) take() {
	before := time.Now()
	used, _ := processorTime()
	if time.Since(before) > step/2 {
		return // something came between the two clocks: they do not belong together
	}
	b.put(reading{before, used})
}

func (b *Burn) put(r reading) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.record) < cap(b.record) {
		b.record = append(b.record, r)
		return
	}
	b.record[b.next] = r
	b.next = (b.next + 1) % len(b.record)
}

var errNoRecord = errors.New("not within the last minute, or not over yet: ask again")

// Between is what the process used between two times, in a straight line between readings.
func (b *Burn) Between(from, to time.Time) (time.Duration, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	at := func(t time.Time) (time.Duration, bool) {
		nth := func(i int) reading { return b.record[(b.next+i)%len(b.record)] }
		i := sort.Search(len(b.record), func(i int) bool { return !nth(i).at.Before(t) })
		switch {
		case i == len(b.record):
			return 0, false
		case nth(i).at.Equal(t):
			return nth(i).used, true
		case i == 0:
			return 0, false
		}
		a, z := nth(i-1), nth(i)
		part := float64(t.Sub(a.at)) / float64(z.at.Sub(a.at))
		return a.used + time.Duration(part*float64(z.used-a.used)), true
	}
	start, ok1 := at(from)
	end, ok2 := at(to)
	if !ok1 || !ok2 || to.Before(from) {
		return 0, errNoRecord
	}
	return end - start, nil
}

// processorTime is what this process used, and what its children that have ended did.
func processorTime() (own, children time.Duration) {
	of := func(who int) time.Duration {
		var u syscall.Rusage
		if syscall.Getrusage(who, &u) != nil { // cannot fail for these two
			return 0
		}
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	return of(syscall.RUSAGE_SELF), of(syscall.RUSAGE_CHILDREN)
}
