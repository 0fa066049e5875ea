package forward_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"distlab/containers/internal/forward"
	"distlab/containers/internal/httpcases"

	"github.com/google/go-cmp/cmp"
)

// pair is the same proxy twice, with a fast path and without.
type pair struct {
	apps    [2]*httpcases.App
	engines [2]*simple
	panics  atomic.Int64
	wait    time.Duration // for a client to hear all
}

func startPair(t testing.TB, limit time.Duration) *pair {
	t.Helper()
	p := &pair{wait: 6 * limit}
	for i := range 2 {
		p.apps[i] = startApp(t)
		p.engines[i] = startEngine(t, p.apps[i].Addr, i == 1, func(s *simple) {
			l := &s.Limits
			l.Header, l.Body, l.Idle, l.Response, l.Send = limit, limit, limit, limit, limit
			s.Log = slog.New(panicking{&p.panics})
		})
	}
	return p
}

// panicking counts what must never be logged.
type panicking struct{ n *atomic.Int64 }

func (h panicking) Enabled(context.Context, slog.Level) bool { return true }
func (h panicking) WithAttrs([]slog.Attr) slog.Handler       { return h }
func (h panicking) WithGroup(string) slog.Handler            { return h }
func (h panicking) Handle(_ context.Context, r slog.Record) error {
	if strings.Contains(r.Message, "panic") {
		h.n.Add(1)
		fmt.Fprintln(os.Stderr, r.Message)
		r.Attrs(func(a slog.Attr) bool { fmt.Fprintln(os.Stderr, a); return true })
	}
	return nil
}

// heard is what a client hears, in the words of net/http, and without what need not
// be the same: how an answer is delimited, and how much of one that is cut arrives.
func heard(conn net.Conn, text []byte, wait time.Duration) string {
	conn.SetDeadline(time.Now().Add(wait))
	go func() { // both may be long
		conn.Write(text)
	}()
	var out bytes.Buffer
	r := bufio.NewReader(conn)
	method := firstMethod(text)
	for range 20 {
		resp, err := http.ReadResponse(r, &http.Request{Method: method})
		if err != nil {
			return out.String()
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			return out.String() // as if nothing had come of it
		}
		for _, own := range []string{"Date", "Content-Length", "Connection"} {
			resp.Header.Del(own)
		}
		fmt.Fprintf(&out, "%d %d %.50q\n", resp.StatusCode, len(body), body)
		resp.Header.Write(&out)
		resp.Trailer.Write(&out)
		if resp.StatusCode >= 200 {
			method = ""
		}
	}
	return out.String()
}

func firstMethod(text []byte) string {
	method, _, _ := strings.Cut(strings.TrimLeft(string(text[:min(len(text), 100)]), "\r\n"), " ")
	return method
}

// asked is what the app got, without the order of the headers, and the chunks.
func asked(app *httpcases.App) string {
	var out strings.Builder
	for _, text := range app.Seen() {
		head, body, _ := strings.Cut(text, "\r\n\r\n")
		lines := strings.Split(head, "\r\n")
		slices.Sort(lines[1:])
		for i, line := range lines {
			name, value, ok := strings.Cut(line, ":")
			if ok && i > 0 {
				lines[i] = strings.ToLower(name) + ":" + strings.Trim(value, " \t")
			}
		}
		slices.Sort(lines[1:])
		fmt.Fprintf(&out, "%s\n%q\n", strings.Join(lines, "\n"), body)
	}
	return out.String()
}

// differ says how the two paths differ.
func (p *pair) differ(text []byte, script httpcases.Script) string {
	var told, seen [2]string
	for i := range 2 {
		p.apps[i].Reset(script)
		conn, err := p.engines[i].dial()
		if err != nil {
			return err.Error()
		}
		told[i] = heard(conn, text, p.wait)
		conn.Close()
		seen[i] = asked(p.apps[i])
	}
	if diff := cmp.Diff(told[0], told[1]); diff != "" {
		return "the client heard (-careful +fast):\n" + diff
	}
	if diff := cmp.Diff(seen[0], seen[1]); diff != "" {
		return "the app was asked (-careful +fast):\n" + diff
	}
	return ""
}

// drain ends the connections between proxies and apps.
func (p *pair) drain(t *testing.T) {
	t.Helper()
	for i := range 2 {
		p.engines[i].Transport(&forward.Backend{}).(*forward.Transport).CloseIdleConnections()
		p.apps[i].HangUp()
		eventually(t, "no connection to the app", func() bool { return p.apps[i].Open() == 0 })
	}
}

// terminated makes the end of the answers come by itself: behind the text stands
// a request that is the last.
func terminated(text []byte) []byte {
	return append(bytes.Clone(text), "\r\n\r\nGET /end HTTP/1.1\r\nHost: end\r\nConnection: close\r\n\r\n"...)
}

// FuzzPaths: whatever a client sends and a server answers, both paths ask the server
// for the same and tell the client the same, and the process lives.
func FuzzPaths(f *testing.F) {
	for _, c := range httpcases.Requests {
		if len(c.Text) < 1<<10 && len(c.App.Answer) < 1<<10 && !c.App.Early {
			f.Add([]byte(c.Text), []byte(c.App.Answer), c.App.Close)
		}
	}
	for _, found := range [][2]string{ // by the fuzzer
		{"POST /a HTTP/1.1\r\nHost: a\r\n\r\n", "POST /a HTTP/1.1\r\nHost:"},
	} {
		f.Add([]byte(found[0]), []byte(found[1]), false)
	}
	short, long := startPair(f, 50*time.Millisecond), startPair(f, 2*time.Second)
	runs := 0
	f.Fuzz(func(t *testing.T, text, answer []byte, closes bool) {
		script := httpcases.Script{Answer: string(answer), Close: closes || !whole(text, answer)}
		text = terminated(text)
		diff := short.differ(text, script)
		// The machine may have been too busy for short limits. And an app that closes a
		// connection without a word may do so just when a request is sent that must not be
		// sent twice.
		for range 4 {
			if diff != "" {
				long.drain(t)
				diff = long.differ(text, script)
			}
		}
		if diff != "" {
			t.Errorf("%q\nanswered with %q, closes %v\n%s", text, answer, closes, diff)
		}
		if n := short.panics.Load() + long.panics.Load(); n > 0 {
			t.Fatalf("%q\nanswered with %q: %d panics", text, answer, n)
		}
		if runs++; runs%1000 == 0 {
			flat(t)
		}
	})
}

// whole is whether a client would not wait for more of an answer.
func whole(text, answer []byte) bool {
	resp, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(answer)), &http.Request{Method: firstMethod(text)})
	if err != nil || resp.StatusCode < 200 {
		return false
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return err == nil && !resp.Close
}

// flat is an error when something is kept of each client.
func flat(t *testing.T) {
	t.Helper()
	const most = 400 // what still lingers, and what is kept for the next request
	eventually(t, "few goroutines and descriptors", func() bool {
		files, _ := os.ReadDir("/proc/self/fd")
		return runtime.NumGoroutine() < most && len(files) < most
	})
}

const (
	get  = " HTTP/1.1\r\nHost: app.example\r\n\r\n"
	post = " HTTP/1.1\r\nHost: app.example\r\nContent-Length: "
)

var large = strings.Repeat("0123456789abcdef", 20<<10) // 320 KiB

var paths = map[string]string{
	"/plain":        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nServer: x\r\nX-A: 1\r\nX-A: 2\r\nKeep-Alive: 5\r\n\r\nplain",
	"/204":          "HTTP/1.1 204 No Content\r\nX-A: 1\r\n\r\n",
	"/304":          "HTTP/1.1 304 Not Modified\r\nEtag: \"1\"\r\n\r\n",
	"/chunked":      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n2  \r\nde\r\n0\r\n\r\n",
	"/trailer":      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n",
	"/announced":    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n",
	"/large":        "HTTP/1.1 200 OK\r\nContent-Length: 327680\r\n\r\n" + large,
	"/large-chunks": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n50000\r\n" + large + "\r\n50000\r\n" + large + "\r\n0\r\n\r\n",
	"/hints":        "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
	"/folded":       "HTTP/1.1 200 OK\r\nX-A: a\r\n b\r\nContent-Length: 2\r\n\r\nok",
	"/huge-head":    "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-A: " + large + "\r\n\r\nok",
}

// TestSameOnBothPaths is about several requests on a connection, and about much.
func TestSameOnBothPaths(t *testing.T) {
	p := startPair(t, patience)
	for name, text := range map[string]string{
		"keep-alive": "GET /plain?a=b%20c" + get + "GET /204" + get + "GET /304" + get + "GET /chunked" + get + "GET /plain" + get,
		"HEAD":       "HEAD /plain" + get + "GET /plain" + get, "trailer": "GET /trailer" + get + "GET /plain" + get,
		"large": "GET /large" + get + "GET /large-chunks" + get, "body": "POST /plain" + post + "3\r\n\r\nabcGET /plain" + get,
		"large body":            "POST /plain" + post + "327680\r\n\r\n" + large + "GET /plain" + get,
		"empty body":            "POST /plain" + post + "0\r\n\r\nPOST /plain" + get,
		"hints":                 "GET /hints" + get + "GET /plain" + get,
		"hints to a large body": "POST /hints" + post + "327680\r\n\r\n" + large + "GET /plain" + get,
		"announced":             "GET /announced" + get + "GET /plain" + get, "folded": "GET /folded" + get + "GET /plain" + get,
		"huge head":     "GET /huge-head" + get + "GET /plain" + get,
		"large request": "GET /plain HTTP/1.1\r\nHost: a\r\nX: " + large[:30000] + "\r\n\r\nGET /plain" + get,
		"chunks":        "POST /plain HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\nGET /plain" + get,
		"expectation":   "POST /plain HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabcGET /plain" + get,
	} {
		if diff := p.differ(terminated([]byte(text)), httpcases.Script{Paths: paths}); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}
