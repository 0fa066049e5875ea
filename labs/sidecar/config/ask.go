package config

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"runtime"
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
	pad := strings.Repeat("# "+mark+" "+strings.Repeat("-", 60)+"\n", 620)
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
	if m.Stack.Variant == standIn {
		return revision(m.Do(http.MethodPost, api, apiPort, "/v3/kv/txn", transaction(f)))
	}
	body := check.Got(json.Marshal(map[string]any{"files": f, "message": "a claim"}))
	return number(m.Do(http.MethodPut, api, apiPort, "/configs/shop", body, "Authorization", token))
}

// transaction puts all files as etcd's JSON gateway wants it: keys and values are base64, as Go has bytes in JSON.
func transaction(f files) []byte {
	type keyValue struct {
		Key   []byte `json:"key"`
		Value []byte `json:"value"`
	}
	type put struct {
		Put keyValue `json:"request_put"`
	}
	var puts []put
	for name, text := range f {
		puts = append(puts, put{keyValue{[]byte("/shop/" + name), []byte(text)}})
	}
	return check.Got(json.Marshal(map[string]any{"success": puts}))
}

// revision is what a transaction has made.
func revision(p check.Page) string {
	var made struct {
		Header    struct{ Revision string }
		Succeeded bool
	}
	check.Must(p.Is(http.StatusOK))
	check.Must(json.Unmarshal(p.Body, &made))
	if !made.Succeeded {
		check.Must(fmt.Errorf("etcd refused a change: %.200s", p.Body))
	}
	return "revision " + made.Header.Revision // as the sidecar names it
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

// onDisk are the sums of the app's files, as they are for who opens them.
func onDisk(m *check.M) []string {
	var s seen
	out, _, _ := strings.Cut(m.Exec(sidecar, "/config-sidecar", "read", "-for", "20ms", "/config", "site.conf", "texts.conf"), "\n")
	check.Must(json.Unmarshal([]byte(out), &s))
	return s.Files
}

// same is an error unless the files on the disk are these.
func same(m *check.M, f files) error {
	if got := onDisk(m); !slices.Equal(got, []string{sum(f["site.conf"]), sum(f["texts.conf"])}) {
		return errors.New("other files are in place")
	}
	return nil
}

// timely decides what has a time limit. Where something was late, and this machine is so busy that a process takes half a
// second to start and end, or has more to run than it can, nothing is known. What never came at all is no matter of time.
func timely(m *check.M, late bool, res check.Result) check.Result {
	if !late {
		return res
	}
	for range 3 {
		begun := time.Now()
		m.Try(app, "/legacy-app", "check", "/config/site.conf")
		m.Need(time.Since(begun) < slow, "late, but so is this machine: the app's check alone takes %v", time.Since(begun).Round(time.Millisecond))
	}
	text, _ := os.ReadFile("/proc/loadavg")
	var load float64
	fmt.Sscan(string(text), &load)
	m.Need(load < float64(3*runtime.NumCPU()), "late, but this machine has %.0f processes to run", load)
	return res
}

// slow is what an exec takes that does next to nothing, on a machine that is too busy to call anything late.
const slow = 800 * time.Millisecond
