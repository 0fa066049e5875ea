package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestAppAddrs(t *testing.T) {
	for forward, want := range map[string][]string{
		"localhost:8080":      {"127.0.0.1:8080", "[::1]:8080"},
		"127.0.0.1:80":        {"127.0.0.1:80"},
		"[::1]:80":            {"[::1]:80"},
		"app.example:80":      nil,
		"localhost:http":      nil,
		"localhost:100000":    nil,
		"localhost":           nil,
		"":                    nil,
		"[fe80::1%eth0]:8080": {"[fe80::1%eth0]:8080"},
	} {
		var got []string
		for _, addr := range appAddrs(forward) {
			got = append(got, addr.String())
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", forward, diff)
		}
	}
}

// onLoops asks the loops something, each in its own goroutine.
func onLoops(t *testing.T, s *sidecar, ask func(*tcpLoop)) {
	t.Helper()
	if s.loops == nil {
		t.Fatal("there are no loops")
	}
	for _, l := range s.loops.list {
		done := make(chan bool)
		if !l.loop.Post(func() { ask(l); close(done) }) {
			t.Fatal("a loop has ended")
		}
		<-done
	}
}

// heldBytes is what the ducts hold of what the kernel did not take.
func heldBytes(t *testing.T, s *sidecar) (bytes int) {
	t.Helper()
	onLoops(t, s, func(l *tcpLoop) {
		for d := range l.all {
			bytes += len(d.client.out) + len(d.app.out)
		}
	})
	return bytes
}

// TestDuctBackPressure: who does not read is not read for. What a duct holds is
// bounded, and nothing of it is lost.
func TestDuctBackPressure(t *testing.T) {
	const size = 32 << 20 // more than the kernel's buffers
	data := make([]byte, size)
	rand.Read(data)
	// One read of 64 KiB in each direction, as records.
	const bound = 2 * (readSize + 4*256)

	stalled := func(t *testing.T, s *sidecar, written func() int) {
		t.Helper()
		last, since := -1, time.Now()
		eventually(t, "the writer is stopped", func() bool {
			if n := written(); n != last {
				last, since = n, time.Now()
			}
			n := heldBytes(t, s)
			if n > bound {
				t.Fatalf("%d bytes are held, want %d at most", n, bound)
			}
			if last == size {
				t.Fatalf("all %d bytes were taken, and nobody read them", size)
			}
			return n > 0 && time.Since(since) > 200*time.Millisecond
		})
	}

	t.Run("client does not read", func(t *testing.T) {
		w := &counted{}
		app := startTCPApp(t, func(c *net.TCPConn) { w.Conn = c; w.Write(data) })
		s := start(t, app, inTCPMode(nil))
		conn := s.dial(t, tlsConfig())
		stalled(t, s, w.count)
		if got := must(io.ReadAll(conn)); !bytes.Equal(got, data) {
			t.Errorf("%d bytes came, not the %d that were sent", len(got), size)
		}
	})
	t.Run("app does not read", func(t *testing.T) {
		read := make(chan bool)
		got := make(chan []byte)
		app := startTCPApp(t, func(c *net.TCPConn) {
			<-read
			all, _ := io.ReadAll(c)
			got <- all
		})
		s := start(t, app, inTCPMode(nil))
		w := &counted{Conn: s.dial(t, tlsConfig())}
		go func() {
			w.Write(data)
			w.Conn.(*tls.Conn).CloseWrite()
		}()
		stalled(t, s, w.count)
		close(read)
		if got := <-got; !bytes.Equal(got, data) {
			t.Errorf("%d bytes came, not the %d that were sent", len(got), size)
		}
	})
}

// TestDuctPipelined: bytes that wait inside TLS, because their record came with
// others while the app was slow, move without more from the client.
func TestDuctPipelined(t *testing.T) {
	asked := make(chan bool)
	app := startTCPApp(t, func(c *net.TCPConn) {
		<-asked
		io.Copy(c, c)
	})
	s := start(t, app, inTCPMode(nil))
	conn := s.dial(t, tlsConfig())
	want := make([]byte, 40*turn)
	for i := range want {
		want[i] = byte(i)
		conn.Write(want[i : i+1])
	}
	close(asked)
	got := make([]byte, len(want))
	must(io.ReadFull(conn, got))
	if !bytes.Equal(got, want) {
		t.Error("other bytes came back")
	}
}

// TestDuctTruncation: an answer that was cut must not look whole. In TLS the end
// is said, and so its absence can be seen.
func TestDuctTruncation(t *testing.T) {
	app := startTCPApp(t, func(c *net.TCPConn) {
		io.WriteString(c, "the first half")
		io.ReadFull(c, make([]byte, 4)) // the client has it
		c.SetLinger(0)
	})
	s := start(t, app, inTCPMode(nil))
	conn := s.dial(t, tlsConfig())
	got := make([]byte, len("the first half"))
	must(io.ReadFull(conn, got))
	io.WriteString(conn, "more")
	// Below TLS, where the end would be a record. crypto/tls does not insist on it.
	if rest, _ := io.ReadAll(conn.NetConn()); len(rest) > 0 {
		t.Errorf("%d bytes follow, and say that this was all", len(rest))
	}
}

// TestDuctConnectLimit: an app that does not accept is given up, and whoever
// closes the proxy does not wait for it.
func TestDuctConnectLimit(t *testing.T) {
	full := fullListener(t)
	t.Run("limit", func(t *testing.T) {
		told := make(chan error, 1)
		s := start(t, full, inTCPMode(func(p *Proxy) {
			p.Limits.Connect = 50 * time.Millisecond
			p.AppFailed = func(err error) { told <- err }
		}))
		readAll(s.dial(t, tlsConfig()))
		var network net.Error
		if err := <-told; !errors.As(err, &network) || !network.Timeout() {
			t.Errorf("told %v, want a timeout", err)
		}
		if n := s.metric(t, "upstream_errors_total", "reason=timeout"); n != 1 {
			t.Errorf("counted %v", n)
		}
		eventually(t, "closed", func() bool { return s.open() == 0 && s.inFlight() == 0 })
	})
	t.Run("closed meanwhile", func(t *testing.T) {
		s := start(t, full, inTCPMode(nil))
		s.dial(t, tlsConfig())
		eventually(t, "a loop has it", func() bool { return s.inFlight() == 1 })
		s.Close()
		eventually(t, "closed", func() bool { return s.open() == 0 && s.inFlight() == 0 })
	})
}

// fullListener is the address of a listener whose queue is full: a connect to it
// neither succeeds nor fails.
func fullListener(t *testing.T) string {
	t.Helper()
	ln := must(net.Listen("tcp", "127.0.0.1:0"))
	t.Cleanup(func() { ln.Close() })
	raw := must(ln.(*net.TCPListener).SyscallConn())
	check(t, raw.Control(func(fd uintptr) { syscall.Listen(int(fd), 0) }))
	for range 100 {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", ln.Addr().String())
		cancel()
		if err != nil {
			return ln.Addr().String()
		}
		t.Cleanup(func() { conn.Close() })
	}
	t.Fatal("the queue is never full")
	return ""
}

// counted writes in small parts and counts them.
type counted struct {
	net.Conn
	n atomic.Int64
}

func (c *counted) Write(p []byte) (int, error) {
	total := 0
	for len(p) > 0 {
		n, err := c.Conn.Write(p[:min(len(p), 64<<10)])
		c.n.Add(int64(n))
		total += n
		if err != nil {
			return total, err
		}
		p = p[n:]
	}
	return total, nil
}

func (c *counted) count() int { return int(c.n.Load()) }

// BenchmarkDuct is one small question and answer, the client's part included.
func BenchmarkDuct(b *testing.B) {
	for name, careful := range map[string]bool{"loops": false, "goroutines": true} {
		b.Run(name, func(b *testing.B) {
			ask := newAsker(b, careful)
			b.ReportAllocs()
			for b.Loop() {
				ask()
			}
		})
	}
}

// TestDuctAllocations: crypto/tls makes one small object for each read of a
// record, of which a question and answer are two on each side: the one that finds
// the record, and the one that finds that there is no other. The duct adds none.
func TestDuctAllocations(t *testing.T) {
	want := 3.0
	if raceDetector {
		want += 2 // in which sync.Pool loses things on purpose
	}
	if n := testing.AllocsPerRun(500, newAsker(t, false)); n > want {
		t.Errorf("%v allocations for a question and answer, want %v at most, crypto/tls's", n, want)
	}
}

// newAsker returns a function that sends a little through a sidecar to an echo,
// and waits for it to come back.
func newAsker(tb testing.TB, careful bool) func() {
	tb.Helper()
	ln := must(net.Listen("tcp", "127.0.0.1:0"))
	tb.Cleanup(func() { ln.Close() })
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				buf := make([]byte, 1<<10)
				for {
					n, err := conn.Read(buf)
					if err != nil {
						return
					}
					conn.Write(buf[:n])
				}
			}()
		}
	}()
	p := &Proxy{Forward: ln.Addr().String(), TCP: true, Careful: careful, Certificates: &Certificates{}}
	p.Certificates.Memory = must(newPair(serverCA.issue(nil, "localhost")))
	if err := p.Certificates.Load(); err != nil {
		tb.Fatal(err)
	}
	front := must(listen(tb.Context(), "127.0.0.1:0"))
	go p.Serve(front)
	tb.Cleanup(func() { p.Close() })
	conn := must(tls.Dial("tcp", front.Addr().String(), tlsConfig()))
	tb.Cleanup(func() { conn.Close() })
	out, in := make([]byte, 100), make([]byte, 100)
	ask := func() {
		conn.Write(out)
		must(io.ReadFull(conn, in))
	}
	ask()
	return ask
}
