package http1

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
)

// follow runs the scanner over whole requests, in pieces of the given size.
func follow(text string, piece int) error {
	var f Framing
	for len(text) > 0 {
		n := min(piece, len(text))
		k, _, err := f.Scan([]byte(text[:n]))
		if err != nil {
			return err
		}
		text = text[k:]
	}
	return nil
}

func TestFraming(t *testing.T) {
	const head = "POST / HTTP/1.1\r\nHost: a\r\n"
	tests := []struct {
		name, text, want string // want: the reason, empty if it is fine
	}{
		{"plain", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", ""},
		{"pipelined", "GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.0\r\n\r\n", ""},
		{"length", head + "Content-Length: 3\r\n\r\nabcGET / HTTP/1.1\r\n\r\n", ""},
		{"length with white space", head + "Content-Length:\t 3 \r\n\r\nabcGET / HTTP/1.1\r\n\r\n", ""},
		{"length zero", head + "Content-Length: 0\r\n\r\nGET / HTTP/1.1\r\n\r\n", ""},
		{"chunked", head + "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n", ""},
		{"chunked in capitals", head + "TRANSFER-ENCODING: Chunked \r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n", ""},
		{"extension", head + "Transfer-Encoding: chunked\r\n\r\n3;a=\"b\"\r\nabc\r\n0;x\r\n\r\nGET / HTTP/1.1\r\n\r\n", ""},
		{"trailers", head + "Transfer-Encoding: chunked\r\n\r\n0\r\nA: b\r\nC: d\r\n\r\nGET / HTTP/1.1\r\n\r\n", ""},
		{"empty value", "GET / HTTP/1.1\r\nA:\r\nB: \r\n\r\n", ""},

		{"both lengths", head + "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", "Content-Length with Transfer-Encoding"},
		{"both lengths, other order", head + "transfer-encoding: chunked\r\ncontent-length: 3\r\n\r\n", "Content-Length with Transfer-Encoding"},
		{"two lengths", head + "Content-Length: 3\r\nContent-Length: 4\r\n\r\n", "repeated Content-Length"},
		{"two equal lengths", head + "Content-Length: 3\r\nContent-Length: 3\r\n\r\n", "repeated Content-Length"},
		{"list of lengths", head + "Content-Length: 3, 3\r\n\r\n", "Content-Length"},
		{"signed length", head + "Content-Length: +3\r\n\r\n", "Content-Length"},
		{"negative length", head + "Content-Length: -3\r\n\r\n", "Content-Length"},
		{"hexadecimal length", head + "Content-Length: 0x3\r\n\r\n", "Content-Length"},
		{"length in two parts", head + "Content-Length: 3 3\r\n\r\n", "Content-Length"},
		{"no length", head + "Content-Length: \r\n\r\n", "Content-Length"},
		{"huge length", head + "Content-Length: 9999999999999999999\r\n\r\n", "Content-Length"},
		{"xchunked", head + "Transfer-Encoding: xchunked\r\n\r\n", "Transfer-Encoding other than chunked"},
		{"chunkedx", head + "Transfer-Encoding: chunkedx\r\n\r\n", "Transfer-Encoding other than chunked"},
		{"chunked twice in one", head + "Transfer-Encoding: chunked, chunked\r\n\r\n", "Transfer-Encoding other than chunked"},
		{"gzip, chunked", head + "Transfer-Encoding: gzip, chunked\r\n\r\n", "Transfer-Encoding other than chunked"},
		{"identity", head + "Transfer-Encoding: identity\r\n\r\n", "Transfer-Encoding other than chunked"},
		{"chunked twice", head + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", "repeated Transfer-Encoding"},
		{"vertical tab chunked", head + "Transfer-Encoding: \x0bchunked\r\n\r\n", "control character"},
		{"chunked in 1.0", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", "Transfer-Encoding in HTTP/1.0"},
		{"two hosts", head + "Host: b\r\n\r\n", "repeated Host"},

		{"white space before colon", head + "Content-Length : 3\r\n\r\n", "header name"},
		{"folded", head + "A: b\r\n c\r\n\r\n", "folded line"},
		{"folded with tab", head + "Transfer-Encoding:\r\n\tchunked\r\n\r\n", "Transfer-Encoding other than chunked"},
		{"leading space", "GET / HTTP/1.1\r\n Host: a\r\n\r\n", "folded line"},
		{"no colon", head + "abc\r\n\r\n", "header name"},
		{"no name", head + ": a\r\n\r\n", "header name"},
		{"NUL in value", head + "A: b\x00c\r\n\r\n", "control character"},
		{"NUL in name", head + "A\x00B: c\r\n\r\n", "header name"},
		{"bare LF after the request line", "GET / HTTP/1.1\nHost: a\r\n\r\n", "bare line feed"},
		{"bare LF after a header", head + "A: b\nC: d\r\n\r\n", "bare line feed"},
		{"bare LF as empty line", head + "\n", "bare line feed"},
		{"bare CR", head + "A: b\rC: d\r\n\r\n", "bare carriage return"},
		{"CR CR LF", head + "A: b\r\r\n\r\n", "bare carriage return"},
		{"CR at the end of the head", head + "\rX", "bare carriage return"},
		{"empty line first", "\r\nGET / HTTP/1.1\r\n\r\n", "request line"},

		{"HTTP/0.9", "GET /\r\n", "request line"},
		{"HTTP/2.0", "PRI * HTTP/2.0\r\n\r\n", "request line"},
		{"HTTP/1.2", "GET / HTTP/1.2\r\nHost: a\r\n\r\n", ""},
		{"HTTP/1.x", "GET / HTTP/1.x\r\n\r\n", "request line"},
		{"http/1.1", "GET / http/1.1\r\n\r\n", "request line"},
		{"HTTP/1.10", "GET / HTTP/1.10\r\n\r\n", "request line"},
		{"two spaces", "GET  / HTTP/1.1\r\n\r\n", "request line"},
		{"tab", "GET\t/ HTTP/1.1\r\n\r\n", "request line"},
		{"space in target", "GET /a b HTTP/1.1\r\n\r\n", "request line"},
		{"method", "G@T / HTTP/1.1\r\n\r\n", "request line"},
		{"TLS within TLS", "\x16\x03\x01\x02\x00", "request line"},

		{"chunk without size", head + "Transfer-Encoding: chunked\r\n\r\n\r\n", "chunk size"},
		{"chunk size with sign", head + "Transfer-Encoding: chunked\r\n\r\n+3\r\nabc", "chunk size"},
		{"chunk size 0x", head + "Transfer-Encoding: chunked\r\n\r\n0x3\r\nabc", "chunk size"},
		{"chunk size with space", head + "Transfer-Encoding: chunked\r\n\r\n3 \r\nabc", "chunk size"},
		{"huge chunk", head + "Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n", "chunk size"},
		{"chunk line with bare LF", head + "Transfer-Encoding: chunked\r\n\r\n3\nabc", "bare line feed"},
		{"extension with bare LF", head + "Transfer-Encoding: chunked\r\n\r\n3;a\nabc\r\n", "bare line feed"},
		{"extension with CR", head + "Transfer-Encoding: chunked\r\n\r\n3;a\rb\r\n", "bare carriage return"},
		{"extension with NUL", head + "Transfer-Encoding: chunked\r\n\r\n3;\x00\r\n", "control character"},
		{"endless extension", head + "Transfer-Encoding: chunked\r\n\r\n3;" + strings.Repeat("a", maxChunkLine), "chunk line too long"},
		{"chunk too long", head + "Transfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n", "chunk longer than its size"},
		{"chunk ended by CR only", head + "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\rx", "bare carriage return"},
		{"length as trailer", head + "Transfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 3\r\n\r\n", "Content-Length with Transfer-Encoding"},
		{"host as trailer", "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nHost: b\r\n\r\n", "forbidden trailer"},
		{"endless trailers", head + "Transfer-Encoding: chunked\r\n\r\n0\r\n" + strings.Repeat("A: b\r\n", maxTrailer), "trailers too long"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, piece := range []int{1, 2, 7, len(tt.text)} {
				err := follow(tt.text, piece)
				var reason FramingError
				switch {
				case tt.want == "" && err != nil:
					t.Errorf("in pieces of %d: %v", piece, err)
				case tt.want != "" && (!errors.As(err, &reason) || string(reason) != tt.want):
					t.Errorf("in pieces of %d: got %v, want %q", piece, err, tt.want)
				}
			}
		})
	}
}

func TestFramingStopsAtAnUpgrade(t *testing.T) {
	text := "GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n"
	var f Framing
	n, upgrade, err := f.Scan([]byte(text + "\x81\x00anything"))
	if n != len(text) || !upgrade || err != nil {
		t.Errorf("got %d, %v, %v, want %d, true, nil", n, upgrade, err, len(text))
	}
}

// FuzzFraming holds the scanner against net/http: what the scanner lets pass,
// net/http must cut into the same requests with the same bodies.
func FuzzFraming(f *testing.F) {
	for _, seed := range []string{
		"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcGET / HTTP/1.1\r\nHost: a\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;x\r\nabc\r\n0\r\nT: v\r\n\r\nGET / HTTP/1.0\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
		"GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		ours, ok := requestsOf(text)
		if !ok {
			return // refused, or not complete
		}
		rest := bytes.NewReader(text)
		r := bufio.NewReader(rest)
		for i, want := range ours {
			req, err := http.ReadRequest(r)
			if err != nil {
				return // net/http is stricter: it will answer 400
			}
			body, err := io.ReadAll(req.Body)
			if err != nil {
				return
			}
			at := len(text) - r.Buffered() - rest.Len()
			if len(body) != want.body || at != want.end {
				t.Fatalf("request %d of %q: body %d ends at %d, net/http says %d at %d", i, text, want.body, want.end, len(body), at)
			}
		}
	})
}

type extent struct{ body, end int }

// requestsOf uses the scanner to cut; not ok if it refuses, or if the last
// request is not complete.
func requestsOf(text []byte) (list []extent, ok bool) {
	var f Framing
	body := 0
	for i := range text {
		inBody := f.state == inBody || f.state == inChunk
		_, _, err := f.Scan(text[i : i+1])
		if err != nil {
			return nil, false
		}
		if inBody {
			body++
		}
		if f == (Framing{}) {
			list = append(list, extent{body, i + 1})
			body = 0
		}
	}
	return list, f == (Framing{})
}
