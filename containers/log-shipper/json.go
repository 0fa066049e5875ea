package main

import (
	"encoding/base64"
	"unicode/utf8"

	"distlab/containers/internal/follow"
	"distlab/containers/internal/jsontext"
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
	b = jsontext.Append(b, r.Source)
	if host != "" {
		b = append(b, `,"host":`...)
		b = jsontext.Append(b, host)
	}
	if service != "" {
		b = append(b, `,"service":`...)
		b = jsontext.Append(b, service)
	}
	if r.Truncated {
		b = append(b, `,"truncated":true`...)
	}
	if r.Partial {
		b = append(b, `,"partial":true`...)
	}
	if utf8.Valid(r.Text) {
		b = append(b, `,"line":`...)
		b = jsontext.Append(b, r.Text)
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
