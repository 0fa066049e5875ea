package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// The bounds of a reply. INFO of a busy server with every command in its statistics is some 100 KB.
const (
	replyBudget = 8 << 20
	valueCost   = 64 // of a value besides its bytes: about what it takes in memory
	maxDepth    = 8  // LATENCY HISTOGRAM has three levels
	maxLine     = 64 << 10
)

// serverError is an error reply: the server understood, and refused.
type serverError string

// Error is the server's text, made fit for a log.
func (e serverError) Error() string {
	return strconv.Quote(strings.ToValidUTF8(string(e[:min(len(e), 256)]), "\uFFFD"))
}

// value is one RESP2 reply.
type value struct {
	text string
	num  int64
	list []value
}

// reader reads RESP2 replies, each within a budget: what a server may make this program hold in memory is bounded,
// whatever it sends. Source: https://redis.io/docs/latest/develop/reference/protocol-spec/
type reader struct {
	*bufio.Reader
	budget int64
}

// reply reads one reply. An error reply is a serverError; after any other error the connection is of no use.
func (r *reader) reply() (value, error) {
	r.budget = replyBudget
	return r.value(0)
}

func (r *reader) value(depth int) (value, error) {
	if r.budget -= valueCost; r.budget < 0 || depth > maxDepth {
		return value{}, fmt.Errorf("%w: a reply larger than is read", errProtocol)
	}
	line, err := r.ReadSlice('\n')
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		return value{}, fmt.Errorf("%w: a line longer than %d bytes", errProtocol, maxLine)
	case errors.Is(err, io.EOF):
		return value{}, io.ErrUnexpectedEOF
	case err != nil:
		return value{}, err
	}
	text, ok := strings.CutSuffix(string(line), "\r\n")
	if !ok || text == "" {
		return value{}, fmt.Errorf("%w: %.40q begins no reply of Redis", errProtocol, line)
	}
	r.budget -= int64(len(text))
	kind, rest := text[0], text[1:]
	if kind == '+' {
		return value{text: rest}, nil
	}
	if kind == '-' {
		if depth > 0 { // inside a list it is a value
			return value{text: rest}, nil
		}
		return value{}, serverError(rest)
	}
	n, err := strconv.ParseInt(rest, 10, 64)
	if err != nil || !strings.ContainsRune(":$*", rune(kind)) {
		return value{}, fmt.Errorf("%w: %.40q begins no reply of Redis", errProtocol, text)
	}
	switch {
	case kind == ':':
		return value{num: n}, nil
	case n == -1:
		return value{}, nil
	case n < 0 || n > r.budget || kind == '*' && n > r.budget/valueCost:
		return value{}, fmt.Errorf("%w: a reply larger than is read", errProtocol)
	case kind == '$':
		return r.bulk(n)
	}
	v := value{list: make([]value, 0, min(n, 64))} // it may say a thousand and send none
	for range n {
		item, err := r.value(depth + 1)
		if err != nil {
			return value{}, err
		}
		v.list = append(v.list, item)
	}
	return v, nil
}

func (r *reader) bulk(n int64) (value, error) {
	r.budget -= n
	b := make([]byte, n+2)
	if _, err := io.ReadFull(r, b); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return value{}, err
	}
	if string(b[n:]) != "\r\n" {
		return value{}, fmt.Errorf("%w: a string is longer than it says", errProtocol)
	}
	return value{text: string(b[:n])}, nil
}

// appendCommand appends a command as clients send it: an array of bulk strings.
func appendCommand(b []byte, args ...string) []byte {
	b = fmt.Appendf(b, "*%d\r\n", len(args))
	for _, a := range args {
		b = fmt.Appendf(b, "$%d\r\n%s\r\n", len(a), a)
	}
	return b
}
