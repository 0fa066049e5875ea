// Package resp reads what a Redis answers, as its client: RESP2 replies, each within a budget.
//
//	in := resp.NewReader(conn)
//	conn.Write(resp.Append(nil, "INFO", "ALL"))
//	v, err := in.Reply(8 << 20)
//
// What a server may make a program hold in memory is bounded, whatever it sends. (A proxy that passes commands and replies on
// needs more than this: shard-ambassador has its own parser.)
//
// Source: https://redis.io/docs/latest/develop/reference/protocol-spec/
package resp

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

// MaxDepth is how deep a reply may nest. SLOWLOG GET and LATENCY HISTOGRAM have three levels; what a later Redis adds may have
// more.
const MaxDepth = 16

// MaxLine bounds a line of the protocol: a length, a number, an error's text. In bytes.
const MaxLine = 64 << 10

// Cost is what a value counts against a reply's budget besides its own bytes: about what it takes in memory.
const Cost = 64

// ProtocolError says that what came is no reply, or one larger than is read. The connection is of no use then.
type ProtocolError struct{ text string }

func (e *ProtocolError) Error() string { return e.text }

func odd(format string, args ...any) error { return &ProtocolError{fmt.Sprintf(format, args...)} }

// ErrTooLarge is a [ProtocolError].
var ErrTooLarge = odd("the reply is larger than is read")

// ServerError is an error reply: the server understood, and refused. Its text is the server's, any bytes.
type ServerError string

// Error is the text, made fit to be shown: it gets into logs and answers.
func (e ServerError) Error() string {
	said := string(e)
	if len(said) > maxSaid {
		said = said[:maxSaid] + "..."
	}
	if strings.ContainsFunc(said, func(r rune) bool { return r == utf8.RuneError || !unicode.IsPrint(r) }) {
		return strconv.Quote(said)
	}
	return said
}

// maxSaid is how much of an error's text is shown.
const maxSaid = 512

// Value is one RESP2 reply.
type Value struct {
	Kind byte // '+', '-', ':', '$', '*'; a null is '$' or '*' with Null set
	Null bool
	Num  int64
	Text string
	List []Value
}

// Reader reads replies from one connection.
type Reader struct {
	*bufio.Reader
	budget int64 // left for the reply that is being read, in bytes

	// Share is what each value of the reply's own list may take, 0: whatever the budget has. What is beyond it is read and
	// thrown away, and said so in Redis's words: a log with one monstrous entry can still be read.
	Share int64
	left  int64 // of the share of the value that is being read
}

// NewReader is a reader without a Share.
func NewReader(r io.Reader) *Reader { return &Reader{Reader: bufio.NewReaderSize(r, MaxLine)} }

// Reply reads one reply of at most budget bytes. An error reply is a [ServerError]; after any other error the
// connection is of no use. Within a list an error reply is a value.
func (r *Reader) Reply(budget int64) (Value, error) {
	r.budget, r.left = budget, r.Share
	v, err := r.value(0)
	if err == nil && v.Kind == '-' {
		return Value{}, ServerError(v.Text)
	}
	return v, err
}

// afford is how much of n bytes is within the share.
func (r *Reader) afford(n int64) int64 {
	if r.Share == 0 {
		return n
	}
	n = min(n, r.left, r.Share/8) // one text does not take it all
	r.left -= n
	return n
}

func (r *Reader) spend(n int64) error {
	if r.budget -= n; r.budget < 0 {
		return ErrTooLarge
	}
	return nil
}

func (r *Reader) value(depth int) (Value, error) {
	if depth > MaxDepth {
		return Value{}, odd("nested deeper than %d", MaxDepth)
	}
	line, err := r.line()
	if err != nil {
		return Value{}, err
	}
	if len(line) == 0 {
		return Value{}, odd("an empty line where a reply begins")
	}
	if err := r.spend(Cost); err != nil {
		return Value{}, err
	}
	v := Value{Kind: line[0]}
	switch rest := line[1:]; v.Kind {
	case '+', '-':
		kept := r.afford(int64(len(rest)))
		v.Text = cut(rest[:kept], int64(len(rest)))
		return v, r.spend(kept)
	case ':':
		v.Num, err = strconv.ParseInt(string(rest), 10, 64)
		if err != nil {
			return Value{}, odd("%q is not a number", rest)
		}
		return v, nil
	case '$', '*':
		n, err := strconv.ParseInt(string(rest), 10, 64)
		switch {
		case err != nil || n < -1:
			return Value{}, odd("%q is not a length", rest)
		case n == -1:
			v.Null = true
			return v, nil
		case v.Kind == '$':
			v.Text, err = r.bulk(n)
		default:
			v.List, err = r.array(n, depth)
		}
		return v, err
	}
	return Value{}, odd("%q begins no RESP2 reply", line[0])
}

func (r *Reader) bulk(n int64) (string, error) {
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
		return "", odd("a string is longer than it says")
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

func (r *Reader) array(n int64, depth int) ([]Value, error) {
	if n > r.budget/Cost && (r.Share == 0 || depth == 0) {
		return nil, ErrTooLarge
	}
	reserved := int64(0)
	if depth > 0 { // a list leaves some of the share to what comes after it
		reserved = r.left / 4
		r.left -= reserved
	}
	list := make([]Value, 0, min(n, 64)) // it may say a million and send none
	for range n {
		if depth == 0 {
			r.left = r.Share
		}
		before := r.budget
		whole := r.afford(Cost) == Cost
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
		list = append(list, Value{Kind: '$', Text: fmt.Sprintf("... (%d more arguments)", dropped)})
	}
	r.left += reserved
	return list, nil
}

// line reads up to CRLF, without it. What it returns is valid until the next read.
func (r *Reader) line() ([]byte, error) {
	b, err := r.ReadSlice('\n')
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		return nil, odd("a line longer than %d bytes", r.Size())
	case err != nil && len(b) > 0:
		return nil, unexpected(err)
	case err != nil:
		return nil, err
	case len(b) < 2 || b[len(b)-2] != '\r':
		return nil, odd("a line that does not end in CRLF")
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

// Append appends a command as clients send it: an array of bulk strings.
func Append(b []byte, args ...string) []byte {
	b = fmt.Appendf(b, "*%d\r\n", len(args))
	for _, a := range args {
		b = fmt.Appendf(b, "$%d\r\n%s\r\n", len(a), a)
	}
	return b
}
