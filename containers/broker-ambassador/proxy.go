package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"distlab/containers/internal/daemon"
)

// Door accepts the app's connections to one service.
type Door struct {
	Service *Service
	Places  chan struct{} // as many connections as there may be
	work    sync.WaitGroup
	mu      sync.Mutex
	open    map[*pair]bool
}

// linger is what a server has to answer what it was asked, once it has been told that there is no more.
const linger = time.Second

// pair is a connection of the app's and the one to an instance.
type pair struct {
	client, server *net.TCPConn
	once           sync.Once
}

// end tells the server that there is no more; what it still says is passed on.
func (c *pair) end() {
	c.server.CloseWrite()
	time.AfterFunc(linger, c.abort)
}

// abort ends both so that neither takes what it has for all: a reset, and not the end of a stream.
func (c *pair) abort() {
	c.once.Do(func() {
		c.client.SetLinger(0)
		c.server.SetLinger(0)
		c.client.Close()
		c.server.Close()
	})
}

func (c *pair) close() {
	c.once.Do(func() {
		c.client.Close()
		c.server.Close()
	})
}

// copy passes bytes on until both sides have said that there are no more, or one of them broke.
func (c *pair) copy() {
	way := func(to, from *net.TCPConn) {
		if _, err := io.Copy(to, from); err != nil {
			c.abort()
			return
		}
		to.CloseWrite()
	}
	var both sync.WaitGroup
	both.Go(func() { way(c.server, c.client) })
	way(c.client, c.server)
	both.Wait()
	c.close()
}

// Serve accepts until ctx is done, then waits for what is open until drain is.
func (d *Door) Serve(ctx context.Context, ln net.Listener, drain func() context.Context) error {
	d.open = map[*pair]bool{}
	stop := context.AfterFunc(ctx, func() { ln.Close() })
	defer stop()
	for {
		conn, err := ln.Accept()
		if ctx.Err() != nil {
			if err == nil {
				conn.Close()
			}
			return d.drain(drain())
		}
		if errors.Is(err, net.ErrClosed) {
			return err
		}
		if err != nil { // no descriptor, say: those that are open end
			d.Service.Log.Warn("accept", "service", d.Service.Name, "error", err)
			select {
			case <-time.After(100 * time.Millisecond):
			case <-ctx.Done():
			}
			continue
		}
		client := conn.(*net.TCPConn)
		select {
		case d.Places <- struct{}{}:
			d.work.Go(func() {
				defer func() { <-d.Places }()
				d.serve(ctx, client)
			})
		default:
			d.refuse(client)
		}
	}
}

// drain waits, and in the end cuts.
func (d *Door) drain(ctx context.Context) error {
	done := make(chan struct{})
	go func() { d.work.Wait(); close(done) }()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
	}
	d.mu.Lock()
	n := len(d.open)
	for c := range d.open {
		c.abort()
	}
	d.mu.Unlock()
	<-done
	return fmt.Errorf("%s: %d connections: %w", d.Service.Name, n, daemon.ErrDrainCut)
}

// refuse ends a connection that leads nowhere so that nobody takes it for an empty answer.
func (d *Door) refuse(client *net.TCPConn) {
	client.SetLinger(0)
	client.Close()
	d.Service.mu.Lock()
	d.Service.counts.refused++
	d.Service.mu.Unlock()
}

// serve finds an instance: nothing has been sent yet, so one after another may be tried.
func (d *Door) serve(ctx context.Context, client *net.TCPConn) {
	s := d.Service
	tried := map[*backend]bool{}
	for {
		b := s.choose(tried)
		if b == nil {
			d.refuse(client)
			return
		}
		tried[b] = true
		if d.join(ctx, client, b) {
			return
		}
	}
}

// join connects the app to an instance; false: it could not be reached.
func (d *Door) join(ctx context.Context, client *net.TCPConn, b *backend) bool {
	s := d.Service
	c := &pair{client: client}
	defer func() { s.release(b, c) }()
	dialing, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), s.Policy.ConnectTimeout,
		fmt.Errorf("no connection within %v", s.Policy.ConnectTimeout))
	server, err := s.Dial(dialing, "tcp", b.Address)
	cancel()
	if err != nil {
		s.failed(b, err)
		return false
	}
	c.server = server.(*net.TCPConn)
	if !s.attach(b, c) {
		server.Close()
		return false
	}
	d.mu.Lock()
	d.open[c] = true
	d.mu.Unlock()
	c.copy()
	d.mu.Lock()
	delete(d.open, c)
	d.mu.Unlock()
	return true
}
