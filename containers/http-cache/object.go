package main

import (
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// Object is one stored answer. It does not change, but that its body may still grow.
type Object struct {
	Terms
	Status int
	Header http.Header
	Vary   []string // the names that it varies by
	Varied string   // and what the request said to them
	Born   time.Time
	Tags   []string
	Body   *Body
}

// Age is how old it is.
func (o *Object) Age(now time.Time) time.Duration { return max(0, now.Sub(o.Born)) }

// Left is for how long it is still fresh; less than nothing for one that is stale.
func (o *Object) Left(now time.Time) time.Duration { return o.Lifetime - o.Age(now) }

// Fits is whether it may be the answer to a request.
func (o *Object) Fits(a Asked, h http.Header) bool {
	return (o.Shared || !a.Personal) && o.Varied == varied(o.Vary, h)
}

// size is what it takes in memory, nearly.
func (o *Object) size() int {
	n := 600 + len(o.Varied) + o.Body.Len()
	for name, values := range o.Header {
		n += 80 + len(name)
		for _, v := range values {
			n += len(v)
		}
	}
	for _, tag := range o.Tags {
		n += 16 + len(tag)
	}
	return n
}

// refreshed is the object after the origin has said 304: the same body under a new header (RFC 9111 section 3.2).
func (o *Object) refreshed(h http.Header) http.Header {
	merged := o.Header.Clone()
	for name, values := range h {
		switch name {
		case "Content-Length", "Content-Encoding", "Content-Type", "Content-Range", "Set-Cookie":
		default:
			merged[name] = values
		}
	}
	return merged
}

// compact is a header in as little memory as it takes, and that keeps nothing else in memory: one text and one list of
// lines.
func compact(h http.Header) http.Header {
	var text strings.Builder
	n, size := 0, 0
	for _, values := range h {
		for _, v := range values {
			n, size = n+1, size+len(v)
		}
	}
	text.Grow(size)
	names := slices.Sorted(maps.Keys(h))
	for _, name := range names {
		for _, v := range h[name] {
			text.WriteString(v)
		}
	}
	rest, lines, small := text.String(), make([]string, 0, n), make(http.Header, len(h))
	for _, name := range names {
		from := len(lines)
		for _, v := range h[name] {
			lines = append(lines, rest[:len(v)])
			rest = rest[len(v):]
		}
		small[name] = lines[from:len(lines):len(lines)]
	}
	return small
}

// tagsOf are those by which an answer can be purged.
func tagsOf(h http.Header) (tags []string) {
	for _, line := range h["Cache-Tag"] {
		for tag := range strings.SplitSeq(line, ",") {
			if tag = strings.TrimSpace(tag); tag != "" {
				tags = append(tags, tag)
			}
		}
	}
	for _, line := range h["Surrogate-Key"] {
		tags = append(tags, strings.Fields(line)...)
	}
	slices.Sort(tags)
	return slices.Compact(tags)
}

// Body is the bytes of an answer, while they come and afterwards. One goroutine writes; any number read, each at its
// own pace. Once it is too large to be stored it has a window: then the writer waits for the slowest of its readers.
type Body struct {
	Length int64 // as the origin says; -1: it does not

	mu      sync.Mutex
	more    chan struct{} // closed when there is something new; nil: nobody waits
	data    []byte
	base    int64 // what was before data is gone
	window  int   // 0: all is kept
	ended   bool
	err     error
	readers map[*Reader]struct{} // nil: nobody
	room    *sync.Cond           // the writer waits for it; nil: it has no window
}

// newBody makes an empty one.
func newBody(length int64) *Body {
	b := &Body{Length: length}
	if length > 0 {
		b.data = make([]byte, 0, min(length, 64<<10)) // an announced length is no reason to give memory away
	}
	return b
}

// Len is how much of it there is.
func (b *Body) Len() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.data)
}

// Readers is how many read it.
func (b *Body) Readers() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.readers)
}

// Whole is all of it, if it has come and was kept.
func (b *Body) Whole() ([]byte, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.data, b.ended && b.err == nil && b.base == 0
}

// append adds bytes. It blocks while a window is full, and is false when nobody reads any more.
func (b *Body) append(p []byte) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.data = append(b.data, p...)
	b.wake()
	for b.window > 0 {
		b.discard()
		if len(b.readers) == 0 {
			return false
		}
		if len(b.data) <= b.window {
			return true
		}
		b.room.Wait()
	}
	return true
}

// narrow has it keep no more than what its readers have not read yet.
func (b *Body) narrow(window int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.window, b.room = window, sync.NewCond(&b.mu)
}

// discard drops what everybody has read.
func (b *Body) discard() {
	least := b.base + int64(len(b.data))
	for r := range b.readers {
		least = min(least, r.at)
	}
	if n := least - b.base; n > 0 {
		b.data = append(make([]byte, 0, len(b.data)-int(n)+b.window), b.data[n:]...)
		b.base = least
	}
}

// end is the last thing that is written. nil: it is whole.
func (b *Body) end(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ended, b.err = true, err
	if cap(b.data)-len(b.data) > len(b.data)/8 { // it will lie there for long
		b.data = slices.Clip(append(make([]byte, 0, len(b.data)), b.data...))
	}
	b.wake()
}

func (b *Body) wake() {
	if b.more != nil {
		close(b.more)
		b.more = nil
	}
}

// Reader reads a Body from its beginning. nil: what it began with is gone.
type Reader struct {
	b    *Body
	at   int64 // guarded by b.mu
	left int64 // -1: to the end
	stop <-chan struct{}
}

// Read begins to read n bytes from a place on, -1 for all; stop ends the waiting.
func (b *Body) Read(from, n int64, stop <-chan struct{}) *Reader {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.base > 0 {
		return nil
	}
	r := &Reader{b: b, at: from, left: n, stop: stop}
	if b.readers == nil {
		b.readers = map[*Reader]struct{}{}
	}
	b.readers[r] = struct{}{}
	return r
}

// Waiting is whether the next Read would wait.
func (r *Reader) Waiting() bool {
	r.b.mu.Lock()
	defer r.b.mu.Unlock()
	return r.at >= r.b.base+int64(len(r.b.data)) && !r.b.ended
}

// Read is io.Reader's.
func (r *Reader) Read(p []byte) (int, error) {
	b := r.b
	b.mu.Lock()
	for {
		switch {
		case r.left == 0:
			b.mu.Unlock()
			return 0, io.EOF
		case r.at < b.base+int64(len(b.data)):
			if r.left > 0 {
				p = p[:min(int64(len(p)), r.left)]
			}
			n := copy(p, b.data[r.at-b.base:])
			r.at += int64(n)
			if r.left > 0 {
				r.left -= int64(n)
			}
			if b.window > 0 {
				b.room.Signal()
			}
			b.mu.Unlock()
			return n, nil
		case b.ended && b.err != nil:
			b.mu.Unlock()
			return 0, b.err
		case b.ended && r.left > 0:
			b.mu.Unlock()
			return 0, io.ErrUnexpectedEOF
		case b.ended:
			b.mu.Unlock()
			return 0, io.EOF
		}
		if b.more == nil {
			b.more = make(chan struct{})
		}
		more := b.more
		b.mu.Unlock()
		select {
		case <-more:
		case <-r.stop:
			return 0, errLeft
		}
		b.mu.Lock()
	}
}

// Close ends the reading.
func (r *Reader) Close() error {
	r.b.mu.Lock()
	defer r.b.mu.Unlock()
	if delete(r.b.readers, r); len(r.b.readers) == 0 {
		r.b.readers = nil
	}
	if r.b.room != nil {
		r.b.room.Signal()
	}
	return nil
}
