package slowlog

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"distlab/lab/check"
)

// line is what the adapter wrote: a line of standard output has an event, one of its own log a message.
type line struct {
	Event      string   `json:"event"`
	Time       string   `json:"time"`
	ID         int64    `json:"id"`
	DurationUS int64    `json:"duration_us"`
	Argv       []string `json:"argv"`
	ClientName string   `json:"client_name"`
	Lost       int64    `json:"lost"`
	FirstID    int64    `json:"first_id"`
	LastID     int64    `json:"last_id"`
	Reason     string   `json:"reason"`
	RunID      string   `json:"run_id"`
	Msg        string   `json:"msg"`
}

// wrote is what the adapter has written since then.
func wrote(m *check.M, since time.Time) []line { return check.Lines[line](m, adapter, since) }

// events are the lines of one event.
func events(lines []line, event string) []line {
	return slices.DeleteFunc(slices.Clone(lines), func(l line) bool { return l.Event != event })
}

// said counts a message of the adapter's own log.
func said(lines []line, msg string) (n int) {
	for _, l := range lines {
		if l.Msg == msg {
			n++
		}
	}
	return n
}

// byMarker are the lines of entries in which a marker is an argument.
func byMarker(lines []line, markers []string) map[string][]line {
	found := map[string][]line{}
	for _, l := range events(lines, "slow") {
		for _, a := range l.Argv {
			if slices.Contains(markers, a) {
				found[a] = append(found[a], l)
			}
		}
	}
	return found
}

// awaitAll waits until every marker was written at least once, or patience is over: then what is missing is what was
// measured. And for some polls more: what the adapter would write again, it has written by then.
func awaitAll(m *check.M, since time.Time, markers []string) []line {
	m.Until(patience, func(m *check.M) error {
		if n := len(byMarker(wrote(m, since), markers)); n < len(markers) {
			return fmt.Errorf("%d of %d", n, len(markers))
		}
		return nil
	})
	further(m, 3)
	return wrote(m, since)
}

// status is the part of the adapter's /status that the claims read.
type status struct {
	Up       bool  `json:"up"`
	LastID   int64 `json:"last_id"`
	Polls    int64 `json:"polls"`
	Failed   int64 `json:"failed_polls"`
	Lost     int64 `json:"lost"`
	Restarts int64 `json:"restarts"`
}

func readStatus(m *check.M) (st status) {
	m.JSON(pod, adminPort, "/status", &st)
	return st
}

// further waits until the adapter has polled n times more.
func further(m *check.M, n int64) {
	before := readStatus(m).Polls
	m.Await(patience, fmt.Sprintf("%d more polls", n), func(m *check.M) error {
		if now := readStatus(m).Polls; now < before+n {
			return fmt.Errorf("%d", now-before)
		}
		return nil
	})
}

// level waits until the adapter has read all that is in the log, and returns the last ID.
func level(m *check.M) (last int64) {
	m.Await(patience, "the adapter to have read everything", func(m *check.M) error {
		log := entries(m)
		last = readStatus(m).LastID
		if len(log) > 0 && last != log[0].ID {
			return fmt.Errorf("it has read up to %d, the newest is %d", last, log[0].ID)
		}
		return nil
	})
	return last
}

// bytesOf undoes the adapter's writing of bytes: a backslash is doubled, and \xNN is a byte.
func bytesOf(text string) string {
	var b []byte
	for i := 0; i < len(text); i++ {
		switch {
		case strings.HasPrefix(text[i:], `\\`):
			b, i = append(b, '\\'), i+1
		case strings.HasPrefix(text[i:], `\x`) && i+4 <= len(text):
			n, err := strconv.ParseUint(text[i+2:i+4], 16, 8)
			if err != nil {
				return "not in the adapter's writing: " + text
			}
			b, i = append(b, byte(n)), i+3
		default:
			b = append(b, text[i])
		}
	}
	return string(b)
}
