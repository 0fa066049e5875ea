package proxy

import "math/bits"

// Sizes of pooled buffers: powers of two from 64 bytes to 1 MiB.
const (
	smallest = 6
	classes  = 15
	keep     = 1 << 20 // bytes kept of each size
)

// buffers hands out byte slices and takes them back, so that in steady state
// nothing is allocated. It belongs to one loop.
type buffers struct {
	free [classes][][]byte
}

func class(size int) int { return max(bits.Len(uint(size-1))-smallest, 0) }

// get is an empty buffer with room for size bytes.
func (p *buffers) get(size int) []byte {
	c := class(size)
	if c >= classes {
		return make([]byte, 0, size)
	}
	if n := len(p.free[c]); n > 0 {
		b := p.free[c][n-1]
		p.free[c][n-1] = nil
		p.free[c] = p.free[c][:n-1]
		return b
	}
	return make([]byte, 0, 1<<(c+smallest))
}

// put takes a buffer back. Nobody may use it any more.
func (p *buffers) put(b []byte) {
	size := cap(b)
	if size < 1<<smallest || size&(size-1) != 0 {
		return
	}
	c := class(size)
	if c >= classes || len(p.free[c])*size >= keep {
		return
	}
	p.free[c] = append(p.free[c], b[:0])
}

// grow is b with room for more bytes.
func (p *buffers) grow(b []byte, more int) []byte {
	if cap(b)-len(b) >= more {
		return b
	}
	bigger := append(p.get(max(len(b)+more, 2*cap(b))), b...)
	p.put(b)
	return bigger
}

// chunk is how much of a long stream of replies is one buffer: a longer one would be copied each time it grows, and take
// twice its length meanwhile.
const chunk = 128 << 10

// chunks is a queue of any length. What is short has one buffer, and allocates nothing else.
type chunks struct {
	first []byte
	sent  int // of first
	more  [][]byte
	size  int // bytes in all
}

func (q *chunks) len() int { return q.size }

func (q *chunks) add(p *buffers, b []byte) {
	q.size += len(b)
	last := &q.first
	if n := len(q.more); n > 0 {
		last = &q.more[n-1]
	}
	if len(*last)+len(b) <= chunk {
		*last = append(p.grow(*last, len(b)), b...)
		return
	}
	n := min(len(b), cap(*last)-len(*last))
	*last = append(*last, b[:n]...)
	for b = b[n:]; len(b) > 0; b = b[n:] {
		n = min(len(b), chunk)
		q.more = append(q.more, append(p.get(chunk), b[:n]...))
	}
}

// take moves all that another has to the end of this one.
func (q *chunks) take(p *buffers, from *chunks) {
	if len(from.more) == 0 {
		q.add(p, from.first[from.sent:])
		from.release(p)
		return
	}
	q.add(p, from.first[from.sent:])
	p.put(from.first)
	q.more = append(q.more, from.more...)
	q.size += from.size - (len(from.first) - from.sent)
	*from = chunks{}
}

// write writes what there is room for.
func (q *chunks) write(p *buffers, to interface{ Write([]byte) (int, error) }) (n int, err error) {
	for q.size > 0 && err == nil {
		var k int
		k, err = to.Write(q.first[q.sent:])
		n += k
		q.sent += k
		q.size -= k
		if q.sent < len(q.first) {
			break
		}
		p.put(q.first)
		q.first, q.sent = nil, 0
		if len(q.more) > 0 {
			q.first = q.more[0]
			q.more[0] = nil
			q.more = q.more[1:]
		}
	}
	return n, err
}

func (q *chunks) release(p *buffers) {
	p.put(q.first)
	for _, b := range q.more {
		p.put(b)
	}
	*q = chunks{}
}

// queue is bytes that wait to be written: they are added at the end and leave at the front.
type queue struct {
	buf  []byte
	sent int // of buf
}

func (q *queue) len() int { return len(q.buf) - q.sent }

// room makes room at the end for more bytes, which the caller appends to buf.
func (q *queue) room(p *buffers, more int) {
	if cap(q.buf)-len(q.buf) >= more {
		return
	}
	if q.sent > 0 && (q.sent >= len(q.buf)/2) && cap(q.buf) >= q.len()+more {
		q.buf = q.buf[:copy(q.buf, q.buf[q.sent:])]
		q.sent = 0
		return
	}
	bigger := append(p.get(max(q.len()+more, min(2*cap(q.buf), cap(q.buf)+(1<<22)))), q.buf[q.sent:]...)
	p.put(q.buf)
	q.buf, q.sent = bigger, 0
}

func (q *queue) add(p *buffers, b []byte) {
	q.room(p, len(b))
	q.buf = append(q.buf, b...)
}

// drop takes n bytes from the front, and gives the buffer back when it is empty.
func (q *queue) drop(p *buffers, n int) {
	if q.sent += n; q.sent == len(q.buf) {
		q.release(p)
	}
}

func (q *queue) release(p *buffers) {
	p.put(q.buf)
	q.buf, q.sent = nil, 0
}
