package http1

import "bytes"

// Verdict is what a buffer begins with, to a fast path.
type Verdict uint8

const (
	// Plain is a head that the fast path may forward.
	Plain Verdict = iota
	// Part is the beginning of a head. More has to come before anybody knows.
	Part
	// Unusual is everything else: what is refused, what is allowed but rare, and
	// what the parser does not understand. It is the careful path's.
	Unusual
)

// span is a part of a buffer.
type span struct{ from, to int }

// lines are the header lines to pass on, as runs that lie together in the
// buffer.
type lines struct {
	runs [24]span
	n    int
}

// add is false when there is no room: the head is unusual.
func (l *lines) add(from, to int) bool {
	if l.n > 0 && l.runs[l.n-1].to == from {
		l.runs[l.n-1].to = to
		return true
	}
	if l.n == len(l.runs) {
		return false
	}
	l.runs[l.n] = span{from, to}
	l.n++
	return true
}

func (l *lines) appendTo(dst, buf []byte) []byte {
	for _, s := range l.runs[:l.n] {
		dst = append(dst, buf[s.from:s.to]...)
	}
	return dst
}

// maxLines is how many header lines a plain head has at most.
const maxLines = 100

var endOfHead = []byte("\r\n\r\n")

// headLen is the length of the head at the start of buf, empty line included;
// 0: its end has not come.
func headLen(buf []byte) int {
	i := bytes.Index(buf, endOfHead)
	if i < 0 {
		return 0
	}
	return i + len(endOfHead)
}

// line cuts the header line at buf[i:], which ends before the head does. next is
// 0 if it is not `name: value` in the strictest sense: a token, a colon, and
// a value without control characters. The value comes without the white space
// around it.
func line(buf []byte, i int) (name, value span, next int) {
	from := i
	for tokens[buf[i]] {
		i++
	}
	if i == from || buf[i] != ':' {
		return name, value, 0
	}
	name = span{from, i}
	i++
	for buf[i] == ' ' || buf[i] == '\t' {
		i++
	}
	from = i
	for inValueSet[buf[i]] {
		i++
	}
	if buf[i] != '\r' || buf[i+1] != '\n' {
		return name, value, 0
	}
	value = span{from, i}
	for value.to > from && (buf[value.to-1] == ' ' || buf[value.to-1] == '\t') {
		value.to--
	}
	return name, value, i + 2
}

// inValueSet are the bytes that a header's value may have.
var inValueSet = func() (t [256]bool) {
	for b := range t {
		t[b] = b >= 0x20 && b != 0x7f || b == '\t'
	}
	return t
}()

// lengthOf reads Content-Length; -1 is malformed.
func lengthOf(digits []byte) int64 {
	if len(digits) == 0 || len(digits) > 18 {
		return -1
	}
	var n int64
	for _, c := range digits {
		if c < '0' || c > '9' {
			return -1
		}
		n = n*10 + int64(c-'0')
	}
	return n
}

// is compares in any case; word is in lower case and all letters, digits and
// "-".
func is(text []byte, word string) bool {
	if len(text) != len(word) {
		return false
	}
	for i := range text {
		c := text[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != word[i] {
			return false
		}
	}
	return true
}

// field is what a header's name says to a proxy.
type field uint8

const (
	passField field = iota
	hopField        // for this hop only: not passed on
	hostName
	lengthField
	codingField // Transfer-Encoding
	connectionField
	agentField
	pragmaField
	cacheField // Cache-Control
	dateField
	rareField // Expect, TE, Trailer, Upgrade: the careful path's
)

// names by their length, so that most headers are told by that alone.
var names = func() (t [24][]struct {
	name  string
	field field
},
) {
	for name, f := range map[string]field{
		"host": hostName, "content-length": lengthField, "transfer-encoding": codingField,
		"connection": connectionField, "user-agent": agentField, "pragma": pragmaField,
		"cache-control": cacheField, "date": dateField,
		"keep-alive": hopField, "proxy-connection": hopField, "proxy-authenticate": hopField, "proxy-authorization": hopField,
		"expect": rareField, "te": rareField, "trailer": rareField, "upgrade": rareField, "http2-settings": rareField,
	} {
		t[len(name)] = append(t[len(name)], struct {
			name  string
			field field
		}{name, f})
	}
	return t
}()

// MayTrail is whether a trailer of this name may be passed on: it says nothing of
// how a message is delimited, or of this hop.
func MayTrail(name string) bool { return fieldOf([]byte(name)) == passField }

func fieldOf(name []byte) field {
	if len(name) >= len(names) {
		return passField
	}
	for _, n := range names[len(name)] {
		if is(name, n.name) {
			return n.field
		}
	}
	return passField
}
