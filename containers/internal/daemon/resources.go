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
