package daemon

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestTrim: memory is given back after a burst, not during it, and not again before the next.
func TestTrim(t *testing.T) {
	const k, m = 1 << 10, 1 << 20
	var allocated uint64
	trims := 0
	tr := &trimmer{allocated: func() uint64 { return allocated }, free: func() { trims++ }}
	var got []int
	for _, n := range []uint64{
		3 * m,          // the start is a burst
		10 * k,         // over
		10 * k, 10 * k, // idle
		50 * m, 50 * m, m, // busy
		m - 1, // over
		0, 0,  // nothing at all
		400 * k, 400 * k, // little, but it adds up
		400 * k, 100 * k,
	} {
		allocated += n
		tr.look()
		got = append(got, trims)
	}
	want := []int{0, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 3, 3}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("times given back (-want +got):\n%s", diff)
	}
}

// TestTrimmer: the real one counts what is allocated.
func TestTrimmer(t *testing.T) {
	tr := newTrimmer()
	before := tr.allocated()
	sink = make([]byte, 8<<20)
	if after := tr.allocated(); after-before < 8<<20 {
		t.Errorf("8 MiB were allocated, it counted %d bytes", after-before)
	}
	sink = nil
	tr.free()
}

var sink []byte
