package logs

import (
	"embed"
	"fmt"
	"io"
	"strings"
	"time"

	"distlab/lab/check"
)

// oneLine lets the apps write by themselves and in a burst, and looks at every event of theirs; and at one of each other
// format, in a stream that the adapter must find the format of.
func oneLine(m *check.M) check.Result {
	begun := time.Now()
	var ways check.Ways
	right := map[string]func(e event) bool{
		"java": func(e event) bool {
			failed := strings.Contains(e.Body, "IllegalStateException")
			return strings.HasPrefix(e.text("thread.name"), "worker-") && (e.SeverityNumber == 17) == failed && (e.text("exception.type") != "") == failed
		},
		"access": func(e event) bool {
			return e.SeverityNumber == 9 && e.text("http.response.status_code") == "200" && e.text("http.request.method") == "GET" &&
				strings.HasPrefix(e.text("client.address"), "10.0.0.") && strings.HasPrefix(e.Body, "GET /orders/")
		},
		"logfmt": func(e event) bool {
			return e.SeverityNumber == 9 && e.Body == "an order was answered" && e.text("seq") == fmt.Sprint(e.number())
		},
	}
	for _, a := range apps {
		from, to := a.write(m, 200)
		a.once(m, begun, from, to, &ways, func(e event) bool {
			at, err := time.Parse(time.RFC3339Nano, e.Timestamp)
			return err == nil && at.Sub(begun).Abs() < time.Minute && e.text("log.format") == a.format && right[a.service](e)
		})
	}
	for format, want := range map[string]struct {
		text, body, level string
		number            int
	}{
		"klog":         {"E1125 00:25:51.624097    1755 pods.go:12] pod %s is late\n", "pod %s is late", "ERROR", 17},
		"syslog 3164":  {"<34>Oct 11 22:14:15 mymachine su[12]: %s failed\n", "%s failed", "crit", 18},
		"syslog 5424":  {"<165>1 2003-10-11T22:14:15.003Z host app - ID47 [x@1 k=\"v\\]\"] %s is here\n", "%s is here", "notice", 10},
		"json":         {"{\"time\":\"2026-11-25T00:00:00Z\",\"level\":\"warn\",\"msg\":\"%s\",\"n\":[1]}\n", "%s", "warn", 13},
		"apache-error": {"[Wed Nov 25 00:25:51.624097 2026] [core:error] [pid 1:tid 2] [client 1.2.3.4:5] AH1: %s\n", "AH1: %s", "error", 17},
	} {
		token := m.Fresh()
		send(m, fmt.Sprintf(want.text, token))
		got := awaitFew(m, begun, token, 1)
		ways.Way(format).Note(len(got) == 1 && got[0].Body == fmt.Sprintf(want.body, token) && got[0].SeverityText == want.level &&
			got[0].SeverityNumber == want.number && strings.HasPrefix(format, got[0].text("log.format")), "%v", got)
	}
	return ways.Decide().Want("each once, as it is")
}

// awaitFew is for streams that have ended: nothing of them waits.
func awaitFew(m *check.M, since time.Time, token string, n int) (list []event) {
	m.Until(patience, func(m *check.M) error {
		if list = events(m, since, token); len(list) < n {
			return fmt.Errorf("%d of %d", len(list), n)
		}
		return nil
	})
	return list
}

//go:embed corpus
var corpus embed.FS

// traces are what is in the corpus: how many events, a text that each has and that can be replaced, and what they are about.
var traces = []struct {
	file, mark string
	types      []string
}{
	{"java", "Shop.java", []string{
		"Shop$1", "java.lang.RuntimeException", "java.lang.Exception", "java.lang.NullPointerException", "Shop$MyFailure",
	}},
	{"python", "/app/shop.py", []string{"KeyError", "ValueError", "ValueError", "ExceptionGroup", "RecursionError", "SyntaxError", "E2"}},
	{"go", "/app/main.go", []string{"panic"}},
	{"dotnet", "/app/Orders.cs", []string{"System.InvalidOperationException"}},
}

// tracesWhole sends what JVM, CPython, Go and .NET print, at once and slowly, alone and two streams line by line.
func tracesWhole(m *check.M) check.Result {
	begun := time.Now()
	var ways check.Ways
	for _, t := range traces {
		token := m.Fresh()
		text := strings.ReplaceAll(string(check.Got(corpus.ReadFile("corpus/"+t.file+".txt"))), t.mark, token)
		send(m, text)
		ways.Way(t.file).Note(sameTraces(awaitFew(m, begun, token, len(t.types)), text, t.types))
	}
	// Two at once: the lines of two streams in turns.
	one, two := m.Fresh(), m.Fresh()
	java := strings.ReplaceAll(string(check.Got(corpus.ReadFile("corpus/java.txt"))), "Shop.java", one)
	python := strings.ReplaceAll(string(check.Got(corpus.ReadFile("corpus/python.txt"))), "/app/shop.py", two)
	a, b := open(m), open(m)
	left, right := strings.SplitAfter(java, "\n"), strings.SplitAfter(python, "\n")
	for i := range max(len(left), len(right)) {
		if i < len(left) {
			check.Got(io.WriteString(a, left[i]))
		}
		if i < len(right) {
			check.Got(io.WriteString(b, right[i]))
		}
	}
	check.Must(a.Close())
	check.Must(b.Close())
	ways.Way("two at once").Note(sameTraces(awaitFew(m, begun, one, len(traces[0].types)), java, traces[0].types))
	ways.Way("two at once").Note(sameTraces(awaitFew(m, begun, two, len(traces[1].types)), python, traces[1].types))

	// Slowly: no line waits as long as the adapter does, all together wait for more.
	token := m.Fresh()
	lines := []string{"2026-11-25 10:00:00,123 ERROR [main] shop.Orders - late " + token + "\n", "java.lang.IllegalStateException: late\n"}
	for i := range 6 {
		lines = append(lines, fmt.Sprintf("\tat shop.Orders.answer%d(Orders.java:%d)\n", i, i))
	}
	conn := open(m)
	defer conn.Close()
	pace := time.NewTicker(flush / 3)
	defer pace.Stop()
	last := time.Now()
	for _, l := range lines {
		check.Got(io.WriteString(conn, l))
		select {
		case <-pace.C:
		case <-m.Context().Done():
		}
		m.Need(time.Since(last) < flush*4/5, "between two lines %v passed: the machine is too busy to write slowly", time.Since(last))
		last = time.Now()
	}
	text := strings.Join(lines, "")
	got := awaitEvents(m, begun, token, 1)
	ways.Way("slower than the wait").Note(len(got) == 1 && got[0].original()+"\n" == text &&
		got[0].text("exception.type") == "java.lang.IllegalStateException", "%v", got)
	// And what comes after the wait is marked.
	late := m.Fresh()
	check.Got(io.WriteString(conn, "\tat shop.Late.more("+late+".java:1)\n"))
	got = awaitEvents(m, begun, late, 1)
	ways.Way("later than the wait").Note(len(got) == 1 && got[0].text("log.continuation") == "true", "%v", got)
	return ways.Decide().Want("whole, one event each")
}

// sameTraces says whether events are those of a text, in order and to the byte, and about what they should be.
func sameTraces(got []event, text string, types []string) (right bool, format string, args any) {
	var all, kinds []string
	for _, e := range got {
		all = append(all, e.original())
		kinds = append(kinds, e.text("exception.type"))
	}
	same := strings.Join(all, "\n") == strings.TrimSuffix(text, "\n") && strings.Join(kinds, " ") == strings.Join(types, " ")
	return same, "%v", kinds
}
