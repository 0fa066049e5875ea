package topz

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"distlab/lab/check"
)

// row is a process as /topz has it.
type row struct {
	PID       int       `json:"pid"`
	Name      string    `json:"name"`
	Command   string    `json:"command"`
	User      *int      `json:"user"`
	Container string    `json:"container"`
	At        time.Time `json:"at"`
	CPU       *float64  `json:"cpu_percent"`
	Memory    int64     `json:"memory_bytes"`
	Read      *uint64   `json:"read_bytes"`
	Denied    []string  `json:"denied"`
}

// table is the whole answer.
type table struct {
	To         time.Time   `json:"to"`
	Processes  []row       `json:"processes"`
	Containers []container `json:"containers"`
}

// container is a control group beside its limits.
type container struct {
	ID     string `json:"id"`
	Group  string `json:"group"`
	Cgroup string `json:"cgroup"`
	Error  string `json:"error"`
	CPU    *struct {
		Seconds          float64  `json:"cpu_seconds"`
		Limit            *float64 `json:"limit_cores"`
		ThrottledSeconds float64  `json:"throttled_seconds"`
	} `json:"cpu"`
	Memory *struct {
		Working int64  `json:"working_bytes"`
		Limit   *int64 `json:"limit_bytes"`
	} `json:"memory"`
}

// look is the newest table.
func look(m *check.M) (t table) {
	m.JSON(pod, topzPort, "/topz?format=json&limit=10000", &t)
	return t
}

// lookSince is a table of a look that was made after that time, which is one of the burner's clock.
func lookSince(m *check.M, since time.Time) (t table) {
	m.Await(30*time.Second, "a later look", func(m *check.M) error {
		if t = look(m); !t.To.After(since) {
			return fmt.Errorf("the newest is of %v", t.To)
		}
		return nil
	})
	return t
}

// named are the rows of a name.
func (t table) named(name string) (rows []row) {
	for _, r := range t.Processes {
		if r.Name == name {
			rows = append(rows, r)
		}
	}
	return rows
}

// byPID is the row of a process.
func (t table) byPID(pid int) (row, bool) {
	for _, r := range t.Processes {
		if r.PID == pid {
			return r, true
		}
	}
	return row{}, false
}

// of is the container of a row.
func (t table) of(r row) (container, bool) {
	for _, c := range t.Containers {
		if c.ID == r.Container {
			return c, true
		}
	}
	return container{}, false
}

// burning is what the burner says of itself.
type burning struct {
	PID      int       `json:"pid"`
	Time     time.Time `json:"time"`
	Burnt    float64   `json:"cpu_seconds"`
	ByThem   float64   `json:"children_cpu_seconds"`
	Started  int       `json:"children_started"`
	Children int       `json:"children"`
	Named    []struct {
		PID  int    `json:"pid"`
		Name string `json:"name"`
	} `json:"named"`
	Cgroup *struct {
		CPU       float64 `json:"cpu_seconds"`
		Throttled float64 `json:"throttled_seconds"`
		Memory    int64   `json:"memory_bytes"`
	} `json:"cgroup"`
}

func readBurner(m *check.M) (b burning) {
	m.JSON(pod, burnerPort, "/status", &b)
	return b
}

// feed changes the burner's appetite and is what it says then.
func feed(m *check.M, appetite string) (b burning) {
	p := m.Do(http.MethodPut, pod, burnerPort, "/appetite", []byte(appetite))
	check.Must(p.Is(http.StatusOK))
	check.Must(json.Unmarshal(p.Body, &b))
	return b
}

// calm gives the burner back what it has in the compose file, also when the claim's time is up.
func calm(m *check.M) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(m.Context()), 5*time.Second)
	defer cancel()
	addr, err := m.Stack.Address(ctx, pod, burnerPort)
	if err != nil {
		return // the lab is gone
	}
	body := bytes.NewReader([]byte(`{"cpu":0.2,"memory":"16MiB","children":0}`))
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, "http://"+addr+"/appetite", body)
	if err != nil {
		return
	}
	if resp, err := http.DefaultClient.Do(req); err == nil {
		resp.Body.Close()
	}
}

// burnt is the processor time that the burner's process took between two times, by its own reading of the kernel.
func burnt(m *check.M, from, to time.Time) (seconds float64) {
	q := url.Values{"from": {from.Format(time.RFC3339Nano)}, "to": {to.Format(time.RFC3339Nano)}}
	var answer struct {
		Seconds float64 `json:"cpu_seconds"`
	}
	m.Await(10*time.Second, "the burner's reading", func(m *check.M) error {
		m.JSON(pod, burnerPort, "/burnt?"+q.Encode(), &answer)
		return nil
	})
	return answer.Seconds
}

// seen is a process as the burner sees it in the same PID namespace: a second opinion.
type seen struct {
	PID          int    `json:"pid"`
	Name         string `json:"name"`
	User         string `json:"user"`
	Capabilities string `json:"capabilities"`
	Permitted    string `json:"permitted"`
	Bounding     string `json:"bounding"`
	NoNewPrivs   string `json:"no_new_privileges"`
}

func witness(m *check.M) (list []seen) {
	m.JSON(pod, burnerPort, "/processes", &list)
	return list
}
