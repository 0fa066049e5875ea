package stack

import (
	"os"
	"runtime"
	"strconv"
	"strings"
)

// load is the machine's load for each of its CPUs, where the engine is on this machine; else 0.
func (e *Engine) load() float64 {
	if !strings.HasPrefix(e.Host, "unix:") {
		return 0
	}
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return 0
	}
	return loadOf(string(text), runtime.NumCPU())
}

// loadOf reads the average of the last minute (proc(5)).
func loadOf(text string, cpus int) float64 {
	first, _, _ := strings.Cut(text, " ")
	n, err := strconv.ParseFloat(first, 64)
	if err != nil {
		return 0
	}
	return n / float64(cpus)
}

// stretch is how many times as long something may take on a machine with that load for each CPU: what waits in a line is served in
// its turn.
func stretch(load float64) float64 { return min(max(1, load), 8) }
