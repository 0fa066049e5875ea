// Package jsontext appends texts as JSON has them (RFC 8259, section 7), for those who write a line of JSON for each of very many
// events and cannot afford encoding/json for it.
//
// What it writes is safe on a terminal, too: control characters of both sets, separators of lines and paragraphs, what turns the
// direction of text, and what is no UTF-8 (as U+FFFD) are escaped. So nothing in a text can begin a line or move a cursor. All
// else is as it is: the same text is the same bytes, and < and & are not escaped.
package jsontext

import "unicode/utf8"

const hex = "0123456789abcdef"

// Append appends s in quotes.
func Append[T string | []byte](b []byte, s T) []byte {
	b = append(b, '"')
	return append(Escape(b, s, true), '"')
}

// Escape appends s without quotes. With quote false, quotes and backslashes stay: s is JSON already.
func Escape[T string | []byte](b []byte, s T, quote bool) []byte {
	from := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			if c >= ' ' && c != 0x7f && (c != '"' && c != '\\' || !quote) {
				i++
				continue
			}
			b = append(b, s[from:i]...)
			switch c {
			case '"', '\\':
				b = append(b, '\\', c)
			case '\n':
				b = append(b, '\\', 'n')
			case '\t':
				b = append(b, '\\', 't')
			case '\r':
				b = append(b, '\\', 'r')
			default:
				b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
			}
			i++
			from = i
			continue
		}
		r, n := utf8.DecodeRuneInString(string(s[i:min(len(s), i+utf8.UTFMax)]))
		if r == utf8.RuneError || Unsafe(r) {
			b = append(b, s[from:i]...)
			b = append(b, '\\', 'u', hex[r>>12&15], hex[r>>8&15], hex[r>>4&15], hex[r&15])
			from = i + n
		}
		i += n
	}
	return append(b, s[from:]...)
}

// Unsafe says whether a character above ASCII does more than to be shown.
func Unsafe(r rune) bool {
	return r >= 0x80 && r < 0xa0 || r == 0x2028 || r == 0x2029 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069
}
