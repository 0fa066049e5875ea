package daemon

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// A process is idle when it allocates less than trimAbove in a trimInterval.
const (
	trimInterval = 10 * time.Second
	trimAbove    = 1 << 20
)

// trimmer gives memory back once a burst is over. Go's runtime alone lets the heap of an idle program grow to 4 MB before
// it collects, and keeps most of what a burst has left for minutes: half of what a small container is. To collect more
// often at all times (GOGC) would cost the busy ones.
type trimmer struct {
	allocated func() uint64 // bytes, since the start
	free      func()

	last, trimmed uint64 // allocated at the last look, and when memory was given back
}

// look gives memory back if nothing much was allocated since the last look, but much since it did so.
func (t *trimmer) look() {
	now := t.allocated()
	if now-t.last < trimAbove && now-t.trimmed >= trimAbove {
		t.free()
		t.trimmed = now
	}
	t.last = now
}

// run looks until ctx is done.
func (t *trimmer) run(ctx context.Context) {
	tick := time.NewTicker(trimInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			t.look()
		}
	}
}

func newTrimmer() *trimmer {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	return &trimmer{
		allocated: func() uint64 {
			metrics.Read(sample)
			return sample[0].Value.Uint64()
		},
		free: debug.FreeOSMemory,
	}
}
