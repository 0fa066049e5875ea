// Package procs finds processes in a PID namespace that several containers share, and signals them: a sidecar's way to
// tell the app beside it something, without access to the engine.
//
//	var table procs.Table
//	found, err := table.Find(procs.Selector{Names: []string{"redis-server"}})
//	…
//	err = table.Signal(found[0], syscall.SIGHUP)
//
// A signal is a dangerous thing to send to the wrong process: most of them end it. So a selector never finds the caller,
// what the caller has started (a check command may well be the app's own program), a process that has ended, or, unless
// asked to, process 1, which owns the namespace; and what was found is told from a later process of its number.
//
// Sources: proc(5), pidof(8), pgrep(1), pidfd_open(2), signal(7).
package procs

import (
	"cmp"
	"errors"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
)

// Process is one process, told from a later one with the same number by the time of its start.
type Process struct {
	PID   int    `json:"pid"`
	Name  string `json:"name"`
	Start uint64 `json:"-"` // clock ticks since boot
}

// Same says whether both are one process, whatever it calls itself by now.
func (p Process) Same(q Process) bool { return p.PID == q.PID && p.Start == q.Start }

// ErrFirst says that only process 1 was found, and the selector does not allow it: it is the one that owns the
// namespace, and who signals it by accident may end all others with it.
var ErrFirst = errors.New("only process 1 of the PID namespace matches: let a pause container own the namespace, or allow process 1")

// Selector says which processes are meant. All of the fields that are set must fit; none set finds nothing.
type Selector struct {
	// Names are alternatives, the best first: the processes of the first name that anybody has. A name is that of the
	// program as pidof has it: the kernel's (comm), the executable's or the command line's, for servers rewrite the latter
	// ("redis-server *:6379", "postgres: checkpointer") and scripts have another executable.
	Names []string
	// Command must match the command line, its arguments joined by spaces.
	Command *regexp.Regexp
	// PIDFile has the number in its first line. A process that started after the file was written is a later one.
	PIDFile string
	// First allows process 1.
	First bool
}

// Table is the processes of a namespace, as a file system of type proc shows them. The zero value is this namespace.
type Table struct {
	Root string

	self int // for tests, who find their own children
}

func (t Table) root() string { return cmp.Or(t.Root, "/proc") }

// Find is every process that is meant, the oldest first. Workers that one of them has forked are left out: the signal
// is for their parent, as with nginx, postgres or sshd. That none is there is no error.
func (t Table) Find(sel Selector) ([]Process, error) {
	candidates, all, err := t.candidates(sel)
	if err != nil {
		return nil, err
	}
	self := cmp.Or(t.self, os.Getpid())
	fit := make([][]entry, max(1, len(sel.Names))) // by name, best first
	for _, e := range candidates {
		if e.PID == self || descends(e, self, all) || sel.Command != nil && !sel.Command.MatchString(e.command()) {
			continue
		}
		rank := 0
		if len(sel.Names) > 0 {
			if rank = slices.IndexFunc(sel.Names, e.is); rank < 0 {
				continue
			}
			e.Name = sel.Names[rank]
		}
		fit[rank] = append(fit[rank], e)
	}
	var found []Process
	for _, list := range fit {
		if found = parents(list, all); len(found) > 0 {
			break
		}
	}
	if !sel.First && len(found) > 0 {
		found = slices.DeleteFunc(found, func(p Process) bool { return p.PID == 1 })
		if len(found) == 0 {
			return nil, ErrFirst
		}
	}
	slices.SortFunc(found, func(a, b Process) int { return cmp.Or(cmp.Compare(a.Start, b.Start), cmp.Compare(a.PID, b.PID)) })
	return found, nil
}

// candidates are the processes that a selector can mean, and all, by their numbers.
func (t Table) candidates(sel Selector) (list []entry, all map[int]entry, err error) {
	if len(sel.Names) == 0 && sel.Command == nil && sel.PIDFile == "" {
		return nil, nil, nil
	}
	dir, err := os.ReadDir(t.root())
	if err != nil {
		return nil, nil, err
	}
	all = map[int]entry{}
	for _, d := range dir {
		pid, err := strconv.Atoi(d.Name())
		if err != nil {
			continue
		}
		if e, ok := t.read(pid); ok { // else it ended meanwhile
			all[pid] = e
			list = append(list, e)
		}
	}
	if sel.PIDFile == "" {
		return list, all, nil
	}
	pid, err := t.named(sel.PIDFile, all)
	if err != nil || pid == 0 {
		return nil, nil, err
	}
	return []entry{all[pid]}, all, nil
}

// descends says whether a process comes of another one. Numbers do not make a circle, but what is read while it
// changes may.
func descends(e entry, pid int, all map[int]entry) bool {
	for range len(all) {
		if e.parent == pid {
			return true
		}
		up, ok := all[e.parent]
		if !ok {
			return false
		}
		e = up
	}
	return false
}

// parents leaves out those that were forked by another of them and still run the same program.
func parents(list []entry, all map[int]entry) []Process {
	among := map[int]bool{}
	for _, e := range list {
		among[e.PID] = true
	}
	var found []Process
	for _, e := range list {
		if up, ok := all[e.parent]; ok && among[up.PID] && sameProgram(up, e) {
			continue
		}
		found = append(found, e.Process)
	}
	return found
}

// sameProgram compares executables; where they may not be read, the kernel's names.
func sameProgram(a, b entry) bool {
	if a.exe != "" && b.exe != "" {
		return a.exe == b.exe
	}
	return a.comm == b.comm
}

// is says whether a process has that name.
func (e entry) is(name string) bool {
	return name != "" && (e.comm == name || path.Base(e.exe) == name && e.exe != "" || e.arg0() == name)
}
