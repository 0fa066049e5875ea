package main

import (
	"runtime"
	"runtime/debug"
	"testing"
)

func TestGCPercent(t *testing.T) {
	for alive, want := range map[uint64]int{
		0:        400,
		1 << 20:  400,
		8 << 20:  200,
		16 << 20: 100,
		64 << 20: 50,
		1 << 30:  50,
	} {
		if got := gcPercent(alive, gcRoom); got != want {
			t.Errorf("%d MiB: %d%%, want %d%%", alive>>20, got, want)
		}
	}
	if got := gcPercent(8<<20, 4<<20); got != 50 {
		t.Errorf("8 MiB with little room: %d%%, want 50%%", got)
	}
}

// TestPaceFollowsTheHeap: the percentage falls while the heap grows, and rises
// again.
func TestPaceFollowsTheHeap(t *testing.T) {
	t.Setenv("GOGC", "")
	defer debug.SetGCPercent(gcDefault)
	percent := func() int {
		runtime.GC()
		p := debug.SetGCPercent(gcDefault)
		debug.SetGCPercent(p)
		return p
	}
	pace(0)
	heap := make([]byte, 64<<20)
	eventually(t, "a large heap, a small percentage", func() bool { return percent() == gcLeast })
	runtime.KeepAlive(heap)
	heap = nil
	eventually(t, "a small heap, a large one", func() bool { return percent() > gcDefault })
}
