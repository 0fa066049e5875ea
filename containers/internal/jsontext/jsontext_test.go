package jsontext

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestAppend(t *testing.T) {
	for s, want := range map[string]string{
		"":                                     `""`,
		`Façade & Co <1> "\`:                   `"Façade & Co <1> \"\\"`,
		"a\tb\nc\r\x00\x1b[2J\x7f":             `"a\tb\nc\r\u0000\u001b[2J\u007f"`,
		"\xff\xf0\x9f":                         `"\ufffd\ufffd\ufffd"`,
		"\ufffd日\U0001f600":                    `"\ufffd日` + "\U0001f600" + `"`,
		"\u0080\u009b\u2028\u2029":             `"\u0080\u009b\u2028\u2029"`,
		"\u202a\u202e\u2066\u2069\u00a0\u2070": `"\u202a\u202e\u2066\u2069` + "\u00a0\u2070" + `"`,
	} {
		if got := string(Append(nil, s)); got != want {
			t.Errorf("%q: %s, want %s", s, got, want)
		}
		if got := string(Append([]byte("x"), []byte(s))); got != "x"+want {
			t.Errorf("%q as bytes: %s", s, got)
		}
	}
	if got := string(Escape(nil, `{"a":"\n"}`+"\u2028\x1b", false)); got != `{"a":"\n"}\u2028\u001b` {
		t.Errorf("JSON: %s", got)
	}
}

// FuzzAppend: it is JSON that means the text, on one line, and nothing in it moves a cursor.
func FuzzAppend(f *testing.F) {
	f.Add("a\n\x1b\xff\u2028")
	f.Fuzz(func(t *testing.T, s string) {
		got := Append(nil, s)
		var back string
		if err := json.Unmarshal(got, &back); err != nil {
			t.Fatal(err)
		}
		// encoding/json reads bytes that are no UTF-8 as U+FFFD each, too.
		if want := strings.Map(func(r rune) rune { return r }, s); back != want {
			t.Errorf("%q became %q", want, back)
		}
		for _, r := range string(got) {
			if r < ' ' || r == 0x7f || r == utf8.RuneError || Unsafe(r) {
				t.Errorf("%q in %q", r, got)
			}
		}
	})
}

func BenchmarkAppend(b *testing.B) {
	text := strings.Repeat(`GET /a/b?c=d HTTP/1.1 "Mozilla/5.0"`, 4)
	buf := make([]byte, 0, 1024)
	for b.Loop() {
		buf = Append(buf[:0], text)
	}
	b.SetBytes(int64(len(text)))
}
