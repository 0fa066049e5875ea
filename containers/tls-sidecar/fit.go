package main

import (
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
)

// resources are what the engine lets the process have; 0 is unknown, or no
// bound.
type resources struct {
	memory uint64 // bytes
	files  uint64 // descriptors
}

// What one of each takes at most, measured with head room for the garbage
// collector: an idle TLS connection 34 KiB with Go's HTTP server, where any
// client may bring it, a request its buffers on both sides.
const (
	baseMemory       = 16 << 20
	connectionMemory = 48 << 10
	requestMemory    = 96 << 10
	baseFiles        = 256
)

// fit lowers limits to what the resources bear: a flood of connections is to
// be turned away, not to get the process killed. No limit, 0, stays none:
// somebody has asked for it.
func (cfg config) fit(r resources) config {
	connections, requests := uint64(cfg.MaxConnections), uint64(cfg.MaxRequests)
	if r.memory > 0 {
		spare := uint64(1 << 20)
		if r.memory > baseMemory {
			spare = max(spare, r.memory-baseMemory)
		}
		connections = min(connections, spare*2/3/connectionMemory)
		requests = min(requests, spare/3/requestMemory)
	}
	if r.files > 0 {
		spare := uint64(2)
		if r.files > baseFiles {
			spare = max(spare, r.files-baseFiles)
		}
		// In TCP mode each connection has another to the app.
		connections = min(connections, spare/2)
		requests = min(requests, spare/2)
	}
	cfg.MaxConnections, cfg.MaxRequests = int(connections), int(requests)
	return cfg
}

// available asks the kernel. Go has raised the soft limit of descriptors to
// the hard one already.
func available() (r resources) {
	var files syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files) == nil {
		r.files = files.Max
	}
	for _, path := range []string{"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"} {
		text, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		// "max", or in version 1 a number near 2^63, is none.
		if n, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64); err == nil && n < 1<<50 {
			r.memory = n
		}
		break
	}
	return r
}

// collectWithin makes the garbage collector work harder near the bound,
// rather than to grow over it. GOMEMLIMIT is a person's word and stands.
func collectWithin(memory uint64) {
	if memory > 0 && os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(int64(memory / 10 * 9))
	}
}
