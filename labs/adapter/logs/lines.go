package logs

import (
	"fmt"
	"strings"
	"time"

	"distlab/lab/check"
)

// stamps are times as logs have them, and what they are; LOG_TZ is Europe/Berlin. {} is where the token goes.
var stamps = []struct{ name, line, want, zone string }{
	{"common log", `127.0.0.1 - - [10/Oct/2000:13:55:36 -0700] "GET /{} HTTP/1.1" 200 1`, "2000-10-10T20:55:36Z", "-0700"},
	{"common log, other side of midnight", `::1 - - [31/Dec/2025:23:30:00 -0230] "GET /{} HTTP/1.1" 200 -`, "2026-01-01T02:00:00Z", "-0230"},
	{"RFC 3339", "2026-11-25T10:00:00.123456+05:45 ERROR {}", "2026-11-25T04:15:00.123456Z", "+05:45"},
	{"lower case", "2026-11-25t10:00:00z INFO {}", "2026-11-25T10:00:00Z", "z"},
	{"logback", "2026-07-01 10:00:00,123 INFO [main] {}", "2026-07-01T08:00:00.123Z", ""},
	{"logback in winter", "2026-01-01 10:00:00,123 INFO [main] {}", "2026-01-01T09:00:00.123Z", ""},
	{"an abbreviation", "2026-07-01 15:04:05 CEST INFO {}", "2026-07-01T13:04:05Z", "CEST"},
	{"Go's log", "2009/11/10 23:00:00 INFO {}", "2009-11-10T22:00:00Z", ""},
	{"leap second", "2016-12-31T23:59:60Z INFO {}", "2017-01-01T00:00:00Z", "Z"},
	{"29 February", "2024-02-29T12:00:00-08 INFO {}", "2024-02-29T20:00:00Z", "-08"},
	{"in the gap", "2026-03-29 02:30:00 INFO {}", "2026-03-29T01:30:00Z", ""},
	{"Apache's error log", "[Wed Nov 25 00:25:51.624097 2026] [core:error] [pid 1] {}", "2026-11-24T23:25:51.624097Z", ""},
	{"RFC 5424", "<165>1 2003-08-24T05:14:15.000003-07:00 host app - - - {}", "2003-08-24T12:14:15.000003Z", "-07:00"},
	{"logfmt in seconds", "ts=1764032400.5 level=info msg={}", "2025-11-25T01:00:00.5Z", "Z"},
	{"JSON in milliseconds", `{"time":1764032400123,"msg":"{}"}`, "2025-11-25T01:00:00.123Z", "Z"},
	{"JSON in nanoseconds", `{"ts":1764032400123456789,"msg":"{}"}`, "2025-11-25T01:00:00.123456789Z", "Z"},
}

// times sends lines with times of every kind, each in a stream of its own.
func times(m *check.M) check.Result {
	begun := time.Now()
	var ways check.Ways
	token := m.Fresh()
	mark := func(i int) string { return fmt.Sprintf("%s-%02d.", token, i) }
	for i, s := range stamps {
		send(m, strings.ReplaceAll(s.line, "{}", mark(i))+"\n")
	}
	// Without a year: two days ago and in two days are this year's, or the one at whose other end they are.
	berlin := check.Got(time.LoadLocation("Europe/Berlin"))
	near := []time.Time{}
	for i, days := range []int{-2, 2, -170, 170} {
		at := time.Date(begun.Year(), begun.Month(), begun.Day()+days, 12, 30, 15, 0, berlin)
		near = append(near, at)
		send(m, "<34>"+at.Format("Jan _2 15:04:05")+" host app: "+mark(len(stamps)+i)+"\n")
	}
	none := mark(len(stamps) + len(near))
	send(m, "level=info msg="+none+"\n")
	all := awaitFew(m, begun, token, len(stamps)+len(near)+1)
	find := func(i int) (e event) {
		for _, e := range all {
			if strings.Contains(e.original(), mark(i)) {
				return e
			}
		}
		return event{}
	}
	for i, s := range stamps {
		e := find(i)
		ways.Way(s.name).Note(e.Timestamp == s.want && e.text("log.time.zone") == s.zone &&
			(e.text("log.time.ambiguous") == "true") == (s.name == "in the gap"), "%s: %s in zone %q", s.line, e.Timestamp, e.text("log.time.zone"))
	}
	for i, at := range near {
		e := find(len(stamps) + i)
		ways.Way("without a year").Note(e.Timestamp == at.UTC().Format(time.RFC3339), "%v: %s", at, e.Timestamp)
	}
	e := find(len(stamps) + len(near))
	at, err := time.Parse(time.RFC3339Nano, e.Timestamp)
	ways.Way("without a time").Note(err == nil && at.Sub(begun).Abs() < time.Minute && e.text("log.time.observed") == "true", "%s", e.Timestamp)
	return ways.Decide().Want("each the moment that was meant")
}

// badLine puts lines of no form among good ones, in the apps' own files and in streams.
func badLine(m *check.M) check.Result {
	begun := time.Now()
	var ways check.Ways
	token := m.Fresh()
	bad := map[string]string{
		"words":     token + " out of memory",
		"half":      `127.0.0.1 - - [25/Nov/2026:00:25:53 +0000] "GET /` + token,
		"half JSON": `{"level":"info","msg":"` + token,
		"no bytes":  `127.0.0.1 - - [25/Nov/2026:00:25:53 +0000] "GET /` + token + ` HTTP/1.1" 2x0 1`,
		"no day":    `127.0.0.1 - - [31/Feb/2026:00:25:53 +0000] "GET /` + token + ` HTTP/1.1" 200 1`,
		"quotes":    `level=info msg="` + token,
		"long":      token + " " + strings.Repeat("long ", 2000),
	}
	for _, a := range apps[1:] {
		var text strings.Builder
		for _, line := range bad {
			text.WriteString(line + "\n")
		}
		first, _ := a.write(m, 20)
		a.text(m, text.String())
		_, last := a.write(m, 20)
		awaitFew(m, begun, token, len(bad))
		a.once(m, begun, first, last, &ways, func(e event) bool { return e.text("log.unparsed") == "" })
		for name, line := range bad {
			n := 0
			for _, e := range events(m, begun, token) {
				if e.text("log.source") == "/logs/"+a.service+".log" && e.original() == line && e.Body == line && e.text("log.unparsed") == "not "+a.format {
					n++
				}
			}
			ways.Way(name).Note(n == 1, "in %s it is there %d times", a.service, n)
		}
	}
	// Of a stream that has no form at all.
	word := m.Fresh()
	send(m, word+" one\n"+word+" two\n\n"+word+" \xff\xfe\n")
	got := awaitFew(m, begun, word, 3)
	right := len(got) == 3
	for _, e := range got {
		right = right && e.text("log.unparsed") == "of no known format"
	}
	ways.Way("nothing but such").Note(right && got[2].Body == word+" \ufffd\ufffd", "%v", got)
	counted := m.Metric(pod, adminPort, "log_adapter_unparsed_total")
	ways.Way("counted").Note(counted >= float64(2*len(bad)+3), "%v", counted)
	return ways.Decide().Want("each kept as it is, once, and marked")
}

// noInjection logs messages that would be events of their own, or more than text to a terminal.
func noInjection(m *check.M) check.Result {
	begun := time.Now()
	var ways check.Ways
	forged := `{"level":"fatal","msg":"forged","Timestamp":"2026-01-01T00:00:00Z"}`
	evil := "\x1b[2J\x1b]0;owned\x07\u009b31m\u2028\u2029\u202e\x7f\b"
	// One event each: a line end as each format can have it, what is no event behind it, and bytes that move a cursor.
	for format, line := range map[string]string{
		"java":         "2026-11-25T10:00:00Z ERROR [main] shop - {} " + evil + "\n" + forged + "\nlevel=fatal msg=forged time=2026-01-01T00:00:00Z a=b\n\tat x.Y(Z.java:1)\r\n",
		"access":       `10.0.0.1 - - [25/Nov/2026:00:25:53 +0000] "GET /{}\n` + strings.ReplaceAll(forged, `"`, `\"`) + `\x1b[2J HTTP/1.1" 200 1 "-" "` + evil + `"` + "\r\n",
		"logfmt":       `time=2026-11-25T10:00:00Z level=info msg="{}\n` + strings.ReplaceAll(forged, `"`, `\"`) + evil + `"` + "\n",
		"json":         `{"level":"info","msg":"{}\n{\"level\":\"fatal\"}\u001b[2J\r","log.unparsed":"forged","x":["` + "\u009b\u2028" + `"]}` + "\n",
		"counted":      "",
		"apache-error": "[Wed Nov 25 00:25:51.624097 2026] [core:error] [pid 1:tid 2] {}\\n" + forged + evil + "\n",
	} {
		token := m.Fresh()
		text := strings.ReplaceAll(line, "{}", token)
		if format == "counted" { // of octets: a line end is a part of the message
			message := "<34>1 2026-11-25T10:00:00Z host app - - - " + token + "\n<34>1 2026-11-25T10:00:00Z host app - - - forged" + evil
			text = fmt.Sprintf("%d %s", len(message), message)
		}
		send(m, text)
		got := awaitFew(m, begun, token, 1)
		more := 0
		for _, e := range events(m, begun, "") {
			if len(got) == 1 && e.text("log.source") == got[0].text("log.source") {
				more++
			}
		}
		ways.Way(format).Note(len(got) == 1 && more == 1 && got[0].SeverityText != "fatal" && got[0].text("log.unparsed") == "", "%d events, %d of the stream: %v", len(got), more, got)
	}
	// The output is bytes that a terminal only shows.
	for line := range strings.Lines(m.Logs(adapter, begun)) {
		at := strings.IndexFunc(strings.TrimSuffix(line, "\n"), func(r rune) bool {
			return r < ' ' || r >= 0x7f && r < 0xa0 || r == 0x2028 || r == 0x2029 || r == 0x202e || r == 0xfffd
		})
		ways.Way("the output").Note(at < 0, "byte %d of %.300q", at, line)
	}
	return ways.Decide().Want("one event each, nothing but text")
}

// A load, and the bounds that it must keep.
const (
	burst      = 10_000 // events of each app
	burstLimit = 15 * time.Second
	hugeLine   = 8 << 20
	hugeEvent  = 30_000   // lines
	memory     = 48 << 20 // of 64 MiB
	keptLine   = 64 << 10 // MAX_LINE
	keptLines  = 1000     // MAX_LINES
	resident   = "process_resident_memory_bytes"
)

// keepsUp times a burst of all three apps, and looks at the adapter's memory while a line and an event come that are larger
// than it may be.
func keepsUp(m *check.M) check.Result {
	before := readStatus(m).Lines
	begun := time.Now()
	m.Each(len(apps), len(apps), func(m *check.M, i int) { apps[i].write(m, burst) })
	wrote := time.Since(begun)
	took, _ := m.Until(2*burstLimit, func(m *check.M) error {
		if st := readStatus(m); st.Lines-before < int64(len(apps))*burst || st.Unread > 64<<10 {
			return fmt.Errorf("%d lines read, %d bytes left", st.Lines-before, st.Unread)
		}
		return nil
	})
	since := time.Now()
	token := m.Fresh()
	var text strings.Builder
	fmt.Fprintf(&text, "2026-11-25T10:00:00Z ERROR [main] shop - %s\n", token)
	for i := range hugeEvent {
		fmt.Fprintf(&text, "\tat shop.Deep.answer%d(%s.java:%d)\n", i, token, i)
	}
	most := 0.0
	m.Together(
		func(m *check.M) { send(m, text.String()); send(m, token+"-long "+strings.Repeat("x", hugeLine)+"\n") },
		func(m *check.M) {
			m.Hold(2*time.Second, func(m *check.M) error {
				most = max(most, m.Metric(pod, adminPort, resident))
				return nil
			})
		},
	)
	got := awaitEvents(m, since, token, 1+hugeEvent/keptLines)
	lines, marked, long := 0, 0, 0
	for _, e := range got {
		lines += 1 + strings.Count(e.original(), "\n")
		if e.text("log.truncated") == "true" {
			marked++
		}
		if len(e.original()) == keptLine {
			long++
		}
	}
	most = max(most, m.Metric(pod, adminPort, resident))
	ok := took.Within(burstLimit) && most < memory && lines == hugeEvent+2 && long == 1 && marked >= hugeEvent/keptLines
	return check.Decide(ok, "%d events in %v (written in %.1f s), %.0f MiB at most, %d lines in %d events, %d marked, %d cut lines",
		len(apps)*burst, took, wrote.Seconds(), most/(1<<20), lines, len(got), marked, long).
		Want("within %v, under %d MiB, %d lines", burstLimit, memory>>20, hugeEvent+2).Of(len(apps) * burst)
}
