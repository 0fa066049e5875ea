package proxy

import (
	"distlab/containers/internal/reactor"
	"distlab/containers/shard-ambassador/resp"
)

// streamFrom is the size from which a request is not kept until it is
// complete, and uploadQueue how much of one is kept at a time.
const (
	streamFrom  = 1 << 20
	uploadQueue = 256 << 10
)

// upload is a large request on its way. It has a connection to its shard for
// itself, since a slow client would hold up all others on a shared one. To
// stay in order with the client's other requests it begins when those before it
// have been answered, and those after it wait for its own answer.
type upload struct {
	c    *client
	b    *backend // nil: the rest is only passed over
	seq  uint32
	scan resp.Scanner
}

// large looks at a request that is incomplete and large. One with a single key
// is sent on as it comes; any other must fit into memory.
func (c *client) large(need int) {
	args, _ := c.parser.Pending()
	var cmd *resp.Command
	if len(args) > 1 && args[1].End+2 <= len(c.in) {
		cmd = resp.Lookup(c.in[args[0].Data:args[0].End])
	}
	if cmd == nil || !cmd.OneKey() || !c.authed {
		if need > c.w.srv.maxRequest() {
			c.refuse("ERR a request of several keys, or of none, may not be larger than MAX_REQUEST")
			c.shut()
		}
		return
	}
	if c.slots.len() > 0 {
		c.fence, c.parked = true, true
		return
	}
	u := &upload{c: c}
	u.scan.Request = true
	c.upload = u
	c.pool.stats.Requests++
	_, u.seq = c.slots.push(c.w)
	shard, bad := c.pool.pick(c.in[args[1].Data:args[1].End])
	if bad == "" {
		bad = u.open(shard)
	}
	if bad != "" {
		c.deliver(u.seq, -1, []byte(bad), true)
	}
	c.w.putParser(c.parser)
	c.parser = nil
	have := c.in
	c.in = nil
	u.take(have)
	c.w.put(have)
}

// open has a connection of its own made. The error is for the client.
func (u *upload) open(shard int) (bad string) {
	s := u.c.pool.shards[shard]
	if s.ejected {
		s.stats.Errors[ErrEjected]++
		return s.errText("ejected: " + s.lastErr)
	}
	srv := u.c.w.srv
	if !srv.take() {
		s.stats.Errors[ErrLocal]++
		srv.rarely.warn(srv.log(), "no connection can be made here", "pool", s.pool.cfg.Name, "shard", s.server.Name,
			"error", "no descriptors are left (ulimit -n)")
		return "-ERR no connection is left for so large a request\r\n"
	}
	b := newBackend(s, u.c.resp3)
	b.upload, b.own = u, true
	if !b.connect() {
		srv.release()
		return s.errText(s.lastErr)
	}
	u.b = b
	b.send(u.c, u.seq, -1, 0)
	return ""
}

// full says that the shard has enough for now.
func (u *upload) full() bool { return u.b != nil && u.b.out.len() >= uploadQueue }

// read takes a piece from the client.
func (u *upload) read() {
	c := u.c
	if u.full() {
		return // its flush comes back
	}
	n, err := c.src.Read(c.w.scratch)
	if err != nil {
		c.readable = false
		if err != reactor.ErrAgain {
			c.close() // in the middle of a request: there is nothing to answer
		}
		return
	}
	if n == len(c.w.scratch) || c.hup {
		c.src.Again()
	} else {
		c.readable = false
	}
	u.take(c.w.scratch[:n])
}

// take passes on what belongs to the request. What comes after it is kept.
func (u *upload) take(data []byte) {
	c := u.c
	n, done, err := u.scan.Scan(data)
	if u.b != nil {
		u.b.out.add(&c.w.buffers, data[:n])
		u.b.shard.stats.RequestBytes += uint64(n)
		u.b.markDirty()
	}
	switch {
	case err != nil:
		u.leave() // the shard sees half a request, and forgets it
		c.deliverOnce(u.seq, "-ERR Protocol error: invalid request\r\n")
		c.upload = nil
		c.shut()
	case done:
		if u.b != nil {
			u.b.sent()
		}
		c.upload = nil
		c.fence, c.parked = c.slots.len() > 0, true
		if n < len(data) {
			c.in = append(c.w.get(max(len(data)-n, 1024)), data[n:]...)
		}
		c.markDirty()
	}
}

// leave gives up the connection to the shard. What is still to come is only passed over.
func (u *upload) leave() {
	if b := u.b; b != nil {
		u.b = nil
		b.upload = nil
		b.pending = entries{}
		b.drop()
	}
}

// deliverOnce is an error in the place of a reply, unless that has come already.
func (c *client) deliverOnce(seq uint32, text string) {
	if int32(seq-c.slots.head) >= 0 && c.slots.len() > 0 && !c.slots.at(seq).done {
		c.failed(seq, -1, []byte(text))
	}
}

// sent is when the client has sent all of it: the shard's time begins now.
func (b *backend) sent() {
	b.upload = nil
	b.private = true
	if b.pending.len() == 0 {
		b.drop() // it did not wait for the end to say no
		return
	}
	b.pending.first().at = int64(b.w().loop.Now())
	b.watch()
}
