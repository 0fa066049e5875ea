package resp

import (
	"bytes"
	"errors"
)

// ErrReply is a reply that is none: the connection it came on is of no use any more.
var ErrReply = errors.New("a reply that is not RESP")

// maxElements bounds what a reply says that it has.
const maxElements = 1 << 40

// Scanner finds where replies end, in RESP2 and RESP3. It may be given them
// piece by piece, cut anywhere, and keeps none of them.
type Scanner struct {
	// Kind is the first byte of the reply: '-' is an error, '>' is pushed and answers nothing.
	Kind byte

	// Request has only requests taken: arrays of bulk strings, within the bounds of a Parser, whose line ends are
	// put right as a Parser does.
	Request bool

	left  int  // elements that are still to come; 0: between replies
	skip  int  // bytes of a bulk string, its line end included, that are still to come
	line  bool // inside a line that is only to be passed over
	cr    bool // what was read last of it was a carriage return
	named bool // Kind is known

	head    [maxLine + 8]byte // a length line that was cut
	headLen int
}

// Begun says whether a part of a reply has been seen.
func (s *Scanner) Begun() bool { return s.left > 0 }

// Reset is for a new connection.
func (s *Scanner) Reset() { *s = Scanner{} }

// Scan reads on. n bytes of b belong to the reply that was begun, or to the
// next; done says that it ends with them. An error is ErrReply.
func (s *Scanner) Scan(b []byte) (n int, done bool, err error) {
	if len(b) == 0 {
		return 0, false, nil
	}
	if s.left == 0 {
		s.left, s.named = 1, false
	}
	for s.left > 0 {
		switch {
		case s.skip > 0:
			if n == len(b) {
				return n, false, nil
			}
			if !s.pass(b, &n) {
				return n, false, ErrReply
			}
			if s.skip > 0 {
				return n, false, nil
			}
			s.left--
		case s.line:
			ended, ok := s.passLine(b, &n)
			if !ok {
				return n, false, ErrReply
			}
			if !ended {
				return n, false, nil
			}
			s.left--
		default:
			more, ok := s.element(b, &n)
			if !ok {
				return n, false, ErrReply
			}
			if !more {
				return n, false, nil
			}
		}
	}
	return n, true, nil
}

// pass goes over what is left of a bulk string; its last two bytes must be a line end.
func (s *Scanner) pass(b []byte, n *int) bool {
	have := len(b) - *n
	if s.skip > 2 {
		k := min(s.skip-2, have)
		s.skip -= k
		*n += k
		have -= k
	}
	for s.skip > 0 && have > 0 {
		if s.Request {
			b[*n] = "\n\r"[s.skip-1]
		} else if b[*n] != "\n\r"[s.skip-1] {
			return false
		}
		s.skip--
		*n++
		have--
	}
	return true
}

func (s *Scanner) passLine(b []byte, n *int) (ended, ok bool) {
	rest := b[*n:]
	if len(rest) == 0 {
		return false, true
	}
	i := bytes.IndexByte(rest, '\n')
	if i < 0 {
		s.cr = rest[len(rest)-1] == '\r'
		*n = len(b)
		return false, true
	}
	cr := s.cr
	if i > 0 {
		cr = rest[i-1] == '\r'
	}
	*n += i + 1
	s.line, s.cr = false, false
	return true, cr
}

// element reads how an element begins. more is false if b ends before that can be told.
func (s *Scanner) element(b []byte, n *int) (more, ok bool) {
	if *n == len(b) {
		return false, true
	}
	kind := b[*n]
	if s.headLen > 0 {
		kind = s.head[0]
	}
	if s.Request && !(kind == '$' && s.named || kind == '*' && !s.named) {
		return false, false
	}
	switch kind {
	case '+', '-', ':', ',', '#', '_', '(':
		s.name(kind)
		*n++
		s.line, s.cr = true, false
		return true, true
	case '$', '*', '%', '~', '=', '!', '>', '|':
	default:
		return false, false
	}
	v, next := s.length(b, *n)
	if next < 0 {
		return false, false
	}
	*n = next
	if s.headLen > 0 {
		return false, true // it is kept in head
	}
	if s.Request && (v < 0 || kind == '*' && v > MaxArgs || kind == '$' && v > MaxBulk) {
		return false, false
	}
	if v == -1 && (kind == '$' || kind == '*') { // RESP2's null
		s.name(kind)
		s.left--
		return true, true
	}
	if v < 0 || v > maxElements {
		return false, false
	}
	switch kind {
	case '$', '=', '!':
		s.name(kind)
		s.skip = v + 2
		return true, true
	case '%':
		v *= 2
	case '|': // an attribute stands before what it is an attribute of
		s.name(kind)
		s.left += 2 * v
		return s.left <= maxElements, s.left <= maxElements
	}
	s.name(kind)
	s.left += v - 1
	return s.left <= maxElements, s.left <= maxElements
}

func (s *Scanner) name(kind byte) {
	if !s.named {
		s.Kind, s.named = kind, true
	}
}

// length reads the length line of which n is the first byte, or the first that
// is not yet in head. If b ends first, what there is goes into head.
func (s *Scanner) length(b []byte, n int) (v, next int) {
	read := number
	if s.Request {
		read = length
	}
	if s.headLen == 0 {
		v, next = read(b, n+1)
		if next == 0 {
			s.headLen = copy(s.head[:], b[n:])
			return 0, len(b)
		}
		return v, next
	}
	had := s.headLen
	s.headLen += copy(s.head[had:], b[n:])
	v, next = read(s.head[:s.headLen], 1)
	switch {
	case next < 0:
		return 0, -1
	case next == 0:
		if s.headLen == len(s.head) {
			return 0, -1
		}
		return 0, len(b)
	}
	s.headLen = 0
	if s.Request {
		b[n+next-had-1] = '\n'
	}
	return v, n + next - had
}
