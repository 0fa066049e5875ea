package proxy

import (
	"slices"
	"time"
)

// Replies are passed on as they come. What clients do not read yet is kept for them, in all clients together up to
// CLIENT_BUFFER. Within it a client may be as slow as it likes. Once it is full, the shards wait for the clients, which
// costs nothing but time, and that is what is bounded then: who takes next to nothing in CLIENT_TIMEOUT is cut off.
// How much a client asked for is no reason, only that it does not take it.

const (
	hardReplies  = 64 << 10 // bytes that any client may leave unread, whatever the others do
	leastTaken   = 64 << 10 // bytes in CLIENT_TIMEOUT that are progress
	clientLooks  = 4        // in CLIENT_TIMEOUT, while memory is short
	errNotToKeep = "-ERR the reply is larger than what may be kept here (CLIENT_BUFFER): ask for less at a time\r\n"
)

// short says that no more may be kept.
func (w *worker) short() bool { return w.kept > w.budget }

// account brings the worker's sum up to date.
func (c *client) account() {
	w := c.w
	n := c.out.len() + c.held
	if n > hardReplies && c.kept <= hardReplies {
		c.progress, c.taken = w.loop.Now(), 0
	}
	w.kept += n - c.kept
	c.kept = n
	if w.short() && !w.looks.Armed() {
		w.loop.Arm(&w.looks, w.srv.clientTimeout()/clientLooks)
	}
}

// tooMuch says that so much more may not be kept of replies whose turn has not come. Those could not be held back:
// the one whose turn it is may come from a shard that is held back for somebody else, who waits for this one.
func (c *client) tooMuch(more int) bool {
	return c.held+more > hardReplies && c.w.kept+more > c.w.budget
}

// hold stops reading from the shard when a client that just got a piece of a reply does not read it: for a moment, or,
// when memory is short, for as long as the client reads at all.
func (b *backend) hold(c *client) {
	c.account()
	if !c.blocked || b.stall != nil {
		return
	}
	switch w := b.w(); {
	case w.short() && c.kept > hardReplies:
		b.stall, c.stalled = c, append(c.stalled, b)
		b.detach()
	case c.kept > softReplies && !c.patience:
		b.stall, c.stalled = c, append(c.stalled, b)
		c.patience = true
		w.loop.Arm(&b.stallEnd, stallLimit)
	}
}

// relieve reads on when the client has taken what it had.
func (c *client) relieve() {
	c.account()
	if !c.blocked || c.kept <= hardReplies || c.kept <= softReplies/2 && !c.w.short() {
		c.unstall()
	}
	if c.kept <= softReplies/2 {
		c.patience = false
	}
}

// unstall has all that wait for the client read on.
func (c *client) unstall() {
	for len(c.stalled) > 0 {
		c.stalled[0].unstall()
	}
}

// unstall reads on.
func (b *backend) unstall() {
	b.unbind()
	b.w().loop.Disarm(&b.stallEnd)
	b.progress = int64(b.w().loop.Now())
	if b.src != nil && b.readable {
		b.src.Again()
	}
}

// unbind ends the wait for a client.
func (b *backend) unbind() {
	if c := b.stall; c != nil {
		b.stall = nil
		c.stalled = slices.DeleteFunc(c.stalled, func(o *backend) bool { return o == b })
	}
}

// detach gives the connection to those whose replies it has still to bring, and the shard another one for all that comes
// after: a slow client holds up who asked at the same time, and nobody else. Those go on with their next request when
// they have all replies, so that it cannot overtake.
func (b *backend) detach() {
	conns := b.shard.conns[b.proto()]
	i := slices.Index(conns, b)
	if i < 0 || !b.w().srv.take() {
		return
	}
	conns[i] = newBackend(b.shard, b.resp3)
	b.own, b.private = true, true
	for at := b.pending.head; at != b.pending.tail; at++ {
		if c := b.pending.at(at).client; c != nil && c.slots.len() > 0 {
			c.fence, c.parked = true, true
		}
	}
}

// expire answers those who have waited for TIMEOUT behind the client that does not read. It is not the shard's
// fault, nor theirs.
func (b *backend) expire() {
	now := int64(b.w().loop.Now())
	text := []byte(b.shard.errText("the reply waits behind that of a client which does not read"))
	for at := b.pending.head + 1; at != b.pending.tail; at++ {
		e := b.pending.at(at)
		if c := e.client; c != nil && c != b.stall && now-e.at > int64(b.shard.pool.cfg.Timeout) {
			e.client = nil // the reply is dropped when it comes
			if !c.closed {
				c.failed(e.seq, e.part, text)
			}
		}
	}
}

// look is the timer's while memory is short: it cuts off who takes nothing, and ends with the need.
func (w *worker) look() {
	limit := w.srv.clientTimeout()
	for c := range w.clients {
		switch {
		case !c.blocked:
		case w.short() && c.kept > hardReplies && w.loop.Now()-c.progress > limit:
			c.pool.stats.SlowClients++
			w.srv.rarely.warn(w.srv.log(), "client cut off", "pool", c.pool.cfg.Name, "reason", "it does not read its replies",
				"bytes", c.kept, "client", peer(c.src.FD))
			c.close()
		case !w.short():
			c.unstall() // there is room again
		}
	}
	if w.short() {
		w.loop.Arm(&w.looks, limit/clientLooks)
	}
}

// took is progress of the client's.
func (c *client) took(n int) {
	if c.taken += n; c.taken >= leastTaken {
		c.progress, c.taken = c.w.loop.Now(), 0
	}
}

func (s *Server) clientTimeout() time.Duration {
	if s.ClientTimeout > 0 {
		return s.ClientTimeout
	}
	return DefaultClientTimeout
}
