package main

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"
)

// Row is a process, or several that were folded into one, as it is shown. What the kernel refuses is null, and named in
// Denied. Names are shown as they are in JSON, where nothing they hold can be more than text, and made visible elsewhere.
type Row struct {
	PID       int     `json:"pid"`
	Parent    int     `json:"parent"`
	Name      string  `json:"name"`    // as the process calls itself
	Command   string  `json:"command"` // made visible, clipped, and redacted if so set
	State     string  `json:"state"`
	User      *int    `json:"user"`
	Group     string  `json:"group"`
	Container string  `json:"container"`
	Processes int     `json:"processes"` // 1, or how many were folded into it
	Threads   int     `json:"threads"`
	Started   instant `json:"started"`
	At        instant `json:"at"` // when its processor time was read

	CPU             *percent `json:"cpu_percent"`      // 100 is one processor; null until there are two looks
	Children        *percent `json:"children_percent"` // of ended children
	CPUSeconds      float64  `json:"cpu_seconds"`
	ChildrenSeconds float64  `json:"children_seconds"`

	Memory        uint64            `json:"memory_bytes"` // resident
	MemoryPercent percent           `json:"memory_percent"`
	Read          *uint64           `json:"read_bytes"`
	Wrote         *uint64           `json:"written_bytes"`
	Files         *int              `json:"open_files"`
	Executable    string            `json:"executable,omitempty"`
	Environment   map[string]string `json:"environment,omitempty"`
	Denied        []string          `json:"denied,omitempty"`
}

// instant is a time to the millisecond and more, as JSON has it and people can read it.
type instant struct{ time.Time }

func (t instant) MarshalJSON() ([]byte, error) {
	if t.IsZero() {
		return []byte("null"), nil
	}
	return json.Marshal(t.UTC().Format("2006-01-02T15:04:05.000000Z07:00"))
}

// percent has two digits after the point.
type percent float64

func (p percent) String() string {
	s := strconv.FormatFloat(float64(p), 'f', 2, 64)
	return strings.TrimSuffix(strings.TrimRight(s, "0"), ".")
}

func (p percent) MarshalJSON() ([]byte, error) { return []byte(p.String()), nil }

// cpu is what a row is sorted by: its own and its ended children's.
func (r *Row) cpu() (sum percent) {
	for _, p := range []*percent{r.CPU, r.Children} {
		if p != nil {
			sum += *p
		}
	}
	return sum
}

// add folds another row into this one. A sum of which a part is refused is refused: a smaller number would be a lie.
func (r *Row) add(o *Row) {
	r.Processes += o.Processes
	r.Threads += o.Threads
	r.CPU, r.Children = plus(r.CPU, o.CPU), plus(r.Children, o.Children)
	r.CPUSeconds += o.CPUSeconds
	r.ChildrenSeconds += o.ChildrenSeconds
	r.Memory += o.Memory
	r.MemoryPercent += o.MemoryPercent
	r.Read, r.Wrote, r.Files = plus(r.Read, o.Read), plus(r.Wrote, o.Wrote), plus(r.Files, o.Files)
	for _, d := range o.Denied {
		if !contains(r.Denied, d) {
			r.Denied = append(r.Denied[:len(r.Denied):len(r.Denied)], d)
		}
	}
}

func plus[N percent | uint64 | int](a, b *N) *N {
	if a == nil || b == nil {
		return nil
	}
	sum := *a + *b
	return &sum
}

func contains(list []string, s string) bool {
	for _, have := range list {
		if have == s {
			return true
		}
	}
	return false
}
