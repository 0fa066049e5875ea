package main

import (
	"context"
	"crypto/sha256"
	"runtime"
	"time"
)

// Work costs processor time: what a real service would spend on an answer. It is the thread's own time that counts, so
// that an answer costs the same however busy the machine is, and takes longer where the container may use less.
type Work struct {
	cost  time.Duration
	slots chan struct{}
}

// NewWork is work of a cost; 0 is none.
func NewWork(cost time.Duration) *Work {
	// Each has a thread of its own while it works: more than run at a time would be threads that wait.
	return &Work{cost: cost, slots: make(chan struct{}, runtime.GOMAXPROCS(0))}
}

// Do works, unless ctx ends before.
func (w *Work) Do(ctx context.Context) error {
	if w.cost <= 0 {
		return nil
	}
	select {
	case w.slots <- struct{}{}:
		defer func() { <-w.slots }()
	case <-ctx.Done():
		return ctx.Err()
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var block [4096]byte
	for begun := threadTime(); threadTime()-begun < w.cost; {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		for range 4 {
			sum := sha256.Sum256(block[:])
			copy(block[:], sum[:])
		}
	}
	return nil
}
