package proxy

import "distlab/containers/internal/reactor"

// complete says that what has been received has been parsed, but for the
// beginning of a request.
func (c *client) complete() bool { return len(c.in) == 0 || c.parser != nil }

// shut closes the connection as soon as all replies are out.
func (c *client) shut() {
	c.closing = true
	c.markDirty()
}

// finish closes when there is nothing more to do for the client.
func (c *client) finish() {
	if c.closed || c.slots.len() > 0 || c.out.len() > 0 || c.upload != nil || c.linger.Armed() {
		return
	}
	switch {
	case c.eof && (c.closing || c.complete()):
		c.close()
	case c.closing, c.w.draining && !c.readable && c.complete():
		c.closing = true
		c.part()
	}
}

// part says goodbye: after the end of the replies the client's own end is
// waited for, a while. A close with bytes unread would be a reset, which
// takes the replies with it that are on the way.
func (c *client) part() {
	if c.src.CloseWrite() != nil {
		c.close()
		return
	}
	c.linger.Fire = c.close
	c.w.loop.Arm(&c.linger, lingering)
	c.readable = true
	c.src.Again()
}

// discard reads what nobody will answer.
func (c *client) discard() {
	if !c.linger.Armed() {
		return
	}
	n, err := c.src.Read(c.w.scratch)
	switch {
	case err == reactor.ErrAgain || err == nil && n < len(c.w.scratch) && !c.hup:
	case err != nil:
		c.close()
	default:
		c.src.Again()
	}
}

// close closes the connection. Replies that are still to come are dropped as they come.
func (c *client) close() {
	if c.closed {
		return
	}
	c.closed = true
	c.src.Close()
	c.w.srv.release()
	c.w.loop.Disarm(&c.linger)
	delete(c.w.clients, c)
	c.pool.clients--
	c.pool.total.Add(-1)
	c.unstall()
	if c.upload != nil {
		c.upload.leave()
	}
	w := c.w
	w.put(c.in)
	c.in = nil
	if c.parser != nil {
		w.putParser(c.parser)
		c.parser = nil
	}
	c.out.release(&w.buffers)
	w.kept -= c.kept
	c.kept = 0
	for ; c.slots.len() > 0; c.slots.pop(w) {
		s := c.slots.at(c.slots.head)
		s.buf.release(&w.buffers)
		if s.split != nil {
			s.split.release(w)
		}
	}
}
