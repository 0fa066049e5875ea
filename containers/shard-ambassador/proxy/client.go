package proxy

import (
	"errors"
	"time"

	"distlab/containers/internal/reactor"
	"distlab/containers/shard-ambassador/resp"
)

// Bounds of what is kept for one client.
const (
	maxPipeline = 1024    // requests without a reply; then no more are read
	softReplies = 1 << 20 // bytes of replies; then no more requests are read, and large replies wait
	lingering   = time.Second
)

// client is one client's connection. All that it needs beyond this struct
// (buffers, slots, a parser's state) it has only while it is in use.
type client struct {
	w    *worker
	pool *shardPool
	src  *reactor.Source
	id   int64
	name string

	in     []byte       // received and not yet parsed
	parser *resp.Parser // of the request that in begins with, if that is not complete
	out    chunks       // replies
	slots  slots
	held   int // bytes of replies in slots

	kept     int           // bytes in out and slots, as the worker's sum has them
	taken    int           // bytes, since progress
	progress time.Duration // when the client last took as much as is progress

	resp3    bool
	authed   bool
	readable bool // the socket may have more
	hup      bool // the client will send no more: read until the end
	eof      bool // the end has been read
	blocked  bool // the socket takes no more
	closing  bool // close when all replies are out; nothing more is read
	closed   bool
	heard    bool       // draining, and all that was sent before has been read: the rest is not
	dirty    bool       // in worker.dirty
	resuming bool       // in worker.resumed
	parked   bool       // was stuck when there was something to do
	waiting  *backend   // has too many requests queued
	stalled  []*backend // do not read while this client does not
	patience bool       // has been waited for: the next time its replies are kept
	fence    bool       // a request waits until all before it have been answered
	upload   *upload    // a large request under way
	linger   reactor.Timer
}

// Ready is called by the loop.
func (c *client) Ready(ev reactor.Event) {
	if ev&reactor.Hangup != 0 {
		c.hup = true
	}
	if ev&reactor.Writable != 0 && c.blocked {
		c.blocked = false
		c.markDirty()
	}
	if ev&(reactor.Readable|reactor.Again) != 0 && !(c.heard && c.upload == nil && !c.closing) {
		c.readable = true
		c.read()
	}
}

// stuck says that no request may be taken from the client now. Whatever ends
// it calls resume.
func (c *client) stuck() bool {
	return c.closing || c.waiting != nil || c.fence || c.upload != nil || c.slots.len() >= maxPipeline || c.out.len()+c.held > softReplies
}

// resume has a parked client looked at again at the end of the round.
func (c *client) resume() {
	if !c.resuming && !c.closed {
		c.resuming = true
		c.w.resumed = append(c.w.resumed, c)
	}
}

// goOn takes the requests that have been received, and then more.
func (c *client) goOn() {
	if c.closed {
		return
	}
	if len(c.in) > 0 {
		if c.parser == nil {
			c.keepFrom(c.parse(c.in))
		} else {
			c.parsed()
		}
	}
	if c.readable {
		c.read()
	}
	c.finish()
}

// read reads once, and comes back for more after the others.
func (c *client) read() {
	if c.closed || c.eof {
		return
	}
	if c.closing {
		c.discard()
		return
	}
	if c.upload != nil {
		c.upload.read()
		return
	}
	if c.stuck() {
		c.parked = true
		return
	}
	room := c.w.scratch
	if len(c.in) > 0 {
		c.in = c.w.grow(c.in, c.wanted())
		room = c.in[len(c.in):cap(c.in)]
	}
	n, err := c.src.Read(room)
	if err != nil {
		c.readable = false
		if err == reactor.ErrAgain {
			c.heard = c.w.draining
			c.finish()
			return
		}
		c.end(err)
		return
	}
	if len(c.in) > 0 {
		c.in = c.in[:len(c.in)+n]
		c.keepFrom(c.parse(c.in))
	} else if used := c.parse(room[:n]); used < n && !c.closed {
		c.in = append(c.w.get(max(n-used, 1024)), room[used:n]...)
		c.parsed()
	}
	if c.closed {
		return
	}
	if n == len(room) || c.hup {
		c.src.Again()
	} else {
		c.readable = false
		c.heard = c.w.draining
	}
	c.finish()
}

// wanted is how much more to read into in: never more than doubles it, since a
// length is only what the client says.
func (c *client) wanted() int {
	more := 4096
	if c.parser != nil {
		more = max(more, min(c.parser.Need()-len(c.in), len(c.in)))
	}
	return more
}

// keepFrom drops what has been parsed of in.
func (c *client) keepFrom(used int) {
	if c.closed {
		return
	}
	switch {
	case used == len(c.in):
		c.w.put(c.in)
		c.in = nil
	case used > 0:
		c.in = c.in[:copy(c.in, c.in[used:])]
	}
	c.parsed()
}

// parsed looks at an incomplete request: too large a one is not waited for.
func (c *client) parsed() {
	if c.parser == nil || len(c.in) == 0 || c.stuck() {
		return
	}
	if need := max(c.parser.Need(), len(c.in)) + c.parser.Kept(); need > streamFrom {
		c.large(need)
	}
}

// end is the end of what the client sends, or of the connection.
func (c *client) end(err error) {
	c.eof = true
	if !errors.Is(err, errEOF) {
		c.pool.stats.ClientErrors++
		c.close()
		return
	}
	c.pool.stats.ClientEOFs++
	c.finish()
}

// parse takes as many requests from b as there are and may be; used is where the next begins.
func (c *client) parse(b []byte) (used int) {
	w := c.w
	for used < len(b) && !c.stuck() {
		p := c.parser
		if p == nil {
			p = w.parser
			p.Reset()
		}
		p.Before = !c.authed
		n, err := p.Parse(b[used:])
		if f, ok := err.(resp.Foreign); ok {
			c.foreign(f)
			return len(b)
		}
		if err != nil {
			c.reply("-ERR " + err.Error() + "\r\n")
			c.shut()
			return len(b)
		}
		if n == 0 {
			if c.parser == nil {
				c.parser, w.parser = w.parser, w.getParser()
			}
			return used
		}
		if len(p.Args) > 0 {
			c.handle(p.Request(b[used:], n), p.Args)
		}
		if c.parser != nil {
			w.putParser(c.parser)
			c.parser = nil
		}
		if c.closed {
			return len(b)
		}
		if c.fence {
			break // it comes again when all before it have been answered
		}
		used += n
	}
	if c.closing {
		return len(b)
	}
	c.parked = c.parked || used < len(b)
	return used
}

// foreign ends the connection of who does not speak RESP: what comes next was not meant for a Redis, and may have been
// written by a third party. No reply, as in Redis: it would not be understood.
func (c *client) foreign(what resp.Foreign) {
	c.pool.stats.Foreign++
	c.w.srv.rarely.warn(c.w.srv.log(), "client ended", "pool", c.pool.cfg.Name, "reason", what.Error(), "client", peer(c.src.FD))
	c.shut()
}

// reply answers the client's next request with what is known already.
func (c *client) reply(text string) { c.replyBytes([]byte(text)) }

// replyBytes is reply with bytes that stay the caller's.
func (c *client) replyBytes(text []byte) {
	if c.slots.len() == 0 {
		c.out.add(&c.w.buffers, text)
	} else {
		s, _ := c.slots.push(c.w)
		s.done = true
		s.buf.add(&c.w.buffers, text)
		c.held += len(text)
	}
	c.markDirty()
}

// deliver takes a piece of a reply; done says that it is the last.
func (c *client) deliver(seq uint32, part int32, piece []byte, done bool) {
	s := c.slots.at(seq)
	switch {
	case part >= 0:
		if sp := s.split; !sp.lost && c.tooMuch(splitCost*len(piece)) {
			c.held -= splitCost * sp.held()
			sp.lose(c.w)
		}
		c.held += splitCost * s.split.deliver(c.w, part, piece, done)
		if done && s.split.left == 0 {
			c.held -= splitCost * s.split.held()
			s.split.merge(c.w, &s.buf)
			c.held += s.buf.len()
			s.split, s.done = nil, true
		}
	case !s.lost && seq == c.slots.head:
		c.out.add(&c.w.buffers, piece)
		s.begun, s.done = true, done
	default:
		if !s.lost && c.tooMuch(len(piece)) {
			c.held -= s.buf.len()
			s.buf.release(&c.w.buffers)
			s.lost = true
		}
		s.done = done
		switch {
		case !s.lost:
		case done:
			piece = []byte(errNotToKeep)
		default:
			piece = nil
		}
		s.buf.add(&c.w.buffers, piece)
		c.held += len(piece)
	}
	if seq == c.slots.head {
		c.emit()
	}
	c.markDirty()
}

// emit moves replies whose turn has come to out.
func (c *client) emit() {
	for c.slots.len() > 0 {
		s := c.slots.at(c.slots.head)
		if n := s.buf.len(); n > 0 {
			c.held -= n
			c.out.take(&c.w.buffers, &s.buf)
			s.begun = true
		}
		if !s.done {
			return
		}
		c.slots.pop(c.w)
	}
}

func (c *client) markDirty() {
	if !c.dirty && !c.closed {
		c.dirty = true
		c.w.dirty = append(c.w.dirty, c)
	}
}

// flush writes replies, at the end of a round.
func (c *client) flush() {
	if c.closed {
		return
	}
	if c.out.len() > 0 && !c.blocked {
		n, err := c.out.write(&c.w.buffers, c.src)
		c.took(n)
		if err != nil && err != reactor.ErrAgain {
			c.close()
			return
		}
		c.blocked = err != nil
	}
	c.relieve()
	c.unstick()
	c.finish()
}

// unstick goes on with what has been received, when there is room again.
func (c *client) unstick() {
	if c.fence && c.slots.len() == 0 {
		c.fence = false
	}
	if c.parked && !c.stuck() {
		c.parked = false
		c.resume()
	}
}
