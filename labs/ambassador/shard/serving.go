package shard

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"distlab/lab/check"

	"github.com/redis/go-redis/v9"
)

// large is how many bytes a large value has: more than the ambassador keeps of one request at a time.
const large = 2 << 20

// oneAddress is a list of things that a client does with a Redis; each must go as with one.
func oneAddress(m *check.M) check.Result {
	prefix := fresh(m)
	var ways check.Ways
	for _, protocol := range []int{2, 3} {
		c := redis.NewClient(&redis.Options{
			Addr: m.Address(pod, redisPort), MaxRetries: -1, DialerRetries: 1, ReadTimeout: patience, WriteTimeout: patience,
			Protocol: protocol, ClientName: "lab",
		})
		defer c.Close()
		session(m.Context(), c, protocol, fmt.Sprintf("%s:%d:", prefix, protocol), ways.Way(fmt.Sprintf("RESP%d", protocol)))
	}
	// The app's own client, on the pod's loopback.
	got := m.Exec(app, "redis-cli", "-h", "127.0.0.1", "get", prefix+":3:large:key")
	ways.Way("redis-cli").Note(len(got) == large, "redis-cli beside the app: %d bytes", len(got))
	return ways.Decide()
}

// session is what one connection's worth of client does.
func session(ctx context.Context, c *redis.Client, protocol int, prefix string, as *check.Tally) {
	const lives = 10 * time.Minute
	expect := func(what string, good bool, got any, err error) {
		as.Note(good && err == nil, "%s: %.100v, %v", what, got, err)
	}
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
	const pairs = 1500 // more than the ambassador takes at a time
	cmds, err := c.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i := range pairs {
			p.Set(ctx, fmt.Sprintf("%s%d", prefix, i), i, lives)
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
	expect("a pipeline", matched == pairs, matched, err)

	// Values on each side of what is sent on in one piece.
	for _, size := range []int{0, 1, 127, 64 << 10, 1<<20 - 100, 1 << 20, large} {
		key := prefix + strconv.Itoa(size)
		if size == large {
			key = prefix + "large:key"
		}
		value := strings.Repeat("0123456789abcde\x00", size/16+1)[:size]
		if size == large {
			value = strings.Repeat("0123456789abcdef", size/16)
		}
		err = c.Set(ctx, key, value, lives).Err()
		expect(fmt.Sprintf("%d bytes written", size), err == nil, "", err)
		got, err := c.Get(ctx, key).Result()
		expect(fmt.Sprintf("%d bytes read", size), got == value, len(got), err)
	}

	_, err = c.Get(ctx, prefix+"none").Result()
	expect("a key that is not there", errors.Is(err, redis.Nil), err, nil)
	err = c.HSet(ctx, prefix+"hash", "a", "1", "b", "2").Err()
	expect("HSET", err == nil, "", err)
	hash, err := c.HGetAll(ctx, prefix+"hash").Result()
	expect("HGETALL", len(hash) == 2 && hash["a"] == "1" && hash["b"] == "2", hash, err)
	c.Expire(ctx, prefix+"hash", lives)
	err = c.Incr(ctx, prefix+"hash").Err()
	expect("an error of the shard's", err != nil && strings.HasPrefix(err.Error(), "WRONGTYPE"), err, nil)
	err = c.Do(ctx, "NO-SUCH-COMMAND", "x").Err()
	expect("a command that there is not", err != nil && strings.HasPrefix(err.Error(), "ERR "), err, nil)
	pong, err = c.Ping(ctx).Result()
	expect("the connection after all errors", pong == "PONG", pong, err)
}

// batch is some keys for the commands of several, and who asks.
type batch struct {
	w            *wire
	as           *check.Tally
	keys, values []string
}

// multiKey has the commands of several keys over all shards, with more and more keys: some twice, one not there, bytes of any value.
func multiKey(m *check.M) check.Result {
	var ways check.Ways
	var batches []*batch
	var keys, values []string
	for _, hello := range []string{"2", "3"} {
		for _, n := range []int{2, 60, 100, 101, 1023, 1024, 1025, 5000} {
			b := &batch{w: open(m), as: ways.Way(fmt.Sprintf("%d keys, RESP%s", n, hello)), keys: numbered(m, fresh(m)+"\x00\xff\r\n", n)}
			defer b.w.close()
			check.Got(b.w.ask("HELLO", hello))
			b.values = valued(m, b.keys)
			b.values[n/2] = "" // a value like any other
			mset := []string{"MSET"}
			for i, key := range b.keys {
				mset = append(mset, key, b.values[i])
			}
			b.ask("MSET", func(r reply) bool { return r.text == "OK" }, mset...)
			batches, keys, values = append(batches, b), append(keys, b.keys...), append(values, b.values...)
		}
	}
	count := map[string]int{}
	for i, at := range whereabouts(m, shards, keys, values) {
		ways.Way("MSET").Note(len(at) == 1, "%q is on %v", keys[i], at)
		for _, server := range at {
			count[server]++
		}
	}
	m.Need(len(count) == len(shards), "the keys are on %v", count)
	for _, b := range batches {
		b.commands(m)
	}
	for i, at := range whereabouts(m, shards, keys, values) {
		ways.Way("DEL and UNLINK").Note(len(at) == 0, "%q is still on %v", keys[i], at)
	}
	return ways.Decide()
}

func (b *batch) ask(what string, good func(reply) bool, args ...string) {
	r := check.Got(b.w.ask(args...))
	b.as.Note(good(r), "%s: %v", what, r)
}

func (b *batch) commands(m *check.M) {
	n, want := len(b.keys), map[string]string{}
	for i, key := range b.keys {
		want[key] = b.values[i]
	}
	// In another order, one of them twice, one that is not there.
	mixed := slices.Clone(b.keys)
	m.Rand().Shuffle(n, func(i, j int) { mixed[i], mixed[j] = mixed[j], mixed[i] })
	mixed = append(mixed, mixed[0], m.Fresh())
	b.ask("MGET", func(r reply) bool {
		for i, key := range mixed[:n+1] {
			if len(r.list) != n+2 || !r.list[i].is(want[key]) {
				return false
			}
		}
		return r.list[n+1].kind == '_'
	}, append([]string{"MGET"}, mixed...)...)
	for _, step := range []struct {
		what, name string
		keys       []string
		want       int
	}{
		{"EXISTS, which counts a key twice that is named twice", "EXISTS", mixed, n + 1},
		{"TOUCH", "TOUCH", b.keys, n},
		{"DEL of half", "DEL", b.keys[:n/2], n / 2},
		{"UNLINK of the rest, and of what is gone", "UNLINK", b.keys, n - n/2},
	} {
		number := func(r reply) bool { return r.kind == ':' && r.is(strconv.Itoa(step.want)) }
		b.ask(step.what, number, append([]string{step.name}, step.keys...)...)
	}
}
