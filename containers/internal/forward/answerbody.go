package forward

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"sync"
	"time"

	"distlab/containers/internal/http1"
)

// answerBody is the body of an answer. At its end the link goes back.
type answerBody struct {
	l      *link
	resp   *http.Response // for the trailers
	kind   bodyKind
	last   bool // the link carries no other exchange
	left   int64
	chunks http1.Chunks
	stop   func() bool
	err    error
	once   sync.Once
}

type bodyKind uint8

const (
	sized bodyKind = iota
	inChunks
	toTheEnd
)

func (b *answerBody) done() bool { return b.kind == sized && b.left == 0 }

// Waiting is whether the next Read has to wait for the server. At the end the link is
// somebody else's.
func (b *answerBody) Waiting() bool { return b.err == nil && !b.done() && b.l.r.Buffered() == 0 }

func (b *answerBody) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	if b.done() {
		b.err = io.EOF
		return 0, io.EOF
	}
	n, err := b.next(p)
	if err == nil && b.done() {
		err = io.EOF
	}
	if b.err = err; err == io.EOF {
		b.release(true)
	} else if err != nil {
		b.release(false)
	}
	return n, err
}

func (b *answerBody) next(p []byte) (int, error) {
	switch b.kind {
	case inChunks:
		return b.chunk(p)
	case toTheEnd:
		return b.l.r.Read(p)
	}
	n, err := b.l.r.Read(p[:min(int64(len(p)), b.left)])
	if b.left -= int64(n); err == io.EOF && b.left > 0 {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

func (b *answerBody) chunk(p []byte) (int, error) {
	for {
		if b.l.r.Buffered() == 0 {
			if _, err := b.l.r.Peek(1); err != nil {
				if err == io.EOF {
					err = io.ErrUnexpectedEOF
				}
				return 0, err
			}
		}
		buffered, _ := b.l.r.Peek(min(b.l.r.Buffered(), max(1, len(p))))
		data, n, err := b.chunks.Next(buffered)
		if err != nil {
			return 0, err
		}
		k := copy(p, data)
		b.l.r.Discard(n)
		if err := b.skip(); err != nil {
			return k, err
		}
		switch {
		case b.chunks.Done():
			return k, b.trailers()
		case k > 0:
			return k, nil
		}
	}
}

// skip reads what has come of the chunking up to the next data, so that Waiting
// does not take it for some.
func (b *answerBody) skip() error {
	for b.l.r.Buffered() > 0 && !b.chunks.InData() && !b.chunks.Done() {
		next, _ := b.l.r.Peek(1)
		if _, _, err := b.chunks.Next(next); err != nil {
			return err
		}
		b.l.r.Discard(1)
	}
	return nil
}

// trailers fills in what came behind the last chunk.
func (b *answerBody) trailers() error {
	text, err := b.chunks.AppendEnd(nil)
	if err != nil {
		return err
	}
	left, fields := maxAnswerHead, make(http.Header)
	r := bufio.NewReader(bytes.NewReader(text[len("0\r\n"):]))
	if err := readFields(r, &left, fields); err != nil {
		return err
	}
	for name, values := range fields {
		if mayTrail(name) {
			if b.resp.Trailer == nil {
				b.resp.Trailer = make(http.Header)
			}
			b.resp.Trailer[name] = values
		}
	}
	return io.EOF
}

// Close ends the exchange. Where the answer has not come to its end, so ends the
// connection.
func (b *answerBody) Close() error {
	b.release(b.err == io.EOF || b.done())
	return nil
}

// bodyGrace is how long a server's connection waits for the last write of a body
// that it has answered.
const bodyGrace = 50 * time.Millisecond

// release gives the link back, or closes it.
func (b *answerBody) release(whole bool) {
	b.once.Do(func() {
		l := b.l
		if b.stop != nil && !b.stop() {
			whole = false
		}
		l.finish()
		if s := l.writing; s != nil && whole {
			if s.ended.Load() {
				wait := time.NewTimer(bodyGrace)
				defer wait.Stop()
				select {
				case <-s.done:
				case <-wait.C:
				}
			}
			select {
			case <-s.done:
				whole = s.whole
			default:
				whole = false
			}
		}
		if !whole || b.last || l.addr == "" || l.r.Buffered() > 0 {
			l.Close()
			return
		}
		l.t.put(l)
	})
}
