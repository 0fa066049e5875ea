package fastpath

import (
	"io"
	"net"
	"runtime"
	"testing"

	"distlab/containers/internal/http1"
)

// startBytes is an app without any allocation of its own: it answers each read
// with the same bytes.
func startBytes(t testing.TB, answer string) string {
	ln := must(net.Listen("tcp", "127.0.0.1:0"))
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				buf := make([]byte, 4<<10)
				text := []byte(answer)
				for {
					if _, err := conn.Read(buf); err != nil {
						return
					}
					if _, err := conn.Write(text); err != nil {
						return
					}
				}
			}()
		}
	}()
	return ln.Addr().String()
}

// quiet is a policy that does nothing.
type quiet struct{ backend *Backend }

func (q *quiet) Begin(*Client, *http1.Request) *Backend               { return q.backend }
func (q *quiet) Lines(dst []byte, _ *Client, _ *http1.Request) []byte { return dst }
func (q *quiet) End(*Client, int, Ending)                             {}
func (q *quiet) Undo(*Client)                                         {}
func (q *quiet) BadBody(*Client, bool) ([]byte, int)                  { return nil, 400 }
func (q *quiet) Careful(h *Handover)                                  { h.Client.Socket.Close() }
func (q *quiet) Closed(c *Client)                                     { c.Socket.Close() }
func (q *quiet) Answer(dst []byte, _ *Client, _ *http1.Response) ([]byte, bool, bool) {
	return dst, false, true
}

// exchanger makes one exchange after the other over a connection of its own.
func exchanger(t testing.TB) (exchange func()) {
	const answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: text/plain\r\n\r\nok"
	app := startBytes(t, answer)
	q := &quiet{&Backend{Dial: func() (net.Conn, error) { return net.Dial("tcp", app) }}}
	p := &Path{Policy: q, Limits: Limits{Header: patience, Idle: patience, Send: patience, Response: patience, AppIdle: patience}}
	if err := p.Start(1); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	ln := must(net.Listen("tcp", "127.0.0.1:0"))
	defer ln.Close()
	conn := must(net.Dial("tcp", ln.Addr().String()))
	t.Cleanup(func() { conn.Close() })
	if !p.Take(&Client{Socket: NewSocket(must(ln.Accept()))}) {
		t.Fatal("not taken")
	}
	ask := []byte("GET /a HTTP/1.1\r\nHost: app.example\r\nUser-Agent: test\r\nAccept: */*\r\n\r\n")
	heard := make([]byte, 1<<10)
	return func() {
		if _, err := conn.Write(ask); err != nil {
			t.Fatal(err)
		}
		n, err := io.ReadAtLeast(conn, heard, len(answer))
		if err != nil || string(heard[n-2:n]) != "ok" {
			t.Fatalf("got %q, %v", heard[:n], err)
		}
	}
}

// TestAllocatesNothing: an exchange takes nothing from the heap.
func TestAllocatesNothing(t *testing.T) {
	exchange := exchanger(t)
	for range 100 {
		exchange()
	}
	const rounds = 2000
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range rounds {
		exchange()
	}
	runtime.ReadMemStats(&after)
	// The runtime and the testing package do something now and then.
	if n := after.Mallocs - before.Mallocs; n > rounds/20 {
		t.Errorf("%d allocations in %d exchanges", n, rounds)
	}
}

// BenchmarkExchange is one connection with one exchange at a time: all of it is
// waiting and system calls.
func BenchmarkExchange(b *testing.B) {
	exchange := exchanger(b)
	b.ReportAllocs()
	for b.Loop() {
		exchange()
	}
}
