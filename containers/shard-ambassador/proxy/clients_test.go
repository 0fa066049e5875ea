package proxy

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/gomodule/redigo/redis"
	"github.com/google/go-cmp/cmp"
	goredis "github.com/redis/go-redis/v9"
)

// Stock clients of today see one server. What they say at the beginning of a
// connection (HELLO, AUTH, CLIENT SETNAME and SETINFO) is answered as they need it.
func TestGoRedis(t *testing.T) {
	for _, proto := range []int{2, 3} {
		t.Run(fmt.Sprint("RESP", proto), func(t *testing.T) {
			r := newRig(t, 3, nil)
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			c := goredis.NewClient(&goredis.Options{Addr: r.addr, Protocol: proto, ClientName: "app", MaxRetries: -1})
			defer c.Close()
			if err := c.Set(ctx, "k", "v", 0).Err(); err != nil {
				t.Fatal(err)
			}
			if got, err := c.Get(ctx, "k").Result(); got != "v" || err != nil {
				t.Errorf("%q, %v", got, err)
			}
			if err := c.Get(ctx, "missing").Err(); err != goredis.Nil {
				t.Errorf("a key that is not there: %v", err)
			}
			if got, err := c.HGetAll(ctx, "h").Result(); err != nil || got["shard"] != r.owner("h").name {
				t.Errorf("%v, %v", got, err)
			}
			if got, err := c.ClientGetName(ctx).Result(); got != "app" || err != nil {
				t.Errorf("%q, %v", got, err)
			}
			cmds, err := c.Pipelined(ctx, func(p goredis.Pipeliner) error {
				for i := range 1000 {
					p.Get(ctx, fmt.Sprint("echo:", i))
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
			for i, cmd := range cmds {
				if got := cmd.(*goredis.StringCmd).Val(); got != fmt.Sprint("echo:", i) {
					t.Fatalf("reply %d is %q", i, got)
				}
			}
			if _, err := c.TxPipelined(ctx, func(p goredis.Pipeliner) error { p.Get(ctx, "k"); return nil }); err == nil || !strings.Contains(err.Error(), "no transactions over shards") {
				t.Errorf("a transaction: %v", err)
			}
			if got, err := c.Get(ctx, "k").Result(); got != "v" || err != nil {
				t.Errorf("after that: %q, %v", got, err)
			}
			// With a shard away, MGET's values of its keys are errors.
			keys := []string{r.keyOf(0, 1), r.keyOf(1, 2), r.keyOf(2, 3), "missing"}
			r.shards[1].stop()
			eventually(t, "its end seen", func() bool { return r.shard(1).Connections == 0 })
			got, err := c.MGet(ctx, keys...).Result()
			if err != nil || len(got) != 4 || got[0] != keys[0] || got[2] != keys[2] {
				t.Fatalf("%v, %v", got, err)
			}
			var shardErr goredis.Error
			if e, ok := got[1].(error); !ok || !errors.As(e, &shardErr) || !strings.HasPrefix(e.Error(), `ERR shard "b"`) {
				t.Errorf("in the place of the missing shard's key: %T %v", got[1], got[1])
			}
			if err := c.Del(ctx, keys...).Err(); err == nil || !strings.HasPrefix(err.Error(), `ERR shard "b"`) {
				t.Errorf("DEL: %v", err)
			}
		})
	}
}

func TestRedigo(t *testing.T) {
	r := newRig(t, 3, nil)
	c, err := redis.Dial("tcp", r.addr, redis.DialClientName("app"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got, err := redis.String(c.Do("SET", "k", "v")); got != "OK" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	got, err := redis.Strings(c.Do("MGET", "k", "echo:1", "echo:2"))
	if diff := cmp.Diff([]string{"v", "echo:1", "echo:2"}, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	for i := range 500 {
		c.Send("GET", fmt.Sprint("echo:", i))
	}
	c.Flush()
	for i := range 500 {
		if got, err := redis.String(c.Receive()); got != fmt.Sprint("echo:", i) || err != nil {
			t.Fatalf("reply %d is %q, %v", i, got, err)
		}
	}
	c.Send("MULTI")
	if _, err := c.Do("GET", "k"); err == nil {
		t.Error("MULTI was taken")
	}
	if got, err := redis.String(c.Do("GET", "k")); got != "v" || err != nil {
		t.Errorf("after that: %q, %v", got, err)
	}
}
