package main

import (
	"bytes"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"distlab/containers/internal/http1"
)

// send writes raw bytes inside TLS and returns all that comes back.
func (s *sidecar) send(t *testing.T, text string) string {
	t.Helper()
	conn := s.dial(t, tlsConfig("http/1.1"))
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	return readAll(conn)
}

// impatient makes the end of the answers come by itself. To half-close would
// not do: an HTTP client that does is taken to be gone.
func impatient(p *Proxy) { p.Limits.Idle, p.Limits.Header = 100*time.Millisecond, patience/2 }

func statusesOf(answers string) string {
	var list []string
	for line := range strings.Lines(answers) {
		// A body does not end its line: the next status may follow "ok".
		if _, after, ok := strings.Cut(line, "HTTP/1."); ok {
			list = append(list, after[2:5])
		}
	}
	return strings.Join(list, " ")
}

// TestHostileHTTP1 sends what two parsers could read in two ways, with a second
// request hidden in it. The app must see none of it, and the sidecar go on.
func TestHostileHTTP1(t *testing.T) {
	const hidden = "GET /hidden HTTP/1.1\r\nHost: localhost\r\n\r\n"
	app := startWireApp(t)
	s := start(t, app.addr, func(p *Proxy) {
		impatient(p)
		p.Limits.HeaderBytes = 8 << 10
	})
	post := func(headers, body string) string {
		return "POST /a HTTP/1.1\r\nHost: localhost\r\n" + headers + "\r\n" + body
	}
	tests := []struct{ name, text, want string }{
		{"both lengths", post("Content-Length: 6\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"+hidden), "400"},
		{"both lengths, other order", post("Transfer-Encoding: chunked\r\nContent-Length: 6\r\n", "0\r\n\r\n"+hidden), "400"},
		{"two lengths", post("Content-Length: 0\r\nContent-Length: 44\r\n", hidden), "400"},
		{"two equal lengths", post("Content-Length: 0\r\nContent-Length: 0\r\n", hidden), "400"},
		{"folded", post("X: a\r\n Transfer-Encoding: chunked\r\n", "0\r\n\r\n"+hidden), "400"},
		{"xchunked", post("Transfer-Encoding: xchunked\r\n", "0\r\n\r\n"+hidden), "400"},
		{"white space before colon", post("Transfer-Encoding : chunked\r\n", "0\r\n\r\n"+hidden), "400"},
		{"chunked in 1.0", "POST /a HTTP/1.0\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + hidden, "400"},
		{"bare line feeds", "GET /a HTTP/1.1\nHost: localhost\n\n" + hidden, "400"},
		{"NUL", post("X: a\x00b\r\n", ""), "400"},
		{"signed length", post("Content-Length: +0\r\n", hidden), "400"},
		{"negative length", post("Content-Length: -1\r\n", hidden), "400"},
		{"two hosts", "GET /a HTTP/1.1\r\nHost: localhost\r\nHost: evil\r\n\r\n", "400"},
		{"no host", "GET /a HTTP/1.1\r\n\r\n", "400"},
		{"host with a path", "GET /a HTTP/1.1\r\nHost: localhost/evil\r\n\r\n", "400"},
		{"host with a user", "GET /a HTTP/1.1\r\nHost: me@localhost\r\n\r\n", "400"},
		{"two hosts in one", "GET /a HTTP/1.1\r\nHost: localhost,evil\r\n\r\n", "400"},
		{"host with a bad port", "GET /a HTTP/1.1\r\nHost: localhost:99999\r\n\r\n", "400"},
		{"user in target", "GET http://me:pw@localhost/a HTTP/1.1\r\nHost: localhost\r\n\r\n", "400"},
		{"other scheme", "GET ftp://localhost/a HTTP/1.1\r\nHost: localhost\r\n\r\n", "400"},
		{"no path", "GET a HTTP/1.1\r\nHost: localhost\r\n\r\n", "400"},
		{"asterisk", "GET * HTTP/1.1\r\nHost: localhost\r\n\r\n", "400"},
		{"CONNECT", "CONNECT localhost:22 HTTP/1.1\r\nHost: localhost:22\r\n\r\n", "405"},
		{"TRACE", "TRACE / HTTP/1.1\r\nHost: localhost\r\n\r\n", "405"},
		{"HTTP/0.9", "GET /a\r\n", "400"},
		{"HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "400"},
		{"garbage", "\x16\x03\x01\x00\x05hello\r\n\r\n", "400"},
		{"large head", "GET /a HTTP/1.1\r\nHost: localhost\r\nX: " + strings.Repeat("a", 64<<10) + "\r\n\r\n", "431"},
		{"large target", "GET /" + strings.Repeat("a", 64<<10) + " HTTP/1.1\r\nHost: localhost\r\n\r\n", "431"},
		{"many headers", "GET /a HTTP/1.1\r\nHost: localhost\r\n" + strings.Repeat("A: b\r\n", 10<<10) + "\r\n", "431"},
		{"other expectation", post("Expect: tea\r\n", ""), "417"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := statusesOf(s.send(t, tt.text))
			if got != tt.want {
				t.Errorf("answered %q, want %q", got, tt.want)
			}
			if seen := app.seen(); len(seen) != 0 {
				t.Errorf("the app saw %q", seen)
			}
		})
	}
	if got := statusesOf(s.send(t, hidden)); got != "200" {
		t.Errorf("afterwards answered %q, want 200", got)
	}
	if n := s.metric(t, "requests_refused_total", "reason=framing"); n < 10 {
		t.Errorf("counted %v refusals", n)
	}
}

// TestHostileAfterGood puts the bad one behind a good one, in one write: the
// good one is answered, in its turn.
func TestHostileAfterGood(t *testing.T) {
	app := startWireApp(t)
	s := start(t, app.addr, impatient)
	good := "POST /good HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc"
	got := statusesOf(s.send(t, good+good+"GET /bad HTTP/1.1\r\nA : b\r\n\r\n"))
	if got != "200 200 400" {
		t.Errorf("answered %q, want 200 200 400", got)
	}
	if seen := app.seen(); len(seen) != 2 {
		t.Errorf("the app saw %q", seen)
	}
}

// TestRefusalArrives: a client that goes on sending hears why it was refused,
// and not a reset.
func TestRefusalArrives(t *testing.T) {
	app := startWireApp(t)
	s := start(t, app.addr, nil)
	for range 5 {
		got := s.send(t, "POST / HTTP/1.1\r\nContent-Length : 9\r\n\r\n"+strings.Repeat("a", 512<<10))
		if statusesOf(got) != "400" {
			t.Errorf("answered %q, want 400", got)
		}
	}
}

// TestHostileChunks breaks inside the body, when the app has the head already:
// it must not get an end that the client did not send.
func TestHostileChunks(t *testing.T) {
	app := startWireApp(t)
	s := start(t, app.addr, impatient)
	head := "POST /a HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"
	for _, rest := range []string{
		"3\nabc\r\n0\r\n\r\n",
		"3 ;x\r\nabc\r\n0\r\n\r\n",
		"3;\nabc\r\n0\r\n\r\n",
		"2\r\nabc\r\n0\r\n\r\n",
		"-1\r\nabc\r\n0\r\n\r\n",
		"0\r\nContent-Length: 5\r\n\r\n",
		"0\r\nA : b\r\n\r\n",
	} {
		if got := s.send(t, head+rest); statusesOf(got) != "400" || rest[0] != '0' && !strings.Contains(got, http1.ErrFraming.Error()) {
			t.Errorf("%q answered %q, want 400 for its framing", rest, got)
		}
	}
	if seen := app.seen(); len(seen) != 0 {
		t.Errorf("the app saw whole requests: %q", seen)
	}
}

// TestRewritten is about what is passed on, but not as it came.
func TestRewritten(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, text, want string }{
		{"absolute form", "GET http://other.example/p?q HTTP/1.1\r\nHost: localhost\r\n\r\n", "GET /p?q HTTP/1.1\r\nHost: other.example\r\n"},
		{"chunk extension", "POST /a HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n2;evil=\"x\"\r\nab\r\n0\r\n\r\n", "\r\n\r\n2\r\nab\r\n0\r\n\r\n"},
		{"double slash", "GET //other.example/p HTTP/1.1\r\nHost: localhost\r\n\r\n", "GET //other.example/p HTTP/1.1\r\nHost: localhost\r\n"},
		{"encoded slash and dots", "GET /a%2f..%2Fb/../c HTTP/1.1\r\nHost: localhost\r\n\r\n", "GET /a%2f..%2Fb/../c HTTP/1.1\r\n"},
		{"query as it is", "GET /?a=1;b=%zz&&c HTTP/1.1\r\nHost: localhost\r\n\r\n", "GET /?a=1;b=%zz&&c HTTP/1.1\r\n"},
		{"HTTP/1.0", "GET /old HTTP/1.0\r\n\r\n", "GET /old HTTP/1.1\r\n"},
		{"asterisk", "OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n", "OPTIONS * HTTP/1.1\r\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			app := startWireApp(t)
			s := start(t, app.addr, impatient)
			if got := statusesOf(s.send(t, tt.text)); got != "200" {
				t.Errorf("answered %q, want 200", got)
			}
			seen := app.seen()
			if len(seen) != 1 || !strings.Contains(seen[0], tt.want) {
				t.Errorf("the app saw %q, want %q in it", seen, tt.want)
			}
		})
	}
}

// TestHopByHop: what is for one hop stays there.
func TestHopByHop(t *testing.T) {
	app := startWireApp(t)
	s := start(t, app.addr, impatient)
	s.send(t, "GET /a HTTP/1.1\r\nHost: localhost\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\n"+
		"Keep-Alive: 5\r\nProxy-Connection: x\r\nProxy: http://evil\r\nTE: gzip\r\nUpgrade: h2c\r\nTransfer_Encoding: chunked\r\nX-End: 1\r\n\r\n")
	seen := strings.Join(app.seen(), "")
	for _, name := range []string{"X-Hop", "Keep-Alive", "Proxy", "Te:", "Upgrade", "Transfer_encoding", "Connection"} {
		if strings.Contains(seen, "\r\n"+name) {
			t.Errorf("the app saw %s: %q", name, seen)
		}
	}
	if !strings.Contains(seen, "\r\nX-End: 1") {
		t.Errorf("the app did not see X-End: %q", seen)
	}
}

// h2Conn speaks HTTP/2 frame by frame, so that nothing tidies it up.
type h2Conn struct {
	*http2.Framer
	conn net.Conn
	out  bytes.Buffer
	enc  *hpack.Encoder
}

func (s *sidecar) h2(t *testing.T) *h2Conn {
	t.Helper()
	conn := s.dial(t, tlsConfig("h2"))
	if p := conn.ConnectionState().NegotiatedProtocol; p != "h2" {
		t.Fatalf("negotiated %q", p)
	}
	io.WriteString(conn, http2.ClientPreface)
	c := &h2Conn{Framer: http2.NewFramer(conn, conn), conn: conn}
	c.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	c.enc = hpack.NewEncoder(&c.out)
	check(t, c.WriteSettings())
	return c
}

// ask sends one request on stream 1 and returns its status, or the name of the
// error that ends the stream or the connection.
func (c *h2Conn) ask(fields [][2]string, body string) string {
	c.out.Reset()
	for _, f := range fields {
		c.enc.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]})
	}
	c.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: c.out.Bytes(), EndStream: body == "", EndHeaders: true})
	if body != "" {
		c.WriteData(1, true, []byte(body))
	}
	for {
		f, err := c.ReadFrame()
		if err != nil {
			return err.Error()
		}
		switch f := f.(type) {
		case *http2.MetaHeadersFrame:
			return f.PseudoValue("status")
		case *http2.RSTStreamFrame:
			return f.ErrCode.String()
		case *http2.GoAwayFrame:
			return f.ErrCode.String()
		case *http2.SettingsFrame:
			if !f.IsAck() {
				c.WriteSettingsAck()
			}
		}
	}
}

// TestHostileHTTP2: in HTTP/2 no byte is special, in the HTTP/1 that the app
// speaks many are.
func TestHostileHTTP2(t *testing.T) {
	app := startWireApp(t)
	s := start(t, app.addr, func(p *Proxy) { p.Limits.HeaderBytes = 8 << 10 })
	request := func(extra ...[2]string) [][2]string {
		fields := [][2]string{{":method", "POST"}, {":scheme", "https"}, {":authority", "localhost"}, {":path", "/a"}}
		for _, e := range extra {
			if e[0][0] == ':' {
				for i := range fields {
					if fields[i][0] == e[0] {
						fields[i] = e
					}
				}
				continue
			}
			fields = append(fields, e)
		}
		return fields
	}
	tests := []struct {
		name   string
		fields [][2]string
		body   string
		want   string
	}{
		{"CRLF in a value", request([2]string{"x", "a\r\nX-Evil: 1"}), "", "PROTOCOL_ERROR"},
		{"LF in a value", request([2]string{"x", "a\nb"}), "", "PROTOCOL_ERROR"},
		{"NUL in a value", request([2]string{"x", "a\x00b"}), "", "PROTOCOL_ERROR"},
		{"CRLF in a name", request([2]string{"x\r\ny", "a"}), "", "PROTOCOL_ERROR"},
		{"colon in a name", request([2]string{"x:y", "a"}), "", "PROTOCOL_ERROR"},
		{"space in a name", request([2]string{"x y", "a"}), "", "PROTOCOL_ERROR"},
		{"capitals in a name", request([2]string{"X-Y", "a"}), "", "PROTOCOL_ERROR"},
		{"connection", request([2]string{"connection", "close"}), "", "400"},
		{"transfer-encoding", request([2]string{"transfer-encoding", "chunked"}), "0\r\n\r\n", "400"},
		{"upgrade", request([2]string{"upgrade", "websocket"}), "", "400"},
		{"keep-alive", request([2]string{"keep-alive", "5"}), "", "400"},
		{"te", request([2]string{"te", "gzip"}), "", "400"},
		{"request line in the path", request([2]string{":path", "/a HTTP/1.1\r\nX: y"}), "", "400"},
		{"space in the path", request([2]string{":path", "/a b"}), "", "400"},
		{"space in the query", request([2]string{":path", "/a?b HTTP/1.1"}), "", "400"},
		{"relative path", request([2]string{":path", "a"}), "", "400"},
		{"method with a space", request([2]string{":method", "GET /evil HTTP/1.1"}), "", "400"},
		{"CONNECT", [][2]string{{":method", "CONNECT"}, {":authority", "localhost:22"}}, "", "405"},
		{"authority with a path", request([2]string{":authority", "localhost/evil"}), "", "400"},
		{"authority with a user", request([2]string{":authority", "me@localhost"}), "", "400"},
		{"other host", request([2]string{"host", "evil"}), "", "400"},
		{"two hosts", request([2]string{"host", "localhost"}, [2]string{"host", "localhost"}), "", "400"},
		{"length not a number", request([2]string{"content-length", "x"}), "abc", "400"},
		{"length with sign", request([2]string{"content-length", "+3"}), "abc", "400"},
		{"two lengths", request([2]string{"content-length", "3"}, [2]string{"content-length", "4"}), "abc", "400"},
		{"length without a body", request([2]string{"content-length", "3"}), "", "400"},
		{"large head", request(slices.Repeat([][2]string{{"x", strings.Repeat("a", 1<<10)}}, 12)...), "", "431"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := s.h2(t)
			got := c.ask(tt.fields, tt.body)
			if got != tt.want && !(tt.want == "400" && got == "PROTOCOL_ERROR") {
				t.Errorf("answered %q, want %q", got, tt.want)
			}
			if seen := app.seen(); len(seen) != 0 {
				t.Errorf("the app saw %q", seen)
			}
		})
	}
	// Bodies that are longer or shorter than they say must never be whole.
	for _, n := range []int{2, 4} {
		got := s.h2(t).ask(request([2]string{"content-length", strconv.Itoa(n)}), "abc")
		if got == "200" {
			t.Errorf("a body of 3 with Content-Length %d answered %q", n, got)
		}
		for _, raw := range app.seen() {
			t.Errorf("a body of 3 with Content-Length %d: the app saw %q", n, raw)
		}
	}
	if got := s.h2(t).ask(request(), "abc"); got != "200" {
		t.Errorf("afterwards answered %q", got)
	}
}
