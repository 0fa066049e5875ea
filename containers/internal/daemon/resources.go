package daemon

import (
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
)

// Resources are what the engine lets the process have; 0 is unknown, or no
// bound.
type Resources struct {
	Memory uint64 // bytes
	Files  uint64 // descriptors
}

// Available asks the kernel. Go has raised the soft limit of descriptors to
// the hard one already.
func Available() (r Resources) {
	var files syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files) == nil {
		r.Files = files.Max
	}
	for _, path := range []string{"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"} {
		text, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		// "max", or in version 1 a number near 2^63, is none.
		if n, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64); err == nil && n < 1<<50 {
			r.Memory = n
		}
		break
	}
	return r
}

// CollectWithin makes the garbage collector work harder near the bound,
// rather than to grow over it. GOMEMLIMIT is a person's word and stands.
func CollectWithin(memory uint64) {
	if memory > 0 && os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(int64(memory / 10 * 9))
	}
}

// Cost is what a server's clients take at most, measured with the garbage that comes with it.
type Cost struct {
	Own        uint64 // bytes of the process without any client
	Connection uint64 // bytes of an idle connection
	Request    uint64 // bytes of a request in flight, its connection left aside
	Pairs      bool   // every connection may have another one to a server, as a tunnel has; else requests have, and idle connections not
}

// What is left to everything else.
const (
	ownFiles    = 256
	leastMemory = 1 << 20
)

// Fit lowers the limits of connections and of requests at once to what the resources bear: a flood is to be turned away, not to
// get the process killed. Two thirds of the memory are for connections, a third for requests. No limit, 0, stays none: somebody
// has asked for it.
func (r Resources) Fit(connections, requests int, c Cost) (int, int) {
	least := func(limit int, most uint64) int { return int(min(uint64(limit), max(most, 1))) }
	if r.Memory > 0 {
		spare := uint64(leastMemory)
		if r.Memory > c.Own {
			spare = max(spare, r.Memory-c.Own)
		}
		connections, requests = least(connections, spare*2/3/c.Connection), least(requests, spare/3/c.Request)
	}
	if r.Files > 0 {
		spare := uint64(3)
		if r.Files > ownFiles {
			spare = max(spare, r.Files-ownFiles)
		}
		if c.Pairs {
			connections, requests = least(connections, spare/2), least(requests, spare/2)
		} else {
			connections, requests = least(connections, spare*2/3), least(requests, spare/3)
		}
	}
	return connections, requests
}

// Fit lowers a server's limits to what this process has, tells of it, and has the garbage collector keep within the memory.
func (p *Process) Fit(connections, requests *int, c Cost) Resources {
	has := Available()
	CollectWithin(has.Memory)
	most, atOnce := has.Fit(*connections, *requests, c)
	if most != *connections || atOnce != *requests {
		p.Log.Info("limits lowered", "max_connections", most, "max_requests", atOnce, "memory_bytes", has.Memory, "file_descriptors", has.Files)
	}
	*connections, *requests = most, atOnce
	return has
}
