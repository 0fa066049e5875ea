package main

import (
	"cmp"
	"net"
	"net/netip"
	"runtime"
	"strconv"
	"sync/atomic"
	"time"

	"distlab/containers/internal/forward"
	"distlab/containers/internal/reactor"
)

// loops are the event loops of the TCP mode. A connection is Go's while it
// shakes hands, and a loop's from then on: as a duct, which needs no goroutine
// of its own and, while nothing moves, no buffer.
type loops struct {
	list []*tcpLoop
	next atomic.Uint32
	apps []netip.AddrPort // where the app may be, in the order to try
}

// tcpLoop is one loop with its ducts. All of it belongs to the loop's goroutine.
type tcpLoop struct {
	proxy *Proxy
	apps  []netip.AddrPort
	loop  *reactor.Loop
	all   map[*duct]struct{}

	read  []byte   // what was read last
	cork  []byte   // records of TLS that go out together
	spare [][]byte // buffers for what the kernel does not take
}

const (
	readSize  = 64 << 10
	turn      = 8  // reads of one connection before others have theirs
	keepSpare = 16 // buffers that are kept for the next one in need
)

// newLoops is nil where the goroutines of relay have to do: without epoll, and
// where the app's name has to be looked up.
func (p *Proxy) newLoops() *loops {
	l := &loops{apps: appAddrs(p.Forward)}
	if l.apps == nil {
		return nil
	}
	n := p.loopCount()
	for range n {
		loop, err := reactor.New()
		if err != nil {
			p.Log.Info("no event loops", "error", err)
			l.close()
			return nil
		}
		if n < runtime.GOMAXPROCS(0) {
			loop.Hidden = time.Millisecond // as in fastpath
		}
		l.list = append(l.list, &tcpLoop{
			proxy: p, apps: l.apps, loop: loop,
			all: make(map[*duct]struct{}), read: make([]byte, readSize),
		})
	}
	for _, t := range l.list {
		go t.run()
	}
	return l
}

func (p *Proxy) loopCount() int { return cmp.Or(p.Loops, runtime.GOMAXPROCS(0)) }

// appAddrs is nil for a name other than localhost.
func appAddrs(forward string) []netip.AddrPort {
	if addr, err := netip.ParseAddrPort(forward); err == nil {
		return []netip.AddrPort{addr}
	}
	host, text, err := net.SplitHostPort(forward)
	port, perr := strconv.ParseUint(text, 10, 16)
	if err != nil || perr != nil || host != "localhost" {
		return nil
	}
	return []netip.AddrPort{
		netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(port)),
		netip.AddrPortFrom(netip.IPv6Loopback(), uint16(port)),
	}
}

// take gives a client that has shaken hands to a loop; preface is what the app
// gets first. It is false if the connection stays the caller's, unchanged.
func (l *loops) take(wire *forward.Conn, preface []byte) bool {
	if l == nil {
		return false
	}
	s, ok := wire.Conn.(*socket)
	if !ok {
		return false
	}
	t := l.list[int(l.next.Add(1))%len(l.list)]
	d := &duct{on: t, wire: wire, tls: wire.TLS, client: s, preface: preface}
	fd, ok := s.detach(d)
	if !ok {
		return false
	}
	t.proxy.tunnels.Add(1)
	if !t.loop.Post(func() { t.take(d, fd) }) {
		reactor.CloseFD(fd)
		t.gone(d)
	}
	return true
}

// close cuts all.
func (l *loops) close() {
	if l == nil {
		return
	}
	for _, t := range l.list {
		t.loop.Stop()
	}
}

func (t *tcpLoop) run() {
	t.loop.Run()
	for d := range t.all {
		t.gone(d)
	}
}

func (t *tcpLoop) take(d *duct, fd int) {
	source, err := t.loop.Register(fd, (*clientSide)(d))
	if err != nil {
		reactor.CloseFD(fd)
		t.gone(d)
		return
	}
	t.all[d] = struct{}{}
	d.client.source, d.client.readable = source, true
	d.timer.Fire = d.late
	if d.client.isClosed() {
		d.cut()
		return
	}
	d.dial()
}

// gone is the end of a duct, once.
func (t *tcpLoop) gone(d *duct) {
	t.proxy.tunnels.Add(-1)
	d.wire.Close()
}

// buffer is an empty one.
func (t *tcpLoop) buffer() []byte {
	if n := len(t.spare); n > 0 {
		b := t.spare[n-1]
		t.spare = t.spare[:n-1]
		return b
	}
	return make([]byte, 0, readSize)
}

// release takes a buffer back.
func (t *tcpLoop) release(b []byte) {
	if cap(b) > 0 && len(t.spare) < keepSpare {
		t.spare = append(t.spare, b[:0])
	}
}
