package stack

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/shirou/gopsutil/v4/process"
)

// Owner names a process beyond reuse of its number: host/pid/start.
type Owner string

// Self is this process.
var Self = sync.OnceValue(func() Owner { return ownerOf(int32(os.Getpid())) })

func ownerOf(pid int32) Owner {
	host, err := os.Hostname()
	if err != nil {
		host = "localhost"
	}
	return Owner(fmt.Sprintf("%s/%d/%d", host, pid, started(pid)))
}

// started is a process's start in milliseconds since 1970, 0 when there is no such process. One that has ended and was
// not yet waited for, a zombie, is no process: some inits take a second for that.
func started(pid int32) int64 {
	p, err := process.NewProcess(pid)
	if err != nil {
		return 0
	}
	if status, err := p.Status(); err == nil && slices.Contains(status, process.Zombie) {
		return 0
	}
	ms, err := p.CreateTime()
	if err != nil {
		return 0
	}
	return ms
}

// Alive says whether the process still runs. A process of another host counts as alive: only its stacks' expiry
// can tell.
func (o Owner) Alive() bool {
	host, pid, ms, ok := o.parts()
	if !ok {
		return false
	}
	if me, err := os.Hostname(); err != nil || me != host {
		return true
	}
	// The start is computed from the clock and the boot time, and may be off by a tick.
	got := started(pid)
	return got != 0 && got-ms < 1000 && ms-got < 1000
}

// PID is the process's number.
func (o Owner) PID() int {
	_, pid, _, _ := o.parts()
	return int(pid)
}

func (o Owner) parts() (host string, pid int32, ms int64, ok bool) {
	parts := strings.Split(string(o), "/")
	if len(parts) != 3 {
		return "", 0, 0, false
	}
	n, err := strconv.ParseInt(parts[1], 10, 32)
	if err != nil {
		return "", 0, 0, false
	}
	ms, err = strconv.ParseInt(parts[2], 10, 64)
	return parts[0], int32(n), ms, err == nil
}
