package follow

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// world is a folder with an app's log, and who follows it.
type world struct {
	t   *testing.T
	dir string
	*Follower
	set     func(*Follower)
	clock   time.Time
	saved   []byte // the checkpoint
	savedAt time.Time
	unacked []*Batch
	got     []Record         // as a store has them that drops repeats
	next    map[string]int64 // of each stream
	repeats int
	counts  struct {
		rotated, truncated, adopted, long, partial, errors int
		dropped, droppedBytes, lost, nuls                  int64
	}
}

func newWorld(t *testing.T, set func(*Follower)) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), set: set, clock: time.Now(), next: map[string]int64{}}
	w.start()
	t.Cleanup(func() { w.Close() })
	return w
}

func (w *world) path(name string) string { return filepath.Join(w.dir, name) }

// start begins a new follower with what the checkpoint has.
func (w *world) start() {
	w.Follower = &Follower{
		Paths: []string{w.path("app.log")}, Exclude: []string{"*.gz"}, RotateWait: time.Second, MaxLine: 1000, MaxFiles: 20, BatchSize: 1 << 20,
		Drop: Oldest, Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
		now: func() time.Time { return w.clock },
		Count: Counters{
			Rotated: func() { w.counts.rotated++ }, Truncated: func() { w.counts.truncated++ }, Adopted: func() { w.counts.adopted++ },
			Dropped:  func(l, b int64) { w.counts.dropped += l; w.counts.droppedBytes += b },
			Lost:     func(_ string, b int64) { w.counts.lost += b },
			LongLine: func() { w.counts.long++ }, PartialLine: func() { w.counts.partial++ }, Error: func() { w.counts.errors++ },
			Nuls: func(b int64) { w.counts.nuls += b },
		},
	}
	if w.set != nil {
		w.set(w.Follower)
	}
	if w.saved != nil {
		var entries []Entry
		if err := json.Unmarshal(w.saved, &entries); err != nil {
			w.t.Fatal(err)
		}
		w.Restore(entries, w.savedAt)
	}
}

func (w *world) save() {
	text, err := json.Marshal(w.Entries())
	if err != nil {
		w.t.Fatal(err)
	}
	w.saved, w.savedAt = text, w.Looked()
	w.Saved()
}

// kill ends the follower as SIGKILL does, and starts another one.
func (w *world) kill() {
	w.Close()
	w.unacked = nil
	w.start()
}

// look scans, and reads what is there into batches that the store gets. They are not acknowledged yet.
func (w *world) look() {
	w.t.Helper()
	w.Scan()
	for {
		b := w.New()
		some := w.Read(b)
		if w.Unsaved() {
			w.save()
		}
		if !b.Empty() {
			w.unacked = append(w.unacked, b)
			w.store(b.Records)
		}
		if w.Stale() {
			w.Scan()
			continue
		}
		if !some {
			return
		}
	}
}

// store keeps what it does not have.
func (w *world) store(records []Record) {
	for _, r := range records {
		if r.Offset < w.next[r.Stream] {
			w.repeats++
			continue
		}
		w.next[r.Stream] = r.End
		r.Text = append([]byte(nil), r.Text...)
		w.got = append(w.got, r)
	}
}

// ack acknowledges n batches, all for less than 0.
func (w *world) ack(n int) {
	if n < 0 || n > len(w.unacked) {
		n = len(w.unacked)
	}
	for _, b := range w.unacked[:n] {
		w.Ack(b)
	}
	w.unacked = w.unacked[n:]
	w.save()
}

// ship is a whole round.
func (w *world) ship() {
	w.t.Helper()
	w.look()
	w.ack(-1)
}

// pass lets time go by.
func (w *world) pass(d time.Duration) { w.clock = w.clock.Add(d) }

// settle ships until files that are finished are closed.
func (w *world) settle() {
	w.t.Helper()
	for range 6 {
		w.ship()
		w.pass(2 * time.Second)
	}
}

func (w *world) lines() (list []string) {
	for _, r := range w.got {
		list = append(list, string(r.Text))
	}
	return list
}

// write appends, as an app does that opens its log with O_APPEND.
func (w *world) write(name, text string) {
	w.t.Helper()
	file, err := os.OpenFile(w.path(name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		w.t.Fatal(err)
	}
	defer file.Close()
	if _, err := file.WriteString(text); err != nil {
		w.t.Fatal(err)
	}
	w.touch(name)
}

// touch gives a file the time of the world's clock.
func (w *world) touch(name string) {
	w.t.Helper()
	if err := os.Chtimes(w.path(name), w.clock, w.clock); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) rename(from, to string) {
	w.t.Helper()
	if err := os.Rename(w.path(from), w.path(to)); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) remove(name string) {
	w.t.Helper()
	if err := os.Remove(w.path(name)); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) copy(from, to string) {
	w.t.Helper()
	text, err := os.ReadFile(w.path(from))
	if err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(w.path(to), text, 0o644); err != nil {
		w.t.Fatal(err)
	}
	w.touch(to)
}

func (w *world) truncate(name string) {
	w.t.Helper()
	if err := os.Truncate(w.path(name), 0); err != nil {
		w.t.Fatal(err)
	}
	w.touch(name)
}

// numbered are lines that are all different.
func numbered(from, n int) (text string, list []string) {
	var b strings.Builder
	for i := from; i < from+n; i++ {
		line := fmt.Sprintf("line %06d of this log", i)
		list = append(list, line)
		b.WriteString(line + "\n")
	}
	return b.String(), list
}
