package main

import (
	"context"
	"fmt"
	"sync"
	"syscall"
	"time"
)

// closedLoad is a load of the closed model: each of its workers waits for the end of one unit of work before it begins the
// next. It measures how much a peer can do, where `probe load` measures how it serves those who come anyway.
//
// A worker that meets an error ends: a peer that fails fast shall not look fast.
type closedLoad struct {
	workers int
	length  time.Duration // no unit begins after it; 0 is no limit
	each    int           // units that a worker does at most; 0 is no limit
	// work does one unit of worker i, and returns how many bytes of payload it moved.
	work func(ctx context.Context, i int) (int64, error)
}

// run ends when the time is up or each worker has done its part, and what was begun is over.
func (c closedLoad) run(ctx context.Context) closedAnswer {
	begun, spent := time.Now(), cpuTime()
	a := newClosedAnswer()
	a.Connections = c.workers
	var taken []time.Duration
	var mu sync.Mutex
	var all sync.WaitGroup
	for i := range c.workers {
		all.Go(func() {
			var mine []time.Duration
			var bytes int64
			var err error
			for n := 0; err == nil && c.more(ctx, n, begun); n++ {
				start := time.Now()
				var moved int64
				if moved, err = c.work(ctx, i); err == nil {
					mine, bytes = append(mine, time.Since(start)), bytes+moved
				}
			}
			mu.Lock()
			defer mu.Unlock()
			taken = append(taken, mine...)
			a.Bytes += bytes
			a.fail(err)
		})
	}
	all.Wait()
	a.Done, a.Latency = len(taken), distribution(taken)
	a.Seconds, a.CPU = time.Since(begun).Seconds(), (cpuTime() - spent).Seconds()
	return a
}

func (c closedLoad) more(ctx context.Context, n int, begun time.Time) bool {
	if n == 0 { // each does one at least, however late the machine lets it begin
		return ctx.Err() == nil
	}
	return ctx.Err() == nil && (c.each == 0 || n < c.each) && (c.length == 0 || time.Since(begun) < c.length)
}

// check refuses a load without an end.
func (c closedLoad) check() error {
	switch {
	case c.workers < 1 || c.workers > 100000:
		return wrong("needs -connections from 1 to 100000")
	case c.length < 0 || c.each < 0 || c.length == 0 && c.each == 0:
		return wrong("needs a -duration or a number of -requests, above 0")
	}
	return nil
}

func newClosedAnswer() closedAnswer {
	return closedAnswer{Event: "result", Errors: map[errorKind]int{}, First: []string{}}
}

func (a *closedAnswer) fail(err error) {
	if err == nil {
		return
	}
	a.Errors[kindOf(err)]++
	if len(a.First) < firstErrors {
		a.First = append(a.First, plain(err))
	}
}

// cpuTime is what this process has used of the CPUs, in the kernel too.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(fmt.Sprintf("getrusage: %v", err)) // it knows no error for its own process
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
