package forward

import (
	"bufio"
	"bytes"
	"strings"
	"testing"

	"distlab/containers/internal/httpcases"
)

// FuzzAnswerHead: whatever a server says, what is passed on of its head is made of
// names and values, and its body is delimited in one way.
func FuzzAnswerHead(f *testing.F) {
	for _, c := range httpcases.Requests {
		if c.App.Answer != "" && len(c.App.Answer) < 4<<10 {
			f.Add([]byte(c.App.Answer))
		}
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		left := 8 << 10
		h, err := readHead(bufio.NewReaderSize(bytes.NewReader(text), 16), &left)
		if err != nil {
			return
		}
		if len(text) > 0 && left < 0 {
			t.Errorf("%q: longer than may be", text)
		}
		if h.status < 100 || h.status > 599 || h.chunked && h.length >= 0 || h.header["Transfer-Encoding"] != nil {
			t.Errorf("%q: %+v", text, h)
		}
		for name, values := range h.header {
			if name == "" || !isToken([]byte(name)) {
				t.Errorf("%q: name %q", text, name)
			}
			for _, v := range values {
				if strings.ContainsAny(v, "\r\n\x00") || strings.Trim(v, " \t") != v {
					t.Errorf("%q: %s has value %q", text, name, v)
				}
			}
		}
	})
}
