package shard

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"distlab/lab/check"

	"github.com/redis/go-redis/v9"
)

// keep is how long keys of a claim stay: nothing of a person's is removed, and nothing of a claim's is left for long.
const keep = 10 * time.Minute

// connect is a stock client of the one address. It asks once: a retry would hide what a claim looks for.
func connect(ctx context.Context, s *check.Stack, change func(*redis.Options)) (*redis.Client, error) {
	addr, err := s.Address(ctx, pod, redisPort)
	if err != nil {
		return nil, err
	}
	o := &redis.Options{Addr: addr, MaxRetries: -1, DialerRetries: 1, ReadTimeout: patience, WriteTimeout: patience}
	if change != nil {
		change(o)
	}
	return redis.NewClient(o), nil
}

// on gives one command to redis-cli in a server's own container, so past the ambassador, and returns what it prints.
func on(ctx context.Context, s *check.Stack, service string, args ...string) (string, error) {
	out, err := s.Exec(ctx, service, append([]string{"redis-cli", "-e"}, args...)...)
	if err == nil && out.ExitCode != 0 {
		err = fmt.Errorf("exit code %d: %s", out.ExitCode, strings.TrimSpace(out.Stdout+out.Stderr))
	}
	if err != nil {
		return "", fmt.Errorf("redis-cli in %s: %w", service, err)
	}
	return out.Stdout, nil
}

// keysOn are the keys with a prefix that a server has, asked past the ambassador.
func keysOn(ctx context.Context, s *check.Stack, service, prefix string) (map[string]bool, error) {
	out, err := on(ctx, s, service, "--scan", "--pattern", prefix+"*", "--count", "10000")
	if err != nil {
		return nil, err
	}
	keys := map[string]bool{}
	for _, key := range strings.Fields(out) {
		keys[key] = true
	}
	return keys, nil
}

// owners says for each key with a prefix which server has it. Two that have one is an error: it was moved by hand.
func owners(ctx context.Context, s *check.Stack, prefix string) (map[string]string, error) {
	owner := map[string]string{}
	for _, service := range shards {
		keys, err := keysOn(ctx, s, service, prefix)
		if err != nil {
			return nil, err
		}
		for key := range keys {
			if owner[key] != "" {
				return nil, fmt.Errorf("key %s is on %s and on %s", key, owner[key], service)
			}
			owner[key] = service
		}
	}
	return owner, nil
}

// fresh is a prefix for keys that no claim before has used.
func fresh(s *check.Stack, claim string) string {
	return fmt.Sprintf("%s:%08x:", claim, s.Rand().Uint32()^uint32(time.Now().UnixNano()))
}

// fill writes keys, each with its own name as its value.
func fill(ctx context.Context, c *redis.Client, keys []string) error {
	_, err := c.Pipelined(ctx, func(p redis.Pipeliner) error {
		for _, key := range keys {
			p.Set(ctx, key, key, keep)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("write the keys: %w", err)
	}
	return nil
}

// numbered are n keys with a prefix. Their ends are drawn at random, so that no hash has it too easy.
func numbered(s *check.Stack, prefix string, n int) []string {
	r, keys := s.Rand(), make([]string, n)
	for i := range keys {
		keys[i] = fmt.Sprintf("%s%d-%08x", prefix, i, r.Uint32())
	}
	return keys
}

// status is the part of the ambassador's /status that the claims read.
type status struct {
	Pools map[string]struct {
		Servers map[string]struct {
			State string `json:"state"`
		} `json:"servers"`
	} `json:"pools"`
	Load struct {
		Error   string `json:"error"`
		Reloads int    `json:"reloads"`
	} `json:"load"`
}

func readStatus(ctx context.Context, s *check.Stack) (st status, err error) {
	addr, err := s.Address(ctx, pod, adminPort)
	if err != nil {
		return st, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/status", nil)
	if err != nil {
		return st, err
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		return st, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return st, fmt.Errorf("/status answers %d", res.StatusCode)
	}
	if err := json.NewDecoder(res.Body).Decode(&st); err != nil {
		return st, fmt.Errorf("/status: %w", err)
	}
	return st, nil
}

// loaded says in a few words what the ambassador has read: what a receipt shows of a reload.
func loaded(s *check.Stack) check.Observe {
	return func(ctx context.Context) (string, error) {
		st, err := readStatus(ctx, s)
		if err != nil {
			return "", err
		}
		if st.Load.Error != "" {
			return fmt.Sprintf("%d reloads, the last refused", st.Load.Reloads), nil
		}
		return fmt.Sprintf("%d reloads, %d servers", st.Load.Reloads, len(st.Pools["redis"].Servers)), nil
	}
}

// use has the ambassador read another pool file. The returned function puts the old one back, and is called even where
// the claim's time is over.
func use(ctx context.Context, s *check.Stack, text []byte) (back func() error, err error) {
	file, err := s.Write(ctx, config, map[string][]byte{poolFile: text})
	if err != nil {
		return nil, err
	}
	hup := func(ctx context.Context) error {
		_, err := s.Signal(ctx, ambassador, "SIGHUP", loaded(s))
		return err
	}
	done := false
	back = func() error {
		if done {
			return nil
		}
		done = true
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
		defer cancel()
		return errors.Join(file.Heal(ctx), hup(ctx))
	}
	if err := hup(ctx); err != nil {
		return nil, errors.Join(err, back())
	}
	return back, nil
}

// four is the pool file in use with the fourth server added.
func four(ctx context.Context, s *check.Stack) ([]byte, error) {
	text, err := s.ReadFile(ctx, ambassador, poolFile)
	if err != nil {
		return nil, err
	}
	before, after, ok := strings.Cut(string(text), "  eject:")
	if !ok {
		return nil, fmt.Errorf("%s has no line to add a server before", poolFile)
	}
	return []byte(before + "    - " + fourth + ":6379:1 d\n  eject:" + after), nil
}
