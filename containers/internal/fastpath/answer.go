package fastpath

import (
	"distlab/containers/internal/http1"
)

// pump passes on what has come of the answer.
func (c *Client) pump() {
	for range turn {
		u := c.up
		if u == nil || len(c.Socket.out) > 0 {
			return
		}
		p, ok, err := u.read(c.window)
		if !ok {
			return
		}
		if err != nil {
			c.brokeOff(u, err)
			return
		}
		if !c.deliver(u, p) {
			return
		}
		switch {
		case len(c.Socket.out) > 0:
			c.window = readSlow
		case len(p) == c.window:
			c.window = min(2*c.window, readSize)
		}
	}
	if c.up != nil {
		c.up.source.Again()
	}
}

// brokeOff is the end of a server's connection before that of its answer.
func (c *Client) brokeOff(u *upstream, err error) {
	switch {
	case u.answered:
		c.abandon(Broken) // an answer that was cut must not look whole
	case u.used && c.safe && len(u.in) == 0 && c.retried < maxRetries:
		// It was closed while it lay idle, and the request never read.
		c.retried++
		u.close()
		c.up = nil
		out := c.compose()
		c.worker.out = out
		c.ask(out, len(out))
	default:
		c.early(u.in, err)
	}
}

// deliver passes on a part of the answer. It is false when the exchange is
// over.
func (c *Client) deliver(u *upstream, p []byte) bool {
	w := c.worker
	w.out = w.out[:0]
	stash := u.in
	if !u.answered {
		data := p
		if len(stash) > 0 {
			u.in = append(u.in, p...)
			data = u.in
			stash = u.in
		}
		verdict := w.answer.Parse(data, c.isHead)
		last := false
		if verdict == http1.Plain {
			var plain bool
			if w.lines, last, plain = w.path.Policy.Answer(w.lines[:0], c, &w.answer); !plain {
				verdict = http1.Unusual
			}
		}
		switch {
		case verdict == http1.Part && len(data) <= headSize:
			if len(stash) == 0 {
				u.in = append(w.buffer(), data...)
			}
			return true
		case verdict != http1.Plain:
			c.early(data, nil)
			return false
		}
		p = c.answer(u, data, last)
		u.in = nil
	}
	done, err := c.bodyOf(u, p)
	w.release(stash)
	switch {
	case err != nil:
		c.abandon(Broken)
	case done:
		c.finish()
	default:
		c.pace()
		return true
	}
	return false
}

// answer forwards the head of the answer in w.answer, as the beginning of w.out,
// and returns what follows it in data.
func (c *Client) answer(u *upstream, data []byte, last bool) []byte {
	w := c.worker
	r := &w.answer
	c.last = c.last || last || c.body > 0
	w.out = r.AppendTo(w.out, w.lines, w.today(), c.last)
	c.status, c.state = r.Status, answering
	u.answered = true
	u.spent = u.spent || r.Close
	if !c.isHead && r.Status != 204 && r.Status != 304 {
		u.left, u.chunked, u.chunks = r.Length, r.Chunked, http1.Chunks{}
	}
	return data[r.Size:]
}

// bodyOf forwards a part of the body, behind what is in w.out. done means that
// it was the last.
func (c *Client) bodyOf(u *upstream, p []byte) (done bool, err error) {
	w := c.worker
	out := w.out
	if u.chunked {
		for len(p) > 0 && !u.chunks.Done() {
			data, n, err := u.chunks.Next(p)
			if err != nil {
				return false, err
			}
			if p = p[n:]; len(data) > 0 {
				out = http1.AppendChunk(out, data)
			}
		}
		if done = u.chunks.Done(); done {
			if out, err = u.chunks.AppendEnd(out); err != nil {
				return false, err
			}
		}
		w.out = out
	} else {
		n := int(min(u.left, int64(len(p))))
		if len(out) > 0 {
			out = append(out, p[:n]...)
			w.out = out
		} else {
			out = p[:n]
		}
		p = p[n:]
		u.left -= int64(n)
		done = u.left == 0
	}
	u.spent = u.spent || len(p) > 0
	if len(out) == 0 {
		return done, nil
	}
	return done, c.send(out)
}
