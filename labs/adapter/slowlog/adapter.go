package slowlog

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
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
	RunID      string   `json:"run_id"`
	Msg        string   `json:"msg"`
}

// wrote reads what the adapter has written since then. A line that is no JSON is an error: nobody could use it.
func wrote(ctx context.Context, s *check.Stack, since time.Time) (lines []line, text string, err error) {
	text, err = s.Logs(ctx, adapter, since)
	if err != nil {
		return nil, "", err
	}
	for row := range strings.Lines(text) {
		var l line
		if err := json.Unmarshal([]byte(row), &l); err != nil {
			return nil, "", fmt.Errorf("the adapter wrote %.200q: %w", row, err)
		}
		lines = append(lines, l)
	}
	return lines, text, nil
}

// events are the lines of one event.
func events(lines []line, event string) []line {
	return slices.DeleteFunc(slices.Clone(lines), func(l line) bool { return l.Event != event })
}

// said counts a message of the adapter's own log.
func said(lines []line, msg string) int {
	n := 0
	for _, l := range lines {
		if l.Msg == msg {
			n++
		}
	}
	return n
}

// byMarker are the lines of entries in which a marker is an argument.
func byMarker(lines []line, markers []string) map[string][]line {
	wanted := map[string]bool{}
	for _, m := range markers {
		wanted[m] = true
	}
	found := map[string][]line{}
	for _, l := range events(lines, "slow") {
		for _, a := range l.Argv {
			if wanted[a] {
				found[a] = append(found[a], l)
			}
		}
	}
	return found
}

// awaitAll waits until every marker was written at least once, or patience is over: then what is missing is what was
// measured, and no error.
func awaitAll(ctx context.Context, s *check.Stack, since time.Time, markers []string) error {
	patient, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var failed error
	err := check.Wait(patient, "the lines", func(ctx context.Context) error {
		var lines []line
		if lines, _, failed = wrote(ctx, s, since); failed != nil {
			return failed
		}
		if n := len(byMarker(lines, markers)); n < len(markers) {
			return fmt.Errorf("%d of %d", n, len(markers))
		}
		return nil
	})
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil && patient.Err() == nil:
		return err
	}
	return nil
}

// status is the part of the adapter's /status that the claims read.
type status struct {
	Up     bool  `json:"up"`
	LastID int64 `json:"last_id"`
	Polls  int64 `json:"polls"`
	Failed int64 `json:"failed_polls"`
	Lost   int64 `json:"lost"`
}

func readStatus(ctx context.Context, s *check.Stack) (status, error) {
	var st status
	code, err := fetch(ctx, s, "/status", &st)
	if err == nil && code != http.StatusOK {
		err = fmt.Errorf("/status answers %d", code)
	}
	return st, err
}

// fetch asks the adapter's admin port.
func fetch(ctx context.Context, s *check.Stack, path string, into any) (int, error) {
	addr, err := s.Address(ctx, pod, adminPort)
	if err != nil {
		return 0, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+path, nil)
	if err != nil {
		return 0, err
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	if into != nil {
		if err := json.NewDecoder(res.Body).Decode(into); err != nil {
			return 0, fmt.Errorf("%s: %w", path, err)
		}
	}
	return res.StatusCode, nil
}

// further waits until the adapter has polled n times more: what it would do again, it has done by then.
func further(ctx context.Context, s *check.Stack, n int64) error {
	before, err := readStatus(ctx, s)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return check.Wait(ctx, fmt.Sprintf("%d more polls", n), func(ctx context.Context) error {
		now, err := readStatus(ctx, s)
		if err == nil && now.Polls < before.Polls+n {
			err = fmt.Errorf("%d", now.Polls-before.Polls)
		}
		return err
	})
}

// level waits until the adapter has read all that is in the log, and returns the last ID.
func level(ctx context.Context, s *check.Stack) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var last int64
	err := check.Wait(ctx, "the adapter to have read everything", func(ctx context.Context) error {
		entries, err := slowlog(ctx, s)
		if err != nil {
			return err
		}
		st, err := readStatus(ctx, s)
		if err == nil && len(entries) > 0 && st.LastID != entries[0].id {
			err = fmt.Errorf("it has read up to %d, the newest is %d", st.LastID, entries[0].id)
		}
		last = st.LastID
		return err
	})
	return last, err
}
