package content

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"time"

	"distlab/lab/check"
)

// status is the part of the generator's /status that the claims read.
type status struct {
	Generation uint64    `json:"generation"`
	Published  time.Time `json:"published"`
	Failed     int       `json:"failed"`
	Reason     string    `json:"reason"`
	Burning    int       `json:"burning"`
	Cgroup     *struct {
		Version   int     `json:"version"`
		Seconds   float64 `json:"cpu_seconds"`
		Throttled float64 `json:"throttled_seconds"`
		Periods   int     `json:"throttled_periods"`
	} `json:"cgroup"`
}

func readStatus(m *check.M) (st status) {
	m.JSON(pod, adminPort, "/status", &st)
	return st
}

// pages are the hashes that each page has had lately, by the generator's own account.
func pages(m *check.M) map[string]map[string]bool {
	var list map[string]struct {
		Recent []string `json:"recent"`
	}
	m.JSON(pod, adminPort, "/pages", &list)
	known := map[string]map[string]bool{}
	for name, page := range list {
		known[name] = map[string]bool{}
		for _, sum := range page.Recent {
			known[name][sum] = true
		}
	}
	return known
}

// generate has a generation made now.
func generate(m *check.M) check.Page {
	return m.Do(http.MethodPost, pod, adminPort, "/generate", nil)
}

// get is a page of the site.
func get(m *check.M, path string, headers ...string) check.Page {
	return m.Get(pod, httpPort, path, headers...)
}

func digest(p check.Page) string {
	sum := sha256.Sum256(p.Body)
	return hex.EncodeToString(sum[:])
}

// stamped is the line of the front page that says of which generation it is, and of when.
var stamped = regexp.MustCompile(`Generation (\d{12}) of ([0-9T:.Z-]+)\.`)

// made is when a front page was made, as it says itself.
func made(p check.Page) (generation string, at time.Time, err error) {
	found := stamped.FindSubmatch(p.Body)
	if found == nil {
		return "", at, fmt.Errorf("status %d, and no generation in %.100q", p.Status, p.Body)
	}
	at, err = time.Parse(time.RFC3339Nano, string(found[2]))
	return string(found[1]), at, err
}

// date is the server's clock as an answer has it: in whole seconds.
func date(p check.Page) time.Time {
	at, _ := http.ParseTime(p.Header.Get("Date"))
	return at
}

// write puts data where the generator reads it.
func write(m *check.M, text string) *check.Fault {
	return m.Write(generator, map[string][]byte{dataPath: []byte(text)})
}

// data is what pages are made of: a headline, and the number of rows of the catalog.
func data(headline string, rows int) string {
	return fmt.Sprintf(`{"headline": %q, "rows": %d}`, headline, rows)
}

// throttled is how long a container stood still because its quota was used up, from the file of its own control group: the
// server is not ours and has no page for it.
func throttled(m *check.M, service string) (seconds float64) {
	text := m.Exec(service, "sh", "-c", "cat /sys/fs/cgroup/cpu.stat 2>/dev/null || cat /sys/fs/cgroup/cpu/cpu.stat")
	for line := range strings.Lines(text) {
		var n float64
		switch {
		case strings.HasPrefix(line, "throttled_usec"): // version 2
			_, _ = fmt.Sscanf(line, "throttled_usec %g", &n)
			return n / 1e6
		case strings.HasPrefix(line, "throttled_time"): // version 1
			_, _ = fmt.Sscanf(line, "throttled_time %g", &n)
			return n / 1e9
		}
	}
	m.Unknown("the control group of %s does not say for how long it stood still: %.200q", service, text)
	return 0
}
