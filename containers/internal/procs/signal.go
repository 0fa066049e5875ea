package procs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// ErrGone says that a process is not there any more.
var ErrGone = errors.New("the process is gone")

// Alive says whether it is still that process, and not another one of its number.
func (t Table) Alive(p Process) bool {
	now, ok := t.read(p.PID)
	return ok && now.Start == p.Start
}

// Signal sends a signal to the process, and to no later one of its number: the kernel holds on to the process that
// was found while it is compared (pidfd, where the kernel has it). Signal 0 only asks whether it may.
func (t Table) Signal(p Process, sig syscall.Signal) error {
	handle, err := os.FindProcess(p.PID)
	if err != nil {
		return err
	}
	defer handle.Release()
	if !t.Alive(p) {
		return ErrGone
	}
	err = handle.Signal(sig)
	switch {
	case errors.Is(err, os.ErrProcessDone), errors.Is(err, syscall.ESRCH):
		return ErrGone
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("may not signal %s (pid %d): it is another user's; run as that user, or with CAP_KILL", p.Name, p.PID)
	}
	return err
}

// Heeds says whether a process has asked for a signal, or ignores it. One that has done neither would be ended by most
// signals: it does not know of them, or is not yet so far in its start. SIGKILL and SIGSTOP are never heeded.
func (t Table) Heeds(p Process, sig syscall.Signal) (bool, error) {
	text, err := readSome(filepath.Join(t.root(), strconv.Itoa(p.PID), "status"))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) || err == nil && !t.Alive(p) {
		return false, ErrGone
	}
	if err != nil {
		return false, err
	}
	heeds, masks := false, 0
	for line := range strings.Lines(string(text)) {
		key, value, _ := strings.Cut(line, ":")
		if key != "SigIgn" && key != "SigCgt" {
			continue
		}
		mask, err := strconv.ParseUint(strings.TrimSpace(value), 16, 64)
		if err != nil {
			return false, fmt.Errorf("status of process %d: %w", p.PID, err)
		}
		masks++
		heeds = heeds || mask>>(sig-1)&1 == 1
	}
	if masks != 2 {
		return false, fmt.Errorf("status of process %d has no SigIgn and SigCgt", p.PID)
	}
	return heeds, nil
}

// Age is for how long a process has been there.
func (t Table) Age(p Process) (time.Duration, error) {
	text, err := readSome(filepath.Join(t.root(), "uptime"))
	if err != nil {
		return 0, err
	}
	up, _, _ := strings.Cut(string(text), " ")
	seconds, err := strconv.ParseFloat(up, 64)
	if err != nil {
		return 0, fmt.Errorf("uptime: %w", err)
	}
	return time.Duration(seconds*float64(time.Second)) - time.Duration(p.Start)*time.Second/ticks, nil
}
