package follow

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestReports are what others' collectors lost or repeated, each as a row. Every script writes numbered lines, and each must
// be in the store once.
func TestReports(t *testing.T) {
	long := strings.Repeat("a header that every file begins with, and it is long; ", 6) + "\n" // longer than a fingerprint
	for _, tt := range []struct {
		name  string
		steps func(w *world, add func(n int) string)
		more  []string // lines beside the numbered ones
	}{
		{"rename, and late writes to the old file", func(w *world, add func(int) string) {
			w.write("app.log", add(10))
			w.ship()
			w.rename("app.log", "app.log.1")
			w.write("app.log.1", add(3))
			w.ship()
			w.write("app.log.1", add(2))
			w.write("app.log", add(5))
		}, nil},
		{"renamed twice between two looks: fluent-bit 2110", func(w *world, add func(int) string) {
			w.write("app.log", add(10))
			w.ship()
			w.write("app.log", add(4))
			w.rename("app.log", "app.log.1")
			w.write("app.log", add(6))
			w.rename("app.log.1", "app.log.2")
			w.rename("app.log", "app.log.1")
			w.write("app.log", add(5))
		}, nil},
		{"renamed while nobody followed: fluent-bit 1330", func(w *world, add func(int) string) {
			w.write("app.log", add(10))
			w.ship()
			w.Close()
			w.write("app.log", add(4))
			w.rename("app.log", "app.log.2")
			w.write("app.log", add(7))
			w.rename("app.log", "app.log.1")
			w.write("app.log", add(5))
			w.kill()
		}, nil},
		{"copytruncate: beats 39731", func(w *world, add func(int) string) {
			w.write("app.log", add(10))
			w.ship()
			w.copy("app.log", "app.log.1")
			w.ship()
			w.truncate("app.log")
			w.write("app.log", add(3))
		}, nil},
		{"copytruncate with lines that nobody had read", func(w *world, add func(int) string) {
			w.write("app.log", add(10))
			w.ship()
			w.write("app.log", add(5))
			w.copy("app.log", "app.log.1")
			w.truncate("app.log")
			w.write("app.log", add(3))
		}, nil},
		{"truncated, and grown past the offset before anybody looked", func(w *world, add func(int) string) {
			w.write("app.log", add(10))
			w.ship()
			w.copy("app.log", "app.log.1")
			w.truncate("app.log")
			w.write("app.log", add(50))
		}, nil},
		{"the same while nobody followed: fluent-bit 11455", func(w *world, add func(int) string) {
			w.write("app.log", add(10))
			w.ship()
			w.Close()
			w.write("app.log", add(2))
			w.copy("app.log", "app.log.1")
			w.truncate("app.log")
			w.write("app.log", add(50))
			w.kill()
		}, nil},
		{"copytruncate twice while nobody followed", func(w *world, add func(int) string) {
			w.write("app.log", add(10))
			w.ship()
			w.Close()
			w.write("app.log", add(2))
			w.copy("app.log", "app.log.1")
			w.truncate("app.log")
			w.write("app.log", add(7))
			w.rename("app.log.1", "app.log.2")
			w.copy("app.log", "app.log.1")
			w.truncate("app.log")
			w.write("app.log", add(3))
			w.kill()
		}, nil},
		{"a copy that is made slowly", func(w *world, add func(int) string) {
			w.write("app.log", add(40))
			w.ship()
			whole, _ := os.ReadFile(w.path("app.log"))
			for _, n := range []int{0, 10, 200, 300, 600, len(whole)} {
				os.WriteFile(w.path("app.log.1"), whole[:n], 0o644)
				w.ship()
			}
			w.truncate("app.log")
			w.write("app.log", add(3))
		}, nil},
		{"compressed when it has been read: fluentd 3871", func(w *world, add func(int) string) {
			w.write("app.log", add(10))
			w.ship()
			w.rename("app.log", "app.log.1")
			w.write("app.log", add(2))
			w.ship()
			w.copy("app.log.1", "app.log.1.gz")
			w.remove("app.log.1")
		}, nil},
		{"deleted while it is read: read to its end", func(w *world, add func(int) string) {
			w.write("app.log", add(10))
			w.Scan()
			w.save()
			w.write("app.log", add(10))
			w.remove("app.log")
			w.write("app.log", add(4))
		}, nil},
		{"killed before the acknowledgement: beats 36541", func(w *world, add func(int) string) {
			w.write("app.log", add(10))
			w.ship()
			w.write("app.log", add(10))
			w.look()
			w.kill()
			w.write("app.log", add(1))
		}, nil},
		{"killed before the first acknowledgement, and renamed", func(w *world, add func(int) string) {
			w.write("app.log", add(10))
			w.look()
			w.Close()
			w.rename("app.log", "app.log.1")
			w.write("app.log", add(5))
			w.kill()
		}, nil},
		{"a rotated file is written to again after it was closed", func(w *world, add func(int) string) {
			w.write("app.log", add(10))
			w.ship()
			w.rename("app.log", "app.log.1")
			w.write("app.log", add(1))
			w.settle()
			w.write("app.log.1", add(3))
		}, nil},
		{"new files begin alike, with a header longer than the fingerprint", func(w *world, add func(int) string) {
			w.write("app.log", long+add(10))
			w.ship()
			w.rename("app.log", "app.log.1")
			w.write("app.log", long+add(3))
			w.ship()
			w.rename("app.log", "app.log.2")
			w.write("app.log", long+add(20))
			w.ship()
			w.copy("app.log", "app.log.3")
			w.truncate("app.log")
			w.write("app.log", long+add(30))
		}, []string{long[:len(long)-1], long[:len(long)-1], long[:len(long)-1], long[:len(long)-1]}},
		{"a line in three parts, a rotation between them", func(w *world, add func(int) string) {
			line := add(1)
			w.write("app.log", add(3)+line[:5])
			w.ship()
			w.pass(time.Minute)
			w.ship()
			w.write("app.log", line[5:9])
			w.rename("app.log", "app.log.1")
			w.write("app.log", add(1))
			w.ship()
			w.write("app.log.1", line[9:])
		}, nil},
		{"a line in two parts, copytruncate between them", func(w *world, add func(int) string) {
			line := add(1)
			w.write("app.log", add(3)+line[:5])
			w.ship()
			w.write("app.log", line[5:])
			w.copy("app.log", "app.log.1")
			w.truncate("app.log")
			w.write("app.log", add(2))
		}, nil},
		{"no file at first, then an empty one", func(w *world, add func(int) string) {
			w.ship()
			w.write("app.log", "")
			w.ship()
			w.kill()
			w.ship()
			w.write("app.log", add(2))
		}, nil},
		{"a listing that misses a name which is just being changed", func(w *world, add func(int) string) {
			w.write("app.log", add(10))
			w.ship()
			w.rename("app.log", "app.log.1")
			w.write("app.log", add(3))
			w.settle()
			w.rename("app.log", "hidden")
			w.rename("app.log.1", "hidden.1")
			w.ship()
			w.rename("hidden.1", "app.log.2")
			w.rename("hidden", "app.log.1")
			w.ship()
			w.write("app.log.1", add(2))
			w.write("app.log", add(2))
		}, nil},
		{"a date in the rotated name", func(w *world, add func(int) string) {
			w.write("app.log", add(2))
			w.ship()
			w.write("app.log", add(2))
			w.rename("app.log", "app.log-20261125")
			w.write("app.log", add(2))
		}, nil},
		{"a pattern that matches the rotated name too", func(w *world, add func(int) string) {
			w.Paths = []string{w.path("*.log*")}
			w.write("app.log", add(2))
			w.ship()
			w.copy("app.log", "app.log.1")
			w.ship()
			w.truncate("app.log")
			w.write("app.log", add(2))
		}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, nil)
			next, want := 0, slices.Clone(tt.more)
			tt.steps(w, func(n int) string {
				text, list := numbered(next, n)
				next += n
				want = append(want, list...)
				return text
			})
			w.settle()
			got := w.lines()
			slices.Sort(got)
			slices.Sort(want)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("lines (-want +got):\n%s", diff)
			}
			if w.counts.lost != 0 || w.counts.dropped != 0 {
				t.Errorf("lost %d bytes, dropped %d lines", w.counts.lost, w.counts.dropped)
			}
			// Nothing is kept open or remembered for nothing.
			for _, g := range w.generations {
				if g.state == orphan || g.state == open && g.path != w.path("app.log") {
					t.Errorf("still has %s of %s, %s", g.state, g.path, g.Stream)
				}
			}
		})
	}
}

// Order: within a generation always, and the old file's before the new one's where both are there at a look.
func TestOrder(t *testing.T) {
	w := newWorld(t, nil)
	first, want := numbered(0, 20_000) // more than is read in one turn
	w.write("app.log", first)
	w.rename("app.log", "app.log.1")
	more, rest := numbered(20_000, 20_000)
	w.Scan() // finds app.log.1, just rotated
	w.write("app.log", more)
	w.settle()
	if got := w.lines(); !slices.Equal(append(want, rest...), got) {
		t.Errorf("%d lines of %d, or not in their order", len(got), len(want)+len(rest))
	}
}

// An inode is given again at once by ext4: the new file must be read from its first byte. Where the folder's filesystem does
// not do so, the same is done by hand.
func TestInodeReuse(t *testing.T) {
	w := newWorld(t, nil)
	text, want := numbered(0, 30)
	w.write("app.log", text)
	w.settle()
	old := w.generations[0].id
	w.Close()
	more, rest := numbered(100, 40)
	for try := 0; ; try++ {
		w.remove("app.log")
		w.write("app.log", more)
		info, err := os.Stat(w.path("app.log"))
		if err != nil {
			t.Fatal(err)
		}
		if idOf(info) == old {
			break
		}
		if try == 5 {
			w.saved = []byte(strings.ReplaceAll(string(w.saved), `"inode":`+utoa(old.Inode), `"inode":`+utoa(idOf(info).Inode)))
			break
		}
	}
	w.kill()
	w.settle()
	if diff := cmp.Diff(append(want, rest...), w.lines()); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
}

// What was there before the first start under a rotated name is not read, nor a compressed one, whatever its time.
func TestLeftovers(t *testing.T) {
	w := newWorld(t, nil)
	w.write("app.log.1", "old\n")
	w.write("app.log.2.gz", "packed\n")
	if err := os.Chtimes(w.path("app.log.1"), time.Now(), time.Now().Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	w.write("app.log", "new\n")
	w.settle()
	if diff := cmp.Diff([]string{"new"}, w.lines()); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
}

func TestFromEnd(t *testing.T) {
	w := newWorld(t, func(f *Follower) { f.FromEnd = true })
	w.write("app.log", "before\nhalf a ")
	w.ship()
	w.write("app.log", "line\nafter\n")
	w.ship()
	w.write("other.log", "")
	w.kill()
	w.write("app.log", "later\n")
	w.settle()
	if diff := cmp.Diff([]string{"half a line", "after", "later"}, w.lines()); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
}

func TestByName(t *testing.T) {
	w := newWorld(t, func(f *Follower) { f.ByName = true })
	w.write("app.log", "one\n")
	w.ship()
	w.write("app.log", "two\n")
	w.rename("app.log", "app.log.1")
	w.write("app.log", "three\n")
	w.settle()
	if diff := cmp.Diff([]string{"one", "three"}, w.lines()); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
}

// A hole of NULs: the writer has no O_APPEND and goes on at its old offset.
func TestHole(t *testing.T) {
	w := newWorld(t, nil)
	file, err := os.Create(w.path("app.log"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	big := strings.Repeat("x", 900)
	for i := range 400 {
		file.WriteString(big + utoa(uint64(i)) + "\n")
	}
	w.ship()
	n := len(w.got)
	w.truncate("app.log")
	file.WriteString("after\n")
	w.ship()
	w.ship() // a copy is looked for first
	w.truncate("app.log")
	file.WriteString("again\n")
	w.settle()
	if diff := cmp.Diff([]string{"after", "again"}, w.lines()[n:]); diff != "" || n != 400 {
		t.Errorf("%d lines, and then (-want +got):\n%s", n, diff)
	}
	if w.counts.nuls < 2*400*900 {
		t.Errorf("counted %d NULs", w.counts.nuls)
	}
}

func TestLines(t *testing.T) {
	euro := "€"
	for _, tt := range []struct {
		name, text string
		want       []string
		long       int
	}{
		{"empty lines are lines", "a\n\nb\n", []string{"a", "", "b"}, 0},
		{"carriage returns end lines", "a\r\nb\rc\r\n", []string{"a", "b\rc"}, 0},
		{"at the limit", strings.Repeat("x", 1000) + "\n", []string{strings.Repeat("x", 1000)}, 0},
		{"over the limit", strings.Repeat("x", 1001) + "\nnext\n", []string{strings.Repeat("x", 1000), "next"}, 1},
		{"cut before a character", strings.Repeat("x", 998) + euro + "\n", []string{strings.Repeat("x", 998)}, 1},
		{"cut after a character", strings.Repeat("x", 997) + euro + "yy\n", []string{strings.Repeat("x", 997) + euro}, 1},
		{"bytes that are no text", strings.Repeat("\xbf", 1001) + "\n", []string{strings.Repeat("\xbf", 1000)}, 1},
		{"longer than what is read at a time", strings.Repeat("y", 3*chunk) + "\nnext\n", []string{strings.Repeat("y", 1000), "next"}, 1},
		{
			"as long as what is read at a time", strings.Repeat("z", chunk-1) + "\n" + strings.Repeat("z", chunk) + "\nnext\n",
			[]string{strings.Repeat("z", 1000), strings.Repeat("z", 1000), "next"},
			2,
		},
		{"NULs within a line stay", "a\x00b\n", []string{"a\x00b"}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, nil)
			// In two goes, with the end missing first.
			w.write("app.log", tt.text[:len(tt.text)-1])
			w.ship()
			w.write("app.log", tt.text[len(tt.text)-1:])
			w.settle()
			if diff := cmp.Diff(tt.want, w.lines()); diff != "" {
				t.Errorf("lines (-want +got):\n%s", diff)
			}
			if w.counts.long != tt.long {
				t.Errorf("%d lines counted as long, want %d", w.counts.long, tt.long)
			}
			end := int64(0)
			for _, r := range w.got {
				if r.Offset != end {
					t.Errorf("a line at %d, the one before ended at %d", r.Offset, end)
				}
				end = r.End
			}
			if end != int64(len(tt.text)) {
				t.Errorf("ends at %d of %d", end, len(tt.text))
			}
		})
	}
}

// A last line without an end is sent once its file is finished, and marked.
func TestPartial(t *testing.T) {
	w := newWorld(t, nil)
	w.write("app.log", "whole\nhalf")
	w.settle()
	if len(w.got) != 1 {
		t.Fatalf("sent %q of a file that is being written", w.lines())
	}
	w.rename("app.log", "app.log.1")
	w.write("app.log", "new\n")
	w.settle()
	if diff := cmp.Diff([]string{"whole", "new", "half"}, w.lines()); diff != "" || !w.got[2].Partial || w.counts.partial != 1 {
		t.Errorf("lines (-want +got):\n%s\n%+v", diff, w.got)
	}
}

// A pipe or a folder under the name stops nothing, and a file that may not be read is said once.
func TestOddFiles(t *testing.T) {
	w := newWorld(t, func(f *Follower) { f.Paths = []string{f.Paths[0], strings.Replace(f.Paths[0], "app.log", "*.odd", 1)} })
	if err := os.Mkdir(w.path("folder.odd"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := mkfifo(w.path("pipe.odd")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(w.path("nowhere"), w.path("link.odd")); err != nil {
		t.Fatal(err)
	}
	w.write("new\nline.odd", "named oddly\n")
	w.write("app.log", "plain\n")
	w.settle()
	got := w.lines()
	slices.Sort(got)
	if diff := cmp.Diff([]string{"named oddly", "plain"}, got); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
}

// The bound on open files holds, and the rest is read when there is room.
func TestMaxFiles(t *testing.T) {
	w := newWorld(t, func(f *Follower) {
		f.Paths, f.MaxFiles = []string{strings.Replace(f.Paths[0], "app.log", "*.log", 1)}, 3
	})
	var want []string
	for i := range 8 {
		w.write(utoa(uint64(i))+".log", "of "+utoa(uint64(i))+"\n")
		want = append(want, "of "+utoa(uint64(i)))
	}
	for i := range 8 {
		w.ship()
		if n := w.Totals().Open; n > 3 {
			t.Fatalf("%d files are open", n)
		}
		for _, g := range w.generations {
			if g.state == open && g.read.Offset > 0 {
				os.Remove(g.path)
			}
		}
		w.pass(2 * time.Second)
		_ = i
	}
	w.settle()
	got := w.lines()
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
}

// A batch stops where it is full, however short the lines are.
func TestBatchBound(t *testing.T) {
	w := newWorld(t, func(f *Follower) { f.BatchSize = 10_000 })
	w.write("app.log", strings.Repeat("\n", 3*chunk))
	w.Scan()
	for {
		b := w.New()
		some := w.Read(b)
		if b.Bytes > 10_000+1000+overhead {
			t.Fatalf("a batch of %d bytes", b.Bytes)
		}
		w.store(b.Records)
		if !some {
			break
		}
	}
	if len(w.got) != 3*chunk {
		t.Errorf("%d lines of %d", len(w.got), 3*chunk)
	}
}
