package slowlog

import (
	"fmt"
	"slices"
	"strings"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"distlab/lab/check"
)

// ownName begins the name by which the adapter makes itself known to Redis.
const ownName = "slowlog-adapter-"

// client is one of Redis's, on the published port: another reader than the adapter.
func client(m *check.M) *goredis.Client {
	return goredis.NewClient(&goredis.Options{
		Addr: m.Address(pod, redisPort), Protocol: 2, DisableIdentity: true, MaxRetries: -1, PoolSize: 1,
	})
}

// do sends commands, in order; one that Redis refuses is no error.
func do(m *check.M, commands ...[]string) {
	c := client(m)
	defer c.Close()
	pipe := c.Pipeline() // all of them between two polls
	for _, args := range commands {
		list := make([]any, len(args))
		for i, a := range args {
			list[i] = a
		}
		pipe.Do(m.Context(), list...)
	}
	done, _ := pipe.Exec(m.Context())
	for _, c := range done {
		if err := c.Err(); err != nil {
			_, refused := err.(goredis.Error)
			m.Need(refused, "redis: %v", err)
		}
	}
}

// entries are all of the slow log, newest first, as a reader sees it that knows nothing of the adapter.
func entries(m *check.M) []goredis.SlowLog {
	c := client(m)
	defer c.Close()
	return check.Got(c.SlowLogGet(m.Context(), -1).Result())
}

// info is a field of INFO; "" if it has none of that name.
func info(m *check.M, section, field string) string {
	c := client(m)
	defer c.Close()
	for line := range strings.Lines(check.Got(c.Info(m.Context(), section).Result())) {
		if value, ok := strings.CutPrefix(line, field+":"); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// resets is how often SLOWLOG RESET was called since Redis started.
func resets(m *check.M) (n int) {
	_, _ = fmt.Sscanf(info(m, "commandstats", "cmdstat_slowlog|reset"), "calls=%d", &n)
	return n
}

// slow runs n slow commands, one after the other, and returns a marker of each: its argument, which tells how long it
// sleeps and, in digits that are too small to sleep, which it is. All are above Redis's default threshold of 10 ms.
// Redis allows it to those in its own container alone.
func slow(m *check.M, n int, least, most time.Duration) []string {
	took := make([]time.Duration, n)
	for i := range took {
		took[i] = least + time.Duration(m.Rand().Int64N(int64(most-least)+1))
	}
	return slowly(m, took...)
}

func slowly(m *check.M, took ...time.Duration) (markers []string) {
	now := time.Now().UnixNano()
	args := []string{"sh", "-c", `printf 'debug sleep %s\n' "$@" | redis-cli`, "sh"}
	for i, d := range took {
		markers = append(markers, fmt.Sprintf("%.6f%d", d.Seconds(), now+int64(i)))
	}
	out := m.Exec(redis, append(args, markers...)...)
	m.Need(strings.Count(out+"\n", "OK\n") == len(took), "of %d slow commands not all were done: %.200s", len(took), out)
	return markers
}

// logged finds the markers in the slow log.
func logged(entries []goredis.SlowLog, markers []string) map[string]goredis.SlowLog {
	found := map[string]goredis.SlowLog{}
	for _, e := range entries {
		for _, a := range e.Args {
			if slices.Contains(markers, a) {
				found[a] = e
			}
		}
	}
	return found
}

// everything has Redis log every command, for as long as f lasts.
func everything(m *check.M, f func()) {
	threshold := func(us string) []string {
		return []string{"redis-cli", "config", "set", "slowlog-log-slower-than", us}
	}
	fault := m.Run(redis, "every command logged", threshold("0"), threshold("10000"), func(m *check.M) string {
		return m.Exec(redis, "redis-cli", "config", "get", "slowlog-log-slower-than")
	})
	f()
	m.Heal(fault)
}
