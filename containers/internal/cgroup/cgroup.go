// Package cgroup reads what a container uses and what it may use, from the control group that the kernel keeps for it, in
// version 1 and 2 alike.
//
//	u, err := cgroup.Read(os.DirFS("/sys/fs/cgroup")) // this container's own
//	fmt.Println(u.CPU.Used, u.CPU.Limit, u.CPU.ThrottledTime)
//
// An engine mounts a container's own group at /sys/fs/cgroup. Another container's is behind /proc/PID/root, for whom the
// kernel lets look there.
//
// Source: the kernel's Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/{memory,pids}.rst, scheduler/sched-bwc.rst.
package cgroup

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Usage is one group at one time. What the kernel does not say is not Known, and then 0.
type Usage struct {
	Version int // 1 or 2
	CPU     CPU
	Memory  Memory
	Tasks   Tasks
}

// CPU is processor time.
type CPU struct {
	Known         bool
	Used          time.Duration // since the group was made
	Limit         float64       // in cores; 0: none
	Periods       uint64        // periods of the quota in which something ran
	Throttled     uint64        // those in which the quota was used up
	ThrottledTime time.Duration // summed over the processors that stood still
}

// Memory is in bytes.
type Memory struct {
	Known   bool
	Used    uint64 // with the page cache
	Working uint64 // without that part of the cache which can go at once: what the kubelet goes by
	Limit   uint64 // 0: none
}

// Tasks are processes and their threads.
type Tasks struct {
	Known   bool
	Current uint64
	Limit   uint64 // 0: none
}

// ErrNone says that there is no control group there.
var ErrNone = errors.New("no control group")

// Read reads the group that is mounted as dir. A part whose files are not there is not Known; a refusal is an error.
func Read(dir fs.FS) (Usage, error) {
	r := reader{dir: dir}
	u := Usage{Version: 2}
	if r.exists("cgroup.controllers") {
		r.two(&u)
	} else if r.err == nil {
		u.Version = 1
		r.one(&u)
	}
	switch {
	case r.err != nil:
		return Usage{}, r.err
	case !u.CPU.Known && !u.Memory.Known && !u.Tasks.Known:
		return Usage{}, ErrNone
	}
	return u, nil
}

// Holds says whether a process is in the group that is mounted as dir, and not in one below it: a container that shares
// the host's cgroup namespace has the whole tree there, whose numbers are the machine's. The PID is as this process's
// own PID namespace has it.
func Holds(dir fs.FS, pid int) (bool, error) {
	var list string
	var err error
	for _, name := range []string{"cgroup.procs", "memory/cgroup.procs", "cpuacct/cgroup.procs"} {
		if list, err = readFile(dir, name); !errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = ErrNone
	}
	return slices.Contains(strings.Fields(list), strconv.Itoa(pid)), err
}

// reader reads the files of a group. Its first error that is more than a missing file stays.
type reader struct {
	dir fs.FS
	err error
}

func (r *reader) two(u *Usage) {
	if stat, ok := r.table("cpu.stat"); ok {
		u.CPU = CPU{
			Known: true, Used: micro(stat["usage_usec"]), Periods: stat["nr_periods"],
			Throttled: stat["nr_throttled"], ThrottledTime: micro(stat["throttled_usec"]),
		}
		if text, ok := r.text("cpu.max"); ok {
			quota, period, _ := strings.Cut(text, " ")
			u.CPU.Limit = cores(quota, period)
		}
	}
	if used, ok := r.number("memory.current"); ok {
		u.Memory = Memory{Known: true, Used: used}
		u.Memory.Limit, _ = r.number("memory.max")
		stat, _ := r.table("memory.stat")
		u.Memory.Working = used - min(used, stat["inactive_file"])
	}
	if now, ok := r.number("pids.current"); ok {
		u.Tasks = Tasks{Known: true, Current: now}
		u.Tasks.Limit, _ = r.number("pids.max")
	}
}

func (r *reader) one(u *Usage) {
	if used, ok := r.number("cpuacct/cpuacct.usage"); ok {
		stat, _ := r.table("cpu/cpu.stat")
		u.CPU = CPU{
			Known: true, Used: nano(used), Periods: stat["nr_periods"],
			Throttled: stat["nr_throttled"], ThrottledTime: nano(stat["throttled_time"]),
		}
		quota, _ := r.text("cpu/cpu.cfs_quota_us")
		period, _ := r.text("cpu/cpu.cfs_period_us")
		u.CPU.Limit = cores(quota, period)
	}
	if used, ok := r.number("memory/memory.usage_in_bytes"); ok {
		u.Memory = Memory{Known: true, Used: used}
		// Without a limit it is the largest number of whole pages, near 2^63.
		if limit, _ := r.number("memory/memory.limit_in_bytes"); limit < 1<<60 {
			u.Memory.Limit = limit
		}
		stat, _ := r.table("memory/memory.stat")
		u.Memory.Working = used - min(used, stat["total_inactive_file"])
	}
	if now, ok := r.number("pids/pids.current"); ok {
		u.Tasks = Tasks{Known: true, Current: now}
		u.Tasks.Limit, _ = r.number("pids/pids.max")
	}
}

// cores is a quota as a number of processors; "max" and -1 are none.
func cores(quota, period string) float64 {
	q, qerr := strconv.ParseInt(quota, 10, 64)
	p, perr := strconv.ParseInt(period, 10, 64)
	if qerr != nil || perr != nil || q <= 0 || p <= 0 {
		return 0
	}
	return float64(q) / float64(p)
}

func micro(n uint64) time.Duration { return nano(min(n, math.MaxInt64/1000) * 1000) }
func nano(n uint64) time.Duration  { return time.Duration(min(n, math.MaxInt64)) }

// maxFile bounds a file: memory.stat has some 2 KB, and what lies behind another container's root need not be the kernel's.
const maxFile = 64 << 10

func (r *reader) exists(name string) bool {
	_, ok := r.text(name)
	return ok
}

// text is a file without the blanks around it. Nothing that is no plain file is opened: a pipe would never answer.
func (r *reader) text(name string) (string, bool) {
	if r.err != nil {
		return "", false
	}
	text, err := readFile(r.dir, name)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			r.err = err
		}
		return "", false
	}
	return strings.TrimSpace(text), true
}

func readFile(dir fs.FS, name string) (string, error) {
	info, err := fs.Stat(dir, name)
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() {
		return "", fmt.Errorf("%s: not a plain file", name)
	}
	file, err := dir.Open(name)
	if err != nil {
		return "", err
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if err == nil && len(text) > maxFile {
		err = fmt.Errorf("%s: larger than %d bytes", name, maxFile)
	}
	return string(text), err
}

// number is a file's one number. "max" is no bound, and as a number 0.
func (r *reader) number(name string) (uint64, bool) {
	text, ok := r.text(name)
	if !ok {
		return 0, false
	}
	if text == "max" {
		return 0, true
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil && r.err == nil {
		r.err = fmt.Errorf("%s: %.40q is no number", name, text)
	}
	return n, err == nil
}

// table is a file with a name and a number on each line. Lines that are something else are left out.
func (r *reader) table(name string) (map[string]uint64, bool) {
	text, ok := r.text(name)
	if !ok {
		return nil, false
	}
	table := map[string]uint64{}
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if n, err := strconv.ParseUint(value, 10, 64); err == nil {
			table[key] = n
		}
	}
	return table, true
}
