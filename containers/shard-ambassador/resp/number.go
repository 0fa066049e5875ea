package resp

import (
	"bytes"
	"strconv"
)

// maxLine bounds a line with a length: longer ones are no lengths.
const maxLine = 32

// number reads a decimal number and the line end after it: its value and where
// the next line begins. next is 0 if b ends too early, -1 if it is no number as
// Redis writes and reads them: no plus sign, no leading zeros, nothing but
// digits. What a proxy reads otherwise than its server does is a way to smuggle requests.
func number(b []byte, pos int) (v, next int) {
	start := pos
	negative := false
	if pos < len(b) && b[pos] == '-' {
		negative = true
		pos++
	}
	first := pos
	for ; pos < len(b); pos++ {
		c := b[pos] - '0'
		if c > 9 {
			break
		}
		v = v*10 + int(c)
		if pos-first >= 15 {
			return 0, -1
		}
	}
	digits := pos - first
	if pos == len(b) {
		if pos-start > maxLine {
			return 0, -1
		}
		return 0, 0
	}
	if digits == 0 || b[pos] != '\r' || (b[first] == '0' && (digits > 1 || negative)) {
		return 0, -1
	}
	if pos+1 == len(b) {
		return 0, 0
	}
	if b[pos+1] != '\n' {
		return 0, -1
	}
	if negative {
		v = -v
	}
	return v, pos + 2
}

// length reads the number of a request's length line, and is as number is. Redis takes the first carriage return for the
// line's end and does not look at the byte after it, which becomes a line feed here. A line that is too long for a
// number is none, though Redis waits for 64 KiB of it before it says so.
func length(b []byte, pos int) (v, next int) {
	end := pos
	digits := true
	for ; end < len(b) && b[end] != '\r'; end++ {
		c := b[end] - '0'
		if digits = digits && c <= 9; digits {
			v = v*10 + int(c)
		}
		if end-pos >= maxLine {
			return 0, -1
		}
	}
	if end+1 >= len(b) {
		return 0, 0
	}
	// The common number is read already; what is odd or huge is looked at once more.
	if n := end - pos; !digits || n == 0 || n > 18 || n > 1 && b[pos] == '0' {
		var ok bool
		if v, ok = Integer(b[pos:end]); !ok {
			return 0, -1
		}
	}
	b[end+1] = '\n'
	return v, end + 2
}

// Integer is a number of 64 bits as Redis reads and writes it (string2ll): no plus sign, no leading zeros.
func Integer(word []byte) (v int, ok bool) {
	v, err := strconv.Atoi(string(word))
	if err != nil {
		return 0, false
	}
	digits := bytes.TrimPrefix(word, []byte("-"))
	if digits[0] == '+' || digits[0] == '0' && len(word) > 1 {
		return 0, false
	}
	return v, true
}

// AppendNumber appends a line with a type and a number: "*3\r\n".
func AppendNumber(b []byte, kind byte, n int) []byte {
	b = append(b, kind)
	if n >= 0 && n < 10 {
		return append(b, byte('0'+n), '\r', '\n')
	}
	return append(appendInt(b, n), '\r', '\n')
}

func appendInt(b []byte, n int) []byte {
	if n < 0 {
		return appendInt(append(b, '-'), -n)
	}
	if n >= 10 {
		b = appendInt(b, n/10)
	}
	return append(b, byte('0'+n%10))
}

// AppendBulk appends a bulk string.
func AppendBulk(b []byte, s string) []byte {
	b = AppendNumber(b, '$', len(s))
	b = append(b, s...)
	return append(b, '\r', '\n')
}

// AppendCommand appends a request.
func AppendCommand(b []byte, args ...string) []byte {
	b = AppendNumber(b, '*', len(args))
	for _, a := range args {
		b = AppendBulk(b, a)
	}
	return b
}

// Number reads a number that stands at pos and ends its line: its value and where
// the next line begins, 0 if b ends before that, -1 if it is none.
func Number(b []byte, pos int) (v, next int) { return number(b, pos) }
