package main

import (
	"io"
	"net/http"
	"sync"
	"time"

	"distlab/containers/internal/http1"
)

// body is a request's body on its way to the app. It remembers whose fault it
// was that it ended.
type body struct {
	io.ReadCloser
	control *http.ResponseController
	limit   time.Duration // between two parts
	set     time.Time     // when the deadline was

	mu       sync.Mutex // guards the following
	err      error
	trailers func()
}

func (b *body) Read(p []byte) (int, error) {
	if now := time.Now(); b.limit > 0 && now.Sub(b.set) > b.limit/8 {
		b.set = now
		b.control.SetReadDeadline(now.Add(b.limit))
	}
	n, err := b.ReadCloser.Read(p)
	if err == nil {
		return n, nil
	}
	if b.limit > 0 && err == io.EOF {
		// Not after an error: net/http will want to read the rest.
		b.control.SetReadDeadline(time.Time{})
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case err != io.EOF:
		b.err = err
	case b.trailers != nil:
		b.trailers()
		b.trailers = nil
	}
	return n, err
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
