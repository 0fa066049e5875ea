package forward

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/textproto"
	"strconv"
	"strings"
)

// ErrAnswer is what every complaint about a server's answer wraps.
var ErrAnswer = errors.New("malformed answer")

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrAnswer, fmt.Sprintf(format, args...))
}

// maxAnswerHead bounds the head of an answer, the informational ones before it
// and its trailers.
const maxAnswerHead = 1 << 20

// head is the head of an answer.
type head struct {
	minor   int // of the version
	status  int
	reason  string
	header  http.Header
	length  int64 // of the body; -1: not said
	chunked bool
	last    bool // the server closes the connection after it
}

// readHead reads an answer's head. It is as tolerant as clients are, where that
// leaves nothing to guess: bare line feeds, white space before a colon, folded
// lines, equal lengths twice. What two readers could delimit differently is an error.
//
// Source: RFC 9112 sections 4, 5 and 6; nginx for the answers that are errors.
func readHead(r *bufio.Reader, left *int) (*head, error) {
	line, err := readLine(r, left)
	if err != nil {
		return nil, err
	}
	h := &head{header: make(http.Header), length: -1}
	if err := h.statusLine(line); err != nil {
		return nil, err
	}
	if err := readFields(r, left, h.header); err != nil {
		return nil, err
	}
	return h, h.framing()
}

// readLine reads a line without its end, \r\n or \n. left is what may come yet.
func readLine(r *bufio.Reader, left *int) ([]byte, error) {
	var whole []byte
	for {
		part, err := r.ReadSlice('\n')
		if *left -= len(part); *left < 0 {
			return nil, malformed("head too long")
		}
		switch {
		case err == bufio.ErrBufferFull:
			whole = append(whole, part...)
			continue
		case err == io.EOF:
			return nil, io.ErrUnexpectedEOF
		case err != nil:
			return nil, err
		}
		if whole != nil {
			part = append(whole, part...)
		}
		return bytes.TrimSuffix(part[:len(part)-1], []byte("\r")), nil
	}
}

func (h *head) statusLine(line []byte) error {
	text := string(line)
	if len(text) < len("HTTP/1.1 200") || text[:len("HTTP/1.")] != "HTTP/1." || !digit(text[7]) || text[8] != ' ' {
		return malformed("status line %.40q", text)
	}
	code, rest := text[9:12], text[12:]
	h.minor = int(text[7] - '0')
	h.status, _ = strconv.Atoi(code)
	if !digit(code[0]) || !digit(code[1]) || !digit(code[2]) || h.status < 100 || h.status > 599 || rest != "" && rest[0] != ' ' {
		return malformed("status line %.40q", text)
	}
	h.reason = strings.TrimSpace(rest)
	return nil
}

func digit(c byte) bool { return '0' <= c && c <= '9' }

// readFields reads header lines, or trailers, up to the empty line.
func readFields(r *bufio.Reader, left *int, into http.Header) error {
	last := ""
	for {
		line, err := readLine(r, left)
		switch {
		case err != nil:
			return err
		case len(line) == 0:
			return nil
		}
		for _, c := range line {
			if c < ' ' && c != '\t' || c == 0x7f {
				return malformed("control character in a header")
			}
		}
		if line[0] == ' ' || line[0] == '\t' {
			if last == "" {
				return malformed("folded line without one to fold")
			}
			values := into[last]
			values[len(values)-1] = strings.TrimSpace(values[len(values)-1] + " " + trim(line))
			continue
		}
		name, value, ok := bytes.Cut(line, []byte(":"))
		name = bytes.TrimRight(name, " \t") // RFC 9112 section 5.1
		if !ok || len(name) == 0 || !isToken(name) {
			return malformed("header name %.40q", name)
		}
		last = textproto.CanonicalMIMEHeaderKey(string(name))
		into[last] = append(into[last], trim(value))
	}
}

func trim(b []byte) string { return string(bytes.Trim(b, " \t")) }

func isToken(name []byte) bool {
	for _, c := range name {
		if c <= ' ' || c >= 0x7f || strings.IndexByte(`"(),/:;<=>?@[\]{}`, c) >= 0 {
			return false
		}
	}
	return true
}

// framing settles how the body is delimited.
func (h *head) framing() error {
	for _, v := range h.header["Content-Length"] {
		for _, text := range strings.Split(v, ",") {
			n, err := strconv.ParseUint(strings.TrimSpace(text), 10, 63)
			if err != nil || strings.HasPrefix(strings.TrimSpace(text), "+") {
				return malformed("Content-Length %.40q", v)
			}
			if h.length >= 0 && h.length != int64(n) {
				return malformed("two lengths")
			}
			h.length = int64(n)
		}
	}
	if h.length >= 0 {
		h.header["Content-Length"] = []string{strconv.FormatInt(h.length, 10)}
	}
	for _, v := range h.header["Transfer-Encoding"] {
		switch {
		case strings.EqualFold(v, "identity"): // RFC 2616 had it
		case !strings.EqualFold(v, "chunked"), h.chunked:
			return malformed("Transfer-Encoding %.40q", v)
		default:
			h.chunked = true
		}
	}
	delete(h.header, "Transfer-Encoding")
	switch {
	case h.chunked && h.length >= 0:
		return malformed("both Content-Length and Transfer-Encoding")
	case h.chunked && h.minor == 0:
		return malformed("Transfer-Encoding in HTTP/1.0")
	}
	h.last = h.minor == 0 && !tokenIn(h.header["Connection"], "keep-alive") || tokenIn(h.header["Connection"], "close")
	return nil
}

// tokenIn is true if one of the lists has the word, in any case.
func tokenIn(lists []string, word string) bool {
	for _, list := range lists {
		for part := range strings.SplitSeq(list, ",") {
			if strings.EqualFold(strings.Trim(part, " \t"), word) {
				return true
			}
		}
	}
	return false
}
