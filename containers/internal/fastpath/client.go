package fastpath

import (
	"time"

	"distlab/containers/internal/reactor"
)

// survive ends a client's connection, and not the process, when something in here
// panics. It is deferred by whatever the loop calls.
func (c *Client) survive() {
	v := recover()
	if v == nil {
		return
	}
	if tell := c.worker.path.Panicked; tell != nil {
		tell(v)
	}
	if c.state != gone {
		c.abandon(Left)
	}
}

// Ready is told by the loop.
func (c *Client) Ready(ev reactor.Event) {
	defer c.survive()
	s := c.Socket
	if ev&reactor.Readable != 0 {
		s.readable = true
	}
	if ev&reactor.Hangup != 0 {
		s.hangup = true
	}
	if len(s.out) > 0 && ev&reactor.Writable != 0 && !c.flush() {
		return
	}
	switch c.state {
	case waiting:
		c.next()
	case dialing, asking, answering:
		if c.body > 0 {
			c.forwardBody()
		} else {
			c.overhear()
		}
	case lingering:
		c.linger()
	}
}

// read reads what the client says.
func (c *Client) read(p []byte) (int, error) {
	if c.TLS != nil {
		return c.TLS.Read(p)
	}
	return c.Socket.Read(p)
}

// send writes to the client. What the kernel does not take is kept: then
// nothing more is read from the server until it is gone.
func (c *Client) send(p []byte) error {
	s, w := c.Socket, c.worker
	var err error
	switch {
	case c.TLS == nil:
		err = s.send(p)
	case len(p) <= maxRecord:
		_, err = c.TLS.Write(p)
	default:
		// Several records: one write takes them all.
		s.corked = true
		_, err = c.TLS.Write(p)
		s.corked = false
		if err == nil {
			err = s.send(w.cork)
		}
		w.cork = w.cork[:0]
	}
	if len(s.out) > 0 {
		c.within(w.limit.Send)
	}
	return err
}

// maxRecord is TLS's.
const maxRecord = 16 << 10

// flush is false if the connection is gone, or what comes next has been done.
func (c *Client) flush() bool {
	moved, err := c.Socket.flush()
	switch {
	case err != nil:
		c.abandon(Left)
		return false
	case len(c.Socket.out) > 0:
		if moved {
			c.within(c.worker.limit.Send)
		}
		return true
	}
	switch c.state {
	case waiting:
		c.idle()
	case asking, answering:
		c.pace()
		c.pump()
		return false
	case lingering:
		c.bye()
	}
	return true
}

// pace sets the time limit of an exchange, by who is waited for.
func (c *Client) pace() {
	switch {
	case len(c.Socket.out) > 0:
		c.within(c.worker.limit.Send)
	case c.body > 0:
		c.within(c.worker.limit.Body)
	case c.state == asking:
		c.within(c.worker.limit.Response)
	default:
		c.within(0)
	}
}

// within sets how long the state may last from now; 0: for ever. The timer is
// moved only when it would come too late: most limits are never reached.
func (c *Client) within(d time.Duration) {
	if d <= 0 {
		c.due = 0
		return
	}
	loop := c.worker.loop
	c.due = loop.Now() + d
	if !c.timer.Armed() || c.fires > c.due {
		c.fires = c.due
		loop.Arm(&c.timer, d)
	}
}

// late is the timer's.
func (c *Client) late() {
	defer c.survive()
	now := c.worker.loop.Now()
	switch {
	case c.due == 0 || c.state == gone:
		return
	case now < c.due:
		c.fires = c.due
		c.worker.loop.Arm(&c.timer, c.due-now)
		return
	}
	switch c.state {
	case asking:
		switch {
		case len(c.Socket.out) > 0:
			c.abandon(Left)
		case c.body > 0:
			c.badBody(true)
		default:
			c.early(nil, errTimeout)
		}
	case answering:
		c.abandon(Left)
	default:
		c.close()
	}
}

// overhear looks what a client says that has nothing to say: a next request,
// which waits, or that it has left.
func (c *Client) overhear() {
	if len(c.in) > 0 || !c.Socket.readable {
		return
	}
	w := c.worker
	n, err := c.read(w.read[:overheard])
	switch {
	case n > 0:
		c.in = append(w.buffer(), w.read[:n]...)
	case err != nil && !again(err):
		c.abandon(Left)
	}
}

// overheard is how much of the next requests is taken before their turn; the rest
// waits in the kernel.
const overheard = 4 << 10

// idle is between two requests.
func (c *Client) idle() {
	if c.worker.path.draining.Load() && len(c.in) == 0 {
		c.hangUp()
		return
	}
	c.within(c.worker.limit.Idle)
}

// hangUp closes in order: the client gets to read all, however much it is still
// sending. One that has said all needs less time than one whose body is refused.
func (c *Client) hangUp() {
	c.state = lingering
	c.quiet, c.until = lingers, c.worker.loop.Now()+lingers
	if c.body > 0 && !c.worker.path.draining.Load() {
		c.quiet, c.until = quietly, c.worker.loop.Now()+sending
	}
	c.drop()
	if c.TLS != nil {
		c.TLS.CloseWrite()
	}
	if len(c.Socket.out) == 0 {
		c.bye()
	}
}

// bye is when all has been written.
func (c *Client) bye() {
	c.Socket.CloseWrite()
	c.within(c.quiet)
	c.linger()
}

// lingers is how long a client gets to see the end. One that is still sending a
// body gets sending in all, and quietly without a byte: nginx's lingering_time and
// lingering_timeout.
const (
	lingers = 500 * time.Millisecond
	sending = 30 * time.Second
	quietly = 5 * time.Second
)

// linger throws away what comes.
func (c *Client) linger() {
	for range turn {
		if !c.Socket.readable {
			return
		}
		if _, err := c.Socket.Read(c.worker.read); err != nil {
			if !again(err) {
				c.close()
			}
			return
		}
		c.within(min(c.quiet, max(1, c.until-c.worker.loop.Now())))
	}
	c.source.Again()
}

// abandon ends an exchange that cannot be ended well, and the connection.
func (c *Client) abandon(how Ending) {
	c.giveUp(how)
	c.close()
}

// giveUp tells the policy of the end of an exchange, if there is one.
func (c *Client) giveUp(how Ending) {
	if c.up != nil || c.state == dialing {
		status := c.status
		if status == 0 {
			status = statusClientGone
		}
		c.worker.path.Policy.End(c, status, how)
	}
}

// statusClientGone is nginx's code for a client that left before the answer.
const statusClientGone = 499

// cut is Socket.Close's.
func (c *Client) cut() {
	if c.state != gone {
		c.abandon(Left)
	}
}

// close ends everything.
func (c *Client) close() {
	c.leave()
	c.source.Close()
	c.worker.path.closed(c)
}

// leave takes the client out of the loop's hands, but for its descriptor.
func (c *Client) leave() {
	w := c.worker
	c.state = gone
	c.drop()
	w.release(c.Socket.out)
	c.Socket.out = nil
	w.loop.Disarm(&c.timer)
	delete(w.all, c)
}

// drop gives back what an exchange holds.
func (c *Client) drop() {
	w := c.worker
	if c.up != nil {
		c.up.close()
	}
	w.release(c.head)
	w.release(c.rest)
	w.release(c.in)
	c.exchange, c.in = exchange{}, nil
}
