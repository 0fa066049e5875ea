package fastpath

import (
	"time"

	"distlab/containers/internal/http1"
	"distlab/containers/internal/reactor"
)

// Sizes of buffers. What is read is read into one of the worker's own, so that a
// connection without anything to say holds none.
const (
	readSize  = 128 << 10
	readFirst = 32 << 10 // of an answer; more when the client takes as much
	readSlow  = 16 << 10 // when it does not: what it leaves has to be kept
	headSize  = 16 << 10 // of a plain head, at most
	turn      = 8        // reads of one connection before others have theirs
	keepSpare = 64       // buffers that are kept for the next one in need
)

// worker is one loop with its clients and its connections to the servers. All of
// it belongs to the loop's goroutine.
type worker struct {
	path  *Path
	loop  *reactor.Loop
	limit Limits
	pools map[*Backend]*pool
	all   map[*Client]struct{}

	read   []byte // what was read last
	out    []byte // what is written next
	lines  []byte // header lines that are added
	cork   []byte // records of TLS that go out together
	spare  [][]byte
	date   []byte
	dated  time.Duration
	req    http1.Request
	answer http1.Response
}

func newWorker(p *Path, loop *reactor.Loop) *worker {
	w := &worker{path: p, loop: loop, limit: p.Limits, pools: make(map[*Backend]*pool), all: make(map[*Client]struct{})}
	w.read = make([]byte, readSize)
	if w.limit.HeaderBytes <= 0 || w.limit.HeaderBytes > headSize {
		w.limit.HeaderBytes = headSize
	}
	return w
}

// run is the loop's goroutine.
func (w *worker) run() {
	w.loop.Run()
	for c := range w.all {
		c.giveUp(Left)
		w.path.closed(c)
	}
}

// buffer is an empty one of a connection's own, for what has to be kept.
func (w *worker) buffer() []byte {
	if n := len(w.spare); n > 0 {
		b := w.spare[n-1]
		w.spare = w.spare[:n-1]
		return b
	}
	return make([]byte, 0, 2<<10)
}

// release takes a buffer back; large ones are not worth keeping.
func (w *worker) release(b []byte) {
	if cap(b) > 0 && cap(b) <= headSize && len(w.spare) < keepSpare {
		w.spare = append(w.spare, b[:0])
	}
}

// take is the first thing that happens to a client here.
func (w *worker) take(c *Client, fd int) {
	defer c.survive()
	source, err := w.loop.Register(fd, c)
	if err != nil {
		reactor.CloseFD(fd)
		w.path.closed(c)
		return
	}
	w.all[c] = struct{}{}
	c.source = source
	c.first = true
	c.timer.Fire = c.late
	s := c.Socket
	s.source, s.readable = source, true
	s.mu.Lock()
	closed := s.closed
	s.mu.Unlock()
	if closed {
		c.close()
		return
	}
	c.within(w.limit.Header)
	c.next()
}

// closeIdle is for the end: who waits for a request has waited long enough.
func (w *worker) closeIdle() {
	for c := range w.all {
		if c.state == waiting && len(c.in) == 0 {
			c.hangUp()
		}
	}
}

// today is a Date header, which is right to the second.
func (w *worker) today() []byte {
	if now := w.loop.Now(); now >= w.dated || len(w.date) == 0 {
		t := w.loop.Time()
		w.date = http1.AppendDate(w.date[:0], t)
		w.dated = now + time.Second - time.Duration(t.Nanosecond())
	}
	return w.date
}
