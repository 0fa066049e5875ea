package forward_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"distlab/containers/internal/forward"
	"distlab/containers/internal/httpcases"

	"golang.org/x/net/dns/dnsmessage"
)

// onBoth runs a test on the fast path and on the careful one.
func onBoth(t *testing.T, f func(t *testing.T, fast bool)) {
	t.Run("fast", func(t *testing.T) { f(t, true) })
	t.Run("careful", func(t *testing.T) { f(t, false) })
}

func dial(t *testing.T, s *simple) *net.TCPConn {
	t.Helper()
	conn := must(s.dial()).(*net.TCPConn)
	conn.SetDeadline(time.Now().Add(patience))
	t.Cleanup(func() { conn.Close() })
	return conn
}

// TestPipelinedBodies is golang/go#68560, kedacore/http-add-on#1669: two requests
// with bodies at once, the first answered before its body is read. net/http's server
// and its transport both read on, and one of them panics.
func TestPipelinedBodies(t *testing.T) {
	onBoth(t, func(t *testing.T, fast bool) {
		var panics atomic.Int64
		app := startApp(t)
		app.Reset(httpcases.Script{Answer: "HTTP/1.1 405 No\r\nContent-Length: 2\r\n\r\nno", Early: true})
		s := startEngine(t, app.Addr, fast, func(s *simple) { s.Log = slog.New(panicking{&panics}) })
		for _, head := range []string{"Expect: 100-continue\r\nContent-Length: 5\r\n\r\nhello", "Content-Length: 5\r\n\r\nhello", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"} {
			text := "PUT /a HTTP/1.1\r\nHost: a\r\n" + head + "PUT /b HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"
			var all sync.WaitGroup
			for range 50 {
				all.Go(func() {
					conn := dial(t, s)
					io.WriteString(conn, text)
					resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
					if err != nil || resp.StatusCode != 405 {
						t.Errorf("got %v, %v", resp, err)
					}
					conn.Close()
				})
			}
			all.Wait()
		}
		eventually(t, "nothing in flight", func() bool { return s.InFlight() == 0 })
		if n := panics.Load(); n > 0 {
			t.Errorf("%d panics", n)
		}
	})
}

// TestRefusedUpload: a client that goes on sending for a while, and much, after it was
// answered can read the answer; it is not reset.
func TestRefusedUpload(t *testing.T) {
	for _, head := range []string{"Content-Length: 100000000", "Transfer-Encoding: chunked"} {
		onBoth(t, func(t *testing.T, fast bool) {
			t.Parallel()
			app := startApp(t)
			app.Reset(httpcases.Script{Answer: "HTTP/1.1 413 No\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno", Early: true, Close: true})
			s := startEngine(t, app.Addr, fast, nil)
			conn := dial(t, s)
			io.WriteString(conn, "POST / HTTP/1.1\r\nHost: a\r\n"+head+"\r\n\r\n")
			// As slowly as the bug was reported: 0.8 s in all, 800 KB.
			part := append([]byte("19000\r\n"), bytes.Repeat([]byte("x"), 100<<10)...)
			part = append(part, "\r\n"...)
			pace := time.NewTicker(100 * time.Millisecond)
			defer pace.Stop()
			for range 8 {
				if _, err := conn.Write(part); err != nil {
					t.Fatalf("reset: %v", err)
				}
				<-pace.C
			}
			for range 50 { // and then more than any buffer holds
				if _, err := conn.Write(part); err != nil {
					t.Fatalf("reset: %v", err)
				}
			}
			resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil || resp.StatusCode != 413 || !resp.Close {
				t.Fatalf("got %v, %v", resp, err)
			}
			conn.Close()
			eventually(t, "it is gone", func() bool { return s.Door.Open() == 0 })
		})
	}
}

// TestStreams: both sides may talk at once, on an exchange that goes over from the
// fast path to the careful one in the middle of its body, too.
func TestStreams(t *testing.T) {
	ln := must(net.Listen("tcp", "127.0.0.1:0"))
	defer ln.Close()
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				r := bufio.NewReader(conn)
				req, err := http.ReadRequest(r)
				if err != nil {
					return
				}
				if req.URL.Path == "/hints" { // which is what the fast path does not know
					io.WriteString(conn, "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
				}
				io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 30000\r\n\r\n")
				io.Copy(conn, req.Body)
			}()
		}
	}()
	onBoth(t, func(t *testing.T, fast bool) {
		s := startEngine(t, ln.Addr().String(), fast, nil)
		for _, path := range []string{"/plain", "/hints"} {
			conn := dial(t, s)
			io.WriteString(conn, "POST "+path+" HTTP/1.1\r\nHost: a\r\nContent-Length: 30000\r\n\r\n")
			r := bufio.NewReader(conn)
			resp := must(http.ReadResponse(r, nil))
			if path == "/hints" {
				if resp.StatusCode != 103 {
					t.Fatalf("%s: got %s", path, resp.Status)
				}
				resp = must(http.ReadResponse(r, nil))
			}
			echo := make([]byte, 10000)
			for i := range 3 {
				part := bytes.Repeat([]byte{byte('a' + i)}, 10000)
				conn.Write(part)
				if _, err := io.ReadFull(resp.Body, echo); err != nil || !bytes.Equal(part, echo) {
					t.Fatalf("%s: %q … came back, %v", path, echo[:10], err)
				}
			}
			if !resp.Close {
				t.Errorf("%s: the answer overtook its request, and the connection is said to go on", path)
			}
		}
	})
}

// TestAllAddresses: a name's first address may be the wrong one.
func TestAllAddresses(t *testing.T) {
	app := startApp(t)
	_, port, _ := net.SplitHostPort(app.Addr)
	var asked atomic.Int64
	dns := must(net.ListenPacket("udp", "127.0.0.1:0"))
	defer dns.Close()
	go func() {
		buf := make([]byte, 512)
		for {
			n, from, err := dns.ReadFrom(buf)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(buf[:n]) != nil || len(m.Questions) == 0 {
				continue
			}
			m.Response, m.Additionals = true, nil
			if q := m.Questions[0]; q.Type == dnsmessage.TypeA {
				asked.Add(1)
				for _, last := range []byte{9, 1} { // nobody listens on the first
					m.Answers = append(m.Answers, dnsmessage.Resource{
						Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 1},
						Body:   &dnsmessage.AResource{A: [4]byte{127, 0, 0, last}},
					})
				}
			}
			dns.WriteTo(must(m.Pack()), from)
		}
	}()
	d := &forward.Dialer{Timeout: patience, Resolver: &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", dns.LocalAddr().String())
	}}}
	onBoth(t, func(t *testing.T, fast bool) {
		before := asked.Load()
		s := startEngine(t, "app.example:"+port, fast, func(s *simple) { s.Dial = d.Dial })
		conn := dial(t, s)
		io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		if resp, err := http.ReadResponse(bufio.NewReader(conn), nil); err != nil || resp.StatusCode != 200 {
			t.Errorf("got %v, %v", resp, err)
		}
		if asked.Load() == before {
			t.Error("the name was not looked up")
		}
	})
	// "localhost" needs no hosts file, and is ::1 as well.
	six, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Fatalf("no IPv6 loopback: %v", err)
	}
	defer six.Close()
	_, port, _ = net.SplitHostPort(six.Addr().String())
	conn, err := forward.Dial(t.Context(), "localhost:"+port)
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
}

// TestRetries: what has not been answered is asked elsewhere, with its body.
func TestRetries(t *testing.T) {
	app := startApp(t)
	dead := must(net.Listen("tcp", "127.0.0.1:0"))
	dead.Close()
	drops := must(net.Listen("tcp", "127.0.0.1:0")) // reads, and hangs up
	defer drops.Close()
	go func() {
		for {
			conn, err := drops.Accept()
			if err != nil {
				return
			}
			bufio.NewReader(conn).ReadString('\n')
			conn.Close()
		}
	}()
	for _, tt := range []struct {
		first, method, body string
		keep                int
		want                int
	}{
		{dead.Addr().String(), "POST", "abc", 0, 200}, // nothing was sent
		{drops.Addr().String(), "POST", "abc", 10, 502},
		{drops.Addr().String(), "PUT", "abc", 10, 200},
		{drops.Addr().String(), "GET", "", 0, 200},
	} {
		s := startEngine(t, app.Addr, false, func(s *simple) {
			first := forward.Backend{Addr: tt.first}
			s.Handle = func(x *forward.Exchange) {
				x.Keep = tt.keep
				resp, err := x.Ask(&first)
				if err != nil && x.MayRepeat(err, forward.Idempotent(x.Request.Method)) {
					resp, err = x.Ask(&s.backend)
				}
				if err != nil {
					x.Explain(err, "the server")
					return
				}
				x.Answer(resp)
			}
		})
		app.Reset(httpcases.Script{})
		req := must(http.NewRequest(tt.method, "http://"+s.addr+"/", strings.NewReader(tt.body)))
		resp := must(http.DefaultTransport.RoundTrip(req))
		resp.Body.Close()
		if resp.StatusCode != tt.want {
			t.Errorf("%s after %s: %s, want %d", tt.method, tt.first, resp.Status, tt.want)
		}
		if seen := app.Seen(); tt.want == 200 && (len(seen) != 1 || !strings.HasSuffix(seen[0], tt.body)) {
			t.Errorf("%s: the second server saw %q", tt.method, seen)
		}
	}
}

// TestOwnAnswers: a container may answer without asking anybody, look at bodies, and
// add to every answer.
func TestOwnAnswers(t *testing.T) {
	app := startApp(t)
	var tee recorder
	codes := make(chan int, 10)
	s := startEngine(t, app.Addr, false, func(s *simple) {
		s.Done = func(x *forward.Exchange) { codes <- x.Code() }
		s.Handle = func(x *forward.Exchange) {
			x.Final = func(code int, h http.Header) { h.Set("X-Final", fmt.Sprint(code)) }
			switch x.Path() {
			case "/stored":
				x.Answer(&http.Response{
					StatusCode: 203, Header: http.Header{"Etag": {`"1"`}, "Connection": {"X-Hop"}, "X-Hop": {"1"}},
					ContentLength: 6, Body: io.NopCloser(strings.NewReader("stored")),
				})
			case "/broken":
				err := x.Answer(&http.Response{
					StatusCode: 200, Header: http.Header{}, ContentLength: -1,
					Body: io.NopCloser(io.MultiReader(strings.NewReader("half"), failing{})),
				})
				if !errors.Is(err, forward.ErrBroken) {
					t.Errorf("broken: %v", err)
				}
			case "/panic":
				panic("a fault in a container")
			case "/silent":
			default:
				x.Tee, x.Target = &tee, "/changed?"
				x.Out.Header.Set("X-Added", "1")
				resp, err := x.Ask(&s.backend)
				if err != nil {
					t.Error(err)
					return
				}
				x.Answer(resp)
			}
		}
	})
	for _, tt := range []struct {
		path, body, want string
		code             int
	}{
		{"/stored", "", "203 203 stored", 203},
		{"/broken", "", "cut", 200},
		{"/panic", "", "cut", 500},
		{"/silent", "", "200 200 ", 200},
		{"/asks", "abc", "200 200 ok", 200},
	} {
		req := must(http.NewRequest("POST", "http://"+s.addr+tt.path, strings.NewReader(tt.body)))
		got := "cut"
		if resp, err := http.DefaultTransport.RoundTrip(req); err == nil {
			if body, err := io.ReadAll(resp.Body); err == nil {
				got = fmt.Sprintf("%d %s %s", resp.StatusCode, resp.Header.Get("X-Final"), body)
			}
			if resp.Header.Get("X-Hop") != "" {
				t.Errorf("%s: what was for one hop went on", tt.path)
			}
		}
		if code := <-codes; got != tt.want || code != tt.code {
			t.Errorf("%s: got %q, and %d was noted", tt.path, got, code)
		}
	}
	if seen := strings.Join(app.Seen(), ""); !strings.HasPrefix(seen, "POST /changed? HTTP/1.1\r\n") || !strings.Contains(seen, "X-Added: 1") {
		t.Errorf("the server saw %q", seen)
	}
	if got := tee.String(); got != "abc, whole" {
		t.Errorf("the tee was told %q", got)
	}
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

type recorder struct {
	mu   sync.Mutex
	text strings.Builder
}

func (r *recorder) Part(p []byte) { r.mu.Lock(); defer r.mu.Unlock(); r.text.Write(p) }
func (r *recorder) Ended(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil {
		r.text.WriteString(", whole")
	}
}
func (r *recorder) String() string { r.mu.Lock(); defer r.mu.Unlock(); return r.text.String() }
