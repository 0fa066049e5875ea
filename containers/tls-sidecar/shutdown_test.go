package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// gate is an app whose answers wait.
type gate struct {
	addr string
	came chan struct{}
	open chan struct{}
}

func startGate(t *testing.T) *gate {
	g := &gate{came: make(chan struct{}, 100), open: make(chan struct{})}
	g.addr = startApp(t, func(w http.ResponseWriter, r *http.Request) {
		g.came <- struct{}{}
		<-g.open
		io.WriteString(w, "done")
	})
	return g
}

// TestShutdownWaits: what is in flight ends, what is new is not let in, and
// only then Shutdown returns.
func TestShutdownWaits(t *testing.T) {
	both(t, func(t *testing.T, version int) {
		g := startGate(t)
		s := start(t, g.addr, nil)
		c := s.client(t, version, nil)
		answer := make(chan string, 1)
		go func() {
			resp, err := c.Get(s.url("/"))
			if err != nil {
				answer <- err.Error()
				return
			}
			defer resp.Body.Close()
			answer <- string(must(io.ReadAll(resp.Body)))
		}()
		<-g.came
		stopped := make(chan error, 1)
		go func() { stopped <- s.Shutdown(within(t)) }()
		if err := <-s.served; err != http.ErrServerClosed {
			t.Errorf("Serve returned %v", err)
		}
		if conn, err := s.tryDial(tlsConfig()); err == nil {
			conn.Close()
			t.Error("a new connection was let in")
		}
		select {
		case err := <-stopped:
			t.Fatalf("Shutdown returned %v with a request in flight", err)
		case <-time.After(100 * time.Millisecond): // time enough to be wrong
		}
		close(g.open)
		if got := <-answer; got != "done" {
			t.Errorf("the request in flight got %q", got)
		}
		if err := <-stopped; err != nil {
			t.Errorf("Shutdown returned %v", err)
		}
	})
}

func TestShutdownIsCut(t *testing.T) {
	g := startGate(t)
	defer close(g.open)
	s := start(t, g.addr, nil)
	failed := make(chan error, 1)
	go func() { _, err := s.client(t, 1, nil).Get(s.url("/")); failed <- err }()
	<-g.came
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := s.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Shutdown returned %v", err)
	}
	s.Close()
	if err := <-failed; err == nil {
		t.Error("the request that was cut got an answer")
	}
	eventually(t, "all is closed", func() bool { return s.open() == 0 })
}

// TestShutdownTunnels: Shutdown waits for tunnels too, of both kinds.
func TestShutdownTunnels(t *testing.T) {
	t.Parallel()
	app, _ := startUpgrader(t, true)
	tcp := startTCPApp(t, echo)
	for name, begin := range map[string]func() (*sidecar, net.Conn){
		"upgraded": func() (*sidecar, net.Conn) {
			s := start(t, app, nil)
			conn := s.dial(t, tlsConfig("http/1.1"))
			io.WriteString(conn, "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
			return s, conn
		},
		"tcp mode": func() (*sidecar, net.Conn) {
			s := start(t, tcp, inTCPMode(nil))
			return s, s.dial(t, tlsConfig())
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, conn := begin()
			r := bufio.NewReader(conn)
			if name == "upgraded" {
				must(http.ReadResponse(r, nil))
			}
			ask := func(word string) {
				t.Helper()
				fmt.Fprintln(conn, word)
				if got, err := r.ReadString('\n'); got != word+"\n" {
					t.Errorf("got %q (%v), want %q", got, err, word)
				}
			}
			ask("before")
			stopped := make(chan error, 1)
			go func() { stopped <- s.Shutdown(within(t)) }()
			<-s.served
			ask("during")
			select {
			case err := <-stopped:
				t.Fatalf("Shutdown returned %v with a tunnel open", err)
			case <-time.After(200 * time.Millisecond): // time enough to be wrong
			}
			ask("after a while")
			conn.Close()
			if err := <-stopped; err != nil {
				t.Errorf("Shutdown returned %v", err)
			}
		})
	}
}

// TestShutdownIdle: a client on an idle connection may ask once more, and is
// told to go; one that has just connected may ask its first.
func TestShutdownIdle(t *testing.T) {
	app := startWireApp(t)
	const ask = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
	for name, asks := range map[string]int{"idle": 2, "fresh": 1} {
		t.Run(name, func(t *testing.T) {
			s := start(t, app.addr, func(p *Proxy) { p.Limits.DrainIdle = patience / 4 })
			conn := s.dial(t, tlsConfig("http/1.1"))
			r := bufio.NewReader(conn)
			if asks == 2 {
				io.WriteString(conn, ask)
				if resp := must(http.ReadResponse(r, nil)); resp.Close {
					t.Error("told to go before the end")
				} else {
					io.Copy(io.Discard, resp.Body)
				}
			}
			stopped := make(chan error, 1)
			go func() { stopped <- s.Shutdown(within(t)) }()
			<-s.served
			<-time.After(150 * time.Millisecond) // time enough to be wrong
			io.WriteString(conn, ask)
			resp, err := http.ReadResponse(r, nil)
			check(t, err)
			if resp.StatusCode != 200 || !resp.Close {
				t.Errorf("got %s, told to go: %v", resp.Status, resp.Close)
			}
			if err := <-stopped; err != nil {
				t.Errorf("Shutdown returned %v", err)
			}
		})
	}
}

// TestShutdownDoesNotDawdle: idle clients that have had their say hold it for
// DrainIdle only, not for as long as fresh ones.
func TestShutdownDoesNotDawdle(t *testing.T) {
	app := startWireApp(t)
	s := start(t, app.addr, func(p *Proxy) { p.Limits.DrainIdle = 500 * time.Millisecond })
	s.dial(t, tlsConfig("http/1.1")).Close()
	get(t, s.client(t, 1, nil), s.url("/")) // its connection stays
	eventually(t, "one is left", func() bool { return s.open() == 1 })
	began := time.Now()
	check(t, s.Shutdown(within(t)))
	if took := time.Since(began); took < 400*time.Millisecond || took > 1500*time.Millisecond {
		t.Errorf("took %s", took)
	}
}

// TestShutdownUnderLoad: clients ask as fast as they can while the sidecar
// stops. Every request that it took is answered; those it did not take were
// not let in at all.
func TestShutdownUnderLoad(t *testing.T) {
	app := startApp(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		io.WriteString(w, "ok")
	})
	both(t, func(t *testing.T, version int) {
		s := start(t, app, func(p *Proxy) { p.Limits.DrainIdle = 0 })
		var asked, lost atomic.Int64
		var first atomic.Value
		var clients sync.WaitGroup
		for range 16 {
			clients.Go(func() {
				c := s.client(t, version, nil)
				for {
					// A body that cannot be sent twice, so that the client
					// does not quietly try again. HTTP/2's GOAWAY says which
					// requests were not taken, and those it may.
					var body io.Reader = strings.NewReader("x")
					if version == 1 {
						body = io.MultiReader(body)
					}
					resp, err := c.Post(s.url("/"), "text/plain", body)
					var text []byte
					if err == nil {
						text, err = io.ReadAll(resp.Body)
						resp.Body.Close()
					}
					var op *net.OpError
					switch {
					case errors.As(err, &op) && op.Op == "dial":
						return // refused: the sidecar is gone
					case err != nil || string(text) != "ok":
						first.CompareAndSwap(nil, fmt.Sprint(err))
						lost.Add(1)
						return
					}
					asked.Add(1)
				}
			})
		}
		eventually(t, "load", func() bool { return asked.Load() > 200 })
		if err := s.Shutdown(within(t)); err != nil {
			t.Errorf("Shutdown returned %v", err)
		}
		clients.Wait()
		if lost.Load() > 0 {
			t.Errorf("%d requests were lost after %d good ones, first: %v", lost.Load(), asked.Load(), first.Load())
		}
	})
}

func TestServeAfterShutdown(t *testing.T) {
	s := start(t, "127.0.0.1:1", nil)
	check(t, s.Shutdown(within(t)))
	ln := must(net.Listen("tcp", "127.0.0.1:0"))
	if err := s.Serve(ln); err != http.ErrServerClosed {
		t.Errorf("Serve returned %v", err)
	}
	if _, err := net.Dial("tcp", ln.Addr().String()); err == nil {
		t.Error("the listener is still open")
	}
}

// lateListener holds back the first Accept, so that connections queue up in
// the kernel.
type lateListener struct {
	*net.TCPListener
	asked, open chan struct{}
	once        sync.Once
}

func (l *lateListener) Accept() (net.Conn, error) {
	l.once.Do(func() { close(l.asked); <-l.open })
	return l.TCPListener.Accept()
}

// TestShutdownTakesQueued: what the kernel has accepted is served, even if the
// end comes before we have.
func TestShutdownTakesQueued(t *testing.T) {
	app := startWireApp(t)
	s := start(t, app.addr, func(p *Proxy) { p.Limits.DrainIdle = patience / 4 })
	tcp := must(listen(t.Context(), "127.0.0.1:0")).(*net.TCPListener)
	ln := &lateListener{TCPListener: tcp, asked: make(chan struct{}), open: make(chan struct{})}
	go s.Serve(ln)
	<-ln.asked
	var conns []net.Conn
	for range 5 {
		conns = append(conns, must(net.Dial("tcp", tcp.Addr().String())))
	}
	stopped := make(chan error, 1)
	go func() { stopped <- s.Shutdown(within(t)) }()
	<-s.served // the other listener is closed: the end has begun
	close(ln.open)
	for i, conn := range conns {
		conn.SetDeadline(time.Now().Add(patience))
		secure := tls.Client(conn, tlsConfig("http/1.1"))
		io.WriteString(secure, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
		if got := statusesOf(readAll(secure)); got != "200" {
			t.Errorf("queued connection %d got %q", i, got)
		}
	}
	if err := <-stopped; err != nil {
		t.Errorf("Shutdown returned %v", err)
	}
}
