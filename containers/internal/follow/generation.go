package follow

import (
	"os"
	"time"
)

// Generation is one file's content from its beginning: the followed name leads to one after the other. A rename ends one
// and begins the next; so does a truncation, though the file is the same.
type Generation struct {
	Stream string // a name that no other generation has ever had: offsets are counted in it
	Source string // the name that is followed: app.log for app.log.1 as well

	path  string // where it was last seen
	file  *os.File
	id    ID
	print Fingerprint
	size  int64 // when last looked at

	read  Position // up to here lines were handed out, or skipped
	tail  []byte   // what stands before read, as far as its marker reaches
	acked Position // up to here they were acknowledged
	// flying are the batches that have lines of it and are not acknowledged.
	flying int

	state   state
	loaded  bool      // closed, known from a checkpoint, and not looked at yet
	rotated time.Time // since when its name leads elsewhere; zero: it has its name
	deleted bool      // no name leads to it any more: its space is free once it is closed
	looks   int       // scans since it was orphaned
	held    int64     // size at which nothing was left but the beginning of a line
	search  int64     // up to here there is no end of the line that begins at read
	skips   []span    // dropped before they were read
}

type state string

const (
	// open: its file is followed.
	open state = "open"
	// closed: it was read to its end, or is known from a checkpoint and not found yet.
	closed state = "closed"
	// orphan: what lay in its file is gone. A copy may have the rest (copytruncate).
	orphan state = "orphan"
)

// span is a part of a file, from the start of a line to the start of another.
type span struct{ from, to int64 }

// unread is how many bytes are there and were neither handed out nor dropped.
func (g *Generation) unread() int64 {
	n := g.size - g.read.Offset
	for _, s := range g.skips {
		n -= s.to - s.from
	}
	return max(n, 0)
}

// waiting is the space on the disk that waits for the shipper: what is not acknowledged, and of a deleted file all, since it
// is there for the shipper alone until it is read.
func (g *Generation) waiting() int64 {
	if g.deleted && g.unread() > 0 {
		return g.size
	}
	n := g.size - g.acked.Offset
	for _, s := range g.skips {
		n -= s.to - s.from
	}
	return max(n, 0)
}

// intact says whether r has all that was read of the generation, at its place.
func (g *Generation) intact(r *os.File) bool { return g.print.holds(r) && g.read.holds(r) }

// close gives the file back.
func (g *Generation) close(to state) {
	if g.file != nil {
		g.file.Close()
		g.file = nil
	}
	g.state = to
}

// advance moves the reading position over text, which is what the file has there, or the end of it.
func (g *Generation) advance(to int64, text []byte) {
	if len(text) < markerBytes && to-g.read.Offset == int64(len(text)) {
		text = append(g.tail, text...)
	}
	g.tail = append([]byte(nil), text[max(0, len(text)-markerBytes):]...)
	g.read = Position{to, markerOf(g.tail)}
	for len(g.skips) > 0 && g.skips[0].to <= to {
		g.skips = g.skips[1:]
	}
}

// jump moves the reading position to an offset that was found in the file.
func (g *Generation) jump(to int64) error {
	tail, err := tailAt(g.file, to)
	if err != nil {
		return err
	}
	g.advance(to, tail)
	g.tail = tail
	g.read.Marker = markerOf(tail)
	return nil
}
