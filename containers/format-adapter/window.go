package main

import (
	"bytes"
	"errors"
	"io"
)

// Errors that end the reading of a source: it broke off, or it asks for more than it may have.
var (
	errLong = errors.New("a record is longer than it may be")
	errSkip = errors.New("a record is so long that its end was not looked for")
)

// skipMax bounds how far the end of a record that is too long is looked for: an endless line must end somewhere.
const skipMax = 16 << 20

// chunk is what is read at a time.
const chunk = 32 << 10

// window is the part of a source that is in memory: never more than one record and a chunk.
type window struct {
	r    io.Reader
	buf  []byte
	lo   int
	max  int   // of a record
	off  int64 // of buf[lo] in the source, as it was decoded
	line int   // of buf[lo], from 1
	err  error // after which nothing comes: io.EOF, or worse
}

func newWindow(r io.Reader, most int) *window {
	return &window{r: r, max: most, line: 1, buf: make([]byte, 0, min(most, chunk)+chunk)}
}

// rest is what is there and not taken.
func (w *window) rest() []byte { return w.buf[w.lo:] }

// ended says that nothing comes after rest, in order.
func (w *window) ended() bool { return w.err == io.EOF }

// more reads a chunk. It is false where rest is larger than a record may be, or nothing comes any more.
func (w *window) more() bool {
	if w.err != nil || len(w.rest()) > w.max {
		return false
	}
	if w.lo > 0 {
		w.buf = w.buf[:copy(w.buf, w.rest())]
		w.lo = 0
	}
	if cap(w.buf)-len(w.buf) < chunk {
		w.buf = append(make([]byte, 0, 2*cap(w.buf)), w.buf...)
	}
	n, err := w.r.Read(w.buf[len(w.buf) : len(w.buf)+chunk])
	w.buf, w.err = w.buf[:len(w.buf)+n], err
	return true // also an end that has just been seen changes what can be told
}

// take goes n bytes on.
func (w *window) take(n int) {
	b := w.buf[w.lo : w.lo+n]
	w.line += bytes.Count(b, []byte{'\n'})
	w.lo += n
	w.off += int64(n)
}

// skipLine goes behind the next line end, through as much as it takes up to skipMax.
func (w *window) skipLine() error {
	for skipped := 0; ; {
		b := w.rest()
		if i := bytes.IndexByte(b, '\n'); i >= 0 {
			w.take(i + 1)
			return nil
		}
		w.take(len(b))
		if skipped += len(b); skipped > skipMax {
			return errSkip
		}
		if !w.more() && len(w.rest()) == 0 {
			return w.err
		}
	}
}

// lineEnd is where the first line of b ends and the next begins. LF, CR LF and a lone CR end a line; ok is false where more
// is needed to tell.
func lineEnd(b []byte, ended bool) (end, next int, ok bool) {
	end = bytes.IndexByte(b, '\n')
	line := b
	if end >= 0 {
		line = b[:end]
	}
	if cr := bytes.IndexByte(line, '\r'); cr >= 0 {
		switch {
		case cr+1 < len(b) && b[cr+1] == '\n':
			return cr, cr + 2, true
		case cr+1 < len(b) || ended:
			return cr, cr + 1, true
		}
		return 0, 0, false
	}
	switch {
	case end >= 0:
		return end, end + 1, true
	case ended:
		return len(b), len(b), true
	}
	return 0, 0, false
}

// allowance bounds what a parser that keeps its own memory may read until the next mark.
type allowance struct {
	r     io.Reader
	most  int64
	read  int64
	until int64
	lines []int64 // where lines ended that were read, after the last mark
	line  int     // of the mark, from 1
}

func newAllowance(r io.Reader, most int) *allowance {
	a := &allowance{r: r, most: int64(most) + 2*chunk, line: 1}
	a.until = a.most
	return a
}

// mark allows so much again, from an offset on, and is the line that it is in.
func (a *allowance) mark(offset int64) int {
	a.until = offset + a.most
	i := 0
	for i < len(a.lines) && a.lines[i] < offset {
		i++
	}
	a.line += i
	a.lines = append(a.lines[:0], a.lines[i:]...)
	return a.line
}

func (a *allowance) Read(p []byte) (int, error) {
	left := a.until - a.read
	if left <= 0 {
		return 0, errLong
	}
	n, err := a.r.Read(p[:min(int64(len(p)), left, chunk)])
	for i := 0; ; {
		j := bytes.IndexByte(p[i:n], '\n')
		if j < 0 {
			break
		}
		i += j + 1
		a.lines = append(a.lines, a.read+int64(i)-1)
	}
	a.read += int64(n)
	return n, err
}
