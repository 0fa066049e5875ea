package main

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"distlab/containers/internal/forward"
	"distlab/containers/internal/reactor"
)

// duct does what tunnel does, on an event loop: it passes bytes both ways
// between a client and the app. While one side does not take what the other has
// said, that other is not read: a duct holds one read's worth of bytes in each
// direction at most.
type duct struct {
	on     *tcpLoop
	wire   *forward.Conn
	tls    *tls.Conn // over wire, over client
	client *socket
	app    end

	preface []byte // for the app, before all else
	tried   int    // addresses of the app
	state   ductState
	told    bool // the app was told that the client has said all

	timer reactor.Timer
	due   time.Duration // when the silence has lasted too long; 0: never
	fires time.Duration // when timer does
}

type ductState uint8

const (
	ductDialing ductState = iota
	ductOpen
	ductGone
)

// end is a loop's side of one TCP connection.
type end struct {
	source   *reactor.Source
	readable bool   // there may be something to read
	hangup   bool   // the end is near: a short read does not mean that there is no more
	over     bool   // it has said all
	corked   bool   // writes are gathered in the loop's buffer
	out      []byte // what the kernel did not take
	sent     int    // of that, is gone meanwhile
}

func (e *end) ready(ev reactor.Event) {
	e.readable = e.readable || ev&reactor.Readable != 0
	e.hangup = e.hangup || ev&reactor.Hangup != 0
}

// read returns os.ErrDeadlineExceeded if there is nothing yet.
func (e *end) read(p []byte) (int, error) {
	if !e.readable {
		return 0, os.ErrDeadlineExceeded
	}
	n, err := e.source.Read(p)
	switch {
	case errors.Is(err, reactor.ErrAgain):
		e.readable = false
		return 0, os.ErrDeadlineExceeded
	case err == nil && n < len(p) && !e.hangup:
		e.readable = false
	}
	return n, err
}

// write keeps what the kernel does not take.
func (e *end) write(t *tcpLoop, p []byte) error {
	if len(e.out) > 0 {
		e.out = append(e.out, p...)
		return nil
	}
	n, err := e.source.Write(p)
	if errors.Is(err, reactor.ErrAgain) {
		e.out = append(t.buffer(), p[n:]...)
		return nil
	}
	return err
}

// flush writes what was kept. moved says whether anything went.
func (e *end) flush(t *tcpLoop) (moved bool, err error) {
	n, err := e.source.Write(e.out[e.sent:])
	if errors.Is(err, reactor.ErrAgain) {
		err = nil
	}
	if e.sent += n; e.sent == len(e.out) {
		t.release(e.out)
		e.out, e.sent = nil, 0
	}
	return n > 0, err
}

// dial begins to connect to the app.
func (d *duct) dial() {
	if limit := d.on.proxy.Limits.Connect; limit > 0 && d.tried == 0 {
		d.on.loop.Arm(&d.timer, limit)
	}
	to := d.on.apps[d.tried]
	d.tried++
	fd, err := reactor.DialTCP(to)
	if err == nil {
		reactor.NoDelay(fd)
		if d.app.source, err = d.on.loop.Register(fd, (*appSide)(d)); err != nil {
			reactor.CloseFD(fd)
		}
	}
	if err != nil {
		d.notDialed(to, err)
	}
}

// notDialed tries the next address. When there is none, the first error counts,
// as that of the address at which the app should be.
func (d *duct) notDialed(to netip.AddrPort, err error) {
	if d.app.source != nil {
		d.app.source.Close()
		d.app.source = nil
	}
	if d.tried < len(d.on.apps) && !errors.Is(err, os.ErrDeadlineExceeded) {
		d.dial()
		return
	}
	var number syscall.Errno
	if errors.As(err, &number) {
		err = os.NewSyscallError("connect", err)
	}
	err = &net.OpError{Op: "dial", Net: "tcp", Addr: net.TCPAddrFromAddrPort(to), Err: err}
	p := d.on.proxy
	if p.AppFailed != nil {
		p.AppFailed(err)
	}
	p.appFailed("", err)
	d.tls.CloseWrite() // in order: the client was not cut off in the middle
	d.cut()
}

// dialed begins to pass on.
func (d *duct) dialed() {
	d.on.loop.Disarm(&d.timer)
	d.state = ductOpen
	d.alive()
	if len(d.preface) > 0 {
		err := d.app.write(d.on, d.preface)
		d.preface = nil
		if err != nil {
			d.on.proxy.appFailed("", err)
			d.cut()
			return
		}
	}
	d.fromClient()
}

// clientSide and appSide are told by the loop.
type (
	clientSide duct
	appSide    duct
)

func (c *clientSide) Ready(ev reactor.Event) {
	d := (*duct)(c)
	d.client.ready(ev)
	if d.state != ductOpen {
		return
	}
	if len(d.client.out) > 0 {
		if ev&reactor.Writable != 0 && !d.flush(&d.client.end) {
			return
		}
		d.fromApp()
	}
	d.fromClient()
}

func (a *appSide) Ready(ev reactor.Event) {
	d := (*duct)(a)
	if d.state == ductDialing {
		if ev&(reactor.Writable|reactor.Hangup) == 0 {
			return
		}
		if err := d.app.source.Error(); err != nil {
			d.notDialed(d.on.apps[d.tried-1], err)
			return
		}
		d.app.ready(ev)
		d.dialed()
	} else {
		d.app.ready(ev)
	}
	if d.state != ductOpen {
		return
	}
	if len(d.app.out) > 0 {
		if ev&reactor.Writable != 0 && !d.flush(&d.app) {
			return
		}
		d.fromClient()
	}
	d.fromApp()
}

// flush is false if the duct is gone.
func (d *duct) flush(e *end) bool {
	moved, err := e.flush(d.on)
	if err != nil {
		d.cut()
		return false
	}
	if moved {
		d.alive()
	}
	return d.settle()
}

// fromClient passes on what the client has said.
func (d *duct) fromClient() {
	for range turn {
		if d.state != ductOpen || d.client.over || len(d.app.out) > 0 {
			return
		}
		n, err := d.tls.Read(d.on.read)
		if n > 0 {
			d.alive()
			if err := d.app.write(d.on, d.on.read[:n]); err != nil {
				d.cut()
				return
			}
		}
		if err != nil {
			d.stopped(&d.client.end, err)
			return
		}
	}
	d.client.source.Again()
}

// fromApp passes on what the app has said.
func (d *duct) fromApp() {
	for range turn {
		if d.state != ductOpen || d.app.over || len(d.client.out) > 0 {
			return
		}
		n, err := d.app.read(d.on.read)
		if n > 0 {
			d.alive()
			if err := d.toClient(d.on.read[:n]); err != nil {
				d.cut()
				return
			}
		}
		if err != nil {
			d.stopped(&d.app, err)
			return
		}
	}
	d.app.source.Again()
}

// toClient encrypts. What is more than one record, which at the beginning of a
// connection are small ones, goes out in one write.
func (d *duct) toClient(p []byte) error {
	if len(p) <= smallRecord {
		_, err := d.tls.Write(p)
		return err
	}
	t := d.on
	d.client.corked = true
	_, err := d.tls.Write(p)
	d.client.corked = false
	if err == nil {
		err = d.client.write(t, t.cork)
	}
	t.cork = t.cork[:0]
	return err
}

// smallRecord fits into the first, smallest record of a connection.
const smallRecord = 1 << 10

// stopped looks at why a side says no more: nothing yet, the end, or a failure.
func (d *duct) stopped(e *end, err error) {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
	case errors.Is(err, io.EOF):
		e.over = true
		if e == &d.app {
			if err := d.tls.CloseWrite(); err != nil {
				d.cut()
				return
			}
		}
		d.alive()
		d.settle()
	default:
		d.cut()
	}
}

// settle passes on the end of the client when the app has all before it, and ends
// the duct when both sides have ended. It is false if it is gone.
func (d *duct) settle() bool {
	if d.client.over && !d.told && len(d.app.out) == 0 {
		d.told = true
		if d.app.source.CloseWrite() != nil {
			d.cut()
			return false
		}
	}
	if d.told && d.app.over && len(d.client.out) == 0 {
		d.cut()
		return false
	}
	return true
}

// alive puts the clock back. The timer is moved only when it would come too late.
func (d *duct) alive() {
	limit, half := d.on.proxy.Limits.Tunnel, d.on.proxy.HalfClose
	if (d.client.over || d.app.over) && half > 0 && (limit == 0 || half < limit) {
		limit = half
	}
	if limit == 0 {
		return
	}
	loop := d.on.loop
	d.due = loop.Now() + limit
	if !d.timer.Armed() || d.fires > d.due {
		d.fires = d.due
		loop.Arm(&d.timer, limit)
	}
}

// late is the timer's.
func (d *duct) late() {
	now := d.on.loop.Now()
	switch {
	case d.state == ductDialing:
		d.notDialed(d.on.apps[d.tried-1], os.ErrDeadlineExceeded)
	case now < d.due:
		d.fires = d.due
		d.on.loop.Arm(&d.timer, d.due-now)
	default:
		d.tls.CloseWrite() // nobody was saying anything
		d.cut()
	}
}

// cut closes both sides.
func (d *duct) cut() {
	if d.state == ductGone {
		return
	}
	d.state = ductGone
	d.on.loop.Disarm(&d.timer)
	delete(d.on.all, d)
	for _, e := range []*end{&d.client.end, &d.app} {
		d.on.release(e.out)
		e.out = nil
		if e.source != nil {
			e.source.Close()
		}
	}
	d.on.gone(d)
}
