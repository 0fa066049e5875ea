package resp

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
)

const budget = 64 << 10

func readerOf(text string) *Reader { return NewReader(strings.NewReader(text)) }

func TestReplies(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"+OK\r\n", ""},
		{":-3\r\n", ""},
		{"$0\r\n\r\n", ""},
		{"$-1\r\n", ""},
		{"*-1\r\n", ""},
		{"*2\r\n$1\r\na\r\n*1\r\n:1\r\n", ""},
		{"-NOAUTH Authentication required.\r\n", "NOAUTH Authentication required."},
		{"", "EOF"},
		{"$3\r\nab", "unexpected EOF"},
		{"*2\r\n:1\r\n", "unexpected EOF"},
		{":1", "unexpected EOF"},
		{":1\n", "a line that does not end in CRLF"},
		{":x\r\n", `"x" is not a number`},
		{"$-2\r\n", `"-2" is not a length`},
		{"*x\r\n", `"x" is not a length`},
		{"$1\r\nabc", "a string is longer than it says"},
		{"\r\n", "an empty line where a reply begins"},
		{"OK\r\n", `'O' begins no RESP2 reply`},
		{"+OK\n", "a line that does not end in CRLF"},
		{"%1\r\n", `'%' begins no RESP2 reply`},
		{"$999999999999\r\n", ErrTooLarge.Error()},
		{"*999999999999\r\n", ErrTooLarge.Error()},
		{strings.Repeat("*1\r\n", MaxDepth+2), "nested deeper than 16"},
		{"+" + strings.Repeat("x", MaxLine), "a line longer than 65536 bytes"},
	} {
		_, err := readerOf(tt.text).Reply(budget)
		if got := fmt.Sprint(err); got != tt.want && (tt.want != "" || err != nil) {
			t.Errorf("%.30q: %v, want %s", tt.text, err, tt.want)
		}
	}
}

// A list of many small values must not take more memory than the budget says.
func TestBudgetCountsValues(t *testing.T) {
	text := "*100\r\n" + strings.Repeat(":1\r\n", 100)
	if _, err := readerOf(text).Reply(101 * Cost); err != nil {
		t.Error(err)
	}
	if _, err := readerOf(text).Reply(101*Cost - 1); !errors.Is(err, ErrTooLarge) {
		t.Errorf("%v, want %v", err, ErrTooLarge)
	}
}

// FuzzReply: the reader ends, holds to its budget, and reads what it wrote.
func FuzzReply(f *testing.F) {
	f.Add("*2\r\n$1\r\na\r\n*1\r\n:1\r\n")
	f.Add("$3\r\nabc\r\n")
	f.Fuzz(func(t *testing.T, text string) {
		readerOf(text).Reply(4096)
		args := strings.Fields(text)
		v, err := readerOf(string(Append(nil, args...))).Reply(1 << 30)
		if err != nil && !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
		for i, a := range v.List {
			if a.Text != args[i] {
				t.Errorf("argument %d is %q, was %q", i, a.Text, args[i])
			}
		}
	})
}
