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

	"github.com/google/go-cmp/cmp"
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

// exchanges are held on both paths: the client must hear the same, and the app
// be asked the same.
var exchanges = []struct {
	name, text string
	methods    string // how many answers are awaited
	plain      bool   // stays on the fast path
}{
	{"plain", "GET /plain" + get, "GET", true},
	{"keep-alive", "GET /plain?a=b%20c" + get + "GET /204" + get + "GET /304" + get + "GET /chunked" + get + "GET /plain" + get, "GET GET GET GET GET", true},
	{"HEAD", "HEAD /plain" + get + "GET /plain" + get, "HEAD GET", true},
	{"close", "GET /plain HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "GET", true},
	{"app closes", "GET /close" + get + "GET /plain" + get, "GET GET", true},
	{"trailer", "GET /trailer" + get + "GET /plain" + get, "GET GET", true},
	{"large", "GET /large" + get + "GET /large-chunks" + get, "GET GET", true},
	{"body", "POST /plain" + post + "3\r\n\r\nabcGET /plain" + get, "POST GET", true},
	{"large body", "POST /plain" + post + "327680\r\n\r\n" + large + "GET /plain" + get, "POST GET", true},
	{"empty body", "POST /plain" + post + "0\r\n\r\nPOST /plain" + get, "POST POST", true},
	{"forged", "GET /plain HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 6.6.6.6\r\nX_Real_Ip: 6.6.6.6\r\nForwarded: for=6.6.6.6\r\nKeep-Alive: 1\r\n\r\n", "GET", true},
	{"cut", "GET /cut" + get, "GET", true},
	{"cut in a chunk", "GET /cut-chunks" + get, "GET", true},
	{"bad chunk", "GET /bad-chunks" + get, "GET", true},
	{"refused body", "POST /unread" + post + "327680\r\n\r\n" + large, "POST", true},

	{"hints", "GET /hints" + get + "GET /plain" + get, "GET GET", false},
	{"announced trailer", "GET /announced" + get + "GET /plain" + get, "GET GET", false},
	{"to the end", "GET /to-the-end" + get + "GET /plain" + get, "GET GET", false},
	{"HTTP/1.0 answer", "GET /1.0" + get + "GET /plain" + get, "GET GET", false},
	{"folded answer", "GET /folded" + get + "GET /plain" + get, "GET GET", false},
	{"both lengths", "GET /both" + get, "GET", false},
	{"garbage", "GET /garbage" + get + "GET /plain" + get, "GET GET", false},
	{"nothing", "GET /nothing" + get + "GET /plain" + get, "GET GET", false},
	{"nothing to a body", "POST /nothing" + post + "3\r\n\r\nabcGET /plain" + get, "POST GET", false},
	{"nothing to a large body", "POST /nothing" + post + "327680\r\n\r\n" + large + "GET /plain" + get, "POST GET", false},
	{"hints to a large body", "POST /hints" + post + "327680\r\n\r\n" + large + "GET /plain" + get, "POST GET", false},
	{"hints before a large body", "POST /hints-first" + post + "327680\r\n\r\n" + large + "GET /plain" + get, "POST GET", false},
	{"half a head", "GET /half-head" + get, "GET", false},
	{"switch", "GET /switch" + get, "GET", false},
	{"silent", "GET /silent" + get + "GET /plain" + get, "GET GET", false},
	{"huge head", "GET /huge-head" + get + "GET /plain" + get, "GET GET", false},
	{"chunked body", "POST /plain HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\nGET /plain" + get, "POST GET", false},
	{"expectation", "POST /plain HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc", "POST", false},
	{"absolute form", "GET http://b/plain HTTP/1.1\r\nHost: a\r\n\r\n", "GET", false},
	{"HTTP/1.0", "GET /plain HTTP/1.0\r\nHost: a\r\n\r\n", "GET", false},
	{"bad", "GET /plain" + get + "GET /plain HTTP/1.1\r\nHost : a\r\n\r\n", "GET GET", false},
	{"no host", "GET /plain HTTP/1.1\r\n\r\n", "GET", false},
	{"smuggled", "POST /plain HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /plain" + get, "POST", false},
	{"large request", "GET /plain HTTP/1.1\r\nHost: a\r\nX: " + large[:30000] + "\r\n\r\n", "GET", false},
}

func TestSameOnBothPaths(t *testing.T) {
	for _, tt := range exchanges {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var told, asked [2]string
			for i, fast := range []bool{false, true} {
				app := startApp(t, answers)
				var limits Limits
				if tt.name == "silent" {
					limits.Response = 300 * time.Millisecond
				}
				p := startProxy(t, app.addr, fast, limits)
				told[i] = heard(t, p, tt.text, strings.Fields(tt.methods)...)
				if tt.name != "refused body" { // whether it got all of it is luck
					asked[i] = strings.Join(app.seen(), "\n")
				}
				if n := p.careful.Load(); fast && (n == 0) != tt.plain {
					t.Errorf("handed over %d times", n)
				}
			}
			if diff := cmp.Diff(comparable(told[0]), comparable(told[1])); diff != "" {
				t.Errorf("the client heard (-careful +fast):\n%s", diff)
			}
			if diff := cmp.Diff(asked[0], asked[1]); diff != "" {
				t.Errorf("the app was asked (-careful +fast):\n%s", diff)
			}
		})
	}
}

// comparable leaves out what need not be the same: how much of an answer that is
// cut still arrives, and that the fast path says that it closes after an answer to
// half a request.
func comparable(heard string) string {
	if strings.Contains(heard, "cut true") || strings.HasSuffix(heard, "no answer\n") {
		return "broken off"
	}
	return strings.ReplaceAll(heard, "413, body 2 \"no\" cut false close true", "413, body 2 \"no\" cut false close false")
}

// TestRestOfABody: when an app answers before it has the body, the rest of that
// is never taken for requests, on whichever path it arrives.
func TestRestOfABody(t *testing.T) {
	hidden := "GET /hidden" + get
	body := strings.Repeat(hidden, 20000)
	for _, path := range []string{"/refuses", "/unread"} {
		app := startApp(t, answers)
		p := startProxy(t, app.addr, true, Limits{})
		for range 5 {
			conn := dial(t, p)
			text := fmt.Sprintf("POST %s%s%d\r\n\r\n%s", path, post, len(body), body)
			go func() {
				io.WriteString(conn, text)
				conn.CloseWrite()
			}()
			heard, _ := io.ReadAll(conn)
			if strings.Contains(string(heard), " 400 ") {
				t.Fatalf("%s: a part of a body was read as a request: %.300q", path, heard)
			}
		}
		for _, asked := range app.seen() {
			if strings.HasPrefix(asked, "GET /hidden") {
				t.Fatalf("%s: a part of a body became a request: %q", path, asked)
			}
		}
	}
}

// TestHintsBeforeTheBody: an informational answer waits until the server has its
// request, and then goes on at once.
func TestHintsBeforeTheBody(t *testing.T) {
	app := startApp(t, map[string]string{"/": unread + "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + whole + silence})
	p := startProxy(t, app.addr, true, Limits{})
	conn := dial(t, p)
	io.WriteString(conn, "POST /"+post+"6\r\n\r\nabc")
	eventually(t, "the hints have come", func() bool {
		held := make(chan bool, len(p.workers))
		for _, w := range p.workers {
			w.loop.Post(func() {
				for c := range w.all {
					held <- c.up != nil && len(c.up.in) > 0
					return
				}
				held <- false
			})
		}
		one, other := <-held, <-held
		return one || other
	})
	io.WriteString(conn, "def")
	line, err := bufio.NewReader(conn).ReadString('\n')
	if !strings.HasPrefix(line, "HTTP/1.1 103") {
		t.Errorf("got %q, %v", line, err)
	}
	eventually(t, "the app has all", func() bool { return len(app.seen()) == 1 && strings.HasSuffix(app.seen()[0], "abcdef") })
}

// TestInPieces: however a request is cut into segments, it is one request.
func TestInPieces(t *testing.T) {
	app := startApp(t, answers)
	p := startProxy(t, app.addr, true, Limits{})
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
	p := startProxy(t, app.addr, true, Limits{})
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
	p := startProxy(t, app.addr, true, Limits{})
	for range 20 {
		heard(t, p, "GET /plain"+get, "GET")
	}
	if n := app.conns.Load(); n > 2 { // two loops
		t.Errorf("20 requests took %d connections", n)
	}
	p = startProxy(t, app.addr, true, Limits{AppIdle: 100 * time.Millisecond})
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
	p := startProxy(t, app.addr, true, Limits{Body: 100 * time.Millisecond})
	if got := heard(t, p, "POST /plain"+post+"5\r\n\r\nab", "POST"); !strings.HasPrefix(got, "POST: 408") {
		t.Errorf("slow: got %q", got)
	}
	eventually(t, "it has ended", func() bool { return p.ended() == "[408]" })
	p = startProxy(t, app.addr, true, Limits{Body: patience})
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
	p := startProxy(t, app.addr, true, Limits{Header: time.Second, Idle: time.Second})
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
	p := startProxy(t, app.addr, true, Limits{Send: 200 * time.Millisecond})
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
	p := startProxy(t, app.addr, true, Limits{Send: patience})
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
	p := startProxy(t, app.addr, true, Limits{})
	conn := dial(t, p)
	io.WriteString(conn, "GET /silent"+get)
	eventually(t, "asked", func() bool { return len(app.seen()) == 1 })
	conn.Close()
	eventually(t, "ended", func() bool { return p.ended() == "[499]" && p.Clients() == 0 })
}

// TestClosed: a socket may be closed from anywhere at any time.
func TestClosed(t *testing.T) {
	app := startApp(t, answers)
	p := startProxy(t, app.addr, true, Limits{})
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
	p := startProxy(t, app.addr, true, Limits{})
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
