package follow

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// What is dropped is counted, in whole lines, and the rest arrives: whichever end gives way, in one file or in several,
// named or deleted.
func TestDrop(t *testing.T) {
	const size = 24 // bytes of a numbered line
	for _, tt := range []struct {
		name  string
		drop  Drop
		limit int64
		steps func(w *world, add func(n int) string)
		kept  func(i int) bool // of the lines that were not read before
	}{
		{"oldest of one file", Oldest, 100*size + 5, func(w *world, add func(int) string) {
			w.write("app.log", add(300))
			w.Scan()
		}, func(i int) bool { return i >= 200 }},
		{"newest of one file", Newest, 100*size + 5, func(w *world, add func(int) string) {
			w.write("app.log", add(300))
			w.Scan()
		}, func(i int) bool { return i < 100 }},
		{"exactly at the limit", Oldest, 300 * size, func(w *world, add func(int) string) {
			w.write("app.log", add(300))
			w.Scan()
		}, func(int) bool { return true }},
		{"one byte over it", Oldest, 300*size - 1, func(w *world, add func(int) string) {
			w.write("app.log", add(300))
			w.Scan()
		}, func(i int) bool { return i > 0 }},
		{"newest, again and again", Newest, 100 * size, func(w *world, add func(int) string) {
			for range 10 {
				w.write("app.log", add(30))
				w.Scan()
			}
		}, func(i int) bool { return i < 100 }},
		{"oldest, again and again", Oldest, 100 * size, func(w *world, add func(int) string) {
			for range 10 {
				w.write("app.log", add(30))
				w.Scan()
			}
		}, func(i int) bool { return i >= 200 }},
		{"oldest over two files", Oldest, 100 * size, func(w *world, add func(int) string) {
			w.write("app.log", add(150))
			w.Scan()
			w.rename("app.log", "app.log.1")
			w.write("app.log", add(150))
			w.Scan()
		}, func(i int) bool { return i >= 200 }},
		{"newest over two files", Newest, 200 * size, func(w *world, add func(int) string) {
			w.write("app.log", add(150))
			w.Scan()
			w.rename("app.log", "app.log.1")
			w.write("app.log", add(150))
			w.Scan()
		}, func(i int) bool { return i < 200 }},
		{"a deleted file goes whole", Oldest, 200 * size, func(w *world, add func(int) string) {
			w.write("app.log", add(150))
			w.Scan()
			w.remove("app.log")
			w.write("app.log", add(150))
			w.Scan()
		}, func(i int) bool { return i >= 150 }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, func(f *Follower) { f.Drop = tt.drop })
			before, want := numbered(0, 7)
			w.write("app.log", before)
			w.ship()
			w.Limit = tt.limit
			next := 7
			tt.steps(w, func(n int) string {
				text, list := numbered(next, n)
				for i, line := range list {
					if tt.kept(next - 7 + i) {
						want = append(want, line)
					}
				}
				next += n
				return text
			})
			if n := w.Waiting(); n > tt.limit {
				t.Errorf("%d bytes wait, the limit is %d", n, tt.limit)
			}
			w.settle()
			if diff := cmp.Diff(want, w.lines()); diff != "" {
				t.Errorf("lines (-want +got):\n%s", diff)
			}
			if n := int64(next) - w.counts.dropped; n != int64(len(w.got)) || w.counts.droppedBytes != w.counts.dropped*size {
				t.Errorf("%d lines arrived of %d, and %d were counted as dropped, with %d bytes",
					len(w.got), next, w.counts.dropped, w.counts.droppedBytes)
			}
			// Lines written when there is room again are not dropped.
			text, list := numbered(next, 50)
			w.write("app.log", text)
			w.settle()
			if diff := cmp.Diff(append(want, list...), w.lines()); diff != "" {
				t.Errorf("lines after it (-want +got):\n%s", diff)
			}
		})
	}
}

// A deleted file that was given up is closed without another read: nothing is read while the store is away.
func TestDropFreesDeleted(t *testing.T) {
	w := newWorld(t, func(f *Follower) { f.Limit = 1000 })
	text, _ := numbered(0, 100)
	w.write("app.log", text)
	w.Limit = 0
	w.Scan()
	w.remove("app.log")
	w.Scan()
	if n := w.Totals().Held; n != int64(len(text)) {
		t.Fatalf("holds %d bytes of %d", n, len(text))
	}
	w.Limit = 1000
	w.Scan()
	w.pass(2 * time.Second)
	w.Scan()
	if n := w.Totals(); n.Held != 0 || n.Open != 0 {
		t.Errorf("still holds %+v", n)
	}
	if w.counts.dropped != 100 {
		t.Errorf("counted %d lines", w.counts.dropped)
	}
}

// A listing that misses the name of a file that was dropped does not bring its lines back: they are counted.
func TestDroppedAndMissed(t *testing.T) {
	w := newWorld(t, func(f *Follower) { f.Limit = 10 })
	text, _ := numbered(0, 100)
	w.write("app.log", text)
	w.Scan()
	w.rename("app.log", "app.log.1")
	w.write("app.log", "")
	w.Scan()
	w.pass(2 * time.Second)
	w.rename("app.log.1", "hidden")
	w.Scan()
	w.rename("hidden", "app.log.1")
	w.settle()
	if len(w.got) != 0 || w.counts.dropped != 100 {
		t.Errorf("%d lines arrived, %d were counted as dropped", len(w.got), w.counts.dropped)
	}
}
