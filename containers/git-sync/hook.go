package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Hook tells somebody which commit is live: at least once, again until it succeeds, and only ever about the newest.
type Hook struct {
	Name    string
	Call    func(ctx context.Context, hash, dir string) error // nil: no such hook
	Backoff time.Duration
	Ran     func(name string, err error)

	mu     sync.Mutex
	newest news
	came   chan struct{}
}

type news struct{ hash, dir string }

// Tell leaves the newest commit for Run.
func (h *Hook) Tell(hash, dir string) {
	h.mu.Lock()
	h.newest = news{hash, dir}
	if h.came == nil {
		h.came = make(chan struct{}, 1)
	}
	came := h.came
	h.mu.Unlock()
	select {
	case came <- struct{}{}:
	default:
	}
}

// Run calls until ctx ends. News that come while it waits to try again end that wait.
func (h *Hook) Run(ctx context.Context) {
	h.mu.Lock()
	if h.came == nil {
		h.came = make(chan struct{}, 1)
	}
	came := h.came
	h.mu.Unlock()
	var again <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-came:
		case <-again:
		}
		again = nil
		h.mu.Lock()
		n := h.newest
		h.mu.Unlock()
		err := h.Call(ctx, n.hash, n.dir)
		if ctx.Err() != nil {
			return
		}
		h.Ran(h.Name, err)
		if err != nil {
			again = time.After(h.Backoff)
		}
	}
}

// post is a hook that calls a URL; nil without one.
func post(url string, limit time.Duration) func(context.Context, string, string) error {
	if url == "" {
		return nil
	}
	return func(ctx context.Context, hash, _ string) error {
		ctx, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, nil)
		if err != nil {
			return err
		}
		req.Header.Set("Gitsync-Hash", hash)
		resp, err := client.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10))
		if resp.StatusCode/100 != 2 {
			return fmt.Errorf("%s: %s", url, resp.Status)
		}
		return nil
	}
}

// command is a hook that runs a program; nil without one.
func command(line string, limit time.Duration) func(context.Context, string, string) error {
	if line == "" {
		return nil
	}
	return func(ctx context.Context, hash, dir string) error { return runCommand(ctx, line, hash, dir, limit) }
}

// failedCommand is a program that ran and said no, or did not end in time.
type failedCommand struct{ why, output string }

func (f *failedCommand) Error() string {
	if f.output == "" {
		return f.why
	}
	return f.why + ": " + f.output
}

// runCommand runs a program in a checkout. It and all that it started end with its time; of what it says the end is
// kept. A program that is to be in the checkout and is not is the commit's fault.
func runCommand(ctx context.Context, words, hash, dir string, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	argv := strings.Fields(words)
	said := &tail{}
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir = dir
	// Nothing of this process's own settings: there may be secrets among them.
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=/", "GITSYNC_HASH=" + hash}
	cmd.Stdout, cmd.Stderr = said, said
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	if cmd.Process != nil {
		bury(cmd.Process.Pid)
	}
	var exit *exec.ExitError
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return &failedCommand{fmt.Sprintf("%s: not done within %s", argv[0], limit), said.line()}
	case errors.As(err, &exit):
		return &failedCommand{fmt.Sprintf("%s: %s", argv[0], exit), said.line()}
	case errors.Is(err, exec.ErrWaitDelay):
		return nil // it said yes, and left children that had to be ended
	case strings.HasPrefix(argv[0], "./"):
		return &failedCommand{err.Error(), ""}
	}
	return err
}

// bury ends what a program has left running in its group. In a container this process is the parent of orphans:
// nobody else waits for them.
func bury(group int) {
	for syscall.Kill(-group, syscall.SIGKILL) == nil {
		if _, err := syscall.Wait4(-group, nil, 0, nil); err != nil && err != syscall.EINTR {
			return // none of them is a child of this process
		}
	}
}

// tail keeps the end of what is written to it.
type tail struct {
	mu   sync.Mutex
	text []byte
}

const tailBytes = 300 // what line lets through

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p[max(0, len(p)-tailBytes):]...)
	if len(t.text) > tailBytes {
		t.text = bytes.Clone(t.text[len(t.text)-tailBytes:])
	}
	return len(p), nil
}

func (t *tail) line() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return line(t.text)
}
