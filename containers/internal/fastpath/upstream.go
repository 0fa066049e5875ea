package fastpath

import (
	"errors"
	"time"

	"distlab/containers/internal/http1"
	"distlab/containers/internal/reactor"
)

// pool is a loop's idle connections to one server, the last used on top.
type pool struct {
	worker  *worker
	backend *Backend
	idle    []*upstream
	sweeper reactor.Timer
}

func (w *worker) pool(b *Backend) *pool {
	p := w.pools[b]
	if p == nil {
		p = &pool{worker: w, backend: b}
		p.sweeper.Fire = p.sweep
		w.pools[b] = p
	}
	return p
}

func (p *pool) pop() *upstream {
	n := len(p.idle)
	if n == 0 {
		return nil
	}
	u := p.idle[n-1]
	p.idle[n-1] = nil
	p.idle = p.idle[:n-1]
	return u
}

func (p *pool) push(u *upstream) {
	most := p.backend.MaxIdle
	if most == 0 {
		most = 128
	}
	if len(p.idle) >= most || p.worker.path.draining.Load() {
		u.close()
		return
	}
	u.client, u.used, u.since = nil, true, p.worker.loop.Now()
	p.idle = append(p.idle, u)
	if keep := p.worker.limit.AppIdle; keep > 0 && !p.sweeper.Armed() {
		p.worker.loop.Arm(&p.sweeper, keep)
	}
}

// sweep closes those that have been idle for too long: the bottom ones.
func (p *pool) sweep() {
	keep, now, n := p.worker.limit.AppIdle, p.worker.loop.Now(), 0
	for n < len(p.idle) && now-p.idle[n].since >= keep {
		p.idle[n].close()
		n++
	}
	p.idle = p.idle[:copy(p.idle, p.idle[n:])]
	if len(p.idle) > 0 {
		p.worker.loop.Arm(&p.sweeper, keep-(now-p.idle[0].since))
	} else if len(p.worker.pools) > maxPools {
		delete(p.worker.pools, p.backend)
	}
}

// maxPools is how many servers' pools are kept though empty.
const maxPools = 64

func (p *pool) remove(u *upstream) {
	for i, v := range p.idle {
		if v == u {
			p.idle = append(p.idle[:i], p.idle[i+1:]...)
			return
		}
	}
}

// upstream is a connection to a server.
type upstream struct {
	pool   *pool
	source *reactor.Source
	client *Client // whose exchange it carries; nil: idle
	used   bool    // it has carried one before
	since  time.Duration

	readable bool
	hangup   bool
	in       []byte // the beginning of an answer's head
	out      []byte // what the kernel did not take of the request

	answered bool // the head has come
	chunked  bool
	chunks   http1.Chunks
	left     int64 // bytes of the body
	spent    bool  // not good for another exchange
	deaf     bool  // it takes no more of the request
}

// Ready is told by the loop.
func (u *upstream) Ready(ev reactor.Event) {
	if ev&reactor.Readable != 0 {
		u.readable = true
	}
	if ev&reactor.Hangup != 0 {
		u.hangup = true
	}
	c := u.client
	if c == nil {
		if ev&(reactor.Readable|reactor.Hangup) != 0 {
			// The server closes it, or says what nobody asked for.
			u.pool.remove(u)
			u.close()
		}
		return
	}
	defer c.survive()
	if len(u.out) > 0 && ev&reactor.Writable != 0 {
		if !u.flush() {
			return
		}
		if len(u.out) == 0 {
			c.forwardBody()
		}
	}
	if u.client == c {
		c.pump()
	}
}

func (u *upstream) close() {
	w := u.pool.worker
	w.release(u.in)
	w.release(u.out)
	u.in, u.out = nil, nil
	u.client = nil
	u.source.Close()
}

// send writes to the server and keeps what the kernel does not take. It is
// false if that failed, and has been dealt with.
func (u *upstream) send(p []byte) bool {
	if len(u.out) > 0 {
		u.out = append(u.out, p...)
		return true
	}
	n, err := u.source.Write(p)
	switch {
	case errors.Is(err, reactor.ErrAgain):
		u.out = append(u.pool.worker.buffer(), p[n:]...)
	case err != nil:
		return u.broken(err)
	}
	return true
}

func (u *upstream) flush() bool {
	n, err := u.source.Write(u.out)
	if err != nil && !errors.Is(err, reactor.ErrAgain) {
		return u.broken(err)
	}
	if n == len(u.out) {
		u.pool.worker.release(u.out)
		u.out = nil
	} else {
		u.out = u.out[:copy(u.out, u.out[n:])]
	}
	return true
}

// broken is a failed write. The server may have answered before it stopped to
// listen: what it said goes first. It returns whether the exchange goes on.
func (u *upstream) broken(err error) bool {
	u.deaf, u.readable, u.hangup = true, true, true
	u.pool.worker.release(u.out)
	u.out = nil
	u.source.Again()
	return false
}

// reset makes the connection ready for an exchange.
func (u *upstream) reset(c *Client) {
	u.client = c
	u.answered, u.chunked, u.spent = false, false, false
	u.left = 0
}

// read gets what the server says, but not more than most. ok is false if there is nothing yet.
func (u *upstream) read(most int) (p []byte, ok bool, err error) {
	if !u.readable {
		return nil, false, nil
	}
	w := u.pool.worker
	n, err := u.source.Read(w.read[:most])
	switch {
	case errors.Is(err, reactor.ErrAgain):
		u.readable = false
		return nil, false, nil
	case err == nil && n < most && !u.hangup:
		u.readable = false
	}
	return w.read[:n], true, err
}
