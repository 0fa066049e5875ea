// Package resp reads the protocol of Redis as a proxy must: it finds where
// requests and replies begin and end, and which bytes are keys, and copies and
// keeps nothing. It also knows the commands: where their keys are, and what they
// mean when the keys are spread over several servers.
//
// Requests are read exactly as Redis does. A proxy that reads them in another way than its server lets a client
// smuggle requests, and one that is stricter ends connections that work without it. Where Redis does not look
// (at the byte after a carriage return, and at the line end of an argument), what stands there is put right, so
// that whoever comes next reads the same.
//
// Source: https://redis.io/docs/latest/develop/reference/protocol-spec/ and
// Redis' networking.c; the package servers holds it to real ones.
package resp

import (
	"bytes"
	"fmt"
	"math"
	"unsafe"
)

// Bounds of a request, Redis' own. How many arguments there may be is bounded by the bytes that they take.
const (
	MaxArgs   = math.MaxInt32
	MaxBulk   = 512 << 20
	MaxInline = 64 << 10

	// Of a client that has not logged in.
	maxArgsBefore = 10
	maxBulkBefore = 16 << 10
)

// Arg is where an argument stands in its request.
type Arg struct {
	Start int // of its length line
	Data  int // of the argument itself
	End   int // of the argument itself; a line end follows
}

// ProtocolError is what is wrong with a request. After one, nothing can be
// read from its connection any more: where the next request begins is not known.
type ProtocolError string

func (e ProtocolError) Error() string { return "Protocol error: " + string(e) }

// Parser reads one request after the other. It may be given a request piece by
// piece, and looks at no byte twice.
type Parser struct {
	Args   []Arg // of the request that is complete
	Before bool  // the client has not logged in: it may send what a login takes, and no more

	pos    int    // what has been read
	want   int    // arguments still to come
	begun  bool   // the header has been read
	bulk   int    // length of the argument whose length line has been read, -1: none
	inline []byte // an inline command, as it would be without being one
}

// Parse reads the request that b begins with. n is its length; n 0 without an
// error means that there is more to come: Parse is then called again with the
// same bytes and those after them, wherever in memory. A request without
// arguments, such as an empty line, is to be ignored.
func (p *Parser) Parse(b []byte) (n int, err error) {
	if !p.begun {
		if len(b) == 0 {
			return 0, nil
		}
		p.Args = p.Args[:0]
		if b[0] != '*' {
			return p.parseInline(b)
		}
		count, next := length(b, 1)
		switch {
		case next == 0:
			return 0, nil
		case next < 0 || count > MaxArgs:
			return 0, ProtocolError("invalid multibulk length")
		case p.Before && count > maxArgsBefore:
			return 0, ProtocolError("unauthenticated multibulk length")
		}
		p.begun, p.want, p.pos, p.bulk = true, max(0, count), next, -1
	}
	for p.want > 0 {
		if p.bulk < 0 {
			if p.pos >= len(b) {
				return 0, nil
			}
			if b[p.pos] != '$' {
				return 0, ProtocolError(fmt.Sprintf("expected '$', got %q", b[p.pos]))
			}
			size, next := length(b, p.pos+1)
			switch {
			case next == 0:
				return 0, nil
			case next < 0 || size < 0 || size > MaxBulk:
				return 0, ProtocolError("invalid bulk length")
			case p.Before && size > maxBulkBefore:
				return 0, ProtocolError("unauthenticated bulk length")
			}
			p.Args = append(p.Args, Arg{p.pos, next, next + size})
			p.pos, p.bulk = next, size
		}
		end := p.pos + p.bulk
		if len(b) < end+2 {
			return 0, nil
		}
		b[end], b[end+1] = '\r', '\n'
		p.pos, p.bulk = end+2, -1
		p.want--
	}
	p.begun = false
	return p.pos, nil
}

// Need is how many bytes there must at least be before the next Parse can get
// any further, 0 if that is not known.
func (p *Parser) Need() int {
	if !p.begun || p.bulk < 0 {
		return 0
	}
	return p.pos + p.bulk + 2
}

// Kept is how much memory the arguments' places take.
func (p *Parser) Kept() int { return cap(p.Args) * int(unsafe.Sizeof(Arg{})) }

// Pending are the arguments whose length is known, the last one maybe
// incomplete, of the request that Parse wants more of, and how many it has in all.
func (p *Parser) Pending() (args []Arg, total int) {
	if !p.begun {
		return nil, 0
	}
	total = len(p.Args) + p.want
	if p.bulk >= 0 {
		total--
	}
	return p.Args, total
}

// Reset forgets a request that was begun.
func (p *Parser) Reset() {
	p.begun = false
	p.Args = p.Args[:0]
}

// Request is the complete request, in b as given to Parse, as an array of bulk strings.
// Args refer to it.
func (p *Parser) Request(b []byte, n int) []byte {
	if n > 0 && b[0] != '*' {
		return p.inline
	}
	return b[:n]
}

// parseInline reads a line of words, quoted as Redis has it.
func (p *Parser) parseInline(b []byte) (int, error) {
	if b[0] == handshake && len(b) > 1 && b[1] == 3 {
		return 0, Foreign("TLS")
	}
	end := bytes.IndexByte(b, '\n')
	seen := b
	if end >= 0 {
		seen = b[:end]
	}
	if bytes.IndexByte(seen, 0) >= 0 { // Redis looks no further, and never finds the end
		return 0, ProtocolError("zero byte in inline request")
	}
	if len(seen) > MaxInline {
		return 0, ProtocolError("too big inline request")
	}
	if end < 0 {
		return 0, nil
	}
	line := b[:end]
	if end > 0 && line[end-1] == '\r' {
		line = line[:end-1]
	}
	words, ok := splitWords(line)
	if !ok {
		return 0, ProtocolError("unbalanced quotes in request")
	}
	if f := foreign(words); f != "" {
		return 0, f
	}
	p.inline = AppendNumber(p.inline[:0], '*', len(words))
	for _, w := range words {
		start := len(p.inline)
		p.inline = AppendNumber(p.inline, '$', len(w))
		data := len(p.inline)
		p.inline = append(append(p.inline, w...), '\r', '\n')
		p.Args = append(p.Args, Arg{start, data, data + len(w)})
	}
	return end + 1, nil
}

// splitWords is Redis' sdssplitargs: "…" with \n, \r, \t, \b, \a and \x41, '…'
// with \', and a blank after a closing quote. It is for people at telnet, and may allocate.
func splitWords(line []byte) (words [][]byte, ok bool) {
	for i := 0; ; {
		for i < len(line) && blank(line[i]) {
			i++
		}
		if i == len(line) {
			return words, true
		}
		var word []byte
		for i < len(line) && !ends(line[i]) {
			if q := line[i]; q == '"' || q == '\'' {
				var n int
				if word, n = unquote(word, line[i:]); n == 0 {
					return nil, false
				}
				if i += n; i < len(line) && !blank(line[i]) {
					return nil, false
				}
				break
			}
			word = append(word, line[i])
			i++
		}
		words = append(words, word)
	}
}

// unquote appends what is in the quotes that s begins with; n is the length with
// them, 0 if they are not closed.
func unquote(word, s []byte) (_ []byte, n int) {
	q := s[0]
	for i := 1; i < len(s); i++ {
		c := s[i]
		switch {
		case c == q:
			return word, i + 1
		case c == '\\' && q == '\'' && i+1 < len(s) && s[i+1] == '\'':
			i++
			c = '\''
		case c == '\\' && q == '"' && i+3 < len(s) && s[i+1] == 'x' && hex(s[i+2]) >= 0 && hex(s[i+3]) >= 0:
			c = byte(hex(s[i+2])<<4 | hex(s[i+3]))
			i += 3
		case c == '\\' && q == '"' && i+1 < len(s):
			i++
			c = s[i]
			if at := bytes.IndexByte([]byte("nrtba"), c); at >= 0 {
				c = "\n\r\t\b\a"[at]
			}
		}
		word = append(word, c)
	}
	return nil, 0
}

// blank is what words may be apart by, and ends what ends one: not all of that.
func blank(c byte) bool { return c == ' ' || c >= '\t' && c <= '\r' }
func ends(c byte) bool  { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }

func hex(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}
