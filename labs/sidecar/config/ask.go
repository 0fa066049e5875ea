package config

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"distlab/lab/check"
)

// version is what the app shows of itself.
type version struct {
	PID      int       `json:"pid"`
	Started  time.Time `json:"started"`
	Title    string    `json:"title"`
	Greeting string    `json:"greeting"`
	Sum      string    `json:"settings_sha256"`
	Loads    int       `json:"settings_loads"`
	Refused  string    `json:"refused"`
}

func shown(m *check.M) (v version) {
	m.JSON(pod, httpPort, "/version", &v)
	return v
}

// status is the sidecar's.
type status struct {
	Source struct {
		Up    bool   `json:"up"`
		Error string `json:"error"`
	} `json:"source"`
	Served  *named `json:"served"`
	Applied *named `json:"applied"`
	InSync  bool   `json:"in_sync"`
	Reason  string `json:"reason"`
}

type named struct {
	Version string `json:"version"`
	Told    bool   `json:"told"`
}

func (n *named) is(v string) bool { return n != nil && n.Version == v }

func told(m *check.M) (s status) {
	m.JSON(pod, adminPort, "/status", &s)
	return s
}

// files are a version of the shop's.
type files map[string]string

// shop is a version whose two files the app reads have the same mark, and are large enough to be seen half written.
func shop(mark string) files {
	pad := strings.Repeat("# "+mark+" "+strings.Repeat("-", 60)+"\n", 400)
	return files{
		"site.conf":  "title = " + mark + "\ninclude = texts.conf\n" + pad,
		"texts.conf": "greeting = hello from " + mark + "\n" + pad,
	}
}

// sum is what the app shows when it has read these.
func (f files) sum() string { return sum(f["site.conf"] + f["texts.conf"]) }

func sum(text string) string {
	hash := sha256.Sum256([]byte(text))
	return hex.EncodeToString(hash[:])
}

const token = "Bearer change-it"

// put publishes a version and is its number.
func put(m *check.M, f files) string {
	body := check.Got(json.Marshal(map[string]any{"files": f, "message": "a claim"}))
	return number(m.Do(http.MethodPut, api, apiPort, "/configs/shop", body, "Authorization", token))
}

// number is the version that a change has made.
func number(p check.Page) string {
	var made struct{ Version int }
	if p.Status/100 != 2 {
		check.Must(fmt.Errorf("the API refused a change: %d %.200s", p.Status, p.Body))
	}
	check.Must(json.Unmarshal(p.Body, &made))
	return fmt.Sprint(made.Version)
}

// has asks whether the app has these files.
func has(f files) func(*check.M) error {
	return func(m *check.M) error {
		v := shown(m)
		if v.Sum != f.sum() {
			return fmt.Errorf("the app has %q, %q", v.Title, v.Greeting)
		}
		return nil
	}
}

// settle publishes a version of the claim's own and waits until the app has it: what follows is seen against that.
func settle(m *check.M) files {
	f := shop(m.Fresh())
	put(m, f)
	m.Await(patient, "the app with the claim's own version", has(f))
	m.Await(patient, "a sidecar in sync", inSync)
	return f
}

func inSync(m *check.M) error {
	if s := told(m); !s.InSync {
		return fmt.Errorf("not in sync: %s", s.Reason)
	}
	return nil
}

// onDisk are the app's files as its container sees them.
func onDisk(m *check.M) (sums []string) {
	for _, name := range []string{"site.conf", "texts.conf"} {
		sums = append(sums, sum(string(m.ReadFile(app, "/config/"+name))))
	}
	return sums
}

// same is an error unless the files on the disk are these.
func same(m *check.M, f files) error {
	if got := onDisk(m); !slices.Equal(got, []string{sum(f["site.conf"]), sum(f["texts.conf"])}) {
		return errors.New("other files are in place")
	}
	return nil
}

// echo is how long this machine takes to ask the API and the app, which no sidecar is in the way of: the control of what
// has a time limit.
func echo(m *check.M) time.Duration {
	begun := time.Now()
	m.Get(api, apiPort, "/configs/shop/history")
	m.Get(pod, httpPort, "/version")
	return time.Since(begun)
}

// slow is an echo by which the machine is too busy to say that something else is late.
const slow = 500 * time.Millisecond

// timely decides what had a time limit: where it was late and the control is slow too, nothing is known.
func timely(m *check.M, late bool, res check.Result) check.Result {
	if late {
		if e := max(echo(m), echo(m)); e > slow {
			m.Unknown("late, but so is this machine: asking the API and the app takes %v", e.Round(time.Millisecond))
		}
	}
	return res
}

// publish publishes so many versions, one each period, while f runs: all of them by their marks.
func publish(m *check.M, n int, period time.Duration, all map[string]files) {
	tick := time.NewTicker(period)
	defer tick.Stop()
	for _, mark := range slices.Sorted(maps.Keys(all))[:n] {
		put(m, all[mark])
		select {
		case <-tick.C:
		case <-m.Context().Done():
		}
	}
}
