//go:build linux

package dial

import (
	"context"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"distlab/containers/internal/reactor"
)

const patience = 20 * time.Second

// ways are both that there are to connect by name. Each returns who has answered.
var ways = []struct {
	name    string
	connect func(t *testing.T, n *Names, address string) (string, error)
}{
	{"dialer", func(t *testing.T, n *Names, address string) (string, error) {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		conn, err := (&Dialer{Names: n}).DialContext(ctx, "tcp", address)
		if err != nil {
			return "", err
		}
		defer conn.Close()
		return conn.RemoteAddr().(*net.TCPAddr).IP.String(), nil
	}},
	{"loop", func(t *testing.T, n *Names, address string) (string, error) {
		l, err := reactor.New()
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- l.Run() }()
		defer func() {
			l.Stop()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}()
		done := make(chan outcome, 2)
		open := make(chan int, 1)
		l.Post(func() {
			a := &Attempt{Loop: l, Names: n}
			a.Done = func(fd int, err error) {
				var conn net.Conn
				if err == nil {
					conn, err = reactor.Attach(fd)
				}
				done <- outcome{conn: conn, err: err}
				open <- l.Sources()
			}
			a.Start("tcp", address)
			if len(done) > 0 {
				t.Error("done before Start has returned")
			}
		})
		select {
		case o := <-done:
			if n := <-open; n > 0 {
				t.Errorf("%d connections are left in the loop", n)
			}
			if o.err != nil {
				return "", o.err
			}
			defer o.conn.Close()
			return o.conn.RemoteAddr().(*net.TCPAddr).IP.String(), nil
		case <-time.After(patience):
			t.Fatal("no end")
			return "", nil
		}
	}},
}

// host is an address of this machine's with a port of the test's.
type host struct {
	t    *testing.T
	port string
}

func newHost(t *testing.T) host {
	ln, err := net.Listen("tcp", "127.0.0.99:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	return host{t, port}
}

func (h host) listen(ip string) net.Listener {
	h.t.Helper()
	ln, err := net.Listen("tcp", net.JoinHostPort(ip, h.port))
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { ln.Close() })
	return ln
}

// serve has somebody answer there.
func (h host) serve(ip string) {
	ln := h.listen(ip)
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			defer conn.Close()
		}
	}()
}

// hang has connections there never come about: the queue is full.
func (h host) hang(ip string) {
	h.t.Helper()
	ln := h.listen(ip)
	raw, err := ln.(syscall.Conn).SyscallConn()
	if err != nil {
		h.t.Fatal(err)
	}
	raw.Control(func(fd uintptr) { err = syscall.Listen(int(fd), 0) })
	if err != nil {
		h.t.Fatal(err)
	}
	for range 10 {
		conn, err := net.DialTimeout("tcp", ln.Addr().String(), 300*time.Millisecond)
		if os.IsTimeout(err) {
			return
		}
		if err == nil {
			h.t.Cleanup(func() { conn.Close() })
		}
	}
	h.t.Fatalf("%s still takes connections", ln.Addr())
}

func TestConnect(t *testing.T) {
	for _, tt := range []struct {
		name    string
		serving []string
		hanging []string
		known   []string // before
		says    []string // the resolver now
		want    string   // who answers
		err     string
	}{
		{
			name: "the first", serving: []string{"127.0.0.1", "127.0.0.2"},
			says: []string{"127.0.0.1", "127.0.0.2"}, want: "127.0.0.1",
		},
		{
			name: "the second, the first refuses", serving: []string{"127.0.0.2"},
			says: []string{"127.0.0.1", "127.0.0.2"}, want: "127.0.0.2",
		},
		{name: "the last of many", serving: []string{"127.0.0.9"}, says: []string{
			"127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5", "127.0.0.6", "127.0.0.7", "127.0.0.8", "127.0.0.9",
		}, want: "127.0.0.9"},
		{name: "the other family", serving: []string{"127.0.0.1"}, says: []string{"::1", "127.0.0.1"}, want: "127.0.0.1"},
		{
			name: "the second, the first leads nowhere", serving: []string{"127.0.0.2"}, hanging: []string{"127.0.0.1"},
			says: []string{"127.0.0.1", "127.0.0.2"}, want: "127.0.0.2",
		},
		{
			name: "a server that has moved", serving: []string{"127.0.0.2"},
			known: []string{"127.0.0.1"}, says: []string{"127.0.0.2"}, want: "127.0.0.2",
		},
		{
			name: "one that has moved, and the old address leads nowhere", serving: []string{"127.0.0.2"},
			hanging: []string{"127.0.0.1"}, known: []string{"127.0.0.1"}, says: []string{"127.0.0.2"}, want: "127.0.0.2",
		},
		{name: "nobody", says: []string{"127.0.0.1"}, err: "connect redis-a:PORT: connection refused"},
		{
			name: "nobody at two", says: []string{"127.0.0.1", "127.0.0.2"},
			err: "connect redis-a:PORT: 127.0.0.1:PORT: connection refused; 127.0.0.2:PORT: connection refused",
		},
		{name: "no name", err: "lookup redis-a: no such host"},
	} {
		for _, way := range ways {
			t.Run(tt.name+"/"+way.name, func(t *testing.T) {
				h := newHost(t)
				for _, ip := range tt.serving {
					h.serve(ip)
				}
				for _, ip := range tt.hanging {
					h.hang(ip)
				}
				var mu sync.Mutex
				answers := [][]string{tt.known, tt.says}
				if tt.known == nil {
					answers = answers[1:]
				}
				n := &Names{Keep: time.Hour, Lookup: func(context.Context, string) (list []netip.Addr, err error) {
					mu.Lock()
					defer mu.Unlock()
					for _, a := range answers[0] {
						list = append(list, netip.MustParseAddr(a))
					}
					if len(answers) > 1 {
						answers = answers[1:]
					}
					return list, nil
				}}
				address := "redis-a:" + h.port
				if tt.known != nil { // so long ago that it may be asked for again
					if _, err := n.Addrs(t.Context(), address); err != nil {
						t.Fatal(err)
					}
					n.names["redis-a"].asked = time.Now().Add(-time.Minute)
				}
				got, err := way.connect(t, n, address)
				why := ""
				if err != nil {
					why = strings.ReplaceAll(err.Error(), h.port, "PORT")
				}
				if got != tt.want || why != tt.err {
					t.Errorf("%q, %q; want %q, %q", got, why, tt.want, tt.err)
				}
			})
		}
	}
}

// TestImpatience: who gives up gets no connection, and leaves none.
func TestImpatience(t *testing.T) {
	h := newHost(t)
	h.hang("127.0.0.1")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := new(Dialer).DialContext(ctx, "tcp", "127.0.0.1:"+h.port)
	if ne, ok := err.(net.Error); !ok || !ne.Timeout() {
		t.Errorf("%v", err)
	}
}

// TestStop: nothing is called and nothing stays open once an attempt has been given up; it can be begun again.
func TestStop(t *testing.T) {
	h := newHost(t)
	h.hang("127.0.0.1")
	h.serve("127.0.0.2")
	l, err := reactor.New()
	if err != nil {
		t.Fatal(err)
	}
	ended, done, open := make(chan error), make(chan error, 2), make(chan int, 1)
	go func() { ended <- l.Run() }()
	l.Post(func() {
		a := &Attempt{Loop: l, Names: &Names{}, Done: func(fd int, err error) {
			if err == nil {
				reactor.CloseFD(fd)
			}
			done <- err
		}}
		a.Start("tcp", "127.0.0.1:"+h.port)
		stop := reactor.Timer{Fire: func() {
			a.Stop()
			open <- l.Sources()
			a.Start("tcp", "127.0.0.2:"+h.port)
		}}
		l.Arm(&stop, 20*time.Millisecond)
	})
	if n := <-open; n != 0 {
		t.Errorf("%d connections are left", n)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	l.Stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if len(done) > 0 {
		t.Error("done twice")
	}
}

// TestUnix: a socket in the file system has no other address.
func TestUnix(t *testing.T) {
	path := t.TempDir() + "/s"
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	l, err := reactor.New()
	if err != nil {
		t.Fatal(err)
	}
	ended, done := make(chan error), make(chan error, 1)
	go func() { ended <- l.Run() }()
	for _, tt := range []struct {
		path string
		want error
	}{{path, nil}, {path + "no", syscall.ENOENT}} {
		l.Post(func() {
			a := &Attempt{Loop: l, Names: &Names{}, Done: func(fd int, err error) {
				if err == nil {
					reactor.CloseFD(fd)
				}
				done <- err
			}}
			a.Start("unix", tt.path)
		})
		if err := <-done; err != tt.want {
			t.Errorf("%s: %v, want %v", tt.path, err, tt.want)
		}
	}
	l.Stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
