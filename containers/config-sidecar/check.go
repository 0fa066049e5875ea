package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// Check is the command that says whether files are good, before the app sees them: nginx -t, promtool check config. It is
// run on the staged files and has a time limit; when that is over, or it has ended, all that it started ends with it.
type Check struct {
	Command []string // {dir} is the folder with the staged files; empty: all files are good
	Timeout time.Duration
}

// said bounds what is kept of a check's output; the rest is read and thrown away, so that it does not wait.
const said = 8 << 10

// Run checks the files in a folder.
func (c *Check) Run(ctx context.Context, dir, version string) error {
	if len(c.Command) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	args := make([]string, len(c.Command))
	for i, arg := range c.Command {
		args[i] = strings.ReplaceAll(arg, "{dir}", dir)
	}
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Dir = dir
	// What the sidecar knows, tokens say, is none of its business.
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "CONFIG_DIR=" + dir, "CONFIG_VERSION=" + version}
	var out head
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second // for a child that holds the output
	err := cmd.Run()
	if cmd.Process != nil {
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // what it has left behind
	}
	var exit *exec.ExitError
	switch {
	case err == nil:
		return nil
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return fmt.Errorf("not done after %v: %s", c.Timeout, out.line())
	case errors.Is(err, exec.ErrWaitDelay):
		return nil // it said yes; a child of its own held the output
	case errors.As(err, &exit):
		return fmt.Errorf("%s: %s", exit, out.line())
	}
	return fmt.Errorf("cannot be run: %w", err)
}

// head keeps the beginning of what is written.
type head struct{ bytes.Buffer }

func (h *head) Write(text []byte) (int, error) {
	if room := said - h.Len(); room > 0 {
		h.Buffer.Write(text[:min(room, len(text))])
	}
	return len(text), nil
}

func (h *head) line() string { return line(h.String(), 400) }
