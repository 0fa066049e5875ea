package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// both runs a test over HTTP/1.1 and over HTTP/2.
func both(t *testing.T, f func(t *testing.T, version int)) {
	t.Run("HTTP/1.1", func(t *testing.T) { f(t, 1) })
	t.Run("HTTP/2", func(t *testing.T) { f(t, 2) })
}

func TestSameBytes(t *testing.T) {
	large := make([]byte, 3<<20)
	rand.Read(large)
	app := startApp(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Path", r.RequestURI)
		w.Header().Add("Set-Cookie", "a=1")
		w.Header().Add("Set-Cookie", "b=2")
		w.WriteHeader(http.StatusAccepted)
		http.NewResponseController(w).EnableFullDuplex()
		io.Copy(w, r.Body)
	})
	both(t, func(t *testing.T, version int) {
		s := start(t, app, nil)
		c := s.client(t, version, nil)
		resp, err := c.Post(s.url("/a%2fb//c?x=1;y&%zz"), "application/octet-stream", bytes.NewReader(large))
		check(t, err)
		defer resp.Body.Close()
		if resp.ProtoMajor != version {
			t.Errorf("spoke %s", resp.Proto)
		}
		if resp.StatusCode != http.StatusAccepted || resp.Header.Get("X-Path") != "/a%2fb//c?x=1;y&%zz" {
			t.Errorf("got %s, path %q", resp.Status, resp.Header.Get("X-Path"))
		}
		if diff := cmp.Diff([]string{"a=1", "b=2"}, resp.Header["Set-Cookie"]); diff != "" {
			t.Errorf("cookies (-want +got):\n%s", diff)
		}
		if got := must(io.ReadAll(resp.Body)); !bytes.Equal(got, large) {
			t.Errorf("%d bytes came back, not the %d that were sent", len(got), len(large))
		}
		if n := s.metric(t, "requests_total", "code=202"); n != 1 {
			t.Errorf("counted %v requests", n)
		}
		if n := s.metric(t, "bytes_total", "direction=out"); n < float64(len(large)) {
			t.Errorf("counted %v bytes out", n)
		}
	})
}

// TestStreaming: each side hears what the other has said before it has ended.
func TestStreaming(t *testing.T) {
	app := startApp(t, func(w http.ResponseWriter, r *http.Request) {
		control := http.NewResponseController(w)
		control.EnableFullDuplex()
		w.WriteHeader(http.StatusOK)
		control.Flush()
		lines := bufio.NewScanner(r.Body)
		for lines.Scan() {
			fmt.Fprintf(w, "echo %s\n", lines.Text())
			control.Flush()
		}
	})
	both(t, func(t *testing.T, version int) {
		s := start(t, app, nil)
		r, w := io.Pipe()
		req := must(http.NewRequestWithContext(within(t), "POST", s.url("/"), r))
		resp, err := s.client(t, version, nil).Do(req)
		check(t, err)
		defer resp.Body.Close()
		answers := bufio.NewReader(resp.Body)
		for _, word := range []string{"one", "two", "three"} {
			fmt.Fprintln(w, word)
			if got := must(answers.ReadString('\n')); got != "echo "+word+"\n" {
				t.Errorf("got %q", got)
			}
		}
		w.Close()
		if rest := must(io.ReadAll(answers)); len(rest) != 0 {
			t.Errorf("more came: %q", rest)
		}
	})
}

// TestEarlyParts: the parts of an answer arrive as they are made.
func TestEarlyParts(t *testing.T) {
	next := make(chan string)
	app := startApp(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for part := range next {
			io.WriteString(w, part)
			http.NewResponseController(w).Flush()
		}
	})
	s := start(t, app, nil)
	resp := make(chan *http.Response, 1)
	go func() { resp <- must(s.client(t, 1, nil).Get(s.url("/"))) }()
	next <- "data: 1\n\n"
	body := (<-resp).Body
	defer body.Close()
	buf := make([]byte, 9)
	must(io.ReadFull(body, buf))
	next <- "data: 2\n\n"
	must(io.ReadFull(body, buf))
	if string(buf) != "data: 2\n\n" {
		t.Errorf("got %q", buf)
	}
	close(next)
}

func TestTrailers(t *testing.T) {
	app := startApp(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "X-Sum")
		body := must(io.ReadAll(r.Body))
		fmt.Fprintf(w, "%s %v", body, r.Trailer)
		w.Header().Set("X-Sum", "42")
		w.Header().Set(http.TrailerPrefix+"X-Late", "yes")
	})
	both(t, func(t *testing.T, version int) {
		s := start(t, app, nil)
		req := must(http.NewRequest("POST", s.url("/"), io.MultiReader(strings.NewReader("body"))))
		req.Trailer = http.Header{"X-Check": {"ok"}, "X-Forwarded-For": {"6.6.6.6"}}
		resp, err := s.client(t, version, nil).Do(req)
		check(t, err)
		defer resp.Body.Close()
		if got := string(must(io.ReadAll(resp.Body))); got != "body map[X-Check:[ok]]" {
			t.Errorf("the app got %q", got)
		}
		if diff := cmp.Diff(http.Header{"X-Sum": {"42"}, "X-Late": {"yes"}}, resp.Trailer); diff != "" {
			t.Errorf("trailers (-want +got):\n%s", diff)
		}
	})
}

func TestInformational(t *testing.T) {
	app := startApp(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", "</style.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Del("Link")
		io.Copy(w, r.Body)
	})
	both(t, func(t *testing.T, version int) {
		s := start(t, app, nil)
		var hints []string
		continued := false
		ctx := httptrace.WithClientTrace(within(t), &httptrace.ClientTrace{
			Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
				if code == http.StatusEarlyHints {
					hints = append(hints, h.Get("Link"))
				}
				return nil
			},
			Got100Continue: func() { continued = true },
		})
		req := must(http.NewRequestWithContext(ctx, "POST", s.url("/"), strings.NewReader("hello")))
		req.Header.Set("Expect", "100-continue")
		c := s.client(t, version, nil)
		c.Transport.(*http.Transport).ExpectContinueTimeout = patience
		resp, err := c.Do(req)
		check(t, err)
		defer resp.Body.Close()
		if got := string(must(io.ReadAll(resp.Body))); got != "hello" || !continued {
			t.Errorf("got %q, 100 Continue %v", got, continued)
		}
		if diff := cmp.Diff([]string{"</style.css>; rel=preload"}, hints); diff != "" {
			t.Errorf("hints (-want +got):\n%s", diff)
		}
	})
	t.Run("HTTP/1.0", func(t *testing.T) {
		s := start(t, app, impatient)
		got := s.send(t, "GET / HTTP/1.0\r\n\r\n")
		if statusesOf(got) != "200" {
			t.Errorf("answered %q", got)
		}
	})
}

// TestKeepAlive: many requests take few connections to the app.
func TestKeepAlive(t *testing.T) {
	app := startWireApp(t)
	s := start(t, app.addr, nil)
	c := s.client(t, 1, nil)
	for range 20 {
		get(t, c, s.url("/"))
	}
	app.mu.Lock()
	defer app.mu.Unlock()
	if accepted, _ := s.door.Totals(); app.conns != 1 || accepted != 1 {
		t.Errorf("20 requests took %d connections to the app and %d to the sidecar", app.conns, accepted)
	}
}

func TestAppErrors(t *testing.T) {
	silent := must(net.Listen("tcp", "127.0.0.1:0"))
	defer silent.Close()
	away := must(net.Listen("tcp", "127.0.0.1:0"))
	away.Close()
	broken := startApp(t, func(w http.ResponseWriter, r *http.Request) { panic(http.ErrAbortHandler) })
	garbage := startApp(t, func(w http.ResponseWriter, r *http.Request) {
		conn, _, _ := http.NewResponseController(w).Hijack()
		io.WriteString(conn, "hello\r\n\r\n")
		conn.Close()
	})
	tests := []struct {
		name, app, reason string
		want              int
	}{
		{"away", away.Addr().String(), "dial", 502},
		{"silent", silent.Addr().String(), "timeout", 504},
		{"broken off", broken, "broken", 502},
		{"not HTTP", garbage, "broken", 502},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			both(t, func(t *testing.T, version int) {
				var failed atomic.Int32
				s := start(t, tt.app, func(p *Proxy) {
					p.Limits.Response = 100 * time.Millisecond
					p.AppFailed = func(error) { failed.Add(1) }
				})
				code, text := get(t, s.client(t, version, nil), s.url("/"))
				if code != tt.want || !strings.HasPrefix(text, fmt.Sprint(tt.want)) {
					t.Errorf("got %d %q, want %d", code, text, tt.want)
				}
				if n := s.metric(t, "upstream_errors_total", "reason="+tt.reason); n != 1 {
					t.Errorf("counted %v as %s", n, tt.reason)
				}
				if (failed.Load() > 0) != (tt.reason == "dial") {
					t.Errorf("AppFailed was called %d times", failed.Load())
				}
			})
		})
	}
}

// TestCutAnswer: an answer that the app broke off must not look whole.
func TestCutAnswer(t *testing.T) {
	app := startApp(t, func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "half")
		http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
	both(t, func(t *testing.T, version int) {
		s := start(t, app, nil)
		resp, err := s.client(t, version, nil).Get(s.url("/"))
		check(t, err)
		defer resp.Body.Close()
		if text, err := io.ReadAll(resp.Body); err == nil {
			t.Errorf("read %q without an error", text)
		}
	})
}

// TestClientLeaves: the app hears of it, and nothing is left behind.
func TestClientLeaves(t *testing.T) {
	gone, came := make(chan struct{}, 2), make(chan struct{}, 2)
	app := startApp(t, func(w http.ResponseWriter, r *http.Request) {
		came <- struct{}{}
		<-r.Context().Done()
		gone <- struct{}{}
	})
	both(t, func(t *testing.T, version int) {
		s := start(t, app, nil)
		ctx, cancel := context.WithCancel(within(t))
		done := make(chan error, 1)
		go func() {
			_, err := s.client(t, version, nil).Do(must(http.NewRequestWithContext(ctx, "GET", s.url("/"), nil)))
			done <- err
		}()
		<-came
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		<-gone
		eventually(t, "ended", func() bool { return s.metric(t, "requests_total", "code=499") == 1 })
	})
}

// TestStalledReader: a client that asks for much and reads nothing does not
// hold its place, nor the app's, for ever.
func TestStalledReader(t *testing.T) {
	app := startApp(t, func(w http.ResponseWriter, r *http.Request) {
		chunk := make([]byte, 64<<10)
		for {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	})
	s := start(t, app, func(p *Proxy) { p.Limits.Send = 200 * time.Millisecond })
	conn := s.dial(t, tlsConfig("http/1.1"))
	io.WriteString(conn, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
	eventually(t, "in flight", func() bool { return s.inFlight() == 1 })
	eventually(t, "cut", func() bool { return s.inFlight() == 0 && s.open() == 0 })
}
