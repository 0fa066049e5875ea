package forward

import (
	"errors"
	"io"
	"net/http"
	"sync"
	"time"
)

// body is a request's body on its way to the servers. It is read once from the
// client, by whichever attempt asks, and kept up to a limit, so that a second
// attempt can begin at its beginning. It remembers whose fault it was that it
// ended.
//
// net/http's own body must not be read by two goroutines, nor after the handler
// has returned: it panics, in whichever of them comes second. So nobody else holds
// it: finish ends a read that is under way, and lets none begin.
type body struct {
	src     io.ReadCloser // net/http's
	control *http.ResponseController
	limit   time.Duration // between two parts
	set     time.Time     // when the deadline was

	// What the first attempt says; an attempt that was given up may still read.
	tee  Tee // nil: none
	keep int // how many bytes to keep

	mu       sync.Mutex // guards the following; held while the client is read
	kept     []byte
	end      error
	trailers func()

	gate    sync.Mutex // guards the following; never held for long
	current *attempt
	closed  bool  // no read begins any more
	hasEnd  bool  // the body has come to its end
	read    bool  // anything of it was
	lost    bool  // more than is kept
	fault   error // the client's
}

// Tee is told a request's body as it is read.
type Tee interface {
	Part(p []byte)
	Ended(err error) // nil: it is whole
}

// errGone is for an attempt that is not the last one any more, or cannot begin.
var errGone = errors.New("the request's body is gone")

// attempt is the body as one more attempt reads it, from the beginning. Those
// before it get no more.
type attempt struct {
	*body
	at int
}

func (b *body) attempt(keep int, tee Tee) *attempt {
	a := &attempt{body: b}
	b.gate.Lock()
	defer b.gate.Unlock()
	if b.current == nil {
		b.keep, b.tee = keep, tee
	}
	b.current = a
	return a
}

// Close leaves the body to the next attempt.
func (a *attempt) Close() error { return nil }

// Read may be called by an attempt that was given up, while it is blocked in
// the client; what it then gets is kept for the next one.
func (a *attempt) Read(p []byte) (int, error) {
	b := a.body
	b.mu.Lock()
	defer b.mu.Unlock()
	if a.at < len(b.kept) {
		n := copy(p, b.kept[a.at:])
		a.at += n
		return n, nil
	}
	if b.end != nil {
		return 0, b.end
	}
	if !a.mayRead() {
		return 0, errGone
	}
	n, err := b.next(p)
	a.at += n
	return n, err
}

// next reads from the client; the caller holds mu.
func (b *body) next(p []byte) (n int, err error) {
	defer func() {
		if r := recover(); r != nil { // no body may end the process
			n, err = 0, errGone
			b.end = err
		}
	}()
	if n, err = b.src.Read(p); n > 0 {
		b.record(p[:n])
		if b.tee != nil {
			b.tee.Part(p[:n])
		}
	}
	if err == nil {
		return n, nil
	}
	b.ended(err)
	return n, b.end
}

// mayRead is false for an attempt that is not the last one, and for all once the
// exchange is over. The deadline is set under the gate, so that it never undoes
// finish's.
func (a *attempt) mayRead() bool {
	b := a.body
	b.gate.Lock()
	defer b.gate.Unlock()
	if b.closed || a != b.current || b.lost && a.at == 0 {
		return false
	}
	if now := time.Now(); b.limit > 0 && now.Sub(b.set) > b.limit/8 {
		b.set = now
		b.control.SetReadDeadline(now.Add(b.limit))
	}
	return true
}

// ended takes note of the end; the caller holds mu.
func (b *body) ended(err error) {
	b.gate.Lock()
	closed := b.closed
	b.hasEnd = err == io.EOF && !closed
	if err != io.EOF && !closed {
		b.fault = err
	}
	if b.hasEnd && b.limit > 0 {
		b.control.SetReadDeadline(time.Time{})
	}
	b.gate.Unlock()
	switch {
	case closed && err != io.EOF:
		b.end = errGone // finish's doing
	case err != io.EOF:
		b.end = err
	default:
		if b.end = err; b.trailers != nil {
			b.trailers()
			b.trailers = nil
		}
	}
	switch {
	case b.tee == nil:
	case err == io.EOF:
		b.tee.Ended(nil)
	case !closed:
		b.tee.Ended(err)
	}
}

// record keeps what was read for another attempt; the caller holds mu.
func (b *body) record(p []byte) {
	b.gate.Lock()
	defer b.gate.Unlock()
	b.read = true
	switch {
	case b.lost:
	case len(b.kept)+len(p) > b.keep:
		b.lost, b.kept = true, nil
	default:
		b.kept = append(b.kept, p...)
	}
}

// whole is whether the client has sent all, as far as anybody has read.
func (b *body) whole() bool {
	b.gate.Lock()
	defer b.gate.Unlock()
	return b.hasEnd
}

// finish is the end of the exchange: after it nobody reads net/http's body.
func (b *body) finish() {
	b.gate.Lock()
	b.closed = true
	if !b.hasEnd {
		b.control.SetReadDeadline(time.Unix(1, 0)) // ends a read that is under way
	}
	b.gate.Unlock()
	b.mu.Lock() // and waits for it
	b.kept = nil
	b.mu.Unlock()
}

// replayable is whether an attempt could still begin at the beginning.
func (b *body) replayable() bool {
	b.gate.Lock()
	defer b.gate.Unlock()
	return !b.lost
}

// untouched is whether nothing was read.
func (b *body) untouched() bool {
	b.gate.Lock()
	defer b.gate.Unlock()
	return !b.read
}

// settle waits for a read that is under way, when that is about to end.
func (b *body) settle() {
	b.mu.Lock()
	defer b.mu.Unlock()
}

func (b *body) failure() error {
	b.gate.Lock()
	defer b.gate.Unlock()
	return b.fault
}

// passTrailers announces the trailers that in announced, and fills in all that
// have come, at the end of the body, before they are written.
func (b *body) passTrailers(in *http.Request) http.Header {
	out := make(http.Header, len(in.Trailer))
	for name := range in.Trailer {
		if mayTrail(name) {
			out[name] = nil
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.trailers = func() {
		for name, values := range in.Trailer {
			if mayTrail(name) {
				out[name] = values
			}
		}
	}
	return out
}
