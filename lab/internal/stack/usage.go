package stack

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"distlab/lab/check"
)

// Usage is what a container has used until now, all its processes together.
type Usage struct {
	CPU    time.Duration // since its start
	Memory int64         // resident bytes: anonymous memory, without the cache of files
}

// Usage is a running container's use of CPU and memory, as its control group counts it. The group's files are read where
// they are at hand, on the engine's machine: the engine itself looks at them once a second at most, and takes so long to
// answer.
func (e *Engine) Usage(ctx context.Context, id string) (Usage, error) {
	if strings.HasPrefix(e.Host, "unix:") {
		if u, err := readCgroup(cgroupRoot, id); err == nil {
			return u, nil
		}
	}
	res, err := e.Docker.ContainerStats(ctx, id, client.ContainerStatsOptions{})
	if err != nil {
		return Usage{}, e.explain(ctx, fmt.Errorf("container's use of CPU and memory: %w", err))
	}
	defer res.Body.Close()
	var s container.StatsResponse
	if err := json.NewDecoder(res.Body).Decode(&s); err != nil {
		return Usage{}, fmt.Errorf("container's use of CPU and memory: %w", err)
	}
	return Usage{CPU: time.Duration(s.CPUStats.CPUUsage.TotalUsage), Memory: resident(s.MemoryStats)}, nil
}

// anonymous are the names of anonymous memory: in control groups of version 2, and of version 1.
var anonymous = []string{"anon", "total_rss"}

func resident(m container.MemoryStats) int64 {
	for _, name := range anonymous {
		if n, ok := m.Stats[name]; ok {
			return int64(n)
		}
	}
	return int64(m.Usage)
}

const cgroupRoot = "/sys/fs/cgroup"

// readCgroup finds a container's control group by its ID, under the names that the two drivers give it, and reads it.
func readCgroup(root, id string) (Usage, error) {
	for _, name := range []string{"docker/" + id, "system.slice/docker-" + id + ".scope"} {
		if dir := filepath.Join(root, name); exists(filepath.Join(dir, "cpu.stat")) {
			micros, err := counted(filepath.Join(dir, "cpu.stat"), "usage_usec")
			memory, merr := counted(filepath.Join(dir, "memory.stat"), anonymous[0])
			return Usage{CPU: time.Duration(micros) * time.Microsecond, Memory: memory}, errors.Join(err, merr)
		}
		usage := filepath.Join(root, "cpuacct", name, "cpuacct.usage")
		if text, err := os.ReadFile(usage); err == nil {
			nanos, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
			memory, merr := counted(filepath.Join(root, "memory", name, "memory.stat"), anonymous[1])
			return Usage{CPU: time.Duration(nanos), Memory: memory}, errors.Join(err, merr)
		}
	}
	return Usage{}, fmt.Errorf("control group of %s: %w", id, os.ErrNotExist)
}

func exists(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}

// counted is the number behind a name in a file of lines "name number".
func counted(file, name string) (int64, error) {
	f, err := os.Open(file)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if key, value, ok := strings.Cut(lines.Text(), " "); ok && key == name {
			return strconv.ParseInt(value, 10, 64)
		}
	}
	return 0, fmt.Errorf("%s has no %s", file, name)
}

// Busy is how long the machine's CPUs have been at work since it began, for whomever, time taken by other machines on the same
// hardware included. It is known where the engine is on this machine.
func (e *Engine) Busy() (time.Duration, bool) {
	if !strings.HasPrefix(e.Host, "unix:") {
		return 0, false
	}
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, false
	}
	return busy(string(text))
}

// busy reads the first line of /proc/stat: cpu, then user, nice, system, idle, iowait, irq, softirq and steal in
// hundredths of a second (proc(5)).
func busy(text string) (time.Duration, bool) {
	line, _, _ := strings.Cut(text, "\n")
	fields := strings.Fields(line)
	if len(fields) < 9 || fields[0] != "cpu" {
		return 0, false
	}
	var ticks int64
	for i, field := range fields[1:9] {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, false
		}
		if i != 3 && i != 4 {
			ticks += n
		}
	}
	return time.Duration(ticks) * 10 * time.Millisecond, true
}

// Machine is what the engine says of the machine that it runs on.
func (e *Engine) Machine(ctx context.Context) (check.Machine, error) {
	res, err := e.Docker.Info(ctx, client.InfoOptions{})
	if err != nil {
		return check.Machine{}, e.explain(ctx, fmt.Errorf("ask about the machine: %w", err))
	}
	return check.Machine{
		Cores: res.Info.NCPU, Memory: res.Info.MemTotal, Kernel: res.Info.KernelVersion, System: res.Info.OperatingSystem,
	}, nil
}

// ImageSize is the bytes of an image that the engine has.
func (e *Engine) ImageSize(ctx context.Context, ref string) (int64, error) {
	res, err := e.Docker.ImageInspect(ctx, ref)
	if err != nil {
		return 0, e.explain(ctx, fmt.Errorf("inspect image %s: %w", ref, err))
	}
	return res.Size, nil
}

// Restart stops a container, with its own stop signal, and starts it again.
func (e *Engine) Restart(ctx context.Context, id string) error {
	if _, err := e.Docker.ContainerRestart(ctx, id, client.ContainerRestartOptions{}); err != nil {
		return e.explain(ctx, fmt.Errorf("restart: %w", err))
	}
	return nil
}
