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
