package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"syscall"
	"testing"

	"golang.org/x/net/http2"
)

// TestWireWrite: a write to a peer that has gone is an error, but while the peer's word on a client certificate is
// awaited: then the word, or the end, is left to whoever reads.
func TestWireWrite(t *testing.T) {
	for _, asked := range []bool{false, true} {
		conn, err := connect(context.Background(), "tcp", serve(t, func(c net.Conn) { c.Read(make([]byte, 1)); reset(c) }))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		w := conn.(*wire)
		if _, err := w.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) || !errors.Is(w.ended, syscall.ECONNRESET) {
			t.Fatalf("read: %v; ended: %v", err, w.ended)
		}
		w.asked = asked
		n, err := w.Write([]byte("hello"))
		if asked && (n != 5 || err != nil) || !asked && !errors.Is(err, syscall.EPIPE) {
			t.Errorf("asked %v: wrote %d, %v", asked, n, err)
		}
	}
}

// TestWireHears: the peer has said something, so its word is not awaited any more.
func TestWireHears(t *testing.T) {
	conn, err := connect(context.Background(), "tcp", serve(t, func(c net.Conn) { io.WriteString(c, "x") }))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	w := conn.(*wire)
	w.asked = true
	if _, err := w.Read(make([]byte, 1)); err != nil || w.asked {
		t.Errorf("asked %v after a read: %v", w.asked, err)
	}
}

// TestHTTP2NotTouched: what an HTTP/2 peer says it has not touched is not lost; what it may have acted on is.
func TestHTTP2NotTouched(t *testing.T) {
	ca := newAuthority(t)
	pair, _, _ := ca.issue(1, "web.example")
	for _, c := range []struct {
		name string
		ends func(*http2.Framer)
		lost int
	}{
		{"GOAWAY before it", func(f *http2.Framer) { f.WriteGoAway(0, http2.ErrCodeNo, nil) }, 0},
		{"REFUSED_STREAM", func(f *http2.Framer) {
			f.WriteRSTStream(1, http2.ErrCodeRefusedStream)
			f.WriteGoAway(0, http2.ErrCodeNo, nil)
		}, 0},
		{"GOAWAY after it", func(f *http2.Framer) { f.WriteGoAway(1, http2.ErrCodeNo, nil) }, 1},
		{"INTERNAL_ERROR", func(f *http2.Framer) { f.WriteRSTStream(1, http2.ErrCodeInternal) }, 1},
		{"hangs up", func(*http2.Framer) {}, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			first := make(chan bool, 1)
			first <- true
			addr := serve(t, func(conn net.Conn) {
				select {
				case <-first:
				default:
					return // a second try finds a peer that takes nothing
				}
				secure := tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{pair}, NextProtos: []string{"h2"}})
				c.ends(greet(secure))
			})
			a := ask[loadAnswer](t, "flight", "-n", "1", "-insecure", "https://"+addr)
			if a.OK != 0 || a.Lost != c.lost || a.Errors[closed] != 1 {
				t.Errorf("%d lost, errors %v %q; want %d lost", a.Lost, a.Errors, a.First, c.lost)
			}
		})
	}
}

// TestHTTP1Touched: over HTTP/1.1 a request that was written and is tried again may have been acted on the first time.
func TestHTTP1Touched(t *testing.T) {
	pair, _, _ := newAuthority(t).issue(1, "web.example")
	first := make(chan bool, 1)
	first <- true
	addr := serve(t, func(conn net.Conn) {
		select {
		case <-first:
		default:
			return // the second try is never written
		}
		secure := tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{pair}})
		defer secure.Close()
		r := bufio.NewReader(secure)
		http.ReadRequest(r)
		io.WriteString(secure, "HTTP/1.1 204 No Content\r\n\r\n")
		http.ReadRequest(r)
	})
	a := ask[loadAnswer](t, "load", "-rate", "100", "-duration", "20ms", "-connections", "1", "-insecure", "https://"+addr)
	if a.Requests != 2 || a.OK != 1 || a.Lost != 1 || a.Errors[closed] != 1 {
		t.Errorf("result: %+v", a)
	}
}
