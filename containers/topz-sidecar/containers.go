package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"distlab/containers/internal/cgroup"
)

// Container is a container of the pod: what it uses beside what it may use, as the kernel counts it.
type Container struct {
	ID        string `json:"id"`
	Group     string `json:"group"` // of its oldest process
	Processes int    `json:"processes"`
	Cgroup    string `json:"cgroup"`          // v1, v2, or unknown
	Error     string `json:"error,omitempty"` // why it is unknown

	CPU    *ContainerCPU    `json:"cpu"`
	Memory *ContainerMemory `json:"memory"`
	Tasks  *ContainerTasks  `json:"tasks"`

	usage  cgroup.Usage
	oldest *Process
}

// ContainerCPU is processor time. A limit of null is none.
type ContainerCPU struct {
	Percent          *percent `json:"cpu_percent"` // 100 is one processor
	Seconds          float64  `json:"cpu_seconds"`
	Limit            *float64 `json:"limit_cores"`
	Periods          uint64   `json:"periods"`
	ThrottledPeriods uint64   `json:"throttled_periods"`
	ThrottledSeconds float64  `json:"throttled_seconds"`
	ThrottledPercent *percent `json:"throttled_percent"` // of the periods since the last look
}

// ContainerMemory is in bytes.
type ContainerMemory struct {
	Used    uint64   `json:"used_bytes"`
	Working uint64   `json:"working_bytes"`
	Limit   *uint64  `json:"limit_bytes"`
	Percent *percent `json:"limit_percent"` // working of limit
}

// ContainerTasks are processes and threads.
type ContainerTasks struct {
	Now   uint64  `json:"now"`
	Limit *uint64 `json:"limit"`
}

// containersOf finds the containers among processes and reads the control group of each.
func (s *Sampler) containersOf(scan Scan, names map[id]string) []*Container {
	var list []*Container
	byID := map[string]*Container{}
	for _, p := range scan.Processes {
		if p.Container == "" {
			continue
		}
		c := byID[p.Container]
		if c == nil {
			c = &Container{ID: p.Container, oldest: p}
			byID[p.Container], list = c, append(list, c)
		}
		c.Processes++
		if p.Start < c.oldest.Start {
			c.oldest = p
		}
	}
	before := map[string]*Container{}
	for _, c := range s.containers {
		before[c.ID] = c
	}
	for _, c := range list {
		c.Group = names[c.oldest.id()]
		c.read(s.Scanner.Proc)
		c.compare(before[c.ID], scan.At.Sub(s.containersAt))
	}
	s.containers, s.containersAt = list, scan.At
	return list
}

// read reads the group by way of a process's root: what is mounted at /sys/fs/cgroup there is its container's own. The
// kernel lets look there who has the same user and no fewer rights; no mount of the host's is needed.
func (c *Container) read(proc string) {
	var err error
	if c.usage, err = cgroupOf(proc, c.oldest.PID); err != nil {
		c.Cgroup, c.Error = "unknown", "denied"
		if !denied(err) {
			c.Error = err.Error()
		}
		return
	}
	c.Cgroup = "v" + strconv.Itoa(c.usage.Version)
	if u := c.usage.CPU; u.Known {
		c.CPU = &ContainerCPU{
			Seconds: u.Used.Seconds(), Limit: bound(u.Limit), Periods: u.Periods,
			ThrottledPeriods: u.Throttled, ThrottledSeconds: u.ThrottledTime.Seconds(),
		}
	}
	if u := c.usage.Memory; u.Known {
		c.Memory = &ContainerMemory{Used: u.Used, Working: u.Working, Limit: bound(u.Limit)}
		if u.Limit > 0 {
			c.Memory.Percent = new(percent(float64(u.Working) / float64(u.Limit) * 100))
		}
	}
	if u := c.usage.Tasks; u.Known {
		c.Tasks = &ContainerTasks{Now: u.Current, Limit: bound(u.Limit)}
	}
}

func cgroupOf(proc string, pid int) (cgroup.Usage, error) {
	root, err := os.OpenRoot(filepath.Join(proc, strconv.Itoa(pid), "root"))
	if err != nil {
		return cgroup.Usage{}, err
	}
	defer root.Close() // nothing there leads out of it, whatever links the container has made
	group, err := fs.Sub(root.FS(), "sys/fs/cgroup")
	if err != nil {
		return cgroup.Usage{}, err
	}
	switch in, err := cgroup.Holds(group, pid); {
	case err != nil:
		return cgroup.Usage{}, err
	case !in:
		return cgroup.Usage{}, errNotOwn
	}
	return cgroup.Read(group)
}

// errNotOwn: the container sees another group than its own, the machine's, say: no number is better than that one.
var errNotOwn = errors.New("not its own control group")

// compare adds what needs two looks.
func (c *Container) compare(before *Container, over time.Duration) {
	if before == nil || c.CPU == nil || before.CPU == nil || over <= 0 {
		return
	}
	was, is := before.usage.CPU, c.usage.CPU
	c.CPU.Percent = new(percent((is.Used - was.Used).Seconds() / over.Seconds() * 100))
	if is.Periods > was.Periods && is.Throttled >= was.Throttled {
		c.CPU.ThrottledPercent = new(percent(float64(is.Throttled-was.Throttled) / float64(is.Periods-was.Periods) * 100))
	} else {
		c.CPU.ThrottledPercent = new(percent(0))
	}
}

func bound[N float64 | uint64](n N) *N {
	if n == 0 {
		return nil
	}
	return &n
}
