package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"distlab/containers/internal/follow"
	"distlab/containers/internal/jsontext"
)

// now is when the lines of the tests are read.
var now = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

func clock(t testing.TB, zone string) *Clock {
	t.Helper()
	loc, err := time.LoadLocation(zone)
	if err != nil {
		t.Fatal(err)
	}
	return &Clock{Zone: loc, Now: func() time.Time { return now }}
}

// events are what a stream makes of a text, line by line.
func events(t testing.TB, format, text string, set func(*Stream)) (list []*Event) {
	t.Helper()
	s := &Stream{Limits: &Limits{Lines: 1000, Bytes: 1 << 20, Flush: time.Second}, Clock: clock(t, "UTC"), Told: formats[format], Original: true}
	s.Emit = func(e *Event) { list = append(list, e) }
	if set != nil {
		set(s)
	}
	for line := range strings.Lines(text) {
		s.Add(strings.TrimSuffix(line, "\n"), now, 1, false)
	}
	s.Flush()
	return list
}

func attr(e *Event, key string) string {
	for _, a := range e.Attrs {
		if a.Key == key {
			return a.Value
		}
	}
	return ""
}

// What JVM, CPython and Go printed is as many events as there were, to the byte: of Java's 44 lines the usual rules make 13.
func TestTraces(t *testing.T) {
	for file, want := range map[string][]string{
		"java":   {"Shop$1: wrapped", "java.lang.RuntimeException: outer", "java.lang.Exception: p", "java.lang.NullPointerException: ", "Shop$MyFailure: last"},
		"python": {"KeyError: 'b'", "ValueError: two\nlines", "ValueError: invalid literal for int() with base 10: 'x'", "ExceptionGroup: many (2 sub-exceptions)", "RecursionError: maximum recursion depth exceeded", "SyntaxError: invalid syntax", "E2: "},
		"go":     {"panic: assignment to entry in nil map [recovered]"},
		"dotnet": {"System.InvalidOperationException: order 7 is late"},
	} {
		text, err := os.ReadFile("testdata/" + file + ".txt")
		if err != nil {
			t.Fatal(err)
		}
		for _, format := range []string{"", "trace"} {
			var got, lines []string
			for _, e := range events(t, format, string(text), nil) {
				got = append(got, attr(e, "exception.type")+": "+attr(e, "exception.message"))
				lines = append(lines, e.Original)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s as %q (-want +got):\n%s", file, format, diff)
			}
			if strings.Join(lines, "\n") != strings.TrimSuffix(string(text), "\n") {
				t.Errorf("%s as %q: not to the byte", file, format)
			}
		}
	}
}

// A record's message may have any lines; those that begin like another format's events are of it.
func TestRecords(t *testing.T) {
	text := "2026-01-02 12:00:00,1 ERROR [main] shop - late\n{\"level\":\"fatal\"}\nlevel=info msg=x\nTraceback (most recent call last):\n" +
		"java.lang.Error: x\n\tat a.B\n\n2026-01-02 12:00:01,1 INFO next\n"
	got := events(t, "", text, nil)
	if len(got) != 2 || got[0].lines != 6 || got[0].Level != "ERROR" || attr(got[0], "thread.name") != "main" || got[1].Body != "INFO next" {
		t.Errorf("%d events: %+v", len(got), got[0])
	}
	// At a limit the rest is an event of its own that says so, and nothing is lost.
	limited := events(t, "", text, func(s *Stream) { s.Limits.Lines = 3 })
	if len(limited) != 3 || !limited[0].Truncated || !limited[1].Late || limited[1].lines != 3 {
		t.Errorf("%d events: %+v", len(limited), limited)
	}
	if each := events(t, "", text, func(s *Stream) { s.Limits.LineByLine = true }); len(each) != 7 { // a blank one says nothing
		t.Errorf("line by line: %d events", len(each))
	}
	// The exception of a record whose logger writes it behind the message.
	one := events(t, "", "2026-01-02 12:00:00 WARN x - java.io.IOException: gone\n\tat a.B(C.java:1)\n", nil)
	if len(one) != 1 || attr(one[0], "exception.type") != "java.io.IOException" || attr(one[0], "exception.message") != "gone" {
		t.Errorf("%+v", one[0])
	}
}

// FLUSH counts from the last line.
func TestFlush(t *testing.T) {
	for _, first := range []bool{false, true} {
		var list []*Event
		s := &Stream{Limits: &Limits{Lines: 100, Bytes: 1 << 20, Flush: time.Second, FromFirst: first}, Clock: clock(t, "UTC")}
		s.Emit = func(e *Event) { list = append(list, e) }
		at := now
		for i, line := range []string{"2026-01-02 12:00:00 ERROR x", "java.lang.Error: x", "\tat a.A", "\tat a.B", "\tat a.C"} {
			s.Add(line, at, i, false)
			at = at.Add(600 * time.Millisecond)
			s.Due(at)
		}
		s.Due(at.Add(time.Second))
		s.Add("\tat a.D", at, 9, false)
		s.Flush()
		if want := map[bool]int{false: 2, true: 4}[first]; len(list) != want || !list[len(list)-1].Late {
			t.Errorf("from the first line %v: %d events", first, len(list))
		}
	}
}

func TestStamps(t *testing.T) {
	for _, tt := range []struct{ line, zone, want, kept string }{
		{`h - - [10/Oct/2000:13:55:36 -0700] "GET / HTTP/1.0" 200 1`, "UTC", "2000-10-10T20:55:36Z", "-0700"},
		{"2026-11-25t10:00:00.5z INFO x", "UTC", "2026-11-25T10:00:00.5Z", "z"},
		{"2026-11-25 10:00:00,123+02 INFO x", "UTC", "2026-11-25T08:00:00.123Z", "+02"},
		{"2026-07-01 15:04:05 CEST INFO x", "UTC", "2026-07-01T13:04:05Z", "CEST"},
		{"2026-07-01 15:04:05 IST INFO x", "Europe/Berlin", "2026-07-01T13:04:05Z", ""}, // in three countries: it says nothing
		{"2026-10-25 02:30:00 INFO x", "Europe/Berlin", "2026-10-25T01:30:00Z ambiguous", ""},
		{"2026-03-29 02:30:00 INFO x", "Europe/Berlin", "2026-03-29T01:30:00Z ambiguous", ""},
		{"2026-03-29 03:30:00 INFO x", "Europe/Berlin", "2026-03-29T01:30:00Z", ""},
		{"2016-12-31T23:59:60Z INFO x", "UTC", "2017-01-01T00:00:00Z", "Z"},
		{"<34>Dec 31 23:59:59 h a: x", "UTC", "2025-12-31T23:59:59Z", ""}, // read on 2 January
		{"<34>Jan  2 00:00:00 h a: x", "UTC", "2026-01-02T00:00:00Z", ""},
		{"<34>Feb 29 00:00:00 h a: x", "UTC", "2024-02-29T00:00:00Z", ""}, // of the last year that had one
		{"I0102 00:25:51.624097    1755 f.go:12] x", "UTC", "2026-01-02T00:25:51.624097Z", ""},
		{"[Wed Nov 25 00:25:51.624097 2026] [mpm_event:notice] [pid 1:tid 2] AH00489: x", "UTC", "2026-11-25T00:25:51.624097Z", ""},
		{"ts=1764032400 msg=x", "UTC", "2025-11-25T01:00:00Z", "Z"},
		{`{"ts":1764032400.25}`, "UTC", "2025-11-25T01:00:00.25Z", "Z"},
		{`{"ts":1764032400123456}`, "UTC", "2025-11-25T01:00:00.123456Z", "Z"},
		{"11:59:00.5 [main] INFO x", "UTC", "2026-01-02T11:59:00.5Z", ""},
		{"23:59:00.5 [main] INFO x", "UTC", "2026-01-02T23:59:00.5Z", ""},
		{"2026-02-30 10:00:00 INFO x", "UTC", "none", ""},
		{"2026-02-03 24:00:00 INFO x", "UTC", "none", ""},
		{`h - - [31/Feb/2026:00:00:00 +0000] "GET / HTTP/1.0" 200 1`, "UTC", "none", ""},
	} {
		e := events(t, "", tt.line, func(s *Stream) { s.Clock = clock(t, tt.zone) })[0]
		got := "none"
		if !e.Time.IsZero() {
			got = e.Time.Format(rfc3339)
		}
		if e.Ambiguous {
			got += " ambiguous"
		}
		if got != tt.want || e.Zone != tt.kept {
			t.Errorf("%s: %s in %q, want %s in %q", tt.line, got, e.Zone, tt.want, tt.kept)
		}
	}
}

func TestFormats(t *testing.T) {
	for _, tt := range []struct{ line, format, body, level, fields string }{
		{`::1 - a b [10/Oct/2000:13:55:36 -0700] "garbage" 400 -`, "access", "garbage", "WARN", "client.address=::1 user.name=a b http.response.status_code=400 http.response.body.size=0"},
		{`h - - [10/Oct/2000:13:55:36 -0700] "GET /\"\x1B\\ HTTP/1.1" 200 5 "-" "a \"b\""`, "access", "GET /\"\x1b\\ HTTP/1.1", "INFO", "client.address=h http.request.method=GET url.path=/\"\x1b\\ network.protocol.version=1.1 http.response.status_code=200 http.response.body.size=5 user_agent.original=a \"b\""},
		{`h - - [10/Oct/2000:13:55:36 -0700] "" 400 0`, "access", "", "WARN", "client.address=h http.response.status_code=400 http.response.body.size=0"},
		{`level=info a=b=c d="x \"y\"" e msg=`, "logfmt", "", "info", `a=b=c d=x "y" e=true`},
		{`a=1 a=2 level=warn`, "logfmt", "", "warn", "a=1 a=2"},
		{`a="b`, "", `a="b`, "", ""},
		{`{"level":"error","msg":"x","a":{"b": [1, "\u2028"]},"n":1e3}`, "json", "x", "error", `a={"b":[1,"\u2028"]} n=1e3`},
		{`{"a":1} x`, "", `{"a":1} x`, "", ""},
		{`<34>Oct 11 22:14:15 mymachine su[12]: 'su root' failed`, "syslog", "'su root' failed", "crit", "syslog.facility=4 host.name=mymachine process.pid=12 syslog.appname=su"},
		{"<165>1 2003-10-11T22:14:15.003Z host app pid ID47 [sd@32473 k=\"v\\\"\\]\\\\\"][b] \ufeffMSG", "syslog", "MSG", "notice", `syslog.facility=20 host.name=host syslog.appname=app process.pid=pid syslog.msgid=ID47 syslog.sd.sd@32473.k=v"]\`},
		{`<165>1 - - - - - -`, "syslog", "", "notice", "syslog.facility=20"},
		{`<192>1 - - - - - -`, "", `<192>1 - - - - - -`, "", ""},
		{`fail: Shop.Orders[0]`, "trace", "Shop.Orders[0]", "fail", "code.namespace=Shop.Orders"},
		{`ERROR:root:late`, "trace", "late", "ERROR", "code.namespace=root"},
		{`[Wed Nov 25 00:25:51 2026] [core:error] [pid 3] [client ::1:55] x`, "apache-error", "x", "error", "apache.module=core process.pid=3 client.port=55 client.address=::1"},
	} {
		e := events(t, "", tt.line, nil)[0]
		var fields []string
		for _, a := range e.Attrs {
			fields = append(fields, a.Key+"="+a.Value)
		}
		if e.Format != tt.format || e.Body != tt.body || e.Level != tt.level || strings.Join(fields, " ") != tt.fields || (tt.format == "") != (e.Unparsed != "") {
			t.Errorf("%s:\n%s %q %s %q", tt.line, e.Format, e.Body, e.Level, strings.Join(fields, " "))
		}
	}
}

func TestPattern(t *testing.T) {
	f := newPattern(regexp.MustCompile(`^(?P<time>\d\d\.\d\d\.\d{4} \d\d:\d\d) (?P<level>\w+) (?P<n>\d+) (?P<message>.*)`), "02.01.2006 15:04")
	got := events(t, "", "01.07.2026 12:30 WARN 7 late\nmore\n02.07.2026 12:30 INFO 8 x\n", func(s *Stream) { s.Told, s.Clock = f, clock(t, "Europe/Berlin") })
	if len(got) != 2 || got[0].Body != "late\nmore" || got[0].Time.Format(rfc3339) != "2026-07-01T10:30:00Z" || attr(got[0], "n") != "7" {
		t.Errorf("%+v", got[0])
	}
}

// newAdapter runs one until the test stops it, and is its output.
func newAdapter(t *testing.T, stdin string, inputs string, set func(*Adapter)) (out *bytes.Buffer, stop func()) {
	t.Helper()
	a := &Adapter{
		Limits: Limits{Lines: 1000, Bytes: 1 << 20, Flush: 50 * time.Millisecond}, Clock: &Clock{Zone: time.UTC, Now: time.Now}, MaxLine: 1 << 10, MaxConns: 4,
		Poll: 5 * time.Millisecond, Stdin: strings.NewReader(stdin), Render: appendOTel, Log: slog.New(slog.DiscardHandler),
		Metrics: newMetrics(prometheus.NewRegistry()), Ready: func(bool, string) {},
	}
	out = &bytes.Buffer{}
	a.Out = out
	var paths []string
	for _, text := range strings.Split(inputs, ",") {
		var in Input
		if err := in.UnmarshalText([]byte(text)); err != nil {
			t.Fatal(err)
		}
		if a.Inputs = append(a.Inputs, in); in.Kind == "file" {
			paths = append(paths, in.Where)
		}
	}
	if paths != nil {
		a.Follower = &follow.Follower{Paths: paths, MaxLine: a.MaxLine, MaxFiles: 8, BatchSize: 1 << 16, Log: a.Log, Count: a.Metrics.counters()}
	}
	if set != nil {
		set(a)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	return out, func() {
		t.Helper()
		if inputs != "-" && !strings.HasSuffix(inputs, "=-") {
			cancel()
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
		cancel()
	}
}

type written struct {
	Body       string
	Attributes map[string]any
}

func lines(t *testing.T, out *bytes.Buffer) (list []written) {
	t.Helper()
	for line := range strings.Lines(out.String()) {
		var w written
		if err := json.Unmarshal([]byte(line), &w); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		list = append(list, w)
	}
	return list
}

// Docker's pieces are joined, also within a character, and its two outputs are two streams.
func TestDocker(t *testing.T) {
	var in strings.Builder
	for _, r := range [][2]string{
		{"stdout", "2026-01-02T12:00:00Z ERROR " + "first "},
		{"stderr", "Traceback (most recent call last):\n"},
		{"stdout", "half\n"},
		{"stderr", "  File \"a\"\n"},
		{"stdout", "java.lang.Error: x\n"},
		{"stderr", "KeyError: 1\n"},
		{"stdout", "\tat a.B\n"},
	} {
		text, _ := json.Marshal(map[string]string{"log": r[1], "stream": r[0], "time": "2026-01-02T12:00:01.5Z"})
		fmt.Fprintf(&in, "%s\n", text)
	}
	out, stop := newAdapter(t, in.String(), "docker+auto=-", nil)
	stop()
	got := map[string]bool{}
	for _, w := range lines(t, out) {
		got[w.Body] = true
	}
	want := map[string]bool{"ERROR first half\njava.lang.Error: x\n\tat a.B": true, "Traceback (most recent call last):\n  File \"a\"\nKeyError: 1": true}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// Files are read on from where a run before was, and what it held at its end is written.
func TestRestart(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "app.log")
	write := func(text string) {
		f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := io.WriteString(f, text); err != nil {
			t.Fatal(err)
		}
	}
	var all []written
	for run := range 3 {
		write(fmt.Sprintf("2026-01-02 12:00:0%d ERROR run %d\njava.lang.Error: x\n", run, run))
		out, stop := newAdapter(t, "", dir+"/*.log", func(a *Adapter) { a.Kept = follow.Checkpoint{Path: filepath.Join(dir, "kept")} })
		stop()
		all = append(all, lines(t, out)...)
	}
	if len(all) != 3 || all[2].Body != "ERROR run 2\njava.lang.Error: x" {
		t.Errorf("%+v", all)
	}
}

// Connections are streams of their own; syslog may count its octets, and then a line end is a part of the message.
func TestConnections(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	out, stop := newAdapter(t, "", "unix://"+path, nil)
	for _, text := range []string{"17 <34>1 - - - - - -6 <34>a\n<34>b\n", "24 <34>1 - - - - - - two\nof", "level=info msg=" + strings.Repeat("x", 5000) + "\nlevel=info msg=short"} {
		var conn net.Conn
		for conn == nil {
			conn, _ = net.Dial("unix", path)
		}
		io.WriteString(conn, text)
		conn.(*net.UnixConn).CloseWrite()
		io.Copy(io.Discard, conn) // until it was read
		conn.Close()
	}
	stop()
	var got []string
	for _, w := range lines(t, out) {
		got = append(got, fmt.Sprintf("%.20s %v", w.Body, w.Attributes["log.truncated"] != nil))
	}
	want := []string{" false", "a false", "b false", "two\nof false", "xxxxxxxxxxxxxxxxxxxx true", "short false"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// What is over the rate is counted, and told in the stream.
func TestRate(t *testing.T) {
	out, stop := newAdapter(t, strings.Repeat("level=info msg=x\n", 50), "-", func(a *Adapter) { a.Rate = 10 })
	stop()
	list := lines(t, out)
	last := list[len(list)-1]
	if n := last.Attributes["suppressed"]; len(list) < 11 || n != float64(50-len(list)+1) {
		t.Errorf("%d lines, %v suppressed", len(list), n)
	}
}

func TestInputs(t *testing.T) {
	for text, want := range map[string]string{
		"-": "", "/logs/*.log": "", "docker+json=/a": "", "syslog=tcp://0.0.0.0:5514": "", "unix:///run/a": "", "pattern=/x": "",
		"a.log": "not an input", "/logs/[": "not a pattern", "xml=/a": "no format", "podman+json=/a": "no envelope", "tcp://x": "not tcp://HOST:PORT", "unix://x": "not an input",
	} {
		var in Input
		if err := in.UnmarshalText([]byte(text)); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

// TestParserFault: a parser that panics costs the line its fields. It is kept and marked, and so is what comes after.
func TestParserFault(t *testing.T) {
	var got []*Event
	s := &Stream{Limits: &Limits{Lines: 10, Bytes: 1000, Flush: time.Second}, Clock: &Clock{Now: time.Now, Zone: time.UTC}, Emit: func(e *Event) { got = append(got, e) }}
	s.Told = &Format{Name: "odd", Parse: func(_ *Clock, line string, e *Event) bool {
		e.Body = line
		return line[3] == 'd' // of a line that is shorter: a panic
	}}
	for _, line := range []string{"good", "no", "good"} {
		s.Add(line, time.Now(), 1, false)
	}
	s.Flush()
	if len(got) != 3 || got[0].Unparsed != "" || got[2].Unparsed != "" || got[1].Original != "no" || !strings.Contains(got[1].Unparsed, "a fault of the reader of odd: ") {
		t.Errorf("%d events: %+v", len(got), got)
	}
}

// Whatever the lines are: none is lost, and each event is one line of JSON that a terminal only shows.
func FuzzStream(f *testing.F) {
	for _, name := range []string{"java", "python", "go", "dotnet"} {
		text, err := os.ReadFile("testdata/" + name + ".txt")
		if err != nil {
			f.Fatal(err)
		}
		f.Add("", string(text))
	}
	for _, seed := range []string{
		"level=info msg=\"a\\n\"\n", "{\"a\":{\"\u2028\":[\"\xff\"]},\"log.x\":1,\"a\":2}", "<34>1 2003-10-11T22:14:15.003Z h a - - [a b=\"\\]\"] x",
		"I1125 00:25:51.624097    1755 f.go:12] x\ny", "h - - [10/Oct/2000:13:55:36 -0700] \"GET /\\x1b\" 200 1 \"-\"", "[Wed Nov 25 00:25:51.624097 2026] [core:error] [pid 1:tid 2] x",
		"\x1b[2J\u009b\u202e\x00\n\n \n", "2026-11-25 10:00:00,1 ERROR x\n\n\n\tat x",
	} {
		f.Add("", seed)
		for name := range formats {
			f.Add(name, seed)
		}
	}
	f.Fuzz(func(t *testing.T, format, text string) {
		var back []string
		for _, e := range events(t, format, text, func(s *Stream) { s.Limits = &Limits{Lines: 5, Bytes: 1000, Flush: time.Second} }) {
			back = append(back, e.Original)
			for _, render := range renders {
				line := render(nil, e, "s")
				if !json.Valid(line) {
					t.Fatalf("no JSON: %q", line)
				}
				if i := bytes.IndexFunc(line[:len(line)-1], func(r rune) bool {
					return r < ' ' || r == 0x7f || jsontext.Unsafe(r) || r == 0xfffd && !strings.Contains(text, "\ufffd")
				}); i >= 0 {
					t.Fatalf("a terminal obeys byte %d of %q", i, line)
				}
			}
		}
		squeeze := func(s string) string {
			return strings.Join(strings.FieldsFunc(s, func(r rune) bool {
				return r == '\n' || r == ' ' || r == '\t' || r == '\r' || r == '\v' || r == '\f' || r == 0x85 || r == 0xa0 || r > 0x1680
			}), "")
		}
		if want, got := squeeze(text), squeeze(strings.Join(back, "\n")); want != got {
			t.Fatalf("lost:\n%q\n%q", want, got)
		}
	})
}
