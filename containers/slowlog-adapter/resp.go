package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxDepth is how deep a reply may nest. SLOWLOG GET has three levels: the log, an entry, its arguments; what a later
// Redis adds to an entry may have more.
const maxDepth = 16

// maxLine bounds a line of the protocol: a length, a number, an error's text.
const maxLine = 64 << 10

// cost is what a value counts against a reply's budget besides its own bytes: about what it takes in memory.
const cost = 64

var errTooLarge = errors.New("the reply is larger than is read")

// serverError is an error reply: the server understood, and refused. Its text is the server's, any bytes: it is made
// fit to be shown, for it gets into logs and answers.
type serverError string

func (e serverError) Error() string {
	said := string(e)
	if len(said) > maxSaid {
		said = said[:maxSaid] + "..."
	}
	if strings.ContainsFunc(said, func(r rune) bool { return r == utf8.RuneError || !unicode.IsPrint(r) }) {
		return repr(said)
	}
	return said
}

// maxSaid is how much of an error's text is shown.
const maxSaid = 512

// value is one RESP2 reply.
type value struct {
	kind byte // '+', '-', ':', '$', '*'; a null is '$' or '*' with null set
	null bool
	num  int64
	text string
	list []value
}

// reader reads RESP2 replies, each within a budget: what a server may make this program hold in memory is bounded, whatever
// it sends. Source: https://redis.io/docs/latest/develop/reference/protocol-spec/
type reader struct {
	*bufio.Reader
	budget int64 // left for the reply that is being read, in bytes

	// share is what each value of the reply's own list may take, 0: whatever the budget has. What is beyond it is read and
	// thrown away, and said so in Redis's words: a log with one monstrous entry can still be read.
	share int64
	left  int64 // of the share of the value that is being read
}

// reply reads one reply of at most budget bytes. An error reply is a serverError; after any other error the
// connection is of no use.
func (r *reader) reply(budget int64) (value, error) {
	r.budget, r.left = budget, r.share
	v, err := r.value(0)
	if err == nil && v.kind == '-' {
		return value{}, serverError(v.text)
	}
	return v, err
}

// afford is how much of n bytes is within the share.
func (r *reader) afford(n int64) int64 {
	if r.share == 0 {
		return n
	}
	n = min(n, r.left, r.share/8) // one text does not take it all
	r.left -= n
	return n
}

func (r *reader) spend(n int64) error {
	if r.budget -= n; r.budget < 0 {
		return errTooLarge
	}
	return nil
}

func (r *reader) value(depth int) (value, error) {
	if depth > maxDepth {
		return value{}, fmt.Errorf("nested deeper than %d", maxDepth)
	}
	line, err := r.line()
	if err != nil {
		return value{}, err
	}
	if len(line) == 0 {
		return value{}, errors.New("an empty line where a reply begins")
	}
	if err := r.spend(cost); err != nil {
		return value{}, err
	}
	v := value{kind: line[0]}
	switch rest := line[1:]; v.kind {
	case '+', '-':
		kept := r.afford(int64(len(rest)))
		v.text = cut(rest[:kept], int64(len(rest)))
		return v, r.spend(kept)
	case ':':
		v.num, err = strconv.ParseInt(string(rest), 10, 64)
		if err != nil {
			return value{}, fmt.Errorf("%q is not a number", rest)
		}
		return v, nil
	case '$', '*':
		n, err := strconv.ParseInt(string(rest), 10, 64)
		switch {
		case err != nil || n < -1:
			return value{}, fmt.Errorf("%q is not a length", rest)
		case n == -1:
			v.null = true
			return v, nil
		case v.kind == '$':
			v.text, err = r.bulk(n)
		default:
			v.list, err = r.array(n, depth)
		}
		return v, err
	}
	return value{}, fmt.Errorf("%q begins no RESP2 reply", line[0])
}

func (r *reader) bulk(n int64) (string, error) {
	kept := r.afford(n)
	if err := r.spend(kept); err != nil { // before the memory is taken
		return "", err
	}
	b := make([]byte, kept)
	if _, err := io.ReadFull(r, b); err != nil {
		return "", unexpected(err)
	}
	if _, err := io.CopyN(io.Discard, r, n-kept); err != nil {
		return "", unexpected(err)
	}
	var end [2]byte
	if _, err := io.ReadFull(r, end[:]); err != nil {
		return "", unexpected(err)
	}
	if end != [2]byte{'\r', '\n'} {
		return "", errors.New("a string is longer than it says")
	}
	return cut(b, n), nil
}

// cut is a text of which so much was kept, in the words of Redis, which cuts so itself.
func cut(kept []byte, n int64) string {
	if more := n - int64(len(kept)); more > 0 {
		return fmt.Sprintf("%s... (%d more bytes)", kept, more)
	}
	return string(kept)
}

func (r *reader) array(n int64, depth int) ([]value, error) {
	if n > r.budget/cost && (r.share == 0 || depth == 0) {
		return nil, errTooLarge
	}
	reserved := int64(0)
	if depth > 0 { // a list leaves some of the share to what comes after it
		reserved = r.left / 4
		r.left -= reserved
	}
	list := make([]value, 0, min(n, 64)) // it may say a million and send none
	for range n {
		if depth == 0 {
			r.left = r.share
		}
		before := r.budget
		whole := r.afford(cost) == cost
		v, err := r.value(depth + 1)
		if err != nil {
			return nil, unexpected(err)
		}
		if whole {
			list = append(list, v)
		} else {
			r.budget = before
		}
	}
	if dropped := n - int64(len(list)); dropped > 0 {
		list = append(list, value{kind: '$', text: fmt.Sprintf("... (%d more arguments)", dropped)})
	}
	r.left += reserved
	return list, nil
}

// line reads up to CRLF, without it. What it returns is valid until the next read.
func (r *reader) line() ([]byte, error) {
	b, err := r.ReadSlice('\n')
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		return nil, fmt.Errorf("a line longer than %d bytes", r.Size())
	case err != nil && len(b) > 0:
		return nil, unexpected(err)
	case err != nil:
		return nil, err
	case len(b) < 2 || b[len(b)-2] != '\r':
		return nil, errors.New("a line that does not end in CRLF")
	}
	return b[:len(b)-2], nil
}

// unexpected: the end of a connection amid a reply is no ordinary end.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// appendCommand appends a command as clients send it: an array of bulk strings.
func appendCommand(b []byte, args ...string) []byte {
	b = fmt.Appendf(b, "*%d\r\n", len(args))
	for _, a := range args {
		b = fmt.Appendf(b, "$%d\r\n%s\r\n", len(a), a)
	}
	return b
}
