package fastpath

import (
	"io"
	"net"
	"os"

	"distlab/containers/internal/http1"
	"distlab/containers/internal/reactor"
)

var errTimeout error = os.ErrDeadlineExceeded

// next looks for the next request.
func (c *Client) next() {
	w, s := c.worker, c.Socket
	fresh := len(c.in) > 0 && c.parts == 0 // it came behind the last
	for range turn {
		if c.state != waiting || len(s.out) > 0 {
			return
		}
		data := c.in
		if !fresh {
			var err error
			if data, err = c.more(); err != nil {
				switch {
				case again(err):
				case len(data) > 0:
					c.handOver(data, nil) // the end of half a head
				default:
					c.close()
				}
				return
			}
		}
		fresh = false
		verdict := w.req.Parse(data)
		switch {
		case verdict == http1.Part && len(data) < w.limit.HeaderBytes && c.parts < maxParts:
			if c.parts++; len(c.in) == 0 {
				c.in = append(w.buffer(), data...)
				if !c.first {
					c.within(w.limit.Header)
				}
			}
		case verdict == http1.Plain && w.req.Size <= w.limit.HeaderBytes:
			c.parts = 0
			c.begin(data)
			return
		default:
			c.handOver(data, nil)
			return
		}
	}
	c.source.Again()
}

// maxParts is in how many a plain head may come: each is looked at from the
// beginning.
const maxParts = 4

// more reads on. data is all that is there now.
func (c *Client) more() (data []byte, err error) {
	w := c.worker
	n, err := c.read(w.read[:headSize])
	if len(c.in) == 0 {
		return w.read[:n], err
	}
	c.in = append(c.in, w.read[:n]...)
	return c.in, err
}

// begin takes a plain request, which w.req was parsed from data for.
func (c *Client) begin(data []byte) {
	w := c.worker
	r := &w.req
	policy := w.path.Policy
	backend := policy.Begin(c, r)
	if backend == nil {
		c.handOver(data, nil)
		return
	}
	c.first = false
	c.Began = w.loop.Time()
	end := r.Size + int(min(r.Length, int64(len(data)-r.Size)))
	from, to := r.Digits()
	old := c.in
	c.exchange = exchange{
		backend: backend,
		head:    append(w.buffer(), data[:r.Size]...),
		length:  from, digits: to - from,
		body:   r.Length - int64(end-r.Size),
		isHead: len(r.Method) == 4 && string(r.Method) == "HEAD",
		safe:   r.Safe(),
		last:   r.Close,
		dials:  c.dials,
		window: readFirst,
	}
	c.state = asking
	w.lines = policy.Lines(w.lines[:0], c, r)
	w.out = r.AppendTo(w.out[:0], w.lines)
	head := len(w.out)
	w.out = append(w.out, data[r.Size:end]...)
	c.in = nil
	if rest := data[end:]; len(rest) > 0 {
		c.in = append(w.buffer(), rest...)
	}
	w.release(old)
	c.ask(w.out, head)
}

// ask sends the request, of which the first bytes are its head, to a server.
func (c *Client) ask(request []byte, head int) {
	w := c.worker
	pool := w.pool(c.backend)
	if u := pool.pop(); u != nil {
		c.start(u, request)
		return
	}
	c.state = dialing
	c.within(0) // dialing has a limit of its own
	c.rest = append(w.buffer(), request[head:]...)
	c.dials++
	dials, dial := c.dials, c.backend.Dial
	go func() {
		conn, err := dial()
		if !w.loop.Post(func() { c.dialed(dials, pool, conn, err) }) && conn != nil {
			conn.Close()
		}
	}()
}

// dialed is told what has become of a dial.
func (c *Client) dialed(dials int, pool *pool, conn net.Conn, err error) {
	defer c.survive()
	w := c.worker
	var u *upstream
	if err == nil {
		u, err = pool.adopt(conn)
	}
	if c.state != dialing || c.dials != dials { // it has left meanwhile
		if u != nil {
			pool.push(u)
		}
		return
	}
	if err != nil {
		// The careful path tries again, and knows what to say.
		w.path.Policy.Undo(c)
		begun := append([]byte(nil), c.head...)
		begun = append(append(begun, c.rest...), c.in...)
		c.handOver(begun, nil)
		return
	}
	c.state = asking
	w.out = append(c.compose(), c.rest...)
	w.release(c.rest)
	c.rest = nil
	c.start(u, w.out)
}

// compose makes the forwarded head once more.
func (c *Client) compose() []byte {
	w := c.worker
	w.req.Parse(c.head)
	w.lines = w.path.Policy.Lines(w.lines[:0], c, &w.req)
	return w.req.AppendTo(w.out[:0], w.lines)
}

// adopt takes a new connection into the loop.
func (p *pool) adopt(conn net.Conn) (*upstream, error) {
	fd, err := reactor.Detach(conn)
	if err != nil {
		conn.Close()
		return nil, err
	}
	u := &upstream{pool: p}
	if u.source, err = p.worker.loop.Register(fd, u); err != nil {
		reactor.CloseFD(fd)
		return nil, err
	}
	return u, nil
}

// start sends a request over u.
func (c *Client) start(u *upstream, request []byte) {
	u.reset(c)
	c.up = u
	c.pace()
	if u.send(request) {
		c.forwardBody()
	}
}

// forwardBody passes on what has come of the request's body.
func (c *Client) forwardBody() {
	w, u := c.worker, c.up
	for i := 0; c.body > 0 && u != nil && len(u.out) == 0 && !u.deaf; i++ {
		if i == turn {
			c.source.Again()
			return
		}
		n, err := c.read(w.read[:min(int64(len(w.read)), c.body)])
		if n > 0 {
			c.body -= int64(n)
			c.pace()
			if !u.send(w.read[:n]) {
				return
			}
		}
		if err != nil {
			if !again(err) {
				c.badBody(false)
			}
			return
		}
	}
}

// badBody is the end of a request whose body does not come.
func (c *Client) badBody(slow bool) {
	w := c.worker
	policy := w.path.Policy
	if c.state != asking {
		c.abandon(Left)
		return
	}
	answer, status := policy.BadBody(c, slow)
	policy.End(c, status, Unfit)
	if c.up != nil {
		c.up.close()
		c.up = nil
	}
	if err := c.send(answer); err != nil {
		c.close()
		return
	}
	c.hangUp()
}

// maxRetries bounds how many dead connections a request tries.
const maxRetries = 8

// finish is the end of a whole exchange.
func (c *Client) finish() {
	w, u := c.worker, c.up
	last, owed := c.last, c.body
	keep := !u.spent && !u.deaf && len(u.out) == 0 && c.body == 0
	c.up = nil
	w.path.Policy.End(c, c.status, Whole)
	if keep {
		u.pool.push(u)
	} else {
		u.close()
	}
	w.release(c.head)
	c.exchange = exchange{dials: c.dials}
	if last {
		c.body = owed
		c.hangUp()
		return
	}
	c.state = waiting
	if len(c.Socket.out) > 0 {
		c.within(w.limit.Send)
		return
	}
	c.idle()
	if c.state == waiting && (len(c.in) > 0 || c.Socket.readable || c.TLS != nil) {
		c.next()
	}
}

// early gives the connection to the careful path in the middle of an exchange:
// with the request, as if its body were what has not come of it, and what there is
// of the answer, or the error instead of one.
func (c *Client) early(answer []byte, err error) {
	w, u := c.worker, c.up
	w.path.Policy.Undo(c)
	begun := append([]byte(nil), c.head...)
	for i, left := c.length+c.digits-1, c.body; i >= c.length; i-- {
		begun[i] = byte('0' + left%10)
		left /= 10
	}
	begun = append(begun, c.in...)
	e := &http1.Early{Begun: append([]byte(nil), answer...), Err: err, Unsent: append([]byte(nil), u.out...), Deaf: u.deaf || err != nil}
	if err == nil {
		fd := u.source.Release()
		if e.Conn, err = reactor.Attach(fd); err != nil {
			e.Err = io.ErrUnexpectedEOF
		}
	}
	c.handOver(begun, e)
}

// handOver gives the connection to the careful path, with what was read of it.
func (c *Client) handOver(begun []byte, e *http1.Early) {
	h := &Handover{Client: c, Begun: append([]byte(nil), begun...), Early: e}
	path, s := c.worker.path, c.Socket
	c.leave()
	fd := c.source.Release()
	s.source = nil
	go func() {
		conn, err := reactor.Attach(fd)
		if err != nil || !s.attached(conn) {
			if e != nil {
				e.Close()
			}
			path.closed(c)
			return
		}
		path.Policy.Careful(h)
		path.clients.Add(-1)
	}()
}
