package proxy

import (
	"bytes"
	"errors"
	"io"
	"syscall"
	"time"

	"distlab/containers/internal/dial"
	"distlab/containers/internal/reactor"
	"distlab/containers/shard-ambassador/resp"
)

var errEOF = io.EOF

// state of a connection to a shard.
type state uint8

const (
	idle       state = iota // there is none
	connecting              // requests wait in out
	shaking                 // logging in: they still wait
	ready
)

// Bounds of what waits for one connection to a shard. Clients whose requests
// do not fit are not read until they do.
const (
	maxQueued  = 1 << 20 // bytes of requests
	maxPending = 1 << 16 // requests without a reply
	stallLimit = 100 * time.Millisecond
)

// backend is a connection to a shard that many clients share. Replies come in
// the order of the requests, and that is all that says whose they are: so after
// an error or a timeout the connection is closed, and never used again.
type backend struct {
	shard   *shard
	resp3   bool
	state   state
	src     *reactor.Source
	attempt dial.Attempt

	out     queue   // requests
	hello   []byte  // of the handshake
	shakes  int     // replies that the handshake still waits for
	pending entries // requests without a reply
	scan    resp.Scanner
	blocked bool      // the socket takes no more
	dirty   bool      // in worker.backends
	waiters []*client // clients that wait for room
	bad     bool      // among the replies at hand is one that says so
	probe   bool      // connects to see whether an ejected shard is back

	upload  *upload // a large request is under way, and has this connection for itself
	private bool    // it has been sent: close after the reply
	own     bool    // it is none of the shard's, and has taken a descriptor of those for clients

	stall    *client // that the shard's replies wait for
	readable bool    // the socket may have more
	hup      bool

	timer    reactor.Timer // connect, handshake, and the first pending request
	stallEnd reactor.Timer
	progress int64 // when a piece of the first reply last came
	opened   int64 // when the connection became ready
}

func newBackend(s *shard, resp3 bool) *backend {
	b := &backend{shard: s, resp3: resp3}
	b.attempt = dial.Attempt{Loop: b.w().loop, Names: b.w().srv.names, Done: b.dialed}
	b.timer.Fire = b.timeout
	b.stallEnd.Fire = b.unstall
	return b
}

func (b *backend) w() *worker { return b.shard.pool.w }

// proto is which of shard.conns the connection is one of, or would be.
func (b *backend) proto() int {
	if b.resp3 {
		return 1
	}
	return 0
}

// Ready is called by the loop.
func (b *backend) Ready(ev reactor.Event) {
	if ev&reactor.Hangup != 0 {
		b.hup = true
	}
	if ev&reactor.Writable != 0 && b.blocked {
		b.blocked = false
		b.markDirty()
	}
	if ev&(reactor.Readable|reactor.Again) != 0 {
		b.readable = true
		b.read()
	}
}

// send adds a request. b is for who has to know whether it got too much.
func (b *backend) send(c *client, seq uint32, part int32, bytes int) {
	now := int64(b.w().loop.Now())
	if b.pending.len() == 0 {
		b.progress = now
	}
	b.pending.push(entry{c, seq, part, int32(bytes), now})
	b.shard.stats.Requests++
	b.shard.stats.RequestBytes += uint64(bytes)
	if !b.timer.Armed() {
		b.watch()
	}
	b.markDirty()
	if c.waiting == nil && (b.out.len() > maxQueued || b.pending.len() > maxPending) {
		c.waiting = b
		b.waiters = append(b.waiters, c)
	}
}

func (b *backend) markDirty() {
	if !b.dirty {
		b.dirty = true
		w := b.w()
		w.backends = append(w.backends, b)
	}
}

// flush writes requests, at the end of a round.
func (b *backend) flush() {
	if b.state != ready || b.blocked || b.out.len() == 0 {
		b.admit()
		return
	}
	n, err := b.src.Write(b.out.buf[b.out.sent:])
	b.out.drop(&b.w().buffers, n)
	if n > 0 && b.upload != nil {
		b.progress = int64(b.w().loop.Now())
		if c := b.upload.c; c.readable && !b.upload.full() {
			c.src.Again()
		}
	}
	if err != nil && err != reactor.ErrAgain {
		b.fail(kindOf(err), reason(err))
		return
	}
	b.blocked = err != nil
	b.admit()
}

// admit lets waiting clients go on when half the room is free.
func (b *backend) admit() {
	if len(b.waiters) == 0 || b.out.len() > maxQueued/2 || b.pending.len() > maxPending/2 {
		return
	}
	for i, c := range b.waiters {
		b.waiters[i] = nil
		c.waiting = nil
		c.unstick()
	}
	b.waiters = b.waiters[:0]
}

// read reads once, and comes back for more after the others.
func (b *backend) read() {
	if b.state < shaking || b.stall != nil {
		return
	}
	w := b.w()
	n, err := b.src.Read(w.scratch)
	if err != nil {
		b.readable = false
		if err != reactor.ErrAgain {
			b.fail(kindOf(err), reason(err))
		}
		return
	}
	b.replies(w.scratch[:n])
	switch {
	case b.state < shaking:
	case n == len(w.scratch) || b.hup:
		b.src.Again()
	default:
		b.readable = false
	}
}

// replies gives each client its own.
func (b *backend) replies(data []byte) {
	s := b.shard
	s.stats.ResponseBytes += uint64(len(data))
	if b.state == shaking {
		n, ok := b.shaken(data)
		if !ok {
			return
		}
		data = data[n:]
	}
	now := int64(b.w().loop.Now())
	b.progress = now
	for len(data) > 0 {
		begun := b.scan.Begun()
		n, done, err := b.scan.Scan(data)
		push := b.scan.Kind == '>'
		if err != nil || b.pending.len() == 0 && !push && n > 0 {
			b.fail(ErrProtocol, unasked(data[:n], err))
			return
		}
		piece := data[:n]
		data = data[n:]
		if push {
			continue // nobody has subscribed to anything
		}
		e := b.pending.first()
		if !begun && b.scan.Kind == '-' {
			b.judge(piece)
		}
		if c := e.client; c != nil && !c.closed {
			c.deliver(e.seq, e.part, piece, done)
			b.hold(c)
		}
		if done {
			s.stats.Responses++
			s.stats.Latency.observe(now - e.at)
			b.pending.pop()
		}
	}
	if b.pending.len() == 0 {
		if b.timer.Armed() {
			b.w().loop.Disarm(&b.timer)
		}
		if s.gone || b.private {
			b.close()
		}
	}
	if len(b.waiters) > 0 {
		b.admit()
	}
	if s.failures > 0 && !s.ejected && !b.bad {
		s.failures = 0
	}
	b.bad = false
}

// unasked is what is wrong with a reply that nobody asked for. An error has a reason of its own: Redis says so when
// it has too many clients, or is protected.
func unasked(reply []byte, err error) string {
	if line, _, _ := bytes.Cut(reply, []byte("\r\n")); err == nil && len(line) > 1 && line[0] == '-' {
		return printable(line[1:])
	}
	return "a reply that nobody asked for, or none at all"
}

// reason is an error as people know it.
func reason(err error) string {
	if errors.Is(err, io.EOF) {
		return "closed the connection"
	}
	if several, ok := errors.AsType[*dial.Error](err); ok {
		return several.Reason()
	}
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		return errno.Error()
	}
	return err.Error()
}
