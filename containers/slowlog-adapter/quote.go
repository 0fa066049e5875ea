package main

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Keys and values of Redis are bytes. Three ways to write them, each of which can be undone: no two texts are written
// alike.

// text is for JSON: UTF-8 as it is, but for a backslash, which is doubled, and a byte that is not UTF-8, which becomes \xNN.
func text(s string) string {
	if utf8.ValidString(s) && !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for r, part := range runes(s) {
		switch {
		case r == '\\':
			b.WriteString(`\\`)
		case r < 0:
			fmt.Fprintf(&b, `\x%02x`, part[0])
		default:
			b.WriteString(part)
		}
	}
	return b.String()
}

// repr is for people who know redis-cli: what it shows when it is not told --raw. Source: sdscatrepr of Redis.
func repr(s string) string { return quoted(s, false) }

// argument is an argument as one would give it to redis-cli: bare where that is the same, else in quotes, within which
// printable UTF-8 stays. Source: sdssplitargs of Redis, which undoes it.
func argument(s string) string {
	if s != "" && utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool {
		return r == '"' || r == '\'' || r == '\\' || unicode.IsSpace(r) || !unicode.IsPrint(r)
	}) {
		return s
	}
	return quoted(s, true)
}

// escapes have a letter of their own.
var escapes = map[rune]string{
	'\\': `\\`, '"': `\"`, '\n': `\n`, '\r': `\r`, '\t': `\t`, '\a': `\a`, '\b': `\b`,
}

// quoted writes whatever is not printable as \xNN a byte; of what is beyond ASCII, all or what is not printable.
func quoted(s string, wide bool) string {
	b := []byte{'"'}
	for r, part := range runes(s) {
		switch escape := escapes[r]; {
		case escape != "":
			b = append(b, escape...)
		case r >= ' ' && r < 0x7f, wide && r > 0x7f && unicode.IsPrint(r):
			b = append(b, part...)
		default:
			for i := range len(part) {
				b = fmt.Appendf(b, `\x%02x`, part[i])
			}
		}
	}
	return string(append(b, '"'))
}

// runes goes through a text: each rune with its bytes, and -1 with each byte that is of none.
func runes(s string) func(yield func(rune, string) bool) {
	return func(yield func(rune, string) bool) {
		for len(s) > 0 {
			r, size := utf8.DecodeRuneInString(s)
			if r == utf8.RuneError && size == 1 {
				r = -1
			}
			if !yield(r, s[:size]) {
				return
			}
			s = s[size:]
		}
	}
}
