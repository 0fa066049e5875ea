package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"
)

// The garbage collector runs when the heap has grown by a part of what was alive
// at its last run: with Go's default, by as much again, and never before 4 MiB.
// That is often with a small heap, when each handshake leaves 50 KiB of garbage,
// and late with a large one, of many idle connections. So here the part follows
// the size.
const (
	gcRoom    = 16 << 20 // bytes that a small heap may grow by; an eighth of the memory, if that is less
	gcMost    = 400      // percent
	gcLeast   = 50
	gcDefault = 100
)

// gcPercent is by how much the heap may grow over what is alive.
func gcPercent(alive, room uint64) int {
	if alive == 0 {
		return gcMost
	}
	return int(min(max(room*100/alive, gcLeast), gcMost))
}

// pacer sets the percentage after each run of the collector.
type pacer struct {
	room uint64

	mu   sync.Mutex // guards the following
	set  int        // in force
	live []metrics.Sample
}

// pace begins to do so, unless GOGC, a person's word, says otherwise. memory is
// what the engine lets the process have, 0 without a bound.
func pace(memory uint64) {
	if os.Getenv("GOGC") != "" {
		return
	}
	p := &pacer{room: gcRoom, set: gcDefault, live: []metrics.Sample{{Name: "/gc/heap/live:bytes"}}}
	if memory > 0 {
		p.room = min(p.room, memory/8)
	}
	p.apply()
	p.watch()
}

// watch has the next run of the collector call apply: it will find the sentinel
// dead.
func (p *pacer) watch() {
	sentinel := new(struct{ _ [16]byte })
	runtime.AddCleanup(sentinel, func(p *pacer) {
		p.apply()
		p.watch()
	}, p)
}

// apply does not move it for little: that stops the world for a moment.
func (p *pacer) apply() {
	p.mu.Lock()
	defer p.mu.Unlock()
	metrics.Read(p.live)
	want := gcPercent(p.live[0].Value.Uint64(), p.room)
	if off := want - p.set; off*8 > p.set || -off*8 > p.set {
		p.set = want
		debug.SetGCPercent(want)
	}
}
