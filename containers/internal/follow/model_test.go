package follow

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestModel does at random what apps, logrotate and kernels do, in any order, with looks, acknowledgements and SIGKILLs
// between. Each line must arrive once, and those of a stream in the order in which they were written.
func TestModel(t *testing.T) {
	for seed := range uint64(60) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { model(t, rand.New(rand.NewPCG(seed, 7))) })
	}
}

func model(t *testing.T, r *rand.Rand) {
	w := newWorld(t, func(f *Follower) { f.BatchSize = 300 })
	var want, did []string
	next, half, down := 0, "", false
	write := func(name string, n int) {
		text := half
		half = ""
		for range n {
			line := fmt.Sprintf("line %d %016x%s", next, r.Uint64(), strings.Repeat("x", r.IntN(80)))
			next++
			want = append(want, line)
			text += line + "\n"
		}
		w.write(name, text)
	}
	shift := func() {
		for i := 60; i > 0; i-- {
			if from := w.path(fmt.Sprintf("app.log.%d", i)); exists(from) {
				w.rename(fmt.Sprintf("app.log.%d", i), fmt.Sprintf("app.log.%d", i+1))
			}
		}
	}
	steps := []struct {
		name string
		do   func()
	}{
		{"write", func() { write("app.log", 1+r.IntN(30)) }},
		{"write", func() { write("app.log", 1+r.IntN(3)) }},
		{"half a line", func() {
			if half == "" {
				line := fmt.Sprintf("line %d in two parts", next)
				next++
				want = append(want, line)
				w.write("app.log", line[:7])
				half = line[7:] + "\n"
			}
		}},
		{"rename", func() {
			shift()
			w.rename("app.log", "app.log.1")
			write("app.log.1", r.IntN(4)) // late, before the app reopens its log
			w.write("app.log", "")
		}},
		{"copytruncate", func() {
			write("app.log", 0) // not within a line: its end would come to a file that does not begin with it
			shift()
			w.copy("app.log", "app.log.1")
			if !down && r.IntN(2) == 0 {
				w.look()
			}
			w.truncate("app.log")
		}},
		{"look", func() {
			if !down {
				w.look()
			}
		}},
		{"look", func() {
			if !down {
				w.look()
			}
		}},
		{"acknowledge", func() {
			if !down {
				w.ack(r.IntN(4))
			}
		}},
		{"wait", func() { w.pass(time.Duration(r.IntN(3000)) * time.Millisecond) }},
		{"kill", func() {
			w.Close()
			w.unacked, down = nil, true
		}},
		{"start", func() {
			if down {
				w.start()
				down = false
			}
		}},
	}
	w.write("app.log", "")
	w.look() // the first start is before the first rotation: what is rotated before it is a leftover
	for range 60 {
		s := steps[r.IntN(len(steps))]
		did = append(did, s.name)
		s.do()
	}
	if half != "" {
		write("app.log", 0)
	}
	if down {
		w.start()
	}
	w.settle()
	got := slices.DeleteFunc(w.got, func(rec Record) bool { return rec.Partial })
	streams := map[string]int64{}
	var lines []string
	for _, rec := range got {
		if rec.Offset < streams[rec.Stream] {
			t.Errorf("stream %s: %d after %d", rec.Stream, rec.Offset, streams[rec.Stream])
		}
		streams[rec.Stream] = rec.End
		lines = append(lines, string(rec.Text))
	}
	slices.Sort(want)
	slices.Sort(lines)
	if diff := cmp.Diff(want, lines); diff != "" {
		t.Errorf("lines (-want +got):\n%s\nafter %q", diff, did)
	}
	if w.counts.lost != 0 {
		t.Errorf("lost %d bytes after %q", w.counts.lost, did)
	}
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
