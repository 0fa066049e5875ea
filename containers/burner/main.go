// Burner has an appetite that is known: it takes as much processor time and memory as it is told, starts children that end
// at once, and others with names that no program expects. It is what monitors are measured against.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"distlab/containers/internal/cgroup"
	"distlab/containers/internal/daemon"
	"distlab/containers/internal/env"
)

type config struct {
	CPU      float64   `env:"CPU" default:"0.2" min:"0" max:"64" help:"processors to keep busy, 0.2 is a fifth of one"`
	Memory   env.Bytes `env:"MEMORY" default:"16MiB" help:"memory to hold besides the program's own, each page of it touched"`
	Children int       `env:"CHILDREN" default:"0" min:"0" max:"1000" help:"children to start each second; each ends at once"`
	Names    []Name    `env:"NAMES" default:"" help:"names of children that stay, one each, with the escapes of a Go string: a\\nb has a line break, \\x2c is a comma"`
	daemon.Config
}

func run(ctx context.Context, cfg config, p *daemon.Process) error {
	cpu := NewBurn()
	memory := &Hold{Limit: daemon.Available().Memory}
	children := &Children{Log: p.Log}
	defer memory.Set(0)
	if err := memory.Set(uint64(cfg.Memory)); err != nil {
		return fmt.Errorf("MEMORY: %w", err)
	}
	cpu.Set(cfg.CPU)
	children.Set(cfg.Children)
	named, err := startNamed(cfg.Names)
	defer stopNamed(named)
	if err != nil {
		return fmt.Errorf("NAMES: %w", err)
	}
	b := &burner{cpu, memory, children, named}
	p.Status(func() any { return b.status() })
	p.Handle("PUT /appetite", http.HandlerFunc(b.putAppetite))
	p.Handle("GET /burnt", http.HandlerFunc(b.getBurnt))
	p.Handle("GET /processes", http.HandlerFunc(getProcesses))
	b.register(p.Metrics)
	go cpu.Run(ctx)
	childrenDone := make(chan struct{})
	go func() { children.Run(ctx); close(childrenDone) }()
	p.Ready(true, "")
	<-ctx.Done()
	<-childrenDone
	return nil
}

// burner is the parts together, as the admin port shows them.
type burner struct {
	cpu      *Burn
	memory   *Hold
	children *Children
	named    []*Named
}

// Appetite is what it takes from now on; what is left out stays as it is.
type Appetite struct {
	CPU      *float64   `json:"cpu"`
	Memory   *env.Bytes `json:"memory"`
	Children *int       `json:"children"`
}

// putAppetite changes the appetite. When it answers, the memory is held.
func (b *burner) putAppetite(w http.ResponseWriter, r *http.Request) {
	var a Appetite
	dec := json.NewDecoder(io.LimitReader(r.Body, 4<<10))
	dec.DisallowUnknownFields()
	err := dec.Decode(&a)
	switch {
	case err != nil:
	case a.CPU != nil && !(*a.CPU >= 0 && *a.CPU <= 64):
		err = errors.New("cpu: not between 0 and 64")
	case a.Children != nil && (*a.Children < 0 || *a.Children > 1000):
		err = errors.New("children: not between 0 and 1000")
	case a.Memory != nil:
		err = b.memory.Set(uint64(*a.Memory))
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if a.CPU != nil {
		b.cpu.Set(*a.CPU)
	}
	if a.Children != nil {
		b.children.Set(*a.Children)
	}
	writeJSON(w, b.status())
}

// getBurnt answers how much processor time this process took between two times of the last minute: no appetite, but what
// the kernel gave it, by its own clock.
func (b *burner) getBurnt(w http.ResponseWriter, r *http.Request) {
	from, ferr := time.Parse(time.RFC3339Nano, r.FormValue("from"))
	to, terr := time.Parse(time.RFC3339Nano, r.FormValue("to"))
	if err := errors.Join(ferr, terr); err != nil {
		http.Error(w, "from and to are times like 2006-01-02T15:04:05.999Z: "+err.Error(), http.StatusBadRequest)
		return
	}
	took, err := b.cpu.Between(from, to)
	if err != nil {
		http.Error(w, err.Error(), http.StatusNotFound)
		return
	}
	writeJSON(w, map[string]float64{"cpu_seconds": took.Seconds()})
}

// Status is what /status shows.
type Status struct {
	PID      int         `json:"pid"`
	Time     time.Time   `json:"time"`
	CPU      float64     `json:"cpu"`
	Memory   uint64      `json:"memory_bytes"`
	Children int         `json:"children"`
	Burnt    float64     `json:"cpu_seconds"`          // by this process
	ByThem   float64     `json:"children_cpu_seconds"` // by those that have ended
	Started  uint64      `json:"children_started"`
	Skipped  uint64      `json:"children_skipped"` // too many were running
	Named    []*Named    `json:"named"`
	Cgroup   *cgroupJSON `json:"cgroup"` // of this container; null where it cannot be read
}

// cgroupJSON is the kernel's own account of this container.
type cgroupJSON struct {
	Version   int     `json:"version"`
	CPU       float64 `json:"cpu_seconds"`
	Throttled float64 `json:"throttled_seconds"`
	Memory    uint64  `json:"memory_bytes"`
}

func (b *burner) status() Status {
	own, theirs := processorTime()
	started, skipped, rate := b.children.Counts()
	s := Status{
		PID: os.Getpid(), Time: time.Now(), CPU: b.cpu.Appetite(), Memory: b.memory.Size(), Children: rate,
		Burnt: own.Seconds(), ByThem: theirs.Seconds(), Started: started, Skipped: skipped, Named: b.named,
	}
	if u, err := cgroup.Read(os.DirFS("/sys/fs/cgroup")); err == nil {
		s.Cgroup = &cgroupJSON{u.Version, u.CPU.Used.Seconds(), u.CPU.ThrottledTime.Seconds(), u.Memory.Used}
	}
	return s
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	_ = enc.Encode(v) // whoever asked may have gone
}

func main() {
	if os.Getenv(roleVariable) == roleStay {
		os.Exit(stay())
	}
	os.Exit(daemon.Main(daemon.Program[config]{
		Name:    "burner",
		Summary: "Burner takes as much processor time and memory as it is told, and starts children under odd names.",
		Run:     run,
	}, os.Args[1:]))
}
