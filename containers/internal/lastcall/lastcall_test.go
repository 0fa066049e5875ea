package lastcall

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const patience = 20 * time.Second

func listen(t *testing.T) net.Listener {
	t.Helper()
	var cfg net.ListenConfig
	cfg.SetMultipathTCP(false)
	ln, err := cfg.Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return ln
}

// TestRetire: nobody new gets in, and what was queued is taken.
func TestRetire(t *testing.T) {
	ln := New(listen(t))
	for range 3 {
		queued, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer queued.Close()
	}
	ln.Retire()
	if conn, err := net.DialTimeout("tcp", ln.Addr().String(), Grace/4); err == nil {
		conn.Close()
		t.Error("somebody new got in")
	}
	for range 3 {
		conn, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		conn.Close()
	}
	if _, err := ln.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("after the last: %v", err)
	}
	if _, err := net.Dial("tcp", ln.Addr().String()); err == nil {
		t.Error("the port is open")
	}
	ln.Retire() // does nothing
}

// TestNobodyIsReset: whoever is connected is answered, however the end and the
// handshakes fall.
func TestNobodyIsReset(t *testing.T) {
	var answered atomic.Int64
	for range 20 {
		ln := New(listen(t))
		var wg sync.WaitGroup
		for range 16 {
			wg.Go(func() {
				for {
					conn, err := net.DialTimeout("tcp", ln.Addr().String(), 3*Grace)
					if err != nil {
						return // not answered, or refused
					}
					conn.SetDeadline(time.Now().Add(patience))
					if got, err := io.ReadAll(conn); err != nil || string(got) != "hello" {
						t.Errorf("connected, and got %q, %v", got, err)
					}
					answered.Add(1)
					conn.Close()
				}
			})
		}
		wg.Go(func() {
			for {
				conn, err := ln.Accept()
				if err != nil {
					if !errors.Is(err, net.ErrClosed) {
						t.Error(err)
					}
					return
				}
				io.WriteString(conn, "hello")
				conn.Close()
			}
		})
		for before := answered.Load(); answered.Load() == before; {
			time.Sleep(time.Millisecond)
		}
		ln.Retire()
		wg.Wait()
	}
	t.Logf("%d connections", answered.Load())
}
