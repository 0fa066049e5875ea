package proxy

import (
	"bytes"
	"time"
)

// judge looks at an error reply: some say that the shard cannot do its work.
// They count as failures, as in twemproxy; the client gets them as they are.
func (b *backend) judge(piece []byte) {
	for _, prefix := range [...]string{"-OOM ", "-BUSY ", "-LOADING "} {
		if bytes.HasPrefix(piece, []byte(prefix)) {
			b.bad = true
			b.shard.stats.Errors[ErrReply]++
			line, _, _ := bytes.Cut(piece[1:], []byte("\r\n"))
			b.shard.lastErr = string(bytes.TrimRight(line, "\r"))
			b.shard.failed()
			return
		}
	}
}

// watch arms the timer for the first pending request. It is not moved for each
// reply: when it fires it looks whether anything is late.
func (b *backend) watch() {
	limit := b.shard.pool.cfg.Timeout
	if limit <= 0 || b.pending.len() == 0 || b.state != ready && b.state != idle {
		return
	}
	if b.state == ready {
		b.w().loop.Arm(&b.timer, b.due()-b.w().loop.Now())
	}
}

// due is when the first pending request is late: TIMEOUT after it could be sent,
// or after the last piece of its reply came. Connecting has a limit of its own.
func (b *backend) due() time.Duration {
	since := max(b.pending.first().at, b.opened)
	if b.scan.Begun() || b.stall != nil || b.upload != nil {
		since = max(since, b.progress)
	}
	return time.Duration(since) + b.shard.pool.cfg.Timeout
}

// timeout is the timer's.
func (b *backend) timeout() {
	if b.state == connecting || b.state == shaking {
		b.fail(ErrTimeout, "timed out connecting")
		return
	}
	if b.pending.len() == 0 {
		return
	}
	if b.stall != nil || b.upload != nil && b.out.len() == 0 {
		b.progress = int64(b.w().loop.Now()) // it is the client who is waited for
	}
	if b.due() > b.w().loop.Now() {
		b.watch()
		return
	}
	b.fail(ErrTimeout, "timed out after "+b.shard.pool.cfg.Timeout.String())
}

// fail closes the connection after an error, and gives everyone who waits for a
// reply that error instead.
func (b *backend) fail(kind ErrorKind, why string) {
	s := b.shard
	waited := b.pending.len() > 0
	fresh := b.state != ready
	probe := b.probe
	b.probe = false
	b.drop()
	if u := b.upload; u != nil {
		u.b, b.upload = nil, nil // the rest of the request is passed over
		u.c.src.Again()
	}
	s.lastErr = why
	if !waited && !fresh {
		return // an idle connection was closed: shards may do that
	}
	s.stats.Errors[kind]++
	if fresh {
		s.delay()
	}
	log := s.pool.w.srv.log()
	if !s.down {
		s.down = true
		log.Warn("shard failed", "pool", s.pool.cfg.Name, "shard", s.server.Name, "address", s.server.Addr.String(), "error", why)
	}
	if probe {
		s.probed(false)
	} else {
		s.failed()
	}
	text := []byte(s.errText(why))
	// What comes here goes on: a client that goes on with its next request must
	// find the queue empty, not half failed.
	pending := b.pending
	b.pending = entries{}
	for ; pending.len() > 0; pending.pop() {
		e := pending.first()
		if c := e.client; c != nil && !c.closed {
			c.failed(e.seq, e.part, text)
		}
	}
	b.pending.ring, b.pending.head, b.pending.tail = pending.ring, 0, 0
	b.admit()
}

// drop gives up the connection itself. What is pending is the caller's.
func (b *backend) drop() {
	w := b.w()
	if b.src != nil {
		b.src.Close()
		b.src = nil
	}
	w.loop.Disarm(&b.timer)
	w.loop.Disarm(&b.stallEnd)
	if c := b.stall; c != nil {
		b.stall, c.stalled = nil, nil
	}
	if b.state >= shaking {
		b.shard.stats.Connections--
	}
	b.state = idle
	b.out.release(&w.buffers)
	b.scan.Reset()
	b.blocked, b.readable, b.hup = false, false, false
}

// close closes an idle connection.
func (b *backend) close() {
	if b.state != idle {
		b.drop()
	}
}

// failed answers a request with its shard's error. A reply of which a part is out already
// cannot be taken back: the connection is closed, which the client can tell
// from a reply.
func (c *client) failed(seq uint32, part int32, text []byte) {
	s := c.slots.at(seq)
	if part < 0 {
		if s.begun {
			c.close()
			return
		}
		c.held -= len(s.buf)
		c.w.put(s.buf)
		s.buf = nil
	} else {
		c.held -= s.split.forget(part)
	}
	c.deliver(seq, part, text, true)
}

// limit is what happens to a client that does not read its replies: first its shard waits for it,
// a short while; then they are kept for it, up to CLIENT_BUFFER; then it is cut off.
func (c *client) limit() {
	size := c.out.len() + c.held
	if b := c.stalled; b != nil && size <= softReplies/2 {
		c.stalled = nil
		b.unstall()
	}
	if size <= softReplies/2 {
		c.patience = false
	}
	if size > c.w.srv.clientBuffer() {
		c.pool.stats.SlowClients++
		c.w.srv.log().Warn("client cut off", "pool", c.pool.cfg.Name, "reason", "it does not read its replies", "bytes", size)
		c.close()
	}
}

// hold stops reading from the shard when a client that just got a piece of a
// large reply does not read it.
func (b *backend) hold(c *client) {
	if c.blocked && !c.patience && b.stall == nil && c.stalled == nil && c.out.len()+c.held > softReplies {
		b.stall, c.stalled = c, b
		c.patience = true
		b.w().loop.Arm(&b.stallEnd, stallLimit)
	}
}

// unstall reads on.
func (b *backend) unstall() {
	if c := b.stall; c != nil {
		b.stall, c.stalled = nil, nil
	}
	b.w().loop.Disarm(&b.stallEnd)
	b.progress = int64(b.w().loop.Now())
	if b.src != nil && b.readable {
		b.src.Again()
	}
}
