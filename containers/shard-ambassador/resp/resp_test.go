package resp

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// words are a request's arguments.
func words(b []byte, args []Arg) (list []string) {
	for _, a := range args {
		list = append(list, string(b[a.Data:a.End]))
	}
	return list
}

func TestParse(t *testing.T) {
	for _, tt := range []struct {
		in   string
		n    int
		want []string
		err  string
	}{
		{in: "*1\r\n$4\r\nPING\r\n", n: 14, want: []string{"PING"}},
		{in: "*2\r\n$3\r\nGET\r\n$0\r\n\r\nrest", n: 19, want: []string{"GET", ""}},
		{in: "*2\r\n$3\r\nGET\r\n$2\r\n\r\n\r\n", n: 21, want: []string{"GET", "\r\n"}},
		{in: "*0\r\nx", n: 4},
		{in: "*-1\r\nx", n: 5},
		{in: "PING\r\n", n: 6, want: []string{"PING"}},
		{in: "set k 'a b' \"\\x41\\n\\\"\"\n", n: 23, want: []string{"set", "k", "a b", "A\n\""}},
		{in: "\r\n", n: 2},
		{in: ""},
		{in: "*"},
		{in: "*1"},
		{in: "*1\r"},
		{in: "*1\r\n"},
		{in: "*1\r\n$"},
		{in: "*1\r\n$4\r\nPING"},
		{in: "*1\r\n$4\r\nPING\r"},
		{in: "PING"},
		{in: "*1\r\n$4\r\nPINGX\r\n", n: 16 - 2, want: []string{"PING"}}, // what ends an argument is not looked at
		{in: "*1\rX$4\rYPINGZZ", n: 14, want: []string{"PING"}},
		{in: "*-9223372036854775808\r\n", n: 23},
		{in: "*-9223372036854775809\r\n", err: "invalid multibulk length"},
		{in: "*2147483647\r\n"},
		{in: "*2147483648\r\n", err: "invalid multibulk length"},
		{in: "*1\r\n$536870912\r\n"},
		{in: "*1\r\n$536870913\r\n", err: "invalid bulk length"},
		{in: "*abc"}, // not before the line has ended
		{in: "*+1\r\n", err: "invalid multibulk length"},
		{in: "*1 \r\n", err: "invalid multibulk length"},
		{in: "*\r\n", err: "invalid multibulk length"},
		{in: "*1\n$4\nPING\n*1\r\n", err: "invalid multibulk length"},
		{in: "GET\vk\r\n", n: 7, want: []string{"GET\vk"}}, // a vertical tab is blank before a word, not in it
		{in: "\vGET k\r\n", n: 8, want: []string{"GET", "k"}},
		{in: "GET \"a\"\v\"b\"\r\n", n: 13, want: []string{"GET", "a", "b"}},
		{in: "GET a\x00b\r\n", err: "zero byte in inline request"},
		{in: "GET a\x00b", err: "zero byte in inline request"},
		{in: "PING\r\r\n", n: 7, want: []string{"PING"}},
		{in: "\x16\x03\x01\x02\x00\x01", err: "not RESP but TLS"},
		{in: "\x16"},
		{in: "POST / HTTP/1.1\r\n", err: "not RESP but HTTP"},
		{in: "post\r\n", err: "not RESP but HTTP"},
		{in: "Host: x\r\n", err: "not RESP but HTTP"},
		{in: "GET / HTTP/1.1\r\n", err: "not RESP but HTTP"},
		{in: "PRI * HTTP/2.0\r\n", err: "not RESP but HTTP"},
		{in: "MOVE /x HTTP/1.0\r\n", err: "not RESP but HTTP"},
		{in: "SET / HTTP/1.1\r\n", n: 16, want: []string{"SET", "/", "HTTP/1.1"}},
		{in: "GET HTTP/1.1\r\n", n: 14, want: []string{"GET", "HTTP/1.1"}},
		{in: "set k 0 60 5\r\n", err: "not RESP but memcached"},
		{in: "cas k 0 60 5 77 noreply\r\n", err: "not RESP but memcached"},
		{in: "set k v EX 60\r\n", n: 15, want: []string{"set", "k", "v", "EX", "60"}},
		{in: "set k 1 PX 60000\r\n", n: 18, want: []string{"set", "k", "1", "PX", "60000"}},
		{in: "*1\r\n+PING\r\n", err: "expected '$', got '+'"},
		{in: "*1x\r\n", err: "invalid multibulk length"},
		{in: "*-0\r\n", err: "invalid multibulk length"},
		{in: "*1\r\n$0000000000000000000000000000000000004\r\nPING\r\n", err: "invalid bulk length"},
		{in: "a 'b'c\r\n", err: "unbalanced quotes in request"},
	} {
		var p Parser
		b := []byte(tt.in)
		n, err := p.Parse(b)
		var got []string
		if n > 0 {
			got = words(p.Request(b, n), p.Args)
			if len(got) > 0 && !bytes.Equal(p.Request(b, n), AppendCommand(nil, got...)) {
				t.Errorf("%q is sent on as %q", tt.in, p.Request(b, n))
			}
		}
		text := ""
		if err != nil {
			text = strings.TrimPrefix(err.Error(), "Protocol error: ")
		}
		if n != tt.n || text != tt.err || !cmp.Equal(got, tt.want) {
			t.Errorf("%q: %d %q %q, want %d %q %q", tt.in, n, got, text, tt.n, tt.want, tt.err)
		}
	}
}

// However a stream of requests is cut, the same requests come out of it.
func FuzzParse(f *testing.F) {
	f.Add([]byte("*1\r\n$4\r\nPING\r\n*2\r\n$3\r\nGET\r\n$1\r\nk\r\nPING x\r\n\r\n*0\r\n"), uint8(3))
	f.Add([]byte("set \"a\\x41\" 'b'\r\n*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$2\r\n\r\n\r\n*x\r\n"), uint8(1))
	f.Add([]byte("*2\r\n$3\r\nGET\r\n$10\r\nk\r\n"), uint8(7))
	f.Fuzz(func(t *testing.T, b []byte, step uint8) {
		whole, _ := parseAll(bytes.Clone(b), len(b)+1) // which puts line ends right
		pieces, _ := parseAll(bytes.Clone(b), int(step)+1)
		if diff := cmp.Diff(whole, pieces); diff != "" {
			t.Errorf("cut into pieces of %d (-whole +pieces):\n%s", int(step)+1, diff)
		}
		for _, list := range whole {
			if list[0] == "error" {
				continue
			}
			// What is sent on reads the same.
			again := AppendCommand(nil, list...)
			var p Parser
			n, err := p.Parse(again)
			if n != len(again) || err != nil || !cmp.Equal(words(again, p.Args), list) {
				t.Errorf("%q is read as %q, %v", again, words(again, p.Args), err)
			}
		}
	})
}

// parseAll reads requests as a connection does: step bytes more at a time.
func parseAll(b []byte, step int) (list [][]string, rest int) {
	var p Parser
	begin := 0
	for end := min(step, len(b)); ; end = min(end+step, len(b)) {
		for {
			n, err := p.Parse(b[begin:end])
			if err != nil {
				return append(list, []string{"error", err.Error()}), 0
			}
			if n == 0 {
				break
			}
			if len(p.Args) > 0 {
				list = append(list, words(p.Request(b[begin:end], n), p.Args))
			}
			begin += n
		}
		if end == len(b) {
			return list, len(b) - begin
		}
	}
}

var replies = []string{
	"+OK\r\n", "-ERR x\r\n", ":12\r\n", "$3\r\nabc\r\n", "$0\r\n\r\n", "$-1\r\n", "*-1\r\n", "*0\r\n", "_\r\n", "#t\r\n", ",1.5\r\n",
	"(123456789012345678901234567890\r\n", "=7\r\ntxt:abc\r\n", "!5\r\nERR x\r\n", "*2\r\n:1\r\n*1\r\n$1\r\nx\r\n", "%2\r\n+a\r\n:1\r\n+b\r\n*0\r\n",
	"~1\r\n+x\r\n", ">2\r\n+message\r\n+x\r\n", "|1\r\n+ttl\r\n:3\r\n$1\r\nx\r\n", "*1\r\n|1\r\n+a\r\n+b\r\n:1\r\n", "$12\r\n12345678\r\n\r\n\r\n", "+\r\n", "*3\r\n*0\r\n*-1\r\n$-1\r\n",
}

func TestScan(t *testing.T) {
	all := strings.Join(replies, "")
	for step := 1; step <= len(all); step++ {
		var s Scanner
		var got []string
		var now []byte
		for begin := 0; begin < len(all); begin += step {
			for piece := []byte(all[begin:min(begin+step, len(all))]); len(piece) > 0; {
				n, done, err := s.Scan(piece)
				if err != nil {
					t.Fatalf("pieces of %d: %v after %q", step, err, got)
				}
				now = append(now, piece[:n]...)
				if piece = piece[n:]; done {
					got = append(got, string(now))
					if s.Kind != now[0] {
						t.Errorf("%q is of the kind %q", now, s.Kind)
					}
					now = nil
				}
			}
		}
		if diff := cmp.Diff(replies, got); diff != "" {
			t.Fatalf("pieces of %d (-want +got):\n%s", step, diff)
		}
	}
}

func TestScanRefuses(t *testing.T) {
	for _, in := range []string{
		"x", "HTTP/1.1 400\r\n", "$x\r\n", "$-2\r\n", "$01\r\n", "$3\r\nabcd\r\n", "$3\r\nabc\n\n", "*-2\r\n", "%-1\r\n", "~-1\r\n", "$3\n", "+OK\n", ":1\n",
		"*1\r\nx", "*99999999999999999\r\n", "$?\r\n", "=-1\r\n", "$3\r\nabc\r\r",
	} {
		for step := 1; step <= len(in); step++ {
			var s Scanner
			var err error
			for begin := 0; begin < len(in) && err == nil; begin += step {
				for piece := []byte(in[begin:min(begin+step, len(in))]); len(piece) > 0 && err == nil; {
					var n int
					n, _, err = s.Scan(piece)
					piece = piece[n:]
				}
			}
			if err == nil {
				t.Errorf("%q in pieces of %d is taken", in, step)
			}
		}
	}
}

func TestScanRequest(t *testing.T) {
	for in, ok := range map[string]bool{
		"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n": true,
		"$3\r\nGET\r\n":                  false,
		"*1\r\n:1\r\n":                   false,
		"*1\r\n*1\r\n$1\r\nk\r\n":        false,
		"*1\r\n$-1\r\n":                  false,
		"*-1\r\n":                        false,
		"*2147483648\r\n":                false,
		"*2\rX$3\rYGETZZ$1\r\nkAB":       true,
		"*1\r\n$536870913\r\n":           false,
	} {
		s := Scanner{Request: true}
		_, done, err := s.Scan([]byte(in))
		if (err == nil) != ok || done != ok {
			t.Errorf("%q: done %t, %v", in, done, err)
		}
	}
}

// However a reply is cut, it ends in the same place, and what a Scanner takes
// as a request a Parser does, too.
func FuzzScan(f *testing.F) {
	for _, r := range replies {
		f.Add([]byte(r+"+next\r\n"), uint8(1))
	}
	f.Add([]byte("*2\r\n$3\r\nGET\r\n$1\r\nk\r\n"), uint8(2))
	f.Fuzz(func(t *testing.T, b []byte, step uint8) {
		given := b
		scan := func(s *Scanner, step int) (total int, done bool, err error) {
			b := bytes.Clone(given) // as a request its line ends are put right
			for begin := 0; begin < len(b); begin += step {
				for piece := b[begin:min(begin+step, len(b))]; len(piece) > 0; {
					n, done, err := s.Scan(piece)
					total += n
					if done || err != nil {
						return total, done, err
					}
					if n != len(piece) {
						t.Fatal("stops without a reason")
					}
					piece = piece[n:]
				}
			}
			return total, false, nil
		}
		n, done, err := scan(&Scanner{}, len(b)+1)
		m, doneToo, errToo := scan(&Scanner{}, int(step)+1)
		if done != doneToo || err != errToo || done && n != m {
			t.Errorf("whole: %d %t %v, in pieces: %d %t %v", n, done, err, m, doneToo, errToo)
		}
		n, done, err = scan(&Scanner{Request: true}, int(step)+1)
		if err == nil && done {
			var p Parser
			k, err := p.Parse(bytes.Clone(given))
			if k != n || err != nil {
				t.Errorf("a request of %d bytes, for a Parser %d, %v", n, k, err)
			}
		}
	})
}

func TestKeys(t *testing.T) {
	for ask, want := range map[string]string{
		"GET k":                                  "k",
		"set k v":                                "k",
		"MSETNX a 1 b 2":                         "a b",
		"BITOP AND d a b":                        "d a b",
		"COPY a b REPLACE":                       "a b",
		"LMOVE a b LEFT LEFT":                    "a b",
		"EVAL s 2 a b c":                         "a b",
		"ZUNIONSTORE d 2 a b WEIGHTS 1 2":        "d a b",
		"ZINTER 2 a b":                           "a b",
		"LMPOP 2 a b LEFT":                       "a b",
		"XREAD COUNT 2 STREAMS a b 0 0":          "a b",
		"XREADGROUP GROUP g c STREAMS a >":       "a",
		"XREADGROUP GROUP streams c STREAMS a >": "a",
		"SORT k LIMIT 0 1 GET # STORE d":         "k d",
		"GEORADIUS k 1 2 3 m STORE d":            "k d",
		"GEORADIUSBYMEMBER k m 3 m STOREDIST d":  "k d",
		"OBJECT ENCODING k":                      "k",
		"XINFO STREAM k":                         "k",
		"MEMORY USAGE k":                         "k",
		"JSON.MGET a b $":                        "a b",
		"OBJECT HELP":                            "error: " + string(errSub),
		"MEMORY DOCTOR x":                        "error: " + string(errSub),
		"EVAL s 0":                               "error: " + string(errNoKeys),
		"EVAL s -1 a":                            "error: ERR value is not an integer or out of range",
		"EVAL s 1x a":                            "error: ERR value is not an integer or out of range",
		"XREAD STREAMS a":                        "error: " + string(errSyntax),
		"XREAD STREAMS a b 0":                    "error: " + string(errSyntax),
		"XREAD BLOCK 1 STREAMS a 0":              "error: " + string(errBlock),
		"SORT k GET w_*":                         "error: " + string(errPattern),
	} {
		b := AppendCommand(nil, strings.Fields(ask)...)
		var p Parser
		if n, err := p.Parse(b); n != len(b) || err != nil {
			t.Fatal(err)
		}
		c := Lookup(b[p.Args[0].Data:p.Args[0].End])
		if c == nil {
			t.Errorf("%s: unknown", ask)
			continue
		}
		keys, err := c.Keys(nil, b, p.Args)
		var got []string
		for _, k := range keys {
			got = append(got, string(b[p.Args[k].Data:p.Args[k].End]))
		}
		text := strings.Join(got, " ")
		if err != nil {
			text = fmt.Sprint("error: ", err)
		}
		if text != want {
			t.Errorf("%s: %q, want %q", ask, text, want)
		}
	}
}

// No request of any command makes the search for its keys look outside of it.
func FuzzKeys(f *testing.F) {
	f.Add([]byte("eval s 2 a b"))
	f.Add([]byte("xread count"))
	f.Add([]byte("sort k store"))
	f.Fuzz(func(t *testing.T, b []byte) {
		list := bytes.Fields(b)
		if len(list) == 0 {
			return
		}
		c := Lookup(list[0])
		if c == nil || !c.ArityOK(len(list)) {
			return
		}
		var strs []string
		for _, w := range list {
			strs = append(strs, string(w))
		}
		req := AppendCommand(nil, strs...)
		var p Parser
		p.Parse(req)
		keys, err := c.Keys(nil, req, p.Args)
		for _, k := range keys {
			if k < 1 || k >= len(p.Args) {
				t.Errorf("%q: key %d of %d", list, k, len(p.Args))
			}
		}
		if c.Action == Forward && len(keys) == 0 && err == nil {
			t.Errorf("%q has no key, and is forwarded", list)
		}
	})
}

func TestLookup(t *testing.T) {
	for _, name := range []string{"get", "GET", "gEt", "georadiusbymember_ro"} {
		if c := Lookup([]byte(name)); c == nil || c.Name != strings.ToLower(name) {
			t.Errorf("%s: %v", name, c)
		}
	}
	for _, name := range []string{"", "getx", "ge", strings.Repeat("x", 1000), "\x47ET\x00"} {
		if c := Lookup([]byte(name)); c != nil {
			t.Errorf("%q is %s", name, c.Name)
		}
	}
	for _, c := range Commands() {
		if c.Action == Refused && c.Why == "" {
			t.Errorf("%s is refused without a reason", c.Name)
		}
	}
}

func BenchmarkParse(b *testing.B) {
	req := AppendCommand(nil, "SET", "key:000000012345", "xxx")
	var p Parser
	b.ReportAllocs()
	for b.Loop() {
		if n, _ := p.Parse(req); n != len(req) || Lookup(req[p.Args[0].Data:p.Args[0].End]) == nil {
			b.Fatal(n)
		}
	}
}

func BenchmarkScan(b *testing.B) {
	reply := []byte("$3\r\nxxx\r\n")
	var s Scanner
	b.ReportAllocs()
	for b.Loop() {
		if n, _, _ := s.Scan(reply); n != len(reply) {
			b.Fatal(n)
		}
	}
}
