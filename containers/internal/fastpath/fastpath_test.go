package fastpath

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"
)

const (
	get  = " HTTP/1.1\r\nHost: app.example\r\n\r\n"
	post = " HTTP/1.1\r\nHost: app.example\r\nContent-Length: "
)

var large = strings.Repeat("0123456789abcdef", 20<<10) // 320 KiB

var answers = map[string]string{
	"/plain":        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nServer: x\r\nX-A: 1\r\nX-A: 2\r\nKeep-Alive: 5\r\n\r\nplain",
	"/close":        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nclose" + hangsUp,
	"/204":          "HTTP/1.1 204 No Content\r\nX-A: 1\r\n\r\n",
	"/304":          "HTTP/1.1 304 Not Modified\r\nEtag: \"1\"\r\n\r\n",
	"/chunked":      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n2  \r\nde\r\n0\r\n\r\n",
	"/trailer":      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n",
	"/announced":    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n",
	"/large":        "HTTP/1.1 200 OK\r\nContent-Length: 327680\r\n\r\n" + large,
	"/large-chunks": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n50000\r\n" + large + "\r\n50000\r\n" + large + "\r\n0\r\n\r\n",
	"/hints":        "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
	"/to-the-end":   "HTTP/1.1 200 OK\r\nX-A: 1\r\n\r\nto the end" + hangsUp,
	"/1.0":          "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok" + hangsUp,
	"/folded":       "HTTP/1.1 200 OK\r\nX-A: a\r\n b\r\nContent-Length: 2\r\n\r\nok",
	"/garbage":      "hello\r\n\r\n" + hangsUp,
	"/nothing":      hangsUp,
	"/half-head":    "HTTP/1.1 200 OK\r\nContent-" + hangsUp,
	"/switch":       "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\nhello",
	"/cut":          "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf" + hangsUp,
	"/cut-chunks":   "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhalf" + hangsUp,
	"/bad-chunks":   "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nxyz\r\n" + hangsUp,
	"/both":         "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
	"/silent":       silence,
	"/huge-head":    "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-A: " + large + "\r\n\r\nok",
	"/hints-first":  unread + "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + whole + "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
	"/refuses":      unread + "HTTP/1.0 413 Too Large\r\nContent-Length: 2\r\n\r\nno" + hangsUp,
	"/unread":       unread + "HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno",
}

// heard is what a client heard, in the words of net/http.
func heard(t *testing.T, p *proxy, text string, methods ...string) string {
	t.Helper()
	conn := dial(t, p)
	go io.Copy(conn, strings.NewReader(text))
	var out bytes.Buffer
	r := bufio.NewReader(conn)
	for _, method := range methods {
		for {
			resp, err := http.ReadResponse(r, &http.Request{Method: method})
			if err != nil {
				fmt.Fprintf(&out, "%s: no answer\n", method)
				return out.String()
			}
			body, err := io.ReadAll(resp.Body)
			for _, own := range []string{"Date", "Content-Type", "X-Content-Type-Options"} {
				resp.Header.Del(own)
			}
			fmt.Fprintf(&out, "%s: %d, body %d %.20q cut %v close %v", method, resp.StatusCode, len(body), body, err != nil, resp.Close && err == nil)
			if resp.StatusCode < 400 || resp.StatusCode == 413 {
				resp.Header.Write(&out)
				resp.Trailer.Write(&out)
			}
			if resp.StatusCode >= 200 {
				break
			}
		}
	}
	return out.String()
}

// TestInPieces: however a request is cut into segments, it is one request.
func TestInPieces(t *testing.T) {
	app := startApp(t, answers)
	p := startProxy(t, app.addr, Limits{})
	text := "POST /plain" + post + "3\r\n\r\nabc"
	for n := 1; n < len(text); n += 3 {
		conn := dial(t, p)
		io.WriteString(conn, text[:n])
		runtime.Gosched() // most likely another segment
		io.WriteString(conn, text[n:])
		resp := must(http.ReadResponse(bufio.NewReader(conn), nil))
		if body := must(io.ReadAll(resp.Body)); string(body) != "plain" {
			t.Errorf("cut at %d: got %q", n, body)
		}
		conn.Close()
	}
	for _, asked := range app.seen() {
		if asked != app.seen()[0] {
			t.Errorf("asked %q", asked)
		}
	}
}

// TestDeadConnections: what the app closed while it lay idle is not noticed by
// the client.
func TestDeadConnections(t *testing.T) {
	app := startApp(t, map[string]string{"/": "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok" + hangsUp})
	p := startProxy(t, app.addr, Limits{})
	conn := dial(t, p)
	r := bufio.NewReader(conn)
	for range 200 {
		io.WriteString(conn, "GET /"+get)
		resp := must(http.ReadResponse(r, nil))
		if body := must(io.ReadAll(resp.Body)); string(body) != "ok" {
			t.Fatalf("got %d %q", resp.StatusCode, body)
		}
	}
	if p.careful.Load() > 0 {
		t.Errorf("handed over %d times", p.careful.Load())
	}
}

func TestPooled(t *testing.T) {
	app := startApp(t, answers)
	p := startProxy(t, app.addr, Limits{})
	for range 20 {
		heard(t, p, "GET /plain"+get, "GET")
	}
	if n := app.conns.Load(); n > 2 { // two loops
		t.Errorf("20 requests took %d connections", n)
	}
	p = startProxy(t, app.addr, Limits{AppIdle: 100 * time.Millisecond})
	heard(t, p, "GET /plain"+get, "GET")
	eventually(t, "the idle ones are closed", func() bool {
		idle := make(chan int, len(p.workers))
		for _, w := range p.workers {
			w.loop.Post(func() { idle <- len(w.pool(p.backend).idle) })
		}
		return <-idle+<-idle == 0
	})
}

// TestBodyTimes: a body that does not come is answered so, and the app is not
// made to believe that it was whole.
func TestBodyTimes(t *testing.T) {
	app := startApp(t, answers)
	p := startProxy(t, app.addr, Limits{Body: 100 * time.Millisecond})
	if got := heard(t, p, "POST /plain"+post+"5\r\n\r\nab", "POST"); !strings.HasPrefix(got, "POST: 408") {
		t.Errorf("slow: got %q", got)
	}
	eventually(t, "it has ended", func() bool { return p.ended() == "[408]" })
	p = startProxy(t, app.addr, Limits{Body: patience})
	conn := dial(t, p)
	io.WriteString(conn, "POST /plain"+post+"5\r\n\r\nab")
	conn.CloseWrite()
	if got, _ := io.ReadAll(conn); !strings.HasPrefix(string(got), "HTTP/1.1 400") {
		t.Errorf("broken: got %q", got)
	}
	eventually(t, "it has ended", func() bool { return p.ended() == "[400]" })
	if seen := app.seen(); len(seen) > 0 {
		t.Errorf("the app saw %q", seen)
	}
}

// TestSlowHead: nobody holds a place for longer than the limits.
func TestSlowHead(t *testing.T) {
	app := startApp(t, answers)
	p := startProxy(t, app.addr, Limits{Header: time.Second, Idle: time.Second})
	texts := []string{"", "GET /", "GET /plain" + get, "GET /plain" + get + "GET /"}
	conns := make([]*net.TCPConn, len(texts))
	for i, text := range texts {
		conns[i] = dial(t, p)
		io.WriteString(conns[i], text)
	}
	for i, text := range texts {
		conn := conns[i]
		if got := string(must(io.ReadAll(conn))); strings.Contains(got, "200") != strings.Contains(text, "\r\n") {
			t.Errorf("%q: got %q", text, got)
		}
	}
	eventually(t, "all are gone", func() bool { return p.Clients() == 0 })
}

// TestStalledClient: who does not read is cut, and what is kept for it is
// bounded.
func TestStalledClient(t *testing.T) {
	app := startApp(t, map[string]string{"/": "HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n" + strings.Repeat(large, 300)})
	p := startProxy(t, app.addr, Limits{Send: 200 * time.Millisecond})
	conn := dial(t, p)
	io.WriteString(conn, "GET /"+get)
	eventually(t, "begun", func() bool { return p.begun.Load() == 1 })
	kept := 0
	eventually(t, "cut", func() bool {
		for _, w := range p.workers {
			w.loop.Post(func() {
				for c := range w.all {
					kept = max(kept, cap(c.Socket.out))
				}
			})
		}
		return p.Clients() == 0
	})
	if p.ended() != "[200]" || kept > 2*readSize {
		t.Errorf("ended as %s, kept %d", p.ended(), kept)
	}
}

// TestSlowClient: a client that reads slowly gets all of it.
func TestSlowClient(t *testing.T) {
	const size = 30 << 20
	app := startApp(t, map[string]string{"/": fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", size) + strings.Repeat("x", size)})
	p := startProxy(t, app.addr, Limits{Send: patience})
	conn := dial(t, p)
	io.WriteString(conn, "GET /"+get)
	eventually(t, "the kernel takes no more", func() bool {
		waits := make(chan bool, len(p.workers))
		for _, w := range p.workers {
			w.loop.Post(func() {
				for c := range w.all {
					waits <- len(c.Socket.out) > 0
					return
				}
				waits <- false
			})
		}
		one, other := <-waits, <-waits
		return one != other
	})
	resp := must(http.ReadResponse(bufio.NewReader(conn), nil))
	if n, err := io.Copy(io.Discard, resp.Body); n != size || err != nil {
		t.Errorf("got %d, %v", n, err)
	}
}

// TestClientLeaves: the app hears of it.
func TestClientLeaves(t *testing.T) {
	app := startApp(t, answers)
	p := startProxy(t, app.addr, Limits{})
	conn := dial(t, p)
	io.WriteString(conn, "GET /silent"+get)
	eventually(t, "asked", func() bool { return len(app.seen()) == 1 })
	conn.Close()
	eventually(t, "ended", func() bool { return p.ended() == "[499]" && p.Clients() == 0 })
}

// TestClosed: a socket may be closed from anywhere at any time.
func TestClosed(t *testing.T) {
	app := startApp(t, answers)
	p := startProxy(t, app.addr, Limits{})
	for _, text := range []string{"", "GET /silent" + get, "GET /pl"} {
		conn := dial(t, p)
		io.WriteString(conn, text)
		eventually(t, "taken", func() bool { return p.Clients() == 1 })
		for _, w := range p.workers {
			w.loop.Post(func() {
				for c := range w.all {
					go c.Socket.Close()
				}
			})
		}
		if got := string(must(io.ReadAll(conn))); got != "" {
			t.Errorf("got %q", got)
		}
		eventually(t, "gone", func() bool { return p.Clients() == 0 })
	}
}

func TestCloseIdle(t *testing.T) {
	app := startApp(t, answers)
	p := startProxy(t, app.addr, Limits{})
	idle, busy := dial(t, p), dial(t, p)
	io.WriteString(idle, "GET /plain"+get)
	resp := must(http.ReadResponse(bufio.NewReader(idle), nil))
	io.Copy(io.Discard, resp.Body)
	io.WriteString(busy, "POST /plain"+post+"3\r\n\r\nab")
	eventually(t, "both are known", func() bool { return p.begun.Load() == 2 })
	p.CloseIdle()
	if rest, err := io.ReadAll(idle); len(rest) > 0 || err != nil {
		t.Errorf("the idle one got %q, %v", rest, err)
	}
	io.WriteString(busy, "c")
	if got := string(must(io.ReadAll(busy))); !strings.HasSuffix(got, "\r\n\r\nplain") {
		t.Errorf("the busy one got %q", got)
	}
	eventually(t, "all are gone", func() bool { return p.Clients() == 0 })
}
