package logs

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"distlab/lab/check"
)

// event is a line of the adapter's standard output; one of its own log has no Timestamp.
type event struct {
	Timestamp      string
	SeverityText   string
	SeverityNumber int
	Body           string
	Attributes     map[string]any
}

// text is a field, as text.
func (e event) text(key string) string {
	if v, ok := e.Attributes[key]; ok {
		return fmt.Sprint(v)
	}
	return ""
}

// original is what the app wrote.
func (e event) original() string { return e.text("log.record.original") }

// events are those since then in whose lines a token is.
func events(m *check.M, since time.Time, token string) (list []event) {
	for _, e := range check.Lines[event](m, adapter, since) {
		if e.Timestamp != "" && strings.Contains(e.original(), token) {
			list = append(list, e)
		}
	}
	return list
}

// awaitEvents waits for n events with a token, and some looks of the adapter more: what it would write twice or in pieces, it
// has written by then. What is missing then is what was measured.
func awaitEvents(m *check.M, since time.Time, token string, n int) []event {
	m.Until(patience, func(m *check.M) error {
		if got := len(events(m, since, token)); got < n {
			return fmt.Errorf("%d of %d", got, n)
		}
		return nil
	})
	settled(m)
	return events(m, since, token)
}

// status is the part of the adapter's /status that the claims read.
type status struct {
	Scans  int64 `json:"scans"`
	Unread int64 `json:"unread_bytes"`
	Lines  int64 `json:"lines"`
}

func readStatus(m *check.M) (st status) {
	m.JSON(pod, adminPort, "/status", &st)
	return st
}

// settled waits until the adapter has looked so often that all that waits for more lines is written.
func settled(m *check.M) {
	first := readStatus(m).Scans
	m.Await(patience, "the adapter to look for longer than it waits", func(m *check.M) error {
		if now := readStatus(m).Scans; now < first+12 { // a look is 100 ms
			return fmt.Errorf("%d looks", now-first)
		}
		return nil
	})
}

// open is a connection to the adapter: a stream of its own.
func open(m *check.M) net.Conn {
	return check.Got((&net.Dialer{}).DialContext(m.Context(), "tcp", m.Address(pod, socketPort)))
}

// send is a text in a connection of its own.
func send(m *check.M, text string) {
	conn := open(m)
	defer conn.Close()
	check.Got(io.WriteString(conn, text))
}

// app is one that writes by itself.
type app struct {
	service string
	port    int
	format  string
}

// last is the number of the app's last event.
func (a app) last(m *check.M) int64 {
	var st struct {
		Last int64 `json:"last"`
	}
	m.JSON(pod, a.port, "/", &st)
	return st.Last
}

// write makes the app write n events now, and is their first and last number.
func (a app) write(m *check.M, n int) (first, last int64) {
	page := m.Do("POST", pod, a.port, fmt.Sprintf("/lines?n=%d", n), nil)
	check.Must(page.Is(200))
	var wrote struct{ First, Last int64 }
	check.Must(json.Unmarshal(page.Body, &wrote))
	return wrote.First, wrote.Last
}

// text makes the app write that as it is.
func (a app) text(m *check.M, text string) {
	check.Must(m.Do("POST", pod, a.port, "/text", []byte(text)).Is(200))
}

// number is that of an event of the apps', if both ends of its line say the same.
func (e event) number() (n int64) {
	_, rest, ok := strings.Cut(e.original(), " seq=")
	if !ok {
		return 0
	}
	fmt.Sscanf(rest, "%d", &n)
	if !strings.Contains(rest, fmt.Sprintf(" end=%d", n)) {
		return 0
	}
	return n
}

// numbered are an app's events since then, by their number.
func (a app) numbered(m *check.M, since time.Time) map[int64][]event {
	found := map[int64][]event{}
	for _, e := range events(m, since, "seq=") {
		if e.text("log.source") == "/logs/"+a.service+".log" {
			found[e.number()] = append(found[e.number()], e)
		}
	}
	return found
}

// once waits until an app's events are written, and notes which are once.
func (a app) once(m *check.M, since time.Time, from, to int64, ways *check.Ways, right func(event) bool) {
	m.Until(patience, func(m *check.M) error {
		found := a.numbered(m, since)
		for n := from; n <= to; n++ {
			if len(found[n]) == 0 {
				return fmt.Errorf("no event %d", n)
			}
		}
		return nil
	})
	found := a.numbered(m, since)
	for n := from; n <= to; n++ {
		is := found[n]
		ways.Way(a.service).Note(len(is) == 1 && (right == nil || right(is[0])), "event %d is there %d times: %.300v", n, len(is), is)
	}
}
