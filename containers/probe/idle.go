package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"flag"
	"fmt"
	"io"
	"net"
	"sync"
	"syscall"
	"time"
)

// opening is how many connections are made at a time: a peer's backlog is short.
const opening = 64

func runIdle(ctx context.Context, args []string, out *printer) error {
	var i idle
	fs := flag.NewFlagSet("idle", flag.ContinueOnError)
	i.tls.register(fs)
	fs.IntVar(&i.n, "n", 0, "connections")
	fs.BoolVar(&i.secure, "tls", false, "speak TLS")
	send := fs.String("send", "", "send this on each, once; escapes as of probe tcp")
	expect := fs.String("expect", "", "wait until this has come back; escapes as of probe tcp")
	fs.DurationVar(&i.timeout, "timeout", 30*time.Second, "for one connection to be ready")
	rest, err := parse(fs, args)
	if err != nil {
		return err
	}
	if i.to, err = address(rest); err != nil {
		return err
	}
	if i.send, err = unescape(*send); err != nil {
		return err
	}
	if i.expect, err = unescape(*expect); err != nil {
		return err
	}
	if i.n < 1 || i.n > 100000 || i.timeout <= 0 {
		return wrong("needs -n from 1 to 100000, and a -timeout above 0")
	}
	if i.config, err = i.tls.config(); err != nil {
		return err
	}
	if i.config.ServerName == "" {
		i.config.ServerName, _, _ = net.SplitHostPort(i.to)
	}
	return i.run(ctx, out)
}

// idle opens connections, uses each of them once, and keeps them until it is told to end: what a peer spends on them can
// be measured meanwhile.
type idle struct {
	tls          tlsFlags
	n            int
	secure       bool
	send, expect []byte
	to           string
	timeout      time.Duration
	config       *tls.Config

	mu   sync.Mutex
	open []net.Conn
}

// run prints the event "open" when all are open, and the result at the end: done are those that the peer has kept.
func (i *idle) run(ctx context.Context, out *printer) error {
	begun, spent := time.Now(), cpuTime()
	a := newClosedAnswer()
	a.Connections = i.n
	defer i.close()
	next := make(chan struct{}, i.n)
	for range i.n {
		next <- struct{}{}
	}
	close(next)
	var all sync.WaitGroup
	for range min(opening, i.n) {
		all.Go(func() {
			for range next {
				err := i.add(ctx)
				i.mu.Lock()
				a.fail(err)
				i.mu.Unlock()
				if err != nil {
					return // it will not get better
				}
			}
		})
	}
	all.Wait()
	a.Seconds = time.Since(begun).Seconds()
	if len(i.open) == i.n {
		if err := out.print(opened{"open", i.n}); err != nil {
			return err
		}
		<-ctx.Done()
	}
	for _, conn := range i.open {
		if alive(conn) {
			a.Done++
		}
	}
	a.CPU, a.Latency = (cpuTime() - spent).Seconds(), distribution(nil)
	return out.print(a)
}

func (i *idle) close() {
	for _, conn := range i.open {
		conn.Close()
	}
}

// add opens one, which is kept when it was answered.
func (i *idle) add(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, i.timeout)
	defer cancel()
	var d net.Dialer
	raw, err := d.DialContext(ctx, "tcp", i.to)
	if err != nil {
		return err
	}
	deadline, _ := ctx.Deadline()
	raw.SetDeadline(deadline)
	conn := raw
	if i.secure {
		conn = tls.Client(raw, i.config)
	}
	if err := i.use(conn); err != nil {
		raw.Close()
		return err
	}
	raw.SetDeadline(time.Time{})
	i.mu.Lock()
	i.open = append(i.open, conn)
	i.mu.Unlock()
	return nil
}

// use sends and waits for the answer.
func (i *idle) use(conn net.Conn) error {
	if secure, ok := conn.(*tls.Conn); ok {
		if err := secure.Handshake(); err != nil {
			return handshakeError{err}
		}
	}
	if _, err := conn.Write(i.send); err != nil {
		return fmt.Errorf("send: %w", err)
	}
	var got []byte
	part := make([]byte, 4096)
	for !bytes.Contains(got, i.expect) {
		n, err := conn.Read(part)
		got = append(got, part[:n]...)
		switch {
		case err == io.EOF:
			return fmt.Errorf("read after %q: %w", shortened(got), io.ErrUnexpectedEOF)
		case err != nil:
			return fmt.Errorf("read after %q: %w", shortened(got), err)
		case len(got) > 1<<20:
			return fmt.Errorf("%q is not in the first MiB of the answer", i.expect)
		}
	}
	return nil
}

func shortened(b []byte) []byte { return b[max(0, len(b)-80):] }

// alive says whether the peer has kept a connection. What it may have sent in the meantime, a session ticket say, is left.
func alive(conn net.Conn) bool {
	if secure, ok := conn.(*tls.Conn); ok {
		conn = secure.NetConn()
	}
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		return false
	}
	kept := false
	err = raw.Read(func(fd uintptr) bool {
		n, _, err := syscall.Recvfrom(int(fd), make([]byte, 1), syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		kept = n > 0 || err == syscall.EAGAIN
		return true
	})
	return kept && err == nil
}
