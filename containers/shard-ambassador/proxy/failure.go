package proxy

import "time"

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
	if b.stall != nil {
		b.expire()
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
	if !fresh && (b.upload != nil || b.private) {
		kind = ErrClient // of one client alone, and maybe of its request: others will tell if it is the shard
	}
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
		s.delay(b.proto())
		s.failedAs[b.proto()] = kind
	}
	srv := s.pool.w.srv
	switch {
	case kind == ErrLocal:
		srv.rarely.warn(srv.log(), "no connection can be made here", "pool", s.pool.cfg.Name, "shard", s.server.Name, "error", why)
	case kind.blamed() && !s.down:
		s.down = true
		s.rarely.warn(srv.log(), "shard failed", "pool", s.pool.cfg.Name, "shard", s.server.Name,
			"address", s.server.Addr.String(), "error", why)
	}
	switch {
	case probe:
		s.probed(false)
	case kind.blamed():
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
	b.attempt.Stop()
	if b.src != nil {
		b.src.Close()
		b.src = nil
	}
	w.loop.Disarm(&b.timer)
	w.loop.Disarm(&b.stallEnd)
	b.unbind()
	if b.state >= shaking {
		b.shard.stats.Connections--
	}
	if b.own {
		b.own = false
		w.srv.release()
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
		c.held -= s.buf.len()
		s.buf.release(&c.w.buffers)
		s.lost = false
	} else {
		c.held -= splitCost * s.split.forget(part)
	}
	c.deliver(seq, part, text, true)
}
