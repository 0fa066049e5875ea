// Package follow reads the lines of log files that are written, renamed, truncated and removed meanwhile, each line once
// and whole.
//
// What is followed is not a name but a [Generation]: one content from its first byte to its last. It is known by device and
// inode, by a fingerprint of its first bytes, since a filesystem gives an inode again at once, and by a marker of the bytes
// before the reading position, since a file may be truncated and grow past that position before anybody looks.
//
//   - Rename: the old file is read to its end, later writes to it included, and then the new one.
//   - copytruncate: the inode has a new generation then. What was not read of the old one is read from the copy, which is
//     found by what it begins with and what it has at the position.
//   - Both while nobody followed: the checkpoint has what it takes to find a generation under another name, or in a copy.
//   - A line without its end is left in the file until its end is there.
//
// The files are the buffer: while batches are not taken, nothing is read. [Follower.Limit] bounds what may wait in them.
//
// A Follower belongs to one goroutine.
//
// Source: the reports of those who lost lines with other collectors: fluent-bit 1330, 1875, 2110, 5382, 11455; beats 38070,
// 39731; logrotate(8), copytruncate.
package follow

import (
	"crypto/rand"
	"encoding/hex"
	"log/slog"
	"os"
	"slices"
	"syscall"
	"time"
)

// Drop says which lines give way when too much waits.
type Drop string

// What gives way.
const (
	Oldest Drop = "oldest"
	Newest Drop = "newest"
)

// Follower follows the files that its patterns match. The fields are set before its first use.
type Follower struct {
	Paths      []string      // patterns of names to follow
	Rotated    []string      // patterns of names that a rotation gives; none: a followed name and .* or -*
	Exclude    []string      // patterns of last elements that are left alone: *.gz
	FromEnd    bool          // what is in the files at the first start of all is not read
	RotateWait time.Duration // how long a file whose name leads elsewhere may still be written to
	MaxLine    int           // bytes of a line that are kept
	MaxFiles   int           // files open at a time
	BatchSize  int64         // Read adds nothing to a batch that has so many bytes
	Limit      int64         // bytes on the disk that may wait; 0: any
	Drop       Drop
	ByName     bool // forget a file as soon as its name leads to another: loses lines, and is for showing so

	Log   *slog.Logger
	Count Counters

	generations []*Generation // oldest first
	since       time.Time     // rotated names that are older were dealt with by an earlier run
	first       bool          // a scan of a first start: there was no checkpoint
	scanned     bool
	looked      time.Time // when the last scan began
	turns       int       // of Read: another source begins each time
	crowded     bool
	unsaved     bool
	stale       bool // a scan is due: a file was found truncated while it was read
	complained  map[string]string
	buf         []byte
	now         func() time.Time
}

// Counters are told what happens, when it does. All are set, or none.
type Counters struct {
	Rotated, Truncated, Adopted  func()
	Dropped                      func(lines, bytes int64)
	Lost                         func(reason string, bytes int64)
	LongLine, PartialLine, Error func()
	Nuls                         func(bytes int64)
}

// chunk is read at a time, and then it is the next file's turn.
const chunk = 128 << 10

func (f *Follower) init() {
	if f.buf != nil {
		return
	}
	f.buf = make([]byte, max(chunk, f.MaxLine+1))
	f.complained = map[string]string{}
	if f.now == nil {
		f.now = time.Now
	}
	if f.since.IsZero() {
		f.since, f.first = f.now(), true
	}
}

// Scan looks at the names again: for new files, and for what became of those that are followed.
func (f *Follower) Scan() {
	f.init()
	now := f.now()
	found := f.list()
	seen := map[ID]bool{}
	var unknown []candidate
	for _, c := range found {
		seen[c.id] = true
		if g := f.byID(c.id); g != nil {
			f.look(g, c, now)
		} else {
			unknown = append(unknown, c)
		}
	}
	for _, c := range unknown {
		f.meet(c, now)
	}
	f.part(seen, now)
	f.scanned, f.first, f.stale, f.looked = true, false, false, now
	f.enforce()
}

// Unsaved says that what tells a generation from others is not in the checkpoint. It must be there before lines of it are
// sent: a follower that comes after must give them the same stream, or it would not be seen that they come again; and must
// not give that stream to other lines.
func (f *Follower) Unsaved() bool { return f.unsaved }

// Saved notes that the checkpoint has the Entries of now.
func (f *Follower) Saved() { f.unsaved = false }

// identify takes the fingerprint of a generation that has grown.
func (f *Follower) identify(g *Generation, size int64) {
	if g.print.Bytes >= min(size, printBytes) {
		return
	}
	if print, err := fingerprint(g.file, size); err == nil {
		g.print, f.unsaved = print, true
	}
}

// byID is the generation that lies in a file, as far as is known.
func (f *Follower) byID(id ID) *Generation {
	for _, g := range slices.Backward(f.generations) {
		if g.state != orphan && g.id == id {
			return g
		}
	}
	return nil
}

// look sees what became of a known file.
func (f *Follower) look(g *Generation, c candidate, now time.Time) {
	file := g.file
	if g.state == closed {
		if g.asClosed(c) {
			return
		}
		if file = f.open(c); file == nil {
			return
		}
	}
	if !g.intact(file) {
		f.truncated(g, c, file, now)
		return
	}
	if g.state == closed {
		g.file, g.state, g.held, g.loaded = file, open, 0, false
		if err := g.jump(g.read.Offset); err != nil {
			f.complain(c.path, err)
			g.close(closed)
			return
		}
	}
	g.size, g.deleted = c.size, false
	f.identify(g, g.size)
	if c.rotated && g.rotated.IsZero() {
		g.rotated = now
		f.Count.Rotated()
	}
	g.path = c.path
}

// asClosed says whether a file is as it was when it was closed.
func (g *Generation) asClosed(c candidate) bool {
	same := !g.loaded && g.size == c.size && g.read.Offset == c.size
	if same {
		g.path = c.path
	}
	return same
}

// truncated makes an orphan of a generation whose file has another content now, and follows that.
func (f *Follower) truncated(g *Generation, c candidate, file *os.File, now time.Time) {
	f.Count.Truncated()
	f.Log.Info("file has a new beginning", "path", c.path, "read", g.read.Offset, "size_before", g.size, "size", c.size)
	g.file, g.state, g.loaded, g.looks = nil, orphan, false, 0
	f.begin(c, file, now)
}

// meet takes up a file that no generation is known to lie in.
func (f *Follower) meet(c candidate, now time.Time) {
	if f.openFiles() >= f.MaxFiles {
		if !f.crowded {
			f.Log.Warn("too many files: the others wait", "limit", f.MaxFiles, "path", c.path)
		}
		f.crowded = true
		return
	}
	file := f.open(c)
	if file == nil {
		return
	}
	for _, g := range f.generations {
		if g.state == orphan && g.Source == c.source && f.continues(g, c, file) {
			f.adopt(g, c, file, now)
			return
		}
	}
	// A rotated name with an unknown file: older than the last run, it was dealt with; a copy of what is followed, or the
	// beginning of one, it has nothing new; else names changed twice while nobody looked.
	if c.rotated && (c.size == 0 || c.modified.Before(f.since.Add(-clockSlack)) || f.ByName || f.copyOf(c, file)) {
		file.Close()
		return
	}
	f.begin(c, file, now)
}

// clockSlack is how far a file's time may lag behind the clock.
const clockSlack = 2 * time.Second

// continues says whether an orphan's content lies in this file. Under the followed name that is so only on good evidence:
// a new log may begin like the old one.
func (f *Follower) continues(g *Generation, c candidate, file *os.File) bool {
	if g.print.Bytes == 0 || !c.rotated && g.read.Offset < markerBytes {
		return false
	}
	return c.size >= g.size && g.intact(file)
}

// adopt goes on with an orphan in the file that has its content.
func (f *Follower) adopt(g *Generation, c candidate, file *os.File, now time.Time) {
	g.file, g.id, g.path, g.size, g.state, g.held = file, c.id, c.path, c.size, open, 0
	if err := g.jump(g.read.Offset); err != nil {
		f.complain(c.path, err)
		g.close(orphan)
		return
	}
	if c.rotated {
		g.rotated = now
	}
	f.unsaved = true
	f.Count.Adopted()
	f.Log.Info("found the rest of a file elsewhere", "source", g.Source, "path", c.path, "read", g.read.Offset, "size", c.size)
}

// copyOf says whether a file under a rotated name repeats one that is known, or is about to.
func (f *Follower) copyOf(c candidate, file *os.File) bool {
	return slices.ContainsFunc(f.generations, func(g *Generation) bool {
		switch {
		case g.Source != c.source || g.print.Bytes == 0:
			return false
		case g.state == closed:
			return c.size == g.size && g.intact(file)
		case g.state != open:
			return false
		}
		if !g.intact(g.file) {
			f.stale = true // truncated just now: this may be its copy, and the next scan will tell
			return g.print.holds(file)
		}
		info, err := g.file.Stat()
		return err == nil && c.size <= info.Size() && prefixOf(file, g.file, c.size)
	})
}

// begin follows a file from its first byte.
func (f *Follower) begin(c candidate, file *os.File, now time.Time) {
	g := &Generation{Stream: newStream(), Source: c.source, path: c.path, file: file, id: c.id, size: c.size, state: open}
	var err error
	if g.print, err = fingerprint(file, c.size); err == nil && f.FromEnd && f.first && !f.scanned {
		err = g.fromEnd()
	}
	if err != nil {
		f.complain(c.path, err)
		file.Close()
		return
	}
	if c.rotated {
		g.rotated = now
	}
	f.generations = append(f.generations, g)
	f.unsaved = true
	f.place(g, c)
	f.Log.Info("following", "path", c.path, "stream", g.Stream, "size", c.size)
}

// place puts a file that was rotated while nobody looked before those that were written after it.
func (f *Follower) place(g *Generation, c candidate) {
	if !c.rotated {
		return
	}
	f.generations = f.generations[:len(f.generations)-1]
	at := len(f.generations)
	for i, other := range f.generations {
		if other.Source == g.Source && other.state == open && other.rotated.IsZero() {
			at = i
			break
		}
	}
	f.generations = slices.Insert(f.generations, at, g)
}

// fromEnd leaves out what is there: up to the last line's end.
func (g *Generation) fromEnd() error {
	end, _, err := lastLine(g.file, 0, g.size)
	if err != nil {
		return err
	}
	if err := g.jump(end); err != nil {
		return err
	}
	g.acked = g.read
	return nil
}

// part sees to the generations that no name leads to, and to those that are read to their end.
func (f *Follower) part(seen map[ID]bool, now time.Time) {
	for _, g := range f.generations {
		switch {
		case g.state == orphan:
			g.looks++
		case seen[g.id]:
			g.looks = 0
		case g.state == open:
			f.unnamed(g, now)
		case g.loaded:
			// From the checkpoint, and its file is not there: perhaps a copy is.
			g.close(orphan)
			g.loaded, g.looks = false, 0
		default:
			g.looks++
		}
		// Dropped to its end: its space is free at once, though nothing is read now.
		if g.state == open && g.deleted && len(g.skips) > 0 && g.unread() == 0 && now.Sub(g.rotated) >= f.RotateWait {
			g.close(closed)
		}
	}
	f.generations = slices.DeleteFunc(f.generations, func(g *Generation) bool {
		// A listing may miss a name that is just being changed: what was read is not forgotten for that, or it would be read again.
		over := g.state != open && !g.loaded && g.looks > missedLooks || g.state == closed && g.deleted
		if !over || g.flying > 0 {
			return false
		}
		if g.state == orphan && g.size > g.read.Offset {
			f.lose(g, "gone")
		}
		return true
	})
}

// unnamed sees to an open file that no listed name leads to. It is deleted if it has no name at all.
func (f *Follower) unnamed(g *Generation, now time.Time) {
	if info, err := g.file.Stat(); err == nil {
		g.size = info.Size()
		g.deleted = info.Sys().(*syscall.Stat_t).Nlink == 0
	}
	if g.rotated.IsZero() {
		g.rotated = now
	}
	if f.ByName {
		f.lose(g, "deleted")
	}
}

// missedLooks is for how many scans a file that is not found is still looked for, or the copy of one that was truncated.
const missedLooks = 3

// lose gives up what is left of a generation, and counts it.
func (f *Follower) lose(g *Generation, reason string) {
	if n := g.unread(); n > 0 {
		f.Count.Lost(reason, n)
		f.Log.Warn("bytes lost", "source", g.Source, "path", g.path, "reason", reason, "bytes", n)
	}
	g.size = g.read.Offset
	if g.state == open {
		g.close(closed)
	}
}

func (f *Follower) openFiles() (n int) {
	for _, g := range f.generations {
		if g.state == open {
			n++
		}
	}
	return n
}

func newStream() string {
	b := make([]byte, 8)
	rand.Read(b) // never fails
	return hex.EncodeToString(b)
}

// Close gives all files back.
func (f *Follower) Close() {
	for _, g := range f.generations {
		if g.state == open {
			g.close(closed)
		}
	}
}
