package follow

import (
	"bytes"
	"unicode/utf8"
)

// Read gives each source a turn and adds whole lines to the batch, until that is full. It is false when there are none: then
// only a scan can find more. Of one source's files the older is read to its end first.
func (f *Follower) Read(b *Batch) (some bool) {
	f.init()
	bySource := map[string][]*Generation{}
	var sources []string
	for _, g := range f.generations {
		if g.state != closed {
			if bySource[g.Source] == nil {
				sources = append(sources, g.Source)
			}
			bySource[g.Source] = append(bySource[g.Source], g)
		}
	}
	f.turns++
	for i := range sources {
		if b.Bytes >= f.BatchSize {
			return true
		}
		for _, g := range bySource[sources[(i+f.turns)%len(sources)]] {
			// The rest of an orphan may turn up in a copy, and comes before what was written after it.
			if g.state == orphan && g.looks < 2 {
				break
			}
			if g.state == open {
				if f.turn(g, b) {
					some = true
					break
				}
				f.finish(g, b)
			}
		}
	}
	return some
}

// Stale says that a file was found to be another while it was read: a scan is due.
func (f *Follower) Stale() bool { return f.stale }

// longTurn is for how many chunks the end of a long line is looked for in one turn.
const longTurn = 64

// turn reads one chunk of a file.
func (f *Follower) turn(g *Generation, b *Batch) bool {
	limit := int64(len(f.buf))
	if len(g.skips) > 0 {
		if s := g.skips[0]; s.from <= g.read.Offset {
			return g.jump(s.to) == nil && b.reached(g)
		} else {
			limit = min(limit, s.from-g.read.Offset)
		}
	}
	if g.size <= g.held {
		return false
	}
	n, _ := g.file.ReadAt(f.buf[:limit], g.read.Offset)
	// Looked at after the reading: what was read is of this generation only if it still is there.
	if n > 0 && !g.intact(g.file) {
		f.stale = true
		return false
	}
	data, at, full := f.buf[:n], 0, false
	for at < n {
		if full = b.Bytes >= f.BatchSize; full {
			break
		}
		if nuls := len(data[at:]) - len(bytes.TrimLeft(data[at:], "\x00")); nuls > 0 {
			// A hole: its writer went on at its old offset after a truncation.
			f.Count.Nuls(int64(nuls))
			at += nuls
			continue
		}
		i := bytes.IndexByte(data[at:], '\n')
		if i < 0 {
			break
		}
		f.emit(g, b, data[at:at+i], g.read.Offset+int64(at), g.read.Offset+int64(at+i+1), false)
		at += i + 1
	}
	if at == 0 && n == len(f.buf) {
		return f.long(g, b)
	}
	end := g.read.Offset + int64(n)
	g.size = max(g.size, end)
	if int64(n) < limit && !full {
		g.held = end
	}
	if at == 0 {
		return false
	}
	f.identify(g, end)
	g.advance(g.read.Offset+int64(at), data[:at])
	return b.reached(g)
}

// long looks for the end of a line that is longer than what is read at a time. Nothing of it is kept meanwhile.
func (f *Follower) long(g *Generation, b *Batch) bool {
	at := max(g.search, g.read.Offset)
	for range longTurn {
		n, _ := g.file.ReadAt(f.buf, at)
		if i := bytes.IndexByte(f.buf[:n], '\n'); i >= 0 {
			return f.cut(g, b, at+int64(i)+1, false)
		}
		at += int64(n)
		g.search, g.size = at, max(g.size, at)
		if n < len(f.buf) {
			g.held = at
			return false
		}
	}
	return true
}

// cut hands out the beginning of the line that ends at end, and goes on behind it.
func (f *Follower) cut(g *Generation, b *Batch, end int64, partial bool) bool {
	n, _ := g.file.ReadAt(f.buf[:min(int64(f.MaxLine)+1, end-g.read.Offset)], g.read.Offset)
	if !g.intact(g.file) {
		f.stale = true
		return false
	}
	f.emit(g, b, f.buf[:n], g.read.Offset, end, partial)
	return g.jump(end) == nil && b.reached(g)
}

// emit adds a line to the batch.
func (f *Follower) emit(g *Generation, b *Batch, text []byte, from, to int64, partial bool) {
	if n := len(text); n > 0 && text[n-1] == '\r' {
		text = text[:n-1]
	}
	long := len(text) > f.MaxLine
	if long {
		f.Count.LongLine()
		text = shorten(text, f.MaxLine)
	}
	if partial {
		f.Count.PartialLine()
	}
	b.add(Record{g.Stream, g.Source, g.path, from, to, text, long, partial})
}

// shorten cuts a text, not within a character.
func shorten(text []byte, n int) []byte {
	end := n
	for end > 0 && end > n-utf8.UTFMax && !utf8.RuneStart(text[end]) {
		end--
	}
	if end == 0 || !utf8.RuneStart(text[end]) {
		end = n // it is no UTF-8
	}
	return text[:end]
}

// finish closes a file whose name leads elsewhere once nobody writes to it any more. A last line without an end will not
// get one.
func (f *Follower) finish(g *Generation, b *Batch) {
	if g.rotated.IsZero() || f.now().Sub(g.rotated) < f.RotateWait || f.stale || len(g.skips) > 0 {
		return
	}
	info, err := g.file.Stat()
	if err != nil || info.Size() > g.size {
		g.rotated = f.now() // it was written to: it gets the wait once more
		return
	}
	if g.size > g.read.Offset && !f.cut(g, b, g.size, true) {
		return
	}
	g.close(closed)
}

// reached notes the generation's position in the batch, and is true.
func (b *Batch) reached(g *Generation) bool {
	b.reach(g)
	return true
}

// New makes an empty batch.
func (f *Follower) New() *Batch {
	f.init()
	return newBatch(f.now())
}

// Empty says that the batch moves nothing.
func (b *Batch) Empty() bool { return len(b.ends) == 0 }

// Ack notes that a batch is where it should be. Batches are acknowledged in the order in which they were read.
func (f *Follower) Ack(b *Batch) {
	for g, p := range b.ends {
		g.acked = p
		g.flying--
	}
	clear(b.ends)
}
