package format

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"distlab/lab/check"
)

// source is what an answer says of one.
type source struct {
	Name     string `json:"name"`
	State    string `json:"state"`
	Records  int    `json:"records"`
	Rejected int    `json:"rejected"`
	Error    string `json:"error"`
}

// item is a record, in the very bytes of the answer.
type item struct {
	Source string          `json:"source"`
	Record json.RawMessage `json:"record"`
}

// page is an answer to /records or /problems.
type page struct {
	Items    []item   `json:"items"`
	Partial  bool     `json:"partial"`
	Sources  []source `json:"sources"`
	Next     *string  `json:"next"`
	Total    int      `json:"total"`
	Problems []struct {
		Source string `json:"source"`
		Record int    `json:"record"`
		Line   int    `json:"line"`
		Offset int    `json:"offset"`
		Field  string `json:"field"`
		Reason string `json:"reason"`
		Detail string `json:"detail"`
		Raw    string `json:"raw"`
	} `json:"problems"`
	code int
	http check.Page
}

// ask asks the API for a path.
func ask(m *check.M, path string) (p page) {
	got := m.Get(adapter, apiPort, path)
	check.Must(json.Unmarshal(got.Body, &p))
	p.code, p.http = got.Status, got
	return p
}

// patiently asks for what may take longer than an answer does by rights.
func patiently(m *check.M, path string) (p page) {
	u := "http://" + m.Address(adapter, apiPort) + path
	res := check.Got(http.DefaultClient.Do(check.Got(http.NewRequestWithContext(m.Context(), http.MethodGet, u, nil))))
	defer res.Body.Close()
	check.Must(json.NewDecoder(res.Body).Decode(&p))
	p.code = res.StatusCode
	return p
}

// all are a source's records, page by page.
func all(m *check.M, name string, limit int) (records []string, last page) {
	path := fmt.Sprintf("/records?source=%s&limit=%d", name, limit)
	for cursor := ""; ; cursor = "&cursor=" + url.QueryEscape(*last.Next) {
		last = ask(m, path+cursor)
		for _, i := range last.Items {
			records = append(records, string(i.Record))
		}
		if last.Next == nil || len(records) > 10*parts {
			return records, last
		}
	}
}

// of is what a page says of a source.
func (p page) of(name string) source {
	for _, s := range p.Sources {
		if s.Name == name {
			return s
		}
	}
	return source{Name: name}
}

// count are the records of a source in a page.
func (p page) count(name string) (n int) {
	for _, i := range p.Items {
		if i.Source == name {
			n++
		}
	}
	return n
}

// fault makes a feed misbehave, until it is healed.
func fault(m *check.M, feed, mode string) *check.Fault {
	command := func(mode string) []string { return []string{"/legacy-feed", "fault", mode} }
	return m.Run(feed, mode, command(mode), command("none"), func(m *check.M) string {
		return m.Exec(feed, "/legacy-feed", "fault")
	})
}

// well is the precondition of most claims: all sources tell all parts.
func well(m *check.M) { told(m, parts, parts) }

// atLeast is that all sources tell so many parts or more.
func atLeast(m *check.M, n int) { told(m, n, 2*n) }

func told(m *check.M, least, most int) {
	m.Await(20*time.Second, "all parts of all sources", func(m *check.M) error {
		p := ask(m, "/records?limit=1000")
		for _, f := range feeds {
			if n := p.count(f); n < least || n > most {
				return fmt.Errorf("%d of %s", n, f)
			}
		}
		return nil
	})
}

// streamed is an answer of JSON lines, and when its first and its last line came.
type streamed struct {
	records     []string
	first, last time.Duration
	end         *page
}

// stream asks for a source's records as JSON lines, with a reader of its own: when they come is what is measured.
func stream(m *check.M, name string) (s streamed) {
	begun := time.Now()
	u := "http://" + m.Address(adapter, apiPort) + "/records?format=ndjson&source=" + name
	res := check.Got(http.DefaultClient.Do(check.Got(http.NewRequestWithContext(m.Context(), http.MethodGet, u, nil))))
	defer res.Body.Close()
	lines := bufio.NewScanner(res.Body)
	for lines.Scan() {
		var line struct {
			item
			End *page `json:"end"`
		}
		check.Must(json.Unmarshal(lines.Bytes(), &line))
		if s.end = line.End; s.end != nil {
			s.last = time.Since(begun)
			continue
		}
		if s.records = append(s.records, string(line.Record)); len(s.records) == 1 {
			s.first = time.Since(begun)
		}
	}
	return s
}
