package main

import (
	"encoding/base64"
	"unicode/utf8"

	"distlab/containers/internal/follow"
)

// appendRecord adds a record as one line of JSON. It is written here and not by encoding/json because it is most of what the
// program does.
func appendRecord(b []byte, r *follow.Record, host, service string) []byte {
	b = append(b, `{"stream":"`...)
	b = append(b, r.Stream...)
	b = append(b, `","offset":`...)
	b = appendInt(b, r.Offset)
	b = append(b, `,"end":`...)
	b = appendInt(b, r.End)
	b = append(b, `,"source":`...)
	b = appendString(b, r.Source)
	if host != "" {
		b = append(b, `,"host":`...)
		b = appendString(b, host)
	}
	if service != "" {
		b = append(b, `,"service":`...)
		b = appendString(b, service)
	}
	if r.Truncated {
		b = append(b, `,"truncated":true`...)
	}
	if r.Partial {
		b = append(b, `,"partial":true`...)
	}
	if utf8.Valid(r.Text) {
		b = append(b, `,"line":`...)
		b = appendString(b, r.Text)
	} else {
		b = append(b, `,"line_base64":"`...)
		b = base64.StdEncoding.AppendEncode(b, r.Text)
		b = append(b, '"')
	}
	return append(b, '}', '\n')
}

func appendInt(b []byte, n int64) []byte {
	var digits [20]byte
	i := len(digits)
	for {
		i--
		digits[i] = byte('0' + n%10)
		if n /= 10; n == 0 {
			return append(b, digits[i:]...)
		}
	}
}

const hexDigits = "0123456789abcdef"

// appendString adds a string as JSON has it. What is not UTF-8 in a name becomes the replacement character.
func appendString[T string | []byte](b []byte, s T) []byte {
	b = append(b, '"')
	from := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRuneInString(string(s[i:min(len(s), i+utf8.UTFMax)]))
			if r == utf8.RuneError && n == 1 {
				b = append(b, s[from:i]...)
				b = append(b, "\ufffd"...)
				from = i + 1
			}
			i += n
			continue
		}
		if c >= ' ' && c != '"' && c != '\\' && c != 0x7f {
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
		default:
			b = append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
		i++
		from = i
	}
	b = append(b, s[from:]...)
	return append(b, '"')
}
