package main

import (
	"cmp"
	"context"
	"log/slog"
	"math"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// Sampler looks at the processes again and again, and keeps the newest result for whoever asks: a thousand who ask cost
// no more looks than one.
type Sampler struct {
	Scanner  *Scanner
	Meter    *Meter
	Interval time.Duration
	Rules    []Rule
	GroupBy  string // container or name
	Commands string // full, redacted or name
	Totals   *Totals
	Log      *slog.Logger
	Ready    func(ok bool, reason string)

	looks        atomic.Uint64
	latest       atomic.Pointer[Snapshot]
	containers   []*Container
	containersAt time.Time
	failing      bool
}

// Snapshot is what one look and the one before it say. Nobody changes it.
type Snapshot struct {
	From, To   time.Time // of the two looks; From is zero at the first
	Rows       []*Row    // by PID
	Containers []*Container
	LeftOut    int
	Took       time.Duration // that the look took
}

// Latest is the newest snapshot, nil before the first.
func (s *Sampler) Latest() *Snapshot { return s.latest.Load() }

// busiest is the part of a processor, one in so many, that looking may take: with thousands of processes it looks less often than it was
// told, rather than to become the process that it should find.
const busiest = 20

// soon is when the second look follows the first: there is something to show at once. It is the original's sample.
const soon = 100 * time.Millisecond

// Run looks until ctx is done.
func (s *Sampler) Run(ctx context.Context) error {
	runtime.LockOSThread() // for threadTime
	defer runtime.UnlockOSThread()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		begun, used := time.Now(), threadTime()
		s.sample()
		snap := s.Latest()
		timer.Reset(s.pause(time.Since(begun), threadTime()-used, snap != nil && snap.From.IsZero()))
	}
}

// pause is the time from the end of a look to the next: a look took so long, and so much of a processor.
func (s *Sampler) pause(took, used time.Duration, first bool) time.Duration {
	if first {
		return soon
	}
	return max(s.Interval-took, busiest*used)
}

// threadTime is the processor time of this thread. Where a system has no such number it is 0.
func threadTime() time.Duration {
	const thisThread = 1 // RUSAGE_THREAD of Linux
	var u syscall.Rusage
	if syscall.Getrusage(thisThread, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// sample looks once. If /proc cannot be read, the last snapshot stays, and who asks is told that it is old.
func (s *Sampler) sample() {
	begun := time.Now()
	s.looks.Add(1)
	scan, err := s.Scanner.Scan()
	if err != nil {
		if !s.failing {
			s.Log.Error("look failed", "error", err)
		}
		s.failing = true
		s.Ready(false, "look at "+s.Scanner.Proc+": "+err.Error())
		return
	}
	s.failing = false
	uses := s.Meter.Add(scan)
	names := groups(scan.Processes, s.Rules, s.GroupBy)
	snap := &Snapshot{To: scan.At, LeftOut: scan.LeftOut}
	if last := s.Latest(); last != nil {
		snap.From = last.To
	}
	uptime := uptime(s.Scanner.Proc)
	memory := machineMemory(s.Scanner.Proc)
	for _, p := range scan.Processes {
		snap.Rows = append(snap.Rows, s.row(p, uses[p.id()], names[p.id()], uptime, memory))
	}
	snap.Containers = s.containersOf(scan, names)
	snap.Took = time.Since(begun)
	s.Totals.add(scan, uses, names)
	s.latest.Store(snap)
	if !snap.From.IsZero() {
		s.Ready(true, "")
	}
}

// row is how a process is shown.
func (s *Sampler) row(p *Process, use Use, group string, uptime time.Duration, memory uint64) *Row {
	r := &Row{
		PID: p.PID, Parent: p.Parent, Name: p.Name, Command: p.command(s.Commands), State: p.State,
		Group: group, Container: p.Container, Processes: 1, Threads: p.Threads, At: instant{p.At},
		CPUSeconds: p.Own.Seconds(), ChildrenSeconds: p.Reaped.Seconds(), Memory: p.Resident,
		Read: p.Read, Wrote: p.Wrote, Files: p.Files, Executable: p.Executable, Environment: p.Environment, Denied: p.Denied,
	}
	if p.UID >= 0 {
		r.User = &p.UID
	}
	if memory > 0 {
		r.MemoryPercent = percent(float64(p.Resident) / float64(memory) * 100)
	}
	var age time.Duration
	if uptime > 0 {
		age = max(uptime-time.Duration(p.Start)*tick, tick)
		r.Started = instant{p.At.Add(-age)}
	}
	own, children, over := use.Own, use.Children, use.Over
	if s.Meter.Lifetime {
		own, children, over = p.Own, p.Reaped, age
	}
	if cores, ok := share(own, over); ok {
		r.CPU = new(percent(cores * 100))
	}
	if cores, ok := share(children, over); ok {
		r.Children = new(percent(cores * 100))
	}
	return r
}

// uptime is how long the machine is up, by the clock in which /proc says when a process started; 0: not to be had.
func uptime(proc string) time.Duration {
	text, err := bounded(proc+"/uptime", 128)
	fields := strings.Fields(text)
	if err != nil || len(fields) == 0 {
		return 0
	}
	seconds, err := strconv.ParseFloat(fields[0], 64)
	if err != nil || !(seconds >= 0 && seconds < math.MaxInt64/1e9) {
		return 0
	}
	return time.Duration(seconds * 1e9)
}

// machineMemory is the machine's memory in bytes: MEM% is a part of it, as in the original.
func machineMemory(proc string) uint64 {
	text, err := bounded(proc+"/meminfo", 16<<10)
	if err != nil {
		return 0
	}
	for line := range strings.Lines(text) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == "MemTotal:" {
			kb, _ := strconv.ParseUint(fields[1], 10, 54)
			return kb << 10
		}
	}
	return 0
}

// sortedBy orders rows as asked, and by PID where they are equal.
func sortedBy(rows []*Row, key string, descending bool) {
	order := orders[key]
	slices.SortStableFunc(rows, func(a, b *Row) int {
		c := order(a, b)
		if descending {
			c = -c
		}
		return cmp.Or(c, cmp.Compare(a.PID, b.PID))
	})
}
