package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"distlab/containers/internal/resp"

	"github.com/google/go-cmp/cmp"
)

func readerOf(text string) *resp.Reader {
	return resp.NewReader(strings.NewReader(text))
}

func TestParseLog(t *testing.T) {
	const six = "*6\r\n:14\r\n:1309448221\r\n:15\r\n*2\r\n$4\r\nping\r\n$0\r\n\r\n$15\r\n127.0.0.1:58217\r\n$6\r\nworker\r\n"
	const four = "*4\r\n:0\r\n:1309448221\r\n:15\r\n*1\r\n$4\r\nping\r\n"
	entries, err := logOf("*2\r\n" + six + four)
	if err != nil {
		t.Fatal(err)
	}
	at := time.Unix(1309448221, 0).UTC()
	want := []Entry{
		{ID: 14, Time: at, Duration: 15 * time.Microsecond, Args: []string{"ping", ""}, Client: "127.0.0.1:58217", ClientName: "worker"},
		{ID: 0, Time: at, Duration: 15 * time.Microsecond, Args: []string{"ping"}, short: true},
	}
	if diff := cmp.Diff(want, entries, cmp.AllowUnexported(Entry{})); diff != "" {
		t.Errorf("entries (-want +got):\n%s", diff)
	}
	for _, tt := range []struct{ text, want string }{
		{"*0\r\n", "<nil>"},
		{"*1\r\n" + strings.Replace(six, "*6", "*7", 1) + ":1\r\n", "<nil>"}, // what a later Redis may add
		{"+OK\r\n", "the reply is no list"},
		{"*-1\r\n", "the reply is no list"},
		{"*2\r\n" + four + six, "entry 1: ID 14 after 0"},
		{"*2\r\n" + four + four, "entry 1: ID 0 after 0"},
		{"*1\r\n*5\r\n:1\r\n:1\r\n:1\r\n*0\r\n$0\r\n\r\n", "<nil>"},
		{"*1\r\n" + strings.Replace(six, "*6", "*8", 1) + "*2\r\n*1\r\n*1\r\n:1\r\n+x\r\n$-1\r\n", "<nil>"},
		{"*1\r\n:1\r\n", "entry 0: 0 fields, want 4 or more"},
		{"*1\r\n*3\r\n:1\r\n:1\r\n:1\r\n", "entry 0: 3 fields, want 4 or more"},
		{"*1\r\n*4\r\n$1\r\n1\r\n:1\r\n:1\r\n*0\r\n", "entry 0: id, time and duration are not numbers of 0 or more"},
		{"*1\r\n*4\r\n:-1\r\n:1\r\n:1\r\n*0\r\n", "entry 0: id, time and duration are not numbers of 0 or more"},
		{"*1\r\n*4\r\n:1\r\n:1\r\n:9223372036854775807\r\n*0\r\n", "entry 0: time 1 or duration 9223372036854775807 out of range"},
		{"*1\r\n*4\r\n:1\r\n:253402300800\r\n:1\r\n*0\r\n", "entry 0: time 253402300800 or duration 1 out of range"},
		{"*1\r\n*4\r\n:1\r\n:1\r\n:1\r\n$1\r\nx\r\n", "entry 0: the arguments are no list of strings"},
		{"*1\r\n*4\r\n:1\r\n:1\r\n:1\r\n*1\r\n:1\r\n", "entry 0: the arguments are no list of strings"},
		{"*1\r\n*6\r\n:1\r\n:1\r\n:1\r\n*0\r\n:1\r\n:1\r\n", "entry 0: the client's address and name are no strings"},
	} {
		if _, err := logOf(tt.text); fmt.Sprint(err) != tt.want {
			t.Errorf("%q: %v, want %s", tt.text, err, tt.want)
		}
	}
}

func logOf(text string) ([]Entry, error) {
	r := readerOf(text)
	r.Share = entryBudget
	v, err := r.Reply(1 << 20)
	if err != nil {
		return nil, err
	}
	return parseLog(v)
}

// TestMonstrousEntries: what a server keeps beyond all measure is cut, in Redis's own words, and the log is read on: the
// entries after it, and what comes after the monster in its own entry. Memory stays within the budget.
func TestMonstrousEntries(t *testing.T) {
	bulk := func(s string) string { return fmt.Sprintf("$%d\r\n%s\r\n", len(s), s) }
	entry := func(id int, args string) string {
		return fmt.Sprintf("*7\r\n:%d\r\n:1\r\n:2\r\n%s", id, args) + bulk("10.0.0.7:4242") + bulk("worker") + "*1\r\n:9\r\n"
	}
	list := func(n int, arg string) string { return fmt.Sprintf("*%d\r\n", n) + strings.Repeat(arg, n) }
	for _, tt := range []struct {
		name, args string
		n          int // arguments that are kept
		last       string
	}{
		{"what Redis keeps at most", list(31, bulk(strings.Repeat("x", 128)+"... (99999 more bytes)")), 31, "xx... (99999 more bytes)"},
		{"a text of 10 MB", list(1, bulk(strings.Repeat("x", 10<<20))), 1, "more bytes)"},
		{"a status of 60 KB", list(1, "+"+strings.Repeat("x", 60<<10)+"\r\n"), 1, "more bytes)"},
		{"100,000 arguments", list(100_000, bulk("x")), 0, "more arguments)"},
		{"32 texts of 1 MB", list(32, bulk(strings.Repeat("x", 1<<20))), 6, "... (27 more arguments)"},
		{"nothing", list(0, ""), 0, ""},
	} {
		r := readerOf("*3\r\n" + entry(3, list(1, bulk("before"))) + entry(2, tt.args) + entry(1, list(1, bulk("after"))))
		r.Share = entryBudget
		v, err := r.Reply(smallBudget + 3*entryBudget)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		entries, err := parseLog(v)
		if err != nil || len(entries) != 3 {
			t.Errorf("%s: %d entries, %v", tt.name, len(entries), err)
			continue
		}
		size := 0
		for _, a := range entries[1].Args {
			size += len(a) + resp.Cost
		}
		e, last := entries[1], ""
		if len(e.Args) > 0 {
			last = e.Args[len(e.Args)-1]
		}
		if tt.n > 0 && len(e.Args) != tt.n || !strings.HasSuffix(last, tt.last) || size > entryBudget+100 {
			t.Errorf("%s: %d arguments of %d bytes, the last %.60q", tt.name, len(e.Args), size, last)
		}
		if e.Client != "10.0.0.7:4242" || e.ClientName != "worker" || entries[2].Args[0] != "after" || entries[2].ID != 1 {
			t.Errorf("%s: what came after it is %+v and %+v", tt.name, e.ClientName, entries[2])
		}
	}
}

// FuzzLog: whatever a server sends, what is made of it is valid in every format, hides what it must, and moves the
// cursor only forwards.
func FuzzLog(f *testing.F) {
	for _, text := range []string{
		"*1\r\n*6\r\n:14\r\n:1309448221\r\n:15\r\n*2\r\n$4\r\nauth\r\n$6\r\nhunter\r\n$15\r\n127.0.0.1:58217\r\n$0\r\n\r\n",
		"*1\r\n*4\r\n:0\r\n:1\r\n:15\r\n*1\r\n$4\r\np\xffng\r\n", "*0\r\n", "*-1\r\n", "-ERR no\r\n", "$5\r\nhello\r\n", "*2\r\n*4\r\n:2\r\n",
	} {
		f.Add(text, int64(3))
	}
	f.Fuzz(func(t *testing.T, text string, last int64) {
		entries, err := logOf(text)
		if err != nil {
			return
		}
		redact := newRedact()
		for _, e := range entries {
			args, hidden := redact.args(e.Args)
			if len(e.Args) > 1 && strings.EqualFold(e.Args[0], "auth") && (!hidden || len(args) != 2 || args[1] != "(redacted)") {
				t.Errorf("%q is shown as %q", e.Args, args)
			}
			checkFormats(t, slowLine(e, args, "r"))
			checkFormats(t, slowLine(e, e.Args, "r"))
		}
		c := Cursor{RunID: "r", Last: max(last, -1)}
		n := c.advance("r", entries)
		if !n.restarted && n.after.Last < c.Last || n.lost < 0 || len(entries) > 0 && n.after.Last != entries[0].ID && n.after != c {
			t.Errorf("from %+v to %+v, %d lost", c, n.after, n.lost)
		}
	})
}
