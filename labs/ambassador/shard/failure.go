package shard

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"distlab/lab/check"

	"github.com/redis/go-redis/v9"
)

// within bounds every answer while a shard is away: the pool's timeout is 2 s, and a busy machine gets some more.
const within = 4 * time.Second

// answer is what came of one key.
type answer struct {
	value string
	err   error
	took  time.Duration
}

// getEach asks for every key at once, each on a connection of its own, so that no answer waits for another.
func getEach(ctx context.Context, c *redis.Client, keys []string) map[string]answer {
	var mu sync.Mutex
	var wg sync.WaitGroup
	answers := map[string]answer{}
	for _, key := range keys {
		wg.Go(func() {
			begun := time.Now()
			value, err := c.Get(ctx, key).Result()
			mu.Lock()
			defer mu.Unlock()
			answers[key] = answer{value, err, time.Since(begun)}
		})
	}
	wg.Wait()
	return answers
}

// tally is what happened to the keys of the other shards and to those of the one that is away.
type tally struct {
	others, othersFailed int
	own, ownFailed, late int
	slowest              time.Duration
	first                []string // what was wrong first
}

func (t *tally) wrong(format string, args ...any) {
	if len(t.first) < 5 {
		t.first = append(t.first, fmt.Sprintf(format, args...))
	}
}

// add judges one answer. Own keys must fail, and soon: an answer that is no error would be made up.
func (t *tally) add(key string, own bool, a answer) {
	t.slowest = max(t.slowest, a.took)
	if a.took > within {
		t.late++
		t.wrong("%s took %.1f s", key, a.took.Seconds())
	}
	if own {
		t.own++
		if a.err != nil && !errors.Is(a.err, redis.Nil) {
			t.ownFailed++
		} else {
			t.wrong("%s of the shard that is away: %q, %v", key, a.value, a.err)
		}
		return
	}
	t.others++
	if a.err != nil || a.value != key {
		t.othersFailed++
		t.wrong("%s of another shard: %q, %v", key, a.value, a.err)
	}
}

// blastRadius takes one shard away, first frozen and then stopped, and looks at every key.
func blastRadius(ctx context.Context, s *check.Stack) (check.Result, error) {
	const n, victim = 60, "redis-b"
	c, err := connect(ctx, s, func(o *redis.Options) {
		o.PoolSize, o.ReadTimeout = n, within+2*time.Second // longer than the threshold: what is late is measured, and not what hangs
	})
	if err != nil {
		return check.Result{}, err
	}
	defer c.Close()
	prefix := fresh(s, "blast-radius")
	keys := numbered(s, prefix, n)
	// Connections are made now: later each key has one.
	getEach(ctx, c, keys)
	single, multi := &tally{}, &tally{}
	var how []string
	for _, fault := range []struct {
		name string
		do   func(context.Context, string, ...check.FaultOption) (*check.Fault, error)
	}{{"hangs", s.Pause}, {"is stopped", s.Stop}} {
		if err := fill(ctx, c, keys); err != nil {
			return check.Result{}, err
		}
		owner, err := owners(ctx, s, prefix)
		if err != nil {
			return check.Result{}, err
		}
		f, err := fault.do(ctx, victim)
		if err != nil {
			return check.Result{}, err
		}
		one := &tally{}
		for key, a := range getEach(ctx, c, keys) {
			single.add(key, owner[key] == victim, a)
			one.add(key, owner[key] == victim, a)
		}
		if one.own == 0 || one.others == 0 {
			return check.Unknown("of %d keys %d are on %s", n, one.own, victim), nil
		}
		if err := multi.mget(ctx, c, keys, func(key string) bool { return owner[key] == victim }); err != nil {
			return check.Result{}, err
		}
		how = append(how, fmt.Sprintf("the shard %s: slowest answer %.2f s", fault.name, one.slowest.Seconds()))
		if single.late+multi.late > 0 {
			break // decided, and what hangs would only hang again
		}
		if err := f.Heal(ctx); err != nil {
			return check.Result{}, err
		}
		if err := whole(ctx, c, keys); err != nil {
			return check.Result{}, err
		}
	}
	ok := single.othersFailed+multi.othersFailed+single.late+multi.late == 0 && single.ownFailed == single.own && multi.ownFailed == multi.own
	res := check.Decide(ok, "its own keys: %d of %d failed; others: %d of %d; by MGET %d of %d and %d of %d; %d answers late",
		single.ownFailed, single.own, single.othersFailed, single.others,
		multi.ownFailed, multi.own, multi.othersFailed, multi.others, single.late+multi.late)
	return res.Want("all, none, within %v", within).Of(single.own+single.others+multi.own+multi.others).
		Because("%s\n%s", strings.Join(how, "\n"), strings.Join(slices.Concat(single.first, multi.first), "\n")), nil
}

// mget asks for all keys in one request: each must have its own value or error in its place.
func (t *tally) mget(ctx context.Context, c *redis.Client, keys []string, own func(key string) bool) error {
	begun := time.Now()
	values, err := c.MGet(ctx, keys...).Result()
	took := time.Since(begun)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	for i, key := range keys {
		a := answer{err: err, took: took}
		if err == nil && i < len(values) {
			switch v := values[i].(type) {
			case string:
				a.value = v
			case error:
				a.err = v
			}
		}
		t.add(key, own(key), a)
	}
	return nil
}

// whole waits until every key is answered without an error.
func whole(ctx context.Context, c *redis.Client, keys []string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return check.Wait(ctx, "all shards", func(ctx context.Context) error {
		for key, a := range getEach(ctx, c, keys) {
			if a.err != nil && !errors.Is(a.err, redis.Nil) {
				return fmt.Errorf("%s: %w", key, a.err)
			}
		}
		return nil
	})
}

// recovers stops a shard until the ambassador has given it up, starts it, and waits until its keys are served. The
// server is empty then, and may have another address.
func recovers(ctx context.Context, s *check.Stack) (check.Result, error) {
	const n, victim, limit = 30, "redis-c", 5 * time.Second
	c, err := connect(ctx, s, func(o *redis.Options) { o.PoolSize = n })
	if err != nil {
		return check.Result{}, err
	}
	defer c.Close()
	prefix := fresh(s, "recovers")
	keys := numbered(s, prefix, n)
	if err := fill(ctx, c, keys); err != nil {
		return check.Result{}, err
	}
	has, err := keysOn(ctx, s, victim, prefix)
	if err != nil {
		return check.Result{}, err
	}
	if len(has) == 0 {
		return check.Unknown("of %d keys none is on %s", n, victim), nil
	}
	before, err := s.State(ctx, ambassador)
	if err != nil {
		return check.Result{}, err
	}
	f, err := s.Stop(ctx, victim, check.Seen(func(ctx context.Context) (string, error) {
		failed := 0
		for _, a := range getEach(ctx, c, keys) {
			if a.err != nil && !errors.Is(a.err, redis.Nil) {
				failed++
			}
		}
		if failed > 0 {
			return "its keys fail", nil
		}
		return "all keys are answered", nil
	}))
	if err != nil {
		return check.Result{}, err
	}
	if err := f.Heal(ctx); err != nil { // returns when the server is healthy
		return check.Result{}, err
	}
	begun := time.Now()
	waited := whole(ctx, c, keys)
	took := time.Since(begun)
	if ctx.Err() != nil {
		return check.Result{}, context.Cause(ctx)
	}
	wrote := fill(ctx, c, keys)
	has, err = keysOn(ctx, s, victim, prefix)
	if err != nil {
		return check.Result{}, err
	}
	after, err := s.State(ctx, ambassador)
	if err != nil {
		return check.Result{}, err
	}
	same := after.StartedAt.Equal(before.StartedAt) && after.Restarts == before.Restarts
	ok := waited == nil && wrote == nil && len(has) > 0 && took <= limit && same
	return check.Decide(ok, "all %d keys answered %.1f s after the server is healthy, %d of them its own; ambassador restarted: %v", n, took.Seconds(), len(has), !same).
		Want("within %v, without a restart", limit).Of(n).Because("%v\n%v", waited, wrote), nil
}
