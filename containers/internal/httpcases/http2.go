package httpcases

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// Case2 is a request by HTTP/2, frame by frame, so that nothing tidies it up. No byte
// is special there; in the HTTP/1 that the app speaks, many are.
type Case2 struct {
	Name, Why string
	Fields    [][2]string
	Body      string
	Trailers  [][2]string
	Open      bool // the stream is not ended: more of the body may come
	App       Script

	Want  string // statuses, in order; "": that is luck
	Seen  int    // how many requests the app gets, whole; -1: that is luck
	Asked string
	Never []string
	Heard []string
	Deaf  []string
	Cut   bool // the answer breaks off, if it comes at all
}

// refused are what a proxy may call a request that it does not take.
const refused = "refused"

// Run sends it on a connection of its own, and then another request, which is
// answered unless the whole connection was at fault.
func (c *Case2) Run(app *App, dial func() (net.Conn, error)) (complaints []string) {
	complain := func(format string, args ...any) {
		complaints = append(complaints, fmt.Sprintf(format, args...))
	}
	app.Reset(c.App)
	conn, err := dial()
	if err != nil {
		return []string{err.Error()}
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(Patience))
	h := newH2(conn)
	h.request(1, c.Fields, c.Body, c.Trailers, c.Open)
	statuses, text, failed := h.answer(1)
	// net/http says 100 whenever it reads the body of who asked for it, which may be first.
	got := strings.TrimPrefix(strings.Join(statuses, " "), "100 ")
	switch {
	case c.Want == "": // luck
	case c.Cut:
		if failed == "" {
			complain("what was cut looks whole: %.300q", text)
		}
	case c.Want == refused:
		if got != "400" && !strings.Contains(failed, "PROTOCOL_ERROR") {
			complain("answered %q %s, want a refusal", got, failed)
		}
	case got != c.Want || failed != "" && !c.Open:
		complain("answered %q %s, want %q: %.300q", got, failed, c.Want, text)
	}
	if !strings.HasPrefix(failed, "connection") {
		h.request(3, [][2]string{{":method", "GET"}, {":scheme", "http"}, {":authority", "probe"}, {":path", "/probe"}}, "", nil, false)
		if more, _, failed := h.answer(3); strings.Join(more, " ") != "200" {
			complain("the connection does not go on: %q %s", more, failed)
		}
	}
	like := Case{Seen: c.Seen, Asked: c.Asked, Never: c.Never, Heard: c.Heard, Deaf: c.Deaf}
	like.check(app.Seen(), text, complain)
	return complaints
}

// h2 is a client's side.
type h2 struct {
	*http2.Framer
	out bytes.Buffer
	enc *hpack.Encoder
}

func newH2(conn net.Conn) *h2 {
	io.WriteString(conn, http2.ClientPreface)
	h := &h2{Framer: http2.NewFramer(conn, conn)}
	h.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	h.enc = hpack.NewEncoder(&h.out)
	h.WriteSettings()
	return h
}

func (h *h2) block(fields [][2]string) []byte {
	h.out.Reset()
	for _, f := range fields {
		h.enc.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]})
	}
	return bytes.Clone(h.out.Bytes())
}

func (h *h2) request(stream uint32, fields [][2]string, body string, trailers [][2]string, open bool) {
	h.headers(stream, h.block(fields), body == "" && trailers == nil && !open)
	for part := range slices.Chunk([]byte(body), 16<<10) {
		h.WriteData(stream, false, part)
	}
	switch {
	case open:
	case trailers != nil:
		h.headers(stream, h.block(trailers), true)
	case body != "":
		h.WriteData(stream, true, nil)
	}
}

// headers writes a block in as many frames as it takes.
func (h *h2) headers(stream uint32, block []byte, end bool) {
	const most = 16 << 10
	first := block[:min(most, len(block))]
	rest := block[len(first):]
	h.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: first, EndStream: end, EndHeaders: len(rest) == 0})
	for len(rest) > 0 {
		next := rest[:min(most, len(rest))]
		rest = rest[len(next):]
		h.WriteContinuation(stream, len(rest) == 0, next)
	}
}

// answer reads until the stream has ended. failed says how, if not well.
func (h *h2) answer(stream uint32) (statuses []string, text, failed string) {
	var b strings.Builder
	for {
		f, err := h.ReadFrame()
		if err != nil {
			return statuses, b.String(), "connection: " + err.Error()
		}
		if s, ok := f.(*http2.SettingsFrame); ok && !s.IsAck() {
			h.WriteSettingsAck()
		}
		if g, ok := f.(*http2.GoAwayFrame); ok && g.ErrCode != http2.ErrCodeNo {
			return statuses, b.String(), "connection: " + g.ErrCode.String()
		}
		if f.Header().StreamID != stream {
			continue
		}
		switch f := f.(type) {
		case *http2.MetaHeadersFrame:
			if status := f.PseudoValue("status"); status != "" {
				statuses = append(statuses, status)
				b.WriteString("HTTP " + status + "\r\n")
			}
			for _, field := range f.RegularFields() {
				b.WriteString(field.Name + ": " + field.Value + "\r\n")
			}
			b.WriteString("\r\n")
			if f.StreamEnded() {
				return statuses, b.String(), ""
			}
		case *http2.DataFrame:
			b.Write(f.Data())
			if f.StreamEnded() {
				return statuses, b.String(), ""
			}
		case *http2.RSTStreamFrame:
			if f.ErrCode == http2.ErrCodeNo && len(statuses) > 0 {
				return statuses, b.String(), "" // it has all been said, and the rest of the request is not wanted
			}
			return statuses, b.String(), f.ErrCode.String()
		}
	}
}

// fields2 are those of a POST, with some of its own or more.
func fields2(extra ...[2]string) [][2]string {
	fields := [][2]string{{":method", "POST"}, {":scheme", "http"}, {":authority", "a"}, {":path", "/a"}}
	for _, e := range extra {
		if i := slices.IndexFunc(fields, func(f [2]string) bool { return f[0] == e[0] }); i >= 0 && e[0][0] == ':' {
			fields[i] = e
		} else {
			fields = append(fields, e)
		}
	}
	return fields
}

// Requests2 is the table for HTTP/2.
var Requests2 = func() (list []Case2) {
	for _, tt := range []struct {
		name, why string
		fields    [][2]string
		body      string
	}{
		{"CRLF in a value", "RFC 9113 8.2.1", fields2([2]string{"x", "a\r\nX-Evil: 1"}), ""},
		{"LF in a value", "RFC 9113 8.2.1", fields2([2]string{"x", "a\nb"}), ""},
		{"NUL in a value", "RFC 9113 8.2.1", fields2([2]string{"x", "a\x00b"}), ""},
		{"CRLF in a name", "RFC 9113 8.2.1", fields2([2]string{"x\r\ny", "a"}), ""},
		{"colon in a name", "RFC 9113 8.2.1", fields2([2]string{"x:y", "a"}), ""},
		{"space in a name", "RFC 9113 8.2.1", fields2([2]string{"x y", "a"}), ""},
		{"capitals in a name", "RFC 9113 8.2.1", fields2([2]string{"X-Y", "a"}), ""},
		{"connection", "RFC 9113 8.2.2", fields2([2]string{"connection", "close"}), ""},
		{"H2.TE", "RFC 9113 8.2.2", fields2([2]string{"transfer-encoding", "chunked"}), "0\r\n\r\n" + hidden},
		{"H2.TE with a length", "RFC 9113 8.2.2", fields2([2]string{"content-length", "38"}, [2]string{"transfer-encoding", "chunked"}), "0\r\n\r\n" + hidden},
		{"upgrade", "RFC 9113 8.2.2", fields2([2]string{"upgrade", "websocket"}), ""},
		{"keep-alive", "RFC 9113 8.2.2", fields2([2]string{"keep-alive", "5"}), ""},
		{"proxy-connection", "RFC 9113 8.2.2", fields2([2]string{"proxy-connection", "keep-alive"}), ""},
		{"te", "RFC 9113 8.2.2", fields2([2]string{"te", "gzip"}), ""},
		{"request line in the path", "RFC 9113 8.3.1, 10.3", fields2([2]string{":path", "/a HTTP/1.1\r\nX: y"}), ""},
		{"space in the path", "RFC 9113 8.3.1", fields2([2]string{":path", "/a b"}), ""},
		{"space in the query", "RFC 9113 8.3.1", fields2([2]string{":path", "/a?b HTTP/1.1"}), ""},
		{"fragment", "RFC 9113 8.3.1; HAProxy's answer to CVE-2023-45539", fields2([2]string{":path", "/a#b"}), ""},
		{"relative path", "RFC 9113 8.3.1", fields2([2]string{":path", "a"}), ""},
		{"empty path", "RFC 9113 8.3.1", fields2([2]string{":path", ""}), ""},
		{"asterisk", "RFC 9113 8.3.1", fields2([2]string{":path", "*"}), ""},
		{"absolute path", "RFC 9113 8.3.1", fields2([2]string{":path", "http://me:pw@b/a"}), ""},
		{"space in the method", "RFC 9113 8.3.1, 10.3", fields2([2]string{":method", "GET /evil HTTP/1.1"}), ""},
		{"authority with a path", "RFC 9113 8.3.1", fields2([2]string{":authority", "a/evil"}), ""},
		{"authority with a user", "RFC 9113 8.3.1", fields2([2]string{":authority", "me@a"}), ""},
		{"another host", "RFC 9113 8.3.1", fields2([2]string{"host", "evil"}), ""},
		{"two hosts", "RFC 9110 7.2", fields2([2]string{"host", "a"}, [2]string{"host", "a"}), ""},
		{"two paths", "RFC 9113 8.3", append(fields2(), [2]string{":path", "/b"}), ""},
		{"pseudo-header behind a header", "RFC 9113 8.3", append(fields2([2]string{"x", "y"}), [2]string{":path", "/b"}), ""},
		{"unknown pseudo-header", "RFC 9113 8.3", append(fields2(), [2]string{":evil", "x"}), ""},
		{"no method", "RFC 9113 8.3.1", fields2()[1:], ""},
		{"length that is no number", "RFC 9113 8.1.1", fields2([2]string{"content-length", "x"}), "abc"},
		{"signed length", "RFC 9113 8.1.1", fields2([2]string{"content-length", "+3"}), "abc"},
		{"H2.CL, two", "RFC 9113 8.1.1", fields2([2]string{"content-length", "3"}, [2]string{"content-length", "0"}), "abc"},
		{"H2.CL without a body", "RFC 9113 8.1.1", fields2([2]string{"content-length", "3"}), ""},
		{"H2.CL, shorter", "RFC 9113 8.1.1", fields2([2]string{"content-length", "0"}), hidden},
		{"H2.CL, one less", "RFC 9113 8.1.1", fields2([2]string{"content-length", "2"}), "abc"},
		{"H2.CL, one more", "RFC 9113 8.1.1", fields2([2]string{"content-length", "4"}), "abc"},
	} {
		c := Case2{Name: tt.name, Why: tt.why, Fields: tt.fields, Body: tt.body, Want: refused}
		if tt.name == "H2.CL, shorter" {
			c.Want, c.Seen = "", -1 // it is whole before the body has come, and may be answered
		}
		if tt.name == "H2.CL, one less" {
			c.Seen = -1 // its head may be on the way before the byte too many comes; the answer is the client's all the same
		}
		list = append(list, c)
	}
	for _, target := range Targets {
		list = append(list, Case2{
			Name: "target " + target, Why: "RFC 3986 6.2.2.2; golang/go#35908",
			Fields: fields2([2]string{":method", "GET"}, [2]string{":path", target}), Want: "200", Seen: 1, Asked: "GET " + target + " HTTP/1.1\r\nHost: a\r\n",
		})
	}
	for _, c := range answers {
		if c.Name == "answer: 426" {
			continue // Upgrade is HTTP/1's
		}
		method, _, _ := strings.Cut(c.Text, " ")
		list = append(list, Case2{
			Name: c.Name, Why: c.Why, Fields: fields2([2]string{":method", method}), App: c.App,
			Want: c.Want, Seen: c.Seen, Cut: c.Cut, Heard: c.Heard, Deaf: c.Deaf,
		})
	}
	no := Script{Answer: "HTTP/1.1 413 No\r\nContent-Length: 2\r\n\r\nno", Early: true}
	return append(list,
		Case2{Name: "CONNECT", Why: "RFC 9110 15.5.6", Fields: [][2]string{{":method", "CONNECT"}, {":authority", "a:22"}}, Want: "405", Heard: []string{"allow: "}},
		Case2{Name: "TRACE", Why: "RFC 9110 15.5.6", Fields: fields2([2]string{":method", "TRACE"}), Want: "405", Heard: []string{"allow: "}},
		Case2{Name: "body", Why: "RFC 9113 8.1", Fields: fields2(), Body: hidden, Want: "200", Seen: 1, Asked: hidden},
		Case2{Name: "body with a length", Why: "RFC 9113 8.1", Fields: fields2([2]string{"content-length", "3"}), Body: "abc", Want: "200", Seen: 1, Asked: "Content-Length: 3\r\n"},
		Case2{
			Name: "trailer", Why: "RFC 9113 8.1", Fields: fields2([2]string{"trailer", "x-sum"}), Body: "abc", Trailers: [][2]string{{"x-sum", "7"}},
			Want: "200", Seen: 1, Asked: "X-Sum: 7\r\n",
		},
		Case2{
			Name: "trailer with a length", Why: "RFC 9113 8.1; RFC 9112 7.1.2", Fields: fields2([2]string{"trailer", "x-sum"}, [2]string{"content-length", "3"}),
			Body: "abc", Trailers: [][2]string{{"x-sum", "7"}}, Want: "200", Seen: 1, Asked: "X-Sum: 7\r\n", Never: []string{"\r\nContent-Length"},
		},
		Case2{
			Name: "trailer that says who asks", Why: "RFC 9110 6.5.1", Fields: fields2([2]string{"trailer", "x-forwarded-for"}),
			Body: "abc", Trailers: [][2]string{{"x-forwarded-for", "6.6.6.6"}}, Want: "200", Seen: 1, Never: []string{"6.6.6.6"},
		},
		Case2{Name: "te: trailers", Why: "gRPC", Fields: fields2([2]string{"te", "trailers"}), Want: "200", Seen: 1, Asked: "Te: trailers\r\n"},
		Case2{Name: "large head", Why: "RFC 6585 5", Fields: fields2(slices.Repeat([][2]string{{"x", strings.Repeat("a", 1<<10)}}, 64)...), Want: "431"},
		Case2{Name: "overtaken", Why: "RFC 9113 8.1", Fields: fields2(), Body: "abc", Open: true, App: no, Want: "413", Seen: -1},
		Case2{Name: "overtaken with a length", Why: "RFC 9113 8.1", Fields: fields2([2]string{"content-length", "1000"}), Body: "abc", Open: true, App: no, Want: "413", Seen: -1},
		Case2{Name: "overtaken, expectation", Why: "RFC 9110 10.1.1", Fields: fields2([2]string{"expect", "100-continue"}, [2]string{"content-length", "1000"}), Open: true, App: no, Want: "413", Seen: -1},
	)
}()
