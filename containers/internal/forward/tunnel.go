package forward

import (
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// Tunnel is two copies in opposite directions. The end of one is passed on as
// such: who has said all may still wait for the answer.
type Tunnel struct {
	Client, App Stream
	Idle        time.Duration // without a byte, before one side's end; 0: no limit
	Half        time.Duration // and after it; 0: as before

	mu    sync.Mutex // guards the following
	timer *time.Timer
	ended bool
}

// Stream is one end of a tunnel. If it can CloseWrite, it is half-closed.
type Stream interface{ io.ReadWriteCloser }

// Run copies until both sides have ended, or one has broken, and closes both.
func (t *Tunnel) Run() {
	defer t.cut()
	t.alive()
	var both sync.WaitGroup
	both.Go(func() { t.copy(t.App, t.Client) })
	both.Go(func() { t.copy(t.Client, t.App) })
	both.Wait()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.timer != nil {
		t.timer.Stop()
	}
}

// copy ends with its source, orderly or not. A half-closed tunnel goes on in
// the other direction; a broken one does not.
func (t *Tunnel) copy(dst, src Stream) {
	err := pump(dst, src, t.alive)
	if err == nil {
		err = CloseWrite(dst)
	}
	if err != nil {
		t.cut()
		return
	}
	t.mu.Lock()
	t.ended = true
	t.mu.Unlock()
	t.alive()
}

func (t *Tunnel) cut() {
	t.Client.Close()
	t.App.Close()
}

// alive puts the clock back.
func (t *Tunnel) alive() {
	t.mu.Lock()
	defer t.mu.Unlock()
	limit := t.Idle
	if t.ended && t.Half > 0 && (limit == 0 || t.Half < limit) {
		limit = t.Half
	}
	switch {
	case limit == 0:
	case t.timer == nil:
		t.timer = time.AfterFunc(limit, t.cut)
	default:
		t.timer.Reset(limit)
	}
}

// CloseWrite ends one direction: a close_notify in TLS, a FIN in TCP.
func CloseWrite(c io.Closer) error {
	if half, ok := c.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return c.Close()
}

// largeBuffers are for connections with much to say. The idle ones, which are
// most, wait with a small one.
var largeBuffers = sync.Pool{New: func() any { b := make([]byte, 32<<10); return &b }}

// pump copies src to dst until src ends. It returns nil at the end of src.
func pump(dst io.Writer, src io.Reader, alive func()) error {
	var small [1 << 10]byte
	for {
		n, err := src.Read(small[:])
		if n > 0 {
			alive()
			if _, err := dst.Write(small[:n]); err != nil {
				return err
			}
		}
		if n == len(small) && err == nil {
			err = pumpLarge(dst, src, alive)
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
	}
}

// pumpLarge goes on with a large buffer while that is filled by a quarter at
// least.
func pumpLarge(dst io.Writer, src io.Reader, alive func()) error {
	buf := largeBuffers.Get().(*[]byte)
	defer largeBuffers.Put(buf)
	for {
		n, err := src.Read(*buf)
		if n > 0 {
			alive()
			if _, err := dst.Write((*buf)[:n]); err != nil {
				return err
			}
		}
		if err != nil || n < len(*buf)/4 {
			return err
		}
	}
}

// prefixed is a connection of which the beginning was read already.
type prefixed struct {
	net.Conn
	first []byte
}

func (c *prefixed) Read(p []byte) (int, error) {
	if len(c.first) > 0 {
		n := copy(p, c.first)
		c.first = c.first[n:]
		return n, nil
	}
	return c.Conn.Read(p)
}

func (c *prefixed) CloseWrite() error { return CloseWrite(c.Conn) }
