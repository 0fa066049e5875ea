package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// Process is one process, told from a later one with the same number by the time of its start.
type Process struct {
	PID   int    `json:"pid"`
	Name  string `json:"name"`
	Start uint64 `json:"-"` // clock ticks since boot
}

// errGone says that a process is not there any more, which is what was wanted of it.
var errGone = errors.New("the process is gone")

// errFirst says that the kernel would not let a signal through: the first process of a PID namespace gets from inside
// only those that it asked for, and never SIGKILL.
var errFirst = errors.New("the target is process 1 of the PID namespace and cannot be killed from inside: let a pause container own the namespace")

// Processes finds the target among the processes that share the PID namespace, and signals it.
type Processes struct {
	Root  string   // /proc
	Names []string // of the target, the first that is there
}

// Find is the target: the oldest process of that name. A second one, forked by the first or run by somebody in its
// container, is younger. A process that has ended and was not yet reaped is none.
func (p *Processes) Find() (Process, bool, error) {
	entries, err := os.ReadDir(p.Root)
	if err != nil {
		return Process{}, false, err
	}
	found := make([]*Process, len(p.Names))
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		proc, ok := p.read(pid)
		if !ok {
			continue // it ended meanwhile
		}
		if i := slices.Index(p.Names, proc.Name); i >= 0 && (found[i] == nil || proc.Start < found[i].Start) {
			found[i] = &proc
		}
	}
	for _, proc := range found {
		if proc != nil {
			return *proc, true, nil
		}
	}
	return Process{}, false, nil
}

// read is a process by its number; false if there is none that lives.
func (p *Processes) read(pid int) (Process, bool) {
	dir := filepath.Join(p.Root, strconv.Itoa(pid))
	stat, err := os.ReadFile(filepath.Join(dir, "stat"))
	if err != nil {
		return Process{}, false
	}
	proc, state, err := parseStat(stat)
	if err != nil || state == 'Z' || state == 'X' {
		return Process{}, false
	}
	// The kernel's own name is cut to 15 characters, and a program can change it; the command line has it whole.
	if line, err := os.ReadFile(filepath.Join(dir, "cmdline")); err == nil && len(line) > 0 {
		arg, _, _ := bytes.Cut(line, []byte{0})
		proc.Name = filepath.Base(string(arg))
	}
	return proc, true
}

// parseStat reads /proc/PID/stat: "7 (name) S 0 …". The name may have anything in it, brackets too. Source: proc(5).
func parseStat(text []byte) (p Process, state byte, err error) {
	open, end := bytes.IndexByte(text, '('), bytes.LastIndexByte(text, ')')
	if open < 0 || end < open {
		return p, 0, fmt.Errorf("stat without a name: %q", text)
	}
	const stateAt, startAt = 0, 19 // of the fields after the name
	fields := strings.Fields(string(text[end+1:]))
	if len(fields) <= startAt || len(fields[stateAt]) != 1 {
		return p, 0, fmt.Errorf("stat with %d fields", len(fields))
	}
	p.Name = string(text[open+1 : end])
	var errs [2]error
	p.PID, errs[0] = strconv.Atoi(strings.TrimSpace(string(text[:open])))
	p.Start, errs[1] = strconv.ParseUint(fields[startAt], 10, 64)
	return p, fields[stateAt][0], errors.Join(errs[:]...)
}

// Alive says whether it is still that process, and not another one of its number.
func (p *Processes) Alive(proc Process) bool {
	now, ok := p.read(proc.PID)
	return ok && now.Start == proc.Start
}

// Signal sends a signal to the process, and to no later one of its number: the kernel holds on to the process that
// was found while it is compared. Signal 0 only asks whether it may.
func (p *Processes) Signal(proc Process, sig syscall.Signal) error {
	handle, err := os.FindProcess(proc.PID)
	if err != nil {
		return err
	}
	defer handle.Release()
	if !p.Alive(proc) {
		return errGone
	}
	if proc.PID == 1 {
		return errFirst
	}
	err = handle.Signal(sig)
	switch {
	case errors.Is(err, os.ErrProcessDone), errors.Is(err, syscall.ESRCH):
		return errGone
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("may not signal %s (pid %d): it is another user's; run as that user, or with CAP_KILL", proc.Name, proc.PID)
	}
	return err
}
