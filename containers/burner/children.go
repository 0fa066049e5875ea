package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"distlab/containers/burner/brief"
)

// The program starts itself as its children, and tells them by two variables what they are.
const (
	roleVariable = brief.Variable // brief.Role or stay
	roleStay     = "stay"
	nameVariable = "BURNER_NAME"
)

// maxRunning bounds the brief children that run at once: a machine that is too slow for the rate gets fewer, and that is
// counted.
const maxRunning = 16

// Children starts children that end at once.
type Children struct {
	Log *slog.Logger

	rate             atomic.Int64
	started, skipped atomic.Uint64
	running          atomic.Int64
	failed           atomic.Bool
}

// Set changes how many are started each second.
func (c *Children) Set(rate int) { c.rate.Store(int64(rate)) }

// Counts are how many were started, how many were not, and the present rate.
func (c *Children) Counts() (started, skipped uint64, rate int) {
	return c.started.Load(), c.skipped.Load(), int(c.rate.Load())
}

// Run starts them until ctx is done, and returns when the last has ended.
func (c *Children) Run(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	tick := time.NewTicker(step)
	defer tick.Stop()
	due, last := 0.0, time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			due += float64(c.rate.Load()) * min(now.Sub(last), time.Second).Seconds()
			last = now
		}
		for ; due >= 1; due-- {
			if c.running.Load() >= maxRunning {
				c.skipped.Add(1)
				continue
			}
			c.running.Add(1)
			wg.Go(func() {
				defer c.running.Add(-1)
				c.one()
			})
		}
	}
}

func (c *Children) one() {
	cmd := self(brief.Role, "", "brief")
	if err := cmd.Run(); err != nil {
		c.skipped.Add(1)
		if !c.failed.Swap(true) {
			c.Log.Error("start a child", "error", err)
		}
		return
	}
	c.started.Add(1)
}

// self is this program as a child, under the arguments that it is to show.
func self(role, name string, args ...string) *exec.Cmd {
	path, err := os.Executable()
	if err != nil {
		path = "/proc/self/exe"
	}
	return &exec.Cmd{Path: path, Args: args, Env: []string{roleVariable + "=" + role, nameVariable + "=" + name}}
}

// Name is a name that a process gives itself.
type Name string

// UnmarshalText reads it with the escapes of a Go string.
func (n *Name) UnmarshalText(text []byte) error {
	s, err := strconv.Unquote(`"` + strings.ReplaceAll(string(text), `"`, `\"`) + `"`)
	if err != nil || s == "" || strings.Contains(s, "\x00") {
		return fmt.Errorf("not a name with the escapes of a Go string, without \\x00")
	}
	*n = Name(s)
	return nil
}

// SettingType names the type in the documentation.
func (*Name) SettingType() (name, want string) { return "name", "a name like a b or a\\nb" }

// Named is a child that stays, under a name.
type Named struct {
	PID  int    `json:"pid"`
	Name string `json:"name"` // as the kernel keeps it: 15 bytes

	cmd   *exec.Cmd
	stdin io.WriteCloser
}

// nameBytes is what the kernel keeps of a process's name.
const nameBytes = 15

// startNamed starts a child for each name, and waits until it has taken it. The name is its only argument, too.
func startNamed(names []Name) (list []*Named, err error) {
	for _, name := range names {
		n := &Named{Name: string(name[:min(len(name), nameBytes)])}
		n.cmd = self(roleStay, string(name), string(name))
		if n.stdin, err = n.cmd.StdinPipe(); err != nil {
			return list, err
		}
		stdout, err := n.cmd.StdoutPipe()
		if err != nil {
			return list, err
		}
		if err := n.cmd.Start(); err != nil {
			return list, err
		}
		n.PID = n.cmd.Process.Pid
		list = append(list, n)
		if said, err := io.ReadAll(io.LimitReader(stdout, 1<<10)); err != nil || string(said) != "ok" {
			return list, fmt.Errorf("%q: the child says %q: %w", name, said, err)
		}
	}
	return list, nil
}

// stopNamed ends them: each lives until its standard input ends, also when this process is killed.
func stopNamed(list []*Named) {
	for _, n := range list {
		n.stdin.Close()
		n.cmd.Wait()
	}
}

// stay is what a child does that stays; it returns its exit code.
func stay() int {
	signal.Ignore(syscall.SIGHUP)
	if err := os.WriteFile("/proc/self/comm", []byte(os.Getenv(nameVariable)), 0); err != nil {
		fmt.Print(err)
		return 1
	}
	fmt.Print("ok")
	os.Stdout.Close()
	io.Copy(io.Discard, os.Stdin)
	return 0
}
