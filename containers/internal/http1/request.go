package http1

import (
	"bytes"
	"strconv"
)

// Request is the head of a plain request, as places in the buffer that it was
// parsed from. It allocates nothing, and is good for as long as the buffer is.
//
// A fast path has no opinion of its own: what Parse finds plain, Framing passes,
// net/http parses and Refuse does not mind, and AppendTo writes the very
// request that net/http's ReverseProxy would. Anything else is Unusual. A fuzz
// test holds it to that.
type Request struct {
	Method []byte
	Target []byte // as it came: a path, perhaps a query
	Host   []byte
	Length int64 // of the body
	Size   int   // of the head
	Close  bool  // the client wants the connection closed after the answer
	Forged bool  // it says something of the client that only a trusted proxy may say

	buf    []byte
	pass   lines
	digits span // of Content-Length
}

// Digits is where in the head the value of Content-Length is; from is to if
// there is none. To overwrite it with zeros takes the body away.
func (r *Request) Digits() (from, to int) { return r.digits.from, r.digits.to }

// methods are those of a plain request, with those of them whose requests have a
// Content-Length even without a body.
var methods = []struct {
	name   string
	always bool
}{{"GET", false}, {"POST", true}, {"HEAD", false}, {"PUT", true}, {"DELETE", false}, {"PATCH", true}, {"OPTIONS", false}}

// Parse reads the head at the start of buf.
func (r *Request) Parse(buf []byte) Verdict {
	*r = Request{Size: headLen(buf)}
	if r.Size == 0 {
		return r.part(buf)
	}
	r.buf = buf[:r.Size]
	i := r.requestLine()
	if i == 0 {
		return Unusual
	}
	var seen [rareField + 1]bool
	for count := 0; i < r.Size-2; count++ {
		name, value, next := line(r.buf, i)
		if next == 0 || count == maxLines {
			return Unusual
		}
		f := fieldOf(r.buf[name.from:name.to])
		once := f == hostName || f == lengthField || f == connectionField || f == agentField
		if once && seen[f] || !r.take(f, name, value, i, next) {
			return Unusual
		}
		seen[f] = true
		i = next
	}
	// net/http makes a Cache-Control of an old Pragma.
	if !seen[hostName] || seen[pragmaField] && !seen[cacheField] {
		return Unusual
	}
	return Plain
}

// part is Unusual if no head begins like this.
func (r *Request) part(buf []byte) Verdict {
	var f Framing
	if _, _, err := f.Scan(buf); err != nil {
		return Unusual
	}
	return Part
}

// take decides on one header.
func (r *Request) take(f field, name, value span, from, to int) bool {
	text := r.buf[value.from:value.to]
	switch f {
	case hopField:
		return true
	case hostName:
		r.Host = text
		return plainHost(text)
	case lengthField:
		r.Length, r.digits = lengthOf(text), value
		return r.Length >= 0
	case connectionField:
		r.Close = is(text, "close")
		return r.Close || is(text, "keep-alive")
	case agentField:
		if len(text) == 0 {
			return true // net/http takes it out
		}
	case codingField, rareField:
		return false
	default:
		if Dropped(r.buf[name.from:name.to]) {
			r.Forged = true
			return true
		}
	}
	return r.pass.add(from, to)
}

// requestLine returns where the next line begins; 0: unusual.
func (r *Request) requestLine() int {
	i := bytes.IndexByte(r.buf, ' ')
	if i < 0 {
		return 0
	}
	r.Method = r.buf[:i]
	known := false
	for _, m := range methods {
		known = known || string(r.Method) == m.name
	}
	if !known {
		return 0
	}
	from := i + 1
	if i = targetEnd(r.buf, from); i == from {
		return 0
	}
	r.Target = r.buf[from:i]
	if !bytes.HasPrefix(r.buf[i:], []byte(" HTTP/1.1\r\n")) {
		return 0
	}
	return i + len(" HTTP/1.1\r\n")
}

// targetEnd is where the path, and the query, that begins at from ends: a path
// that net/url writes as it reads it. It is from if there is none.
func targetEnd(buf []byte, from int) int {
	i := from
	if buf[i] != '/' {
		return from
	}
	for inPath[buf[i]] {
		if buf[i] == '%' {
			if hexValue(buf[i+1]) < 0 || hexValue(buf[i+2]) < 0 {
				return from
			}
			i += 2
		}
		i++
	}
	if buf[i] == '?' {
		for i++; buf[i] > ' ' && buf[i] < 0x7f && buf[i] != '#'; i++ {
		}
	}
	return i
}

var inPath = func() (t [256]bool) {
	for b := range t {
		c := byte(b)
		t[b] = '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' ||
			c != 0 && bytes.IndexByte([]byte("-_.~!$&'()*+,;=:@/%"), c) >= 0
	}
	return t
}()

// plainHost is a name or an IPv4 address, with or without a port.
func plainHost(host []byte) bool {
	if i := bytes.IndexByte(host, ':'); i >= 0 {
		port := lengthOf(host[i+1:])
		if len(host)-i > 6 || port < 1 || port > 65535 {
			return false
		}
		host = host[:i]
	}
	for _, c := range host {
		if fold(c) == '-' && c != '-' && c != '.' && c != '_' && c != '~' {
			return false
		}
	}
	return len(host) > 0 && len(host) <= 255
}

// AppendTo writes the head that goes on to the app: the client's own, without
// what is for one hop or forged, and with extra, whole header lines.
func (r *Request) AppendTo(dst, extra []byte) []byte {
	dst = append(dst, r.Method...)
	dst = append(dst, ' ')
	dst = append(dst, r.Target...)
	dst = append(dst, " HTTP/1.1\r\nHost: "...)
	dst = append(dst, r.Host...)
	dst = append(dst, "\r\n"...)
	dst = r.pass.appendTo(dst, r.buf)
	if r.Length > 0 || r.always() {
		dst = append(dst, "Content-Length: "...)
		dst = strconv.AppendInt(dst, r.Length, 10)
		dst = append(dst, "\r\n"...)
	}
	dst = append(dst, extra...)
	return append(dst, "\r\n"...)
}

func (r *Request) always() bool {
	for _, m := range methods {
		if string(r.Method) == m.name {
			return m.always
		}
	}
	return false
}

// Get is the first value of a header, "" without one. Host is none, as in
// net/http.
func (r *Request) Get(name string) string {
	value, _ := r.find(name)
	return string(value)
}

// Has is true if there is such a header; with a word, if one of them has it
// somewhere in its value.
func (r *Request) Has(name, word string) bool {
	i := bytes.IndexByte(r.buf, '\n') + 1
	for i < r.Size-2 {
		n, v, next := line(r.buf, i)
		if bytes.EqualFold(r.buf[n.from:n.to], []byte(name)) && bytes.Contains(r.buf[v.from:v.to], []byte(word)) {
			return true
		}
		i = next
	}
	return false
}

func (r *Request) find(name string) (value []byte, ok bool) {
	i := bytes.IndexByte(r.buf, '\n') + 1
	for i < r.Size-2 {
		n, v, next := line(r.buf, i)
		if len(name) == n.to-n.from && name != "Host" && bytes.EqualFold(r.buf[n.from:n.to], []byte(name)) {
			return r.buf[v.from:v.to], true
		}
		i = next
	}
	return nil, false
}

// Safe is true if the request may be sent a second time when a connection broke
// under it: RFC 9110's safe methods, without a body.
func (r *Request) Safe() bool {
	switch string(r.Method) {
	case "GET", "HEAD", "OPTIONS":
		return r.Length == 0
	}
	return false
}
