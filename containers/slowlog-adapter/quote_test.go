package main

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"distlab/containers/internal/resp"

	"github.com/google/go-cmp/cmp"
)

// all is every byte there is.
var all = func() string {
	b := make([]byte, 256)
	for i := range b {
		b[i] = byte(i)
	}
	return string(b)
}()

// TestQuotes: each way of writing bytes. The second column is what redis-cli 8.0 --no-raw prints for them.
func TestQuotes(t *testing.T) {
	for _, tt := range []struct{ bytes, repr, text, argument string }{
		{"plain", `"plain"`, `plain`, `plain`},
		{"", `""`, ``, `""`},
		{"a b", `"a b"`, `a b`, `"a b"`},
		{"\xff", `"\xff"`, `\xff`, `"\xff"`},
		{`\xff`, `"\\xff"`, `\\xff`, `"\\xff"`},
		{"\t\n\r\a\b", `"\t\n\r\a\b"`, "\t\n\r\a\b", `"\t\n\r\a\b"`},
		{"\v\f\x00\x1b\x7f", `"\x0b\x0c\x00\x1b\x7f"`, "\v\f\x00\x1b\x7f", `"\x0b\x0c\x00\x1b\x7f"`},
		{"\u00a0", `"\xc2\xa0"`, "\u00a0", `"\xc2\xa0"`}, // a blank that is none
		{"é", `"\xc3\xa9"`, "é", "é"},
		{"é 日", `"\xc3\xa9 \xe6\x97\xa5"`, "é 日", `"é 日"`},
		{"\xc3", `"\xc3"`, `\xc3`, `"\xc3"`},
		{"\ufffd", `"\xef\xbf\xbd"`, "\ufffd", "\ufffd"}, // the sign for what cannot be read, as such
		{"\u2028", `"\xe2\x80\xa8"`, "\u2028", `"\xe2\x80\xa8"`},
		{`say "hi"`, `"say \"hi\""`, `say "hi"`, `"say \"hi\""`},
		{"it's", `"it's"`, "it's", `"it's"`},
		{`C:\dir`, `"C:\\dir"`, `C:\\dir`, `"C:\\dir"`},
		{"a=b", `"a=b"`, "a=b", "a=b"},
	} {
		for _, got := range [][3]string{{"repr", repr(tt.bytes), tt.repr}, {"text", text(tt.bytes), tt.text}, {"argument", argument(tt.bytes), tt.argument}} {
			if got[1] != got[2] {
				t.Errorf("%q as %s: %s, want %s", tt.bytes, got[0], got[1], got[2])
			}
		}
	}
	if got := unquote(t, repr(all)); got != all {
		t.Errorf("not every byte comes back: %q", got)
	}
}

// unquote is redis-cli's reading of a quoted text.
func unquote(t *testing.T, s string) string {
	t.Helper()
	words := splitArgs(t, s)
	if len(words) != 1 {
		t.Fatalf("%s is %d words", s, len(words))
	}
	return words[0]
}

// splitArgs does as sdssplitargs of Redis.
func splitArgs(t *testing.T, s string) (words []string) {
	t.Helper()
	space := func(c byte) bool { return strings.IndexByte(" \n\r\t\v\f", c) >= 0 }
	for i := 0; ; {
		for i < len(s) && space(s[i]) {
			i++
		}
		if i == len(s) {
			return words
		}
		var w []byte
		if s[i] != '"' {
			for ; i < len(s) && !space(s[i]); i++ {
				if s[i] == '"' || s[i] == '\'' {
					t.Fatalf("a quote within a bare word: %s", s)
				}
				w = append(w, s[i])
			}
			words = append(words, string(w))
			continue
		}
		for i++; s[i] != '"'; i++ {
			c := s[i]
			if c == '\\' {
				i++
				switch c = s[i]; c {
				case 'x':
					n, err := strconv.ParseUint(s[i+1:i+3], 16, 8)
					if err != nil {
						t.Fatal(err)
					}
					c, i = byte(n), i+2
				case 'n', 'r', 't', 'a', 'b':
					c = map[byte]byte{'n': '\n', 'r': '\r', 't': '\t', 'a': '\a', 'b': '\b'}[c]
				}
			}
			w = append(w, c)
		}
		words = append(words, string(w))
		if i++; i < len(s) && !space(s[i]) {
			t.Fatalf("something follows a closing quote: %s", s)
		}
	}
}

// untext undoes text, as the README says that it can be done.
func untext(t *testing.T, s string) string {
	t.Helper()
	var b []byte
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] != '\\':
			b = append(b, s[i])
		case s[i+1] == '\\':
			b, i = append(b, '\\'), i+1
		default:
			n, err := strconv.ParseUint(s[i+2:i+4], 16, 8)
			if err != nil || s[i+1] != 'x' {
				t.Fatalf("%q at %d", s, i)
			}
			b, i = append(b, byte(n)), i+3
		}
	}
	return string(b)
}

// checkReversible writes an entry in each format, reads it back, and wants the same bytes.
func checkReversible(t *testing.T, args []string, client, name string) {
	t.Helper()
	e := Entry{ID: 1, Time: time.Unix(1, 0).UTC(), Args: args, Client: client, ClientName: name}
	l := slowLine(e, args, "r1")
	want := append(append([]string{}, args...), client, name)

	var row line
	out := appendJSON(nil, l)
	if err := json.Unmarshal(out, &row); err != nil || strings.Count(string(out), "\n") != 1 || !utf8.Valid(out) {
		t.Fatalf("%v: %q", err, out)
	}
	var got []string
	for _, a := range append(row.Args, *row.Client, *row.ClientName) {
		got = append(got, untext(t, a))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("JSON (-want +got):\n%s%s", diff, out)
	}

	out = appendLogfmt(nil, l)
	if strings.Count(string(out), "\n") != 1 || !utf8.Valid(out) {
		t.Fatalf("not a line: %q", out)
	}
	pairs := unlogfmt(t, string(out))
	got = append(splitArgs(t, pairs["command"]), untext(t, pairs["client"]), untext(t, pairs["client_name"]))
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("logfmt (-want +got):\n%s%s", diff, out)
	}

	got = nil
	rows := strings.Split(strings.TrimSuffix(string(appendRedis(nil, l)), "\n"), "\n")
	for _, row := range rows[3:] {
		if row != "4) (empty array)" {
			got = append(got, unquote(t, row[strings.LastIndex(row[:strings.Index(row, `"`)], ")")+2:]))
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("as redis-cli shows it (-want +got):\n%s%q", diff, rows)
	}
}

// unlogfmt reads key=value, values quoted or not.
func unlogfmt(t *testing.T, s string) map[string]string {
	t.Helper()
	pairs := map[string]string{}
	for s = strings.TrimSuffix(s, "\n"); s != ""; {
		key, rest, _ := strings.Cut(s, "=")
		value := rest
		if strings.HasPrefix(rest, `"`) {
			quoted, err := strconv.QuotedPrefix(rest)
			if err != nil {
				t.Fatalf("%v: %q", err, rest)
			}
			value, _ = strconv.Unquote(quoted)
			rest = rest[len(quoted):]
		} else {
			value, _, _ = strings.Cut(rest, " ")
			rest = rest[len(value):]
		}
		if _, twice := pairs[key]; twice || strings.ContainsAny(key, ` "`) {
			t.Fatalf("key %q", key)
		}
		pairs[key], s = value, strings.TrimPrefix(rest, " ")
	}
	return pairs
}

func TestReversible(t *testing.T) {
	checkReversible(t, nil, "", "")
	checkReversible(t, []string{""}, "", "")
	checkReversible(t, []string{"", ""}, "a b", `\`)
	checkReversible(t, []string{"\xff", `\xff`, `\\xff`, "\t", "\u00a0", all}, all, all)
	checkReversible(t, []string{"a\nb", "# lost 3 entries", `" client="forged`, "x event=slow"}, "\n", "1) (integer) 9\n")
	many := make([]string, 40)
	for i := range many {
		many[i] = fmt.Sprint(i)
	}
	checkReversible(t, many, "10.0.0.7:4242", "worker")
}

// FuzzReversible: any bytes come back from every format, and no two texts are written alike.
func FuzzReversible(f *testing.F) {
	f.Add("SET", "\xff", `\xff`, "worker")
	f.Add("", " ", `"'`, "\n")
	f.Add(all, all, "", "")
	f.Fuzz(func(t *testing.T, a, b, client, name string) {
		checkReversible(t, []string{a, b}, client, name)
		for how, f := range map[string]func(string) string{"text": text, "repr": repr, "argument": argument} {
			if (f(a) == f(b)) != (a == b) {
				t.Errorf("%q and %q as %s: %s and %s", a, b, how, f(a), f(b))
			}
		}
	})
}

// TestWhatTheServerSays: an error's text is fit for a log and an answer, whatever is in it.
func TestWhatTheServerSays(t *testing.T) {
	for said, want := range map[string]string{
		"NOAUTH Authentication required.":  "NOAUTH Authentication required.",
		"ERR \x1b[31mred\x00":              `"ERR \x1b[31mred\x00"`,
		"ERR \xff":                         `"ERR \xff"`,
		"ERR " + strings.Repeat("x", 2000): "ERR " + strings.Repeat("x", 508) + "...",
	} {
		if got := resp.ServerError(said).Error(); got != want {
			t.Errorf("%q: %q, want %q", said, got, want)
		}
	}
}
