package main

import (
	"errors"
	"io"
	"net/http"
	"sync"
	"time"

	"distlab/containers/internal/http1"
)

// body is a request's body on its way to the arms. It is read once from the
// client, by whichever attempt asks, and kept up to a limit, so that a second
// attempt can begin at its beginning. It remembers whose fault it was that it
// ended.
type body struct {
	io.ReadCloser
	control *http.ResponseController
	limit   time.Duration // between two parts
	set     time.Time     // when the deadline was

	mu       sync.Mutex // guards the following; held while the client is read
	keep     int        // how many bytes to keep
	kept     []byte
	lost     bool // more was read than is kept
	read     bool // anything was
	current  *attempt
	end      error
	err      error // the client's fault
	trailers func()
	tee      *shadow // for the mirror; nil: none
}

func newBody(r io.ReadCloser, control *http.ResponseController, limit time.Duration, keep int) *body {
	return &body{ReadCloser: r, control: control, limit: limit, keep: keep}
}

// attempt is the body as one more attempt reads it, from the beginning. Those
// before it get no more.
func (b *body) attempt() *attempt {
	a := &attempt{body: b}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.current = a
	return a
}

// replayable is whether an attempt could still begin at the beginning.
func (b *body) replayable() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return !b.lost
}

// untouched is whether nothing was read.
func (b *body) untouched() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return !b.read
}

// errGone is for an attempt that is not the last one any more, or cannot begin.
var errGone = errors.New("the request's body is gone")

type attempt struct {
	*body
	at int
}

// Close leaves the body to the next attempt: the server closes the real one.
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
	if a != b.current || b.lost && a.at == 0 && b.read {
		return 0, errGone
	}
	n, err := b.next(p)
	a.at += n
	return n, err
}

// next reads from the client; the caller holds mu.
func (b *body) next(p []byte) (int, error) {
	if now := time.Now(); b.limit > 0 && now.Sub(b.set) > b.limit/8 {
		b.set = now
		b.control.SetReadDeadline(now.Add(b.limit))
	}
	n, err := b.ReadCloser.Read(p)
	if n > 0 {
		b.read = true
		b.record(p[:n])
		b.tee.write(p[:n])
	}
	if err == nil {
		return n, nil
	}
	b.end = err
	if err != io.EOF {
		b.err = err
		b.tee.drop("broken_body")
		return n, err
	}
	if b.limit > 0 {
		// Not after an error: net/http will want to read the rest.
		b.control.SetReadDeadline(time.Time{})
	}
	if b.trailers != nil {
		b.trailers()
		b.trailers = nil
	}
	b.tee.whole()
	return n, err
}

func (b *body) record(p []byte) {
	if b.lost {
		return
	}
	if len(b.kept)+len(p) > b.keep {
		b.lost, b.kept = true, nil
		return
	}
	b.kept = append(b.kept, p...)
}

func (b *body) failure() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.err
}

// forwardTrailers announces the trailers that in announced, and fills them in
// when they have come: that is at the end of the body, before the transport
// writes them.
func (b *body) forwardTrailers(in *http.Request) http.Header {
	out := make(http.Header, len(in.Trailer))
	for name := range in.Trailer {
		if !http1.Dropped(name) {
			out[name] = nil
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.trailers = func() {
		for name := range out {
			out[name] = in.Trailer[name]
		}
	}
	return out
}
