package stack

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/shirou/gopsutil/v4/process"
)

// Owner names a process for people: host/pid/start.
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

// Host is the machine's name.
func (o Owner) Host() string {
	host, _, _, _ := o.parts()
	return host
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

// session names this process to the engine, beyond every reuse of numbers and names.
var session = sync.OnceValue(rand.Text)

// here is where a process's number means what it means to this one: this boot of this machine and this PID namespace. A host's
// name is not enough: containers and sandboxes share it, and see each other's processes under other numbers or not at all.
var here = sync.OnceValue(func() string {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	space, serr := os.Readlink("/proc/self/ns/pid")
	if err != nil || serr != nil { // not Linux, where there are no such namespaces
		host, _ := os.Hostname()
		return "host " + host
	}
	if self, err := os.Readlink("/proc/self"); err != nil || self != strconv.Itoa(os.Getpid()) {
		return "nowhere " + session() // /proc is of another namespace: it tells nothing of this one's processes
	}
	return strings.TrimSpace(string(boot)) + " " + space
})

// runs says whether a process runs, as far as this one can know. One of another place has to be believed.
func (o Owner) runs(place string) (runs, known bool) {
	_, pid, ms, ok := o.parts()
	if !ok || place != here() {
		return false, false
	}
	switch got := started(pid); {
	case got != 0:
		// The start is computed from the clock and the boot time, and may be off by a tick.
		return got-ms < 1000 && ms-got < 1000, true
	case errors.Is(syscall.Kill(int(pid), 0), syscall.EPERM):
		return false, false // it is there, and hidden from this user (hidepid)
	}
	return false, true
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
