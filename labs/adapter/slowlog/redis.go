package slowlog

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"distlab/lab/check"
)

// ownName begins the name by which the adapter makes itself known to Redis.
const ownName = "slowlog-adapter-"

// cli gives commands to redis-cli in Redis's own container, all on one connection, and returns what it prints. A
// command that Redis refuses is no error here.
func cli(ctx context.Context, s *check.Stack, commands ...string) (string, error) {
	args := append([]string{"sh", "-c", `printf '%s\n' "$@" | redis-cli`, "sh"}, commands...)
	out, err := s.Exec(ctx, redis, args...)
	if err == nil && out.ExitCode != 0 {
		err = fmt.Errorf("exit code %d: %s", out.ExitCode, strings.TrimSpace(out.Stdout+out.Stderr))
	}
	if err != nil {
		return "", fmt.Errorf("redis-cli: %w", err)
	}
	return out.Stdout, nil
}

// slow runs n slow commands, one after the other, and returns a marker of each: its argument, which tells how long it
// sleeps and, in digits that are too small to sleep, which it is. The lengths are drawn at random from least upwards, all
// above Redis's default threshold of 10 ms.
func slow(ctx context.Context, s *check.Stack, n int, least, most time.Duration) ([]string, error) {
	r, now := s.Rand(), time.Now().UnixNano()
	markers, commands := make([]string, n), make([]string, n)
	for i := range n {
		took := least + time.Duration(r.Int64N(int64(most-least)+1))
		markers[i] = fmt.Sprintf("%.6f%d", took.Seconds(), now+int64(i))
		commands[i] = "debug sleep " + markers[i]
	}
	out, err := cli(ctx, s, commands...)
	if err != nil {
		return nil, err
	}
	if got := strings.Count(out, "OK\n"); got != n {
		return nil, fmt.Errorf("%d of %d slow commands were done: %.200s", got, n, out)
	}
	return markers, nil
}

// entry is one of the slow log as another reader sees it.
type entry struct {
	id, unix, us int64
	args         []string
	clientName   string
}

// slowlog asks Redis for all of its slow log, as a reader that knows nothing of the adapter. Newest first.
func slowlog(ctx context.Context, s *check.Stack) ([]entry, error) {
	out, err := s.Exec(ctx, redis, "redis-cli", "--json", "slowlog", "get", "-1")
	if err == nil && out.ExitCode != 0 {
		err = fmt.Errorf("exit code %d: %s", out.ExitCode, strings.TrimSpace(out.Stdout+out.Stderr))
	}
	if err != nil {
		return nil, fmt.Errorf("redis-cli slowlog get: %w", err)
	}
	var rows [][]json.RawMessage
	if err := json.Unmarshal([]byte(out.Stdout), &rows); err != nil {
		return nil, fmt.Errorf("redis-cli slowlog get: %w", err)
	}
	entries := make([]entry, len(rows))
	for i, row := range rows {
		e := &entries[i]
		if len(row) < 6 {
			return nil, fmt.Errorf("redis-cli slowlog get: %d fields, want 6", len(row))
		}
		for j, into := range map[int]any{0: &e.id, 1: &e.unix, 2: &e.us, 3: &e.args, 5: &e.clientName} {
			if err := json.Unmarshal(row[j], into); err != nil {
				return nil, fmt.Errorf("redis-cli slowlog get: field %d: %w", j, err)
			}
		}
	}
	return entries, nil
}

// logged finds the markers in the slow log.
func logged(entries []entry, markers []string) map[string]entry {
	wanted := map[string]bool{}
	for _, m := range markers {
		wanted[m] = true
	}
	found := map[string]entry{}
	for _, e := range entries {
		for _, a := range e.args {
			if wanted[a] {
				found[a] = e
			}
		}
	}
	return found
}

// runID is the run ID of the process that Redis is.
func runID(ctx context.Context, s *check.Stack) (string, error) {
	out, err := cli(ctx, s, "info server")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(out) {
		if id, ok := strings.CutPrefix(line, "run_id:"); ok {
			return strings.TrimSpace(id), nil
		}
	}
	return "", fmt.Errorf("info server: has no run_id")
}

// everything sets the threshold so that Redis logs every command, for as long as f lasts.
func everything(ctx context.Context, s *check.Stack, f func() error) error {
	if _, err := cli(ctx, s, "config set slowlog-log-slower-than 0"); err != nil {
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		cli(ctx, s, "config set slowlog-log-slower-than 10000")
	}()
	return f()
}
