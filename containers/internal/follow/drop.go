package follow

import (
	"bytes"
	"io"
	"slices"
)

// enforce drops whole lines, unread, until no more than Limit waits on the disk. What the batches have is not touched: it is
// on its way.
func (f *Follower) enforce() {
	if f.Limit == 0 {
		return
	}
	excess := f.Waiting() - f.Limit
	if excess <= 0 {
		return
	}
	list := slices.Clone(f.generations)
	if f.Drop == Newest {
		slices.Reverse(list)
	}
	var lines, dropped int64
	for _, g := range list {
		if excess <= 0 {
			break
		}
		if g.state != open || g.unread() == 0 {
			continue
		}
		unread, waiting := g.unread(), g.waiting()
		want := excess
		if g.deleted {
			want = unread // its space is free only once it is closed: a part of it would free nothing
		}
		drop := g.dropOldest
		if f.Drop == Newest {
			drop = g.dropNewest
		}
		n, err := drop(want, f.buf)
		if err != nil {
			f.complain(g.path, err)
		}
		lines += n
		dropped += unread - g.unread()
		excess -= waiting - g.waiting()
	}
	if lines == 0 {
		return
	}
	f.Count.Dropped(lines, dropped)
	f.Log.Warn("lines dropped: too much waits", "lines", lines, "bytes", dropped, "which", f.Drop, "limit", f.Limit)
}

// dropOldest leaves out want bytes from the reading position on, up to the end of a line.
func (g *Generation) dropOldest(want int64, buf []byte) (lines int64, err error) {
	from := g.read.Offset
	if len(g.skips) > 0 && g.skips[0].from <= from {
		from = g.skips[0].to
	}
	end, lines, err := lineAfter(g.file, from, min(from+want, g.size), g.size, buf)
	if end > from {
		g.skip(span{from, end})
	}
	return lines, err
}

// dropNewest leaves out want bytes at the end, from the start of a line on.
func (g *Generation) dropNewest(want int64, buf []byte) (lines int64, err error) {
	first := g.read.Offset
	if n := len(g.skips); n > 0 {
		first = max(first, g.skips[n-1].to)
	}
	end, _, err := lastLine(g.file, first, g.size)
	if err != nil || end <= first {
		return 0, err
	}
	from := first
	if at := end - want; at > first {
		if from, _, err = lastLine(g.file, first, at); err != nil {
			return 0, err
		}
	}
	if from >= end {
		return 0, nil
	}
	lines, err = countLines(g.file, from, end, buf)
	if err == nil {
		g.skip(span{from, end})
	}
	return lines, err
}

// skip adds a span behind those that are there, or to the last.
func (g *Generation) skip(s span) {
	if n := len(g.skips); n > 0 && g.skips[n-1].to == s.from {
		g.skips[n-1].to = s.to
		return
	}
	g.skips = append(g.skips, s)
}

// lineAfter is the end of the first line that ends at or behind at, and how many end up to there, from the start of a line
// on. Where no line ends there, it is the end of the last one before.
func lineAfter(r io.ReaderAt, from, at, size int64, buf []byte) (end, lines int64, err error) {
	end = from
	for pos := from; pos < size; {
		n, err := r.ReadAt(buf[:min(int64(len(buf)), size-pos)], pos)
		for off := 0; off < n; {
			i := bytes.IndexByte(buf[off:n], '\n')
			if i < 0 {
				break
			}
			off += i + 1
			end, lines = pos+int64(off), lines+1
			if end >= at {
				return end, lines, nil
			}
		}
		pos += int64(n)
		if err != nil {
			return end, lines, err
		}
	}
	return end, lines, nil
}

// lastLine is the end of the last whole line between two offsets, or from.
func lastLine(r io.ReaderAt, from, size int64) (end int64, found bool, err error) {
	buf := make([]byte, 32<<10)
	for at := size; at > from; {
		n := min(int64(len(buf)), at-from)
		if _, err := r.ReadAt(buf[:n], at-n); err != nil {
			return from, false, err
		}
		if i := bytes.LastIndexByte(buf[:n], '\n'); i >= 0 {
			return at - n + int64(i) + 1, true, nil
		}
		at -= n
	}
	return from, false, nil
}

func countLines(r io.ReaderAt, from, to int64, buf []byte) (lines int64, err error) {
	for from < to {
		n, err := r.ReadAt(buf[:min(int64(len(buf)), to-from)], from)
		lines += int64(bytes.Count(buf[:n], []byte{'\n'}))
		if from += int64(n); err != nil {
			return lines, err
		}
	}
	return lines, nil
}
