package shard

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"distlab/lab/check"

	"github.com/redis/go-redis/v9"
)

// fewKeysMove adds a fourth server and asks for every key: one that has moved is not there any more.
func fewKeysMove(ctx context.Context, s *check.Stack) (check.Result, error) {
	const n, least, most = 2000, 0.15, 0.35
	c, err := connect(ctx, s, nil)
	if err != nil {
		return check.Result{}, err
	}
	defer c.Close()
	prefix := fresh(s, "few-keys-move")
	keys := numbered(s, prefix, n)
	if err := fill(ctx, c, keys); err != nil {
		return check.Result{}, err
	}
	planned, err := plan(ctx, s)
	if err != nil {
		return check.Result{}, err
	}
	text, err := four(ctx, s)
	if err != nil {
		return check.Result{}, err
	}
	back, err := use(ctx, s, text)
	if err != nil {
		return check.Result{}, err
	}
	defer back()
	cmds, err := c.Pipelined(ctx, func(p redis.Pipeliner) error {
		for _, key := range keys {
			p.Get(ctx, key)
		}
		return nil
	})
	if err != nil && !errors.Is(err, redis.Nil) {
		return check.Result{}, fmt.Errorf("read the keys: %w", err)
	}
	moved := 0
	for _, cmd := range cmds {
		if errors.Is(cmd.Err(), redis.Nil) {
			moved++
		}
	}
	// What moved must have moved to the new server, which is seen by writing it again.
	if err := fill(ctx, c, keys); err != nil {
		return check.Result{}, err
	}
	taken, err := keysOn(ctx, s, fourth, prefix)
	if err != nil {
		return check.Result{}, err
	}
	if err := back(); err != nil {
		return check.Result{}, err
	}
	share := float64(moved) / n
	p := check.BinomialTest(moved, n, planned)
	ok := share >= least && share <= most && p >= check.Alpha && len(taken) == moved
	return check.Decide(ok, "%d of %d keys moved, %d of them to the new server; plan says %.1f %% (p = %.3g)", moved, n, len(taken), 100*planned, p).
		Want("between %.0f and %.0f %%, all to the new server, as plan says", 100*least, 100*most).Of(n), nil
}

// plan asks the ambassador's own subcommand what the fourth server would move, of the file in use: in a variant that is
// the variant's. A blank line makes it differ from what is there, as a write must to be seen.
func plan(ctx context.Context, s *check.Stack) (float64, error) {
	text, err := four(ctx, s)
	if err != nil {
		return 0, err
	}
	if _, err := s.Write(ctx, config, map[string][]byte{fourFile: append(text, '\n')}); err != nil {
		return 0, err
	}
	out, err := s.Exec(ctx, ambassador, "/shard-ambassador", "plan", "-o", "json", poolFile, fourFile)
	if err != nil {
		return 0, err
	}
	if out.ExitCode != 0 {
		return 0, fmt.Errorf("plan: exit code %d: %s", out.ExitCode, strings.TrimSpace(out.Stderr))
	}
	var changes []struct {
		Moved float64 `json:"moved"`
	}
	if err := json.Unmarshal([]byte(out.Stdout), &changes); err != nil {
		return 0, fmt.Errorf("plan: %w", err)
	}
	if len(changes) != 1 {
		return 0, fmt.Errorf("plan: %d pools, want 1", len(changes))
	}
	return changes[0].Moved, nil
}

// counter is a key that one goroutine counts up, so that it knows what the next answer must be.
type counter struct {
	key    string
	last   int64
	asked  int
	failed []string // answers that were no answer
	breaks int      // answers that did not follow the one before
}

// counting is a load: counters that are counted up one after the other, again and again.
type counting struct {
	counters []*counter
	rounds   []atomic.Int64 // of each goroutine
	stop     context.CancelFunc
	done     sync.WaitGroup
}

// count begins the load.
func count(ctx context.Context, c *redis.Client, keys []string, goroutines int) *counting {
	run, stop := context.WithCancel(ctx)
	l := &counting{rounds: make([]atomic.Int64, goroutines), stop: stop}
	for _, key := range keys {
		l.counters = append(l.counters, &counter{key: key})
	}
	for g := range goroutines {
		l.done.Go(func() {
			for run.Err() == nil {
				for i := g; i < len(l.counters) && run.Err() == nil; i += goroutines {
					l.counters[i].up(ctx, c)
				}
				l.rounds[g].Add(1)
			}
		})
	}
	return l
}

func (k *counter) up(ctx context.Context, c *redis.Client) {
	k.asked++
	value, err := c.Incr(ctx, k.key).Result()
	switch {
	case err != nil:
		k.failed = append(k.failed, err.Error())
	case value != k.last+1:
		k.breaks++
		k.last = value
	default:
		k.last = value
	}
}

// further waits until every counter was counted up n more times.
func (l *counting) further(ctx context.Context, n int64) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for g := range l.rounds {
		begun := l.rounds[g].Load()
		// The round that is under way may have begun before.
		err := check.Wait(ctx, "the load to go on", func(context.Context) error {
			if now := l.rounds[g].Load(); now <= begun+n {
				return fmt.Errorf("%d rounds", now-begun)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// end ends the load and waits for it: then its counters can be read.
func (l *counting) end() {
	l.stop()
	l.done.Wait()
}

// reload adds a fourth server while keys are counted up. Then comes a file that cannot be read, which must change nothing.
func reload(ctx context.Context, s *check.Stack) (check.Result, error) {
	const n, goroutines = 240, 8
	c, err := connect(ctx, s, func(o *redis.Options) { o.PoolSize = goroutines })
	if err != nil {
		return check.Result{}, err
	}
	defer c.Close()
	prefix := fresh(s, "reload")
	load := count(ctx, c, numbered(s, prefix, n), goroutines)
	defer load.end()
	if err := load.further(ctx, 1); err != nil {
		return check.Result{}, err
	}
	text, err := four(ctx, s)
	if err != nil {
		return check.Result{}, err
	}
	begun := time.Now()
	back, err := use(ctx, s, text)
	if err != nil {
		return check.Result{}, err
	}
	defer back()
	took := time.Since(begun)
	if err := load.further(ctx, 2); err != nil {
		return check.Result{}, err
	}
	badBack, err := use(ctx, s, []byte("redis:\n  listen: 0.0.0.0:6379\n  servers:\n    - nonsense\n"))
	if err != nil {
		return check.Result{}, err
	}
	defer badBack()
	st, err := readStatus(ctx, s)
	if err != nil {
		return check.Result{}, err
	}
	refused := strings.Contains(st.Load.Error, "pool.yml:4: ") && len(st.Pools["redis"].Servers) == len(shards)+1
	if err := load.further(ctx, 2); err != nil {
		return check.Result{}, err
	}
	load.end()
	moved, err := keysOn(ctx, s, fourth, prefix)
	if err != nil {
		return check.Result{}, err
	}
	if err := errors.Join(badBack(), back()); err != nil {
		return check.Result{}, err
	}
	c.Del(ctx, numberedKeys(load)...)
	return load.judge(moved, refused, took, st.Load.Error), nil
}

func numberedKeys(l *counting) (keys []string) {
	for _, k := range l.counters {
		keys = append(keys, k.key)
	}
	return keys
}

// judge: a key that moved begins anew, once; any other goes on, and none has an error.
func (l *counting) judge(moved map[string]bool, refused bool, took time.Duration, why string) check.Result {
	asked, failed, broken, anew := 0, 0, 0, 0
	var wrong []string
	for _, k := range l.counters {
		asked += k.asked
		failed += len(k.failed)
		if len(k.failed) > 0 {
			wrong = append(wrong, fmt.Sprintf("%s: %s", k.key, k.failed[0]))
		}
		switch {
		case moved[k.key] && k.breaks == 1:
			anew++
		case k.breaks > 0 || moved[k.key]:
			broken++
			wrong = append(wrong, fmt.Sprintf("%s: %d breaks, moved: %v", k.key, k.breaks, moved[k.key]))
		}
	}
	if len(moved) == 0 {
		return check.Unknown("none of %d keys is on the fourth server: nothing was reloaded", len(l.counters))
	}
	return check.Decide(failed == 0 && broken == 0 && refused, "%d errors in %d requests; %d keys moved, of the others %d were disturbed; the bad file was refused: %v",
		failed, asked, anew, broken, refused).
		Want("none, none, true").Of(asked).
		Because("the reload took %.1f s; the bad file: %s\n%s", took.Seconds(), why, strings.Join(wrong[:min(5, len(wrong))], "\n"))
}
