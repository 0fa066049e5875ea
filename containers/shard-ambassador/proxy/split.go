package proxy

import (
	"bytes"

	"distlab/containers/shard-ambassador/pool"
	"distlab/containers/shard-ambassador/resp"
)

// split is a request that was taken apart: a part for each shard that has
// some of its keys, with those in their order.
type split struct {
	action resp.Action
	whole  bool    // MGET: an error of one shard is the whole reply
	order  []int32 // the part that each key is in
	parts  []part
	left   int  // parts without a reply
	lost   bool // the parts are too large to be kept, and are dropped as they come
}

// splitCost is how often a part's reply is kept: while the whole is made of the parts, both are there.
const splitCost = 2

// part is what one shard answers.
type part struct {
	shard int32
	keys  int
	buf   []byte
}

// spread takes a request apart, unless one shard has all its keys.
func (c *client) spread(cmd *resp.Command, req []byte, args []resp.Arg) {
	w, step := c.w, cmd.Step()
	if (len(args)-1)%step != 0 {
		c.refuse("ERR wrong number of arguments for '" + cmd.Name + "' command")
		return
	}
	w.shards = w.shards[:0]
	same := true
	for k := 1; k < len(args); k += step {
		shard, bad := c.pool.pick(req[args[k].Data:args[k].End])
		if bad != "" {
			c.reply(bad)
			return
		}
		w.shards = append(w.shards, int32(shard))
		same = same && shard == int(w.shards[0])
	}
	if same {
		c.sendTo(int(w.shards[0]), req)
		return
	}
	sp := w.getSplit()
	sp.action, sp.whole = cmd.Action, c.pool.cfg.MGETErrors == pool.Whole
	// counts is first the number of keys of each shard, then, less one, its part.
	w.counts = append(w.counts[:0], make([]int32, len(c.pool.shards))...)
	for _, shard := range w.shards {
		w.counts[shard]++
	}
	for shard, n := range w.counts {
		if n > 0 {
			sp.parts = append(sp.parts, part{shard: int32(shard), keys: int(n)})
			w.counts[shard] = int32(len(sp.parts) - 1)
		}
	}
	for _, shard := range w.shards {
		sp.order = append(sp.order, w.counts[shard])
	}
	sp.left = len(sp.parts)
	slot, seq := c.slots.push(w)
	slot.split = sp
	c.pool.stats.Fragments += uint64(len(sp.parts))
	c.sendParts(seq, sp, step, req, args)
}

// sendParts writes each part's request, and sends it.
func (c *client) sendParts(seq uint32, sp *split, step int, req []byte, args []resp.Arg) {
	w := c.w
	w.targets = w.targets[:0]
	for i := range sp.parts {
		p := &sp.parts[i]
		b, bad := c.pool.backend(int(p.shard), c)
		w.targets = append(w.targets, target{b, 0, bad})
		if b == nil {
			continue
		}
		before := b.out.len()
		b.out.room(&w.buffers, 64)
		b.out.buf = resp.AppendNumber(b.out.buf, '*', 1+p.keys*step)
		b.out.add(&w.buffers, req[args[0].Start:args[0].End+2])
		w.targets[i].before = before
	}
	for i, at := range sp.order {
		if b := w.targets[at].backend; b != nil {
			first := 1 + i*step
			b.out.add(&w.buffers, req[args[first].Start:args[first+step-1].End+2])
		}
	}
	targets := w.targets
	for i, t := range targets {
		if t.backend != nil {
			t.backend.send(c, seq, int32(i), t.backend.out.len()-t.before)
		}
	}
	for i, t := range targets {
		if t.backend == nil {
			c.deliver(seq, int32(i), []byte(t.bad), true)
		}
	}
}

// target is where a part goes.
type target struct {
	backend *backend
	before  int // bytes that waited there before
	bad     string
}

// deliver takes a piece of a part's reply; it is how many bytes are kept for it.
func (sp *split) deliver(w *worker, i int32, piece []byte, done bool) int {
	if done {
		sp.left--
	}
	if sp.lost {
		return 0
	}
	p := &sp.parts[i]
	if p.buf == nil {
		p.buf = w.get(len(piece))
	}
	p.buf = append(w.grow(p.buf, len(piece)), piece...)
	return len(piece)
}

// lose gives up what has come of all parts.
func (sp *split) lose(w *worker) {
	sp.lost = true
	for i := range sp.parts {
		w.put(sp.parts[i].buf)
		sp.parts[i].buf = nil
	}
}

// forget drops what has come of a part; it is how much that was.
func (sp *split) forget(i int32) int {
	n := len(sp.parts[i].buf)
	sp.parts[i].buf = sp.parts[i].buf[:0]
	return n
}

// held is how many bytes are kept.
func (sp *split) held() (n int) {
	for _, p := range sp.parts {
		n += len(p.buf)
	}
	return n
}

// merge makes one reply of all parts', and gives the split up.
func (sp *split) merge(w *worker, to *chunks) {
	var failed []byte
	for _, p := range sp.parts {
		if len(p.buf) > 0 && p.buf[0] == '-' && failed == nil {
			failed = p.buf
		}
	}
	switch {
	case sp.lost:
		to.add(&w.buffers, []byte(errNotToKeep))
	case sp.action == resp.SplitGet && (failed == nil || !sp.whole):
		sp.values(w, to)
	case failed != nil:
		to.add(&w.buffers, failed)
	case sp.action == resp.SplitSet:
		to.add(&w.buffers, []byte("+OK\r\n"))
	default:
		w.line = sp.sum(w.line[:0])
		to.add(&w.buffers, w.line)
	}
	sp.release(w)
}

// values puts the values of all parts into the order of the keys. In the place
// of the keys of a part that is an error, there is that error.
func (sp *split) values(w *worker, to *chunks) {
	wrong := func() {
		to.release(&w.buffers)
		to.add(&w.buffers, []byte("-ERR a shard's reply to MGET does not fit\r\n"))
	}
	w.line = resp.AppendNumber(w.line[:0], '*', len(sp.order))
	to.add(&w.buffers, w.line)
	w.ends = append(w.ends[:0], make([]int, len(sp.parts))...) // where the next value of each part begins
	for i, p := range sp.parts {
		if p.buf[0] == '-' {
			continue
		}
		n, next := resp.Number(p.buf, 1)
		if p.buf[0] != '*' || n != p.keys {
			wrong()
			return
		}
		w.ends[i] = next
	}
	for _, at := range sp.order {
		p := sp.parts[at]
		if p.buf[0] == '-' {
			to.add(&w.buffers, p.buf)
			continue
		}
		begin := w.ends[at]
		w.values.Reset()
		n, done, err := w.values.Scan(p.buf[begin:])
		if err != nil || !done {
			wrong()
			return
		}
		to.add(&w.buffers, p.buf[begin:begin+n])
		w.ends[at] += n
	}
}

func (sp *split) sum(buf []byte) []byte {
	total := 0
	for _, p := range sp.parts {
		n, next := resp.Number(p.buf, 1)
		if p.buf[0] != ':' || next != len(p.buf) {
			line, _, _ := bytes.Cut(p.buf, []byte("\r\n"))
			return append(append(append(buf, "-ERR a shard's reply is no number: "...), line...), "\r\n"...)
		}
		total += n
	}
	return resp.AppendNumber(buf, ':', total)
}

// release gives all up.
func (sp *split) release(w *worker) {
	for i := range sp.parts {
		w.put(sp.parts[i].buf)
		sp.parts[i] = part{}
	}
	sp.parts, sp.order, sp.lost = sp.parts[:0], sp.order[:0], false
	if len(w.splits) < 256 && cap(sp.order) <= 1024 {
		w.splits = append(w.splits, sp)
	}
}

func (w *worker) getSplit() *split {
	if n := len(w.splits); n > 0 {
		sp := w.splits[n-1]
		w.splits = w.splits[:n-1]
		return sp
	}
	return &split{}
}
