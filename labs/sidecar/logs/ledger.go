package logs

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"distlab/lab/check"
)

// span are the numbers of lines that the app wrote, from first to last.
type span struct{ First, Last int64 }

func (s span) count() int { return int(s.Last - s.First + 1) }

// written orders lines of the app, of size bytes each; 0 is its usual size.
func written(m *check.M, n, size int) (s span) {
	tell(m, fmt.Sprintf("/lines?n=%d&size=%d", n, size), &s)
	return s
}

// tell is an order to the app.
func tell(m *check.M, path string, into any) {
	p := m.Do(http.MethodPost, pod, appPort, path, nil)
	check.Must(p.Is(http.StatusOK))
	if into != nil {
		check.Must(json.Unmarshal(p.Body, into))
	}
}

func rotate(m *check.M, by string, late int) {
	tell(m, fmt.Sprintf("/rotate?by=%s&late=%d", by, late), nil)
}

// quiet keeps the app from writing by itself; the func lets it go on.
func quiet(m *check.M) (again func()) {
	var before struct{ Was int }
	tell(m, "/rate?n=0", &before)
	return func() { tell(m, fmt.Sprintf("/rate?n=%d", before.Was), nil) }
}

// appStatus is what the app says of itself.
type appStatus struct {
	Failed int64 `json:"failed_writes"`
}

func appSays(m *check.M) (s appStatus) {
	m.JSON(pod, appPort, "/", &s)
	return s
}

// status is the part of the shipper's that the claims read.
type status struct {
	Unread   int64 `json:"unread_bytes"`
	Waiting  int64 `json:"waiting_bytes"`
	Buffered int64 `json:"buffered_bytes"`
	Held     int64 `json:"held_bytes"`
	Scans    int64 `json:"scans"`
}

func shipperStatus(m *check.M) (s status) {
	m.JSON(pod, adminPort, "/status", &s)
	return s
}

// scanned waits until the shipper has looked at the files twice more: the second look began after this call.
func scanned(m *check.M) {
	before := shipperStatus(m).Scans
	m.Await(patience, "two looks of the shipper at the files", func(m *check.M) error {
		if n := shipperStatus(m).Scans; n < before+2 && n >= before {
			return fmt.Errorf("%d since", n-before)
		}
		return nil
	})
}

// counts is what the store says of itself.
type counts struct {
	LastID int64          `json:"last_id"`
	Fault  string         `json:"fault"`
	Struck map[string]int `json:"struck"`
}

func storeCounts(m *check.M) (c counts) {
	m.JSON(store, adminPort, "/status", &c) // the other port may refuse
	return c
}

// record is a line as the store has it.
type record struct {
	ID      int64  `json:"id"`
	Stream  string `json:"stream"`
	Offset  int64  `json:"offset"`
	Line    string `json:"line"`
	Partial bool   `json:"partial"`

	number int64 // the app's; 0: the line is not as the app writes lines
}

// page is how many records are asked for at a time.
const page = 20_000

// stored are the records behind an ID.
func stored(m *check.M, after int64) (all []record) {
	for {
		p := m.Get(store, storePort, fmt.Sprintf("/records?after=%d&limit=%d", after, page))
		check.Must(p.Is(http.StatusOK))
		n := 0
		for line := range strings.Lines(string(p.Body)) {
			var r record
			if err := json.Unmarshal([]byte(line), &r); err != nil {
				check.Must(fmt.Errorf("the store said %.200q: %w", line, err))
			}
			r.number = numberOf(r.Line)
			all = append(all, r)
			after = r.ID
			n++
		}
		if n < page {
			return all
		}
	}
}

// numberOf is a line's number, if it is whole: it stands near the beginning and at the end.
func numberOf(line string) (n int64) {
	var end int64
	at := strings.LastIndex(line, " end=")
	if at < 0 {
		return 0
	}
	_, head, _ := strings.Cut(line, " seq=")
	if _, err := fmt.Sscanf(head, "%d", &n); err != nil {
		return 0
	}
	if _, err := fmt.Sscanf(line[at:], " end=%d", &end); err != nil || end != n || line[at:] != fmt.Sprintf(" end=%d", n) {
		return 0
	}
	return n
}

// ledger is what the store has of the lines from one on.
type ledger struct {
	records []record
	times   map[int64]int // how often each number is there
	torn    []string      // lines that are not whole
	jumbled int           // lines that come before one that was written earlier in the same file
}

func newLedger(records []record, first int64) ledger {
	l := ledger{times: map[int64]int{}}
	last := map[string]int64{}
	for _, r := range records {
		if r.number == 0 {
			l.torn = append(l.torn, fmt.Sprintf("%.80q", r.Line))
			continue
		}
		if r.number < last[r.Stream] {
			l.jumbled++
		}
		last[r.Stream] = max(last[r.Stream], r.number)
		if r.number >= first {
			l.times[r.number]++
		}
		l.records = append(l.records, r)
	}
	return l
}

// missing are the numbers of a span that the store has not.
func (l ledger) missing(s span) (n int) {
	for i := s.First; i <= s.Last; i++ {
		if l.times[i] == 0 {
			n++
		}
	}
	return n
}

// repeated are the lines that are there more often than once.
func (l ledger) repeated() (n int) {
	for _, k := range l.times {
		if k > 1 {
			n++
		}
	}
	return n
}

// level waits until the shipper has nothing left to ship, and the store got nothing for so many of the shipper's looks.
func level(m *check.M, looks int64) {
	last, scans := int64(-1), int64(0)
	m.Await(2*patience, "a shipper that has shipped everything", func(m *check.M) error {
		s, c := shipperStatus(m), storeCounts(m)
		if c.LastID != last || s.Unread+s.Buffered > 0 || s.Scans < scans {
			last, scans = c.LastID, s.Scans
			return fmt.Errorf("%d bytes unread, %d in memory, the store has %d", s.Unread, s.Buffered, c.LastID)
		}
		if s.Scans < scans+looks {
			return errors.New("quiet, but not for long enough")
		}
		return nil
	})
}

// settled waits until what is missing will not come: level for longer than a renamed file is waited for.
func settled(m *check.M) { level(m, 12) }
