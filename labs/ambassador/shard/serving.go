package shard

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"distlab/lab/check"

	"github.com/redis/go-redis/v9"
)

// placed is where twemproxy has put keys: a server and a quoted key a line. A test of the container's asks twemproxy again.
//
//go:embed twemproxy.txt
var placed string

// sameRing writes the keys of the table, and asks each server which of them it has.
func sameRing(ctx context.Context, s *check.Stack) (check.Result, error) {
	c, err := connect(ctx, s, nil)
	if err != nil {
		return check.Result{}, err
	}
	defer c.Close()
	var keys, want []string
	for line := range strings.Lines(placed) {
		name, quoted, _ := strings.Cut(strings.TrimSpace(line), " ")
		key, err := strconv.Unquote(quoted)
		if err != nil {
			return check.Result{}, fmt.Errorf("the table's line %q: %w", line, err)
		}
		keys, want = append(keys, key), append(want, "redis-"+name)
	}
	token := fresh(s, "same-ring")
	for i, key := range keys {
		if err := c.Set(ctx, key, token+strconv.Itoa(i), keep).Err(); err != nil {
			return check.Result{}, fmt.Errorf("set %q: %w", key, err)
		}
	}
	at := make([][]string, len(keys))
	for _, service := range shards {
		out, err := on(ctx, s, service, append([]string{"mget"}, keys...)...)
		if err != nil {
			return check.Result{}, err
		}
		for i, value := range strings.Split(strings.TrimSuffix(out, "\n"), "\n") {
			if i < len(keys) && value == token+strconv.Itoa(i) {
				at[i] = append(at[i], service)
			}
		}
	}
	right := 0
	var wrong []string
	for i, key := range keys {
		if slices.Equal(at[i], want[i:i+1]) {
			right++
			continue
		}
		wrong = append(wrong, fmt.Sprintf("%q is on %v, want %s", key, at[i], want[i]))
	}
	return check.Decide(right == len(keys), "%d of %d keys where twemproxy puts them", right, len(keys)).
		Want("all").Of(len(keys)).Because("%s", strings.Join(wrong, "\n")), nil
}

// ringShares are the parts of twemproxy's circle that servers named a, b and c of equal weight own. They are not
// thirds: 160 points each make it even, and not equal. The container's `plan` prints them.
var ringShares = []float64{0.358691, 0.319861, 0.321448}

// balanced writes random keys and counts them on the servers.
func balanced(ctx context.Context, s *check.Stack) (check.Result, error) {
	const n = 3000
	c, err := connect(ctx, s, nil)
	if err != nil {
		return check.Result{}, err
	}
	defer c.Close()
	prefix := fresh(s, "balanced")
	if err := fill(ctx, c, numbered(s, prefix, n)); err != nil {
		return check.Result{}, err
	}
	counts, sum := make([]int, len(shards)), 0
	for i, service := range shards {
		keys, err := keysOn(ctx, s, service, prefix)
		if err != nil {
			return check.Result{}, err
		}
		counts[i] = len(keys)
		sum += len(keys)
	}
	_, p, err := check.ChiSquare(counts, ringShares)
	if err != nil {
		return check.Result{}, err
	}
	return check.Decide(sum == n && p >= check.Alpha, "%v of %d keys, p = %.3g", counts, n, p).
		Want("36, 32 and 32 %% of them, p ≥ %v", check.Alpha).Of(n), nil
}

// oneAddress is a list of things that a client does with a Redis; each must go as with one.
func oneAddress(ctx context.Context, s *check.Stack) (check.Result, error) {
	prefix := fresh(s, "one-address")
	ok, n := 0, 0
	var wrong []string
	expect := func(what string, good bool, got any, err error) {
		n++
		if good && err == nil {
			ok++
			return
		}
		wrong = append(wrong, fmt.Sprintf("%s: %.200s, %v", what, fmt.Sprint(got), err))
	}
	for _, protocol := range []int{2, 3} {
		c, err := connect(ctx, s, func(o *redis.Options) { o.Protocol, o.ClientName = protocol, "lab" })
		if err != nil {
			return check.Result{}, err
		}
		defer c.Close()
		if err := session(ctx, c, protocol, fmt.Sprintf("%s%d:", prefix, protocol), expect); err != nil {
			return check.Result{}, err
		}
	}
	// The app's own client, on the pod's loopback.
	out, err := s.Exec(ctx, app, "redis-cli", "-h", "127.0.0.1", "get", prefix+"3:large:key")
	if err != nil {
		return check.Result{}, err
	}
	expect("redis-cli beside the app", len(strings.TrimSpace(out.Stdout)) == large, fmt.Sprintf("%d bytes", len(out.Stdout)), nil)
	return check.Decide(ok == n, "%d of %d things as with one Redis", ok, n).Want("all").Of(n).Because("%s", strings.Join(wrong, "\n")), nil
}

const large = 2 << 20 // bytes of a large value

// session is what one connection's worth of client does.
func session(ctx context.Context, c *redis.Client, protocol int, prefix string, expect func(what string, good bool, got any, err error)) error {
	hello, err := c.Do(ctx, "HELLO", protocol).Result()
	var proto any
	switch fields := hello.(type) {
	case map[any]any:
		proto = fields["proto"]
	case []any:
		if i := slices.Index(fields, any("proto")); i >= 0 && i+1 < len(fields) {
			proto = fields[i+1]
		}
	}
	expect("HELLO", proto == int64(protocol), hello, err)
	pong, err := c.Ping(ctx).Result()
	expect("PING", pong == "PONG", pong, err)
	name, err := c.ClientGetName(ctx).Result()
	expect("CLIENT GETNAME", name == "lab", name, err)

	// One pipeline over all shards: each reply belongs to its request.
	const pairs = 200
	cmds, err := c.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i := range pairs {
			p.Set(ctx, fmt.Sprintf("%s%d", prefix, i), i, keep)
			p.Get(ctx, fmt.Sprintf("%s%d", prefix, i))
		}
		return nil
	})
	matched := 0
	for i := range pairs {
		if got, ok := cmds[2*i+1].(*redis.StringCmd); ok && got.Val() == strconv.Itoa(i) {
			matched++
		}
	}
	expect("a pipeline", matched == pairs, fmt.Sprintf("%d of %d", matched, pairs), err)

	value := strings.Repeat("0123456789abcdef", large/16)
	err = c.Set(ctx, prefix+"large:key", value, keep).Err()
	expect("a large value written", err == nil, "", err)
	got, err := c.Get(ctx, prefix+"large:key").Result()
	expect("a large value read", got == value, fmt.Sprintf("%d bytes", len(got)), err)

	_, err = c.Get(ctx, prefix+"none").Result()
	expect("a key that is not there", errors.Is(err, redis.Nil), err, nil)
	err = c.HSet(ctx, prefix+"hash", "a", "1", "b", "2").Err()
	expect("HSET", err == nil, "", err)
	hash, err := c.HGetAll(ctx, prefix+"hash").Result()
	expect("HGETALL", len(hash) == 2 && hash["a"] == "1" && hash["b"] == "2", hash, err)
	c.Expire(ctx, prefix+"hash", keep)
	err = c.Incr(ctx, prefix+"hash").Err()
	expect("an error of the shard's", err != nil && strings.HasPrefix(err.Error(), "WRONGTYPE"), err, nil)
	err = c.Do(ctx, "NO-SUCH-COMMAND", "x").Err()
	expect("a command that there is not", err != nil && strings.HasPrefix(err.Error(), "ERR "), err, nil)
	err = c.Do(ctx, "KEYS", "*").Err()
	expect("a command without a meaning over shards", err != nil && strings.HasPrefix(err.Error(), "ERR "), err, nil)
	pong, err = c.Ping(ctx).Result()
	expect("PING after errors", pong == "PONG", pong, err)
	return context.Cause(ctx)
}

// multiKey gives every command of several keys keys of all shards.
func multiKey(ctx context.Context, s *check.Stack) (check.Result, error) {
	const n = 60
	c, err := connect(ctx, s, nil)
	if err != nil {
		return check.Result{}, err
	}
	defer c.Close()
	prefix := fresh(s, "multi-key")
	keys := numbered(s, prefix, n)
	var pairs []any
	for _, key := range keys {
		pairs = append(pairs, key, "value of "+key)
	}
	if err := c.MSet(ctx, pairs...).Err(); err != nil {
		return check.Decide(false, "MSET: %v", err).Want("OK").Of(1), nil
	}
	owner, err := owners(ctx, s, prefix)
	if err != nil {
		return check.Result{}, err
	}
	count := map[string]int{}
	for _, service := range owner {
		count[service]++
	}
	if len(count) < len(shards) {
		return check.Unknown("the keys are on %d of %d shards: %v", len(count), len(shards), count), nil
	}
	ok, asked := 0, 0
	var wrong []string
	expect := func(what string, good bool, got any) {
		if asked++; good {
			ok++
			return
		}
		wrong = append(wrong, fmt.Sprintf("%s: %.200s", what, fmt.Sprint(got)))
	}
	expect("MSET", len(owner) == n, len(owner))
	// In another order, one of them twice, one that is not there.
	mixed := slices.Clone(keys)
	s.Rand().Shuffle(n, func(i, j int) { mixed[i], mixed[j] = mixed[j], mixed[i] })
	mixed = append(mixed, mixed[0], prefix+"none")
	var want []any
	for _, key := range mixed[:n+1] {
		want = append(want, "value of "+key)
	}
	want = append(want, nil)
	values, err := c.MGet(ctx, mixed...).Result()
	expect("MGET in the order of its keys", err == nil && slices.Equal(values, want), fmt.Sprint(values, err))
	for _, step := range []struct {
		what string
		cmd  *redis.IntCmd
		want int64
	}{
		{"EXISTS, which counts a key twice that is named twice", c.Exists(ctx, mixed...), n + 1},
		{"TOUCH", c.Touch(ctx, keys...), n},
		{"DEL of half", c.Del(ctx, keys[:n/2]...), n / 2},
		{"UNLINK of the rest, and of what is gone", c.Unlink(ctx, keys...), n - n/2},
		{"EXISTS of none", c.Exists(ctx, keys...), 0},
	} {
		got, err := step.cmd.Result()
		expect(step.what, err == nil && got == step.want, fmt.Sprintf("%d, %v, want %d", got, err, step.want))
	}
	return check.Decide(ok == asked, "%d of %d commands right, over %d, %d and %d keys", ok, asked,
		count[shards[0]], count[shards[1]], count[shards[2]]).Want("all").Of(asked).Because("%s", strings.Join(wrong, "\n")), nil
}
