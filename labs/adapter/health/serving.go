package health

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"distlab/lab/check"
)

// healthy asks both questions in both forms. An answer may be old, but no older than it may be.
func healthy(ctx context.Context, s *check.Stack) (check.Result, error) {
	if res, ok, err := ready(ctx, s); !ok {
		return res, err
	}
	addr, err := s.Address(ctx, pod, healthPort)
	if err != nil {
		return check.Result{}, err
	}
	const rounds = 10
	good, asked, oldest := 0, 0, 0.0
	var odd []string
	for range rounds {
		for _, path := range []string{"/livez", "/readyz"} {
			data, err := ask(ctx, s, path)
			if err != nil {
				return check.Result{}, err
			}
			plain, err := get(ctx, "http://"+addr+path)
			if err != nil {
				return check.Result{}, err
			}
			asked += 2
			oldest = max(oldest, data.Age)
			if data.Code == http.StatusOK && data.Status == "up" && data.Age <= (cacheTTL+margin).Seconds() {
				good++
			} else {
				odd = append(odd, fmt.Sprintf("%s in JSON: %d %s", path, data.Code, data.raw))
			}
			if plain.Code == http.StatusOK && strings.Contains(plain.raw, "up\nage: ") {
				good++
			} else {
				odd = append(odd, fmt.Sprintf("%s in text: %d %s", path, plain.Code, plain.raw))
			}
		}
	}
	res := check.Decide(good == asked, "%d of %d answers are 200 and say up, the oldest %.2f s old", good, asked, oldest)
	return res.Want("all, none older than %v", cacheTTL+margin).Of(asked).Because("%s", strings.Join(odd, "\n")), nil
}

// probes a second, and for how long.
const (
	probes    = 1000
	probesFor = 3 * time.Second
)

// cheap has a thousand probes a second ask the adapter, and counts with the server's own counter what came of them.
func cheap(ctx context.Context, s *check.Stack) (check.Result, error) {
	if res, ok, err := ready(ctx, s); !ok {
		return res, err
	}
	// The window is taken a little too long, never too short: it begins before the first count and ends after the last.
	begun := time.Now()
	before, err := counter(ctx, s, "Com_replace")
	if err != nil {
		return check.Result{}, err
	}
	load, err := s.Load(ctx, check.Outside, check.LoadSpec{
		Rate: probes, For: probesFor, URL: fmt.Sprintf("http://%s:%d/readyz", pod, healthPort),
	})
	if err != nil {
		return check.Result{}, err
	}
	a, err := load.Result(ctx)
	if err != nil {
		return check.Result{}, err
	}
	after, err := counter(ctx, s, "Com_replace")
	if err != nil {
		return check.Result{}, err
	}
	window := time.Since(begun)
	if want := int(0.9 * probes * probesFor.Seconds()); a.OK < want {
		return check.Unknown("%d of %d probes were answered 200, fewer than %d: %v", a.OK, a.Requests, want, a.First), nil
	}
	queries, most := after-before, int(window/cacheTTL)+1
	if queries < 1 {
		return check.Unknown("the server counted no query at all"), nil
	}
	res := check.Decide(queries <= most, "%d queries for %d probes in %.1f s", queries, a.Requests, window.Seconds())
	return res.Want("at most %d: one in each %v", most, cacheTTL).Of(a.Requests).
		Because("probes: p50 %.4f s, p99 %.4f s", a.Latency.P50, a.Latency.P99), nil
}

// agentLine is what HAProxy's agent-check would read.
func agentLine(ctx context.Context, s *check.Stack) (string, error) {
	addr, err := s.Address(ctx, pod, agentPort)
	if err != nil {
		return "", err
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(5 * timeout))
	line, err := io.ReadAll(conn)
	return strings.TrimSpace(string(line)), err
}

// maintenance is switched on and off with signals. Both HTTP questions and HAProxy's are asked before, during and after.
func maintenance(ctx context.Context, s *check.Stack) (check.Result, error) {
	if res, ok, err := ready(ctx, s); !ok {
		return res, err
	}
	var said []string
	look := func(ctx context.Context) (string, error) {
		alive, err := ask(ctx, s, "/livez")
		if err != nil {
			return "", err
		}
		will, err := ask(ctx, s, "/readyz")
		if err != nil {
			return "", err
		}
		line, err := agentLine(ctx, s)
		return fmt.Sprintf("/livez %d, /readyz %d %s, agent %q", alive.Code, will.Code, will.Status, line), err
	}
	see := func(ctx context.Context) (string, error) {
		text, err := look(ctx)
		said = append(said, text)
		return text, err
	}
	f, err := s.Signal(ctx, adapter, "SIGUSR1", see, check.Back("SIGUSR2"))
	if err != nil {
		return check.Result{}, err
	}
	before, during := said[0], said[len(said)-1]
	if err := f.Heal(ctx); err != nil {
		return check.Result{}, err
	}
	// HAProxy keeps a "maint" until it is told "ready", so that this is said once maintenance was.
	const well, away, again = `/livez 200, /readyz 200 up, agent "up 100%"`, `/livez 200, /readyz 503 maintenance, agent "maint"`,
		`/livez 200, /readyz 200 up, agent "up ready 100%"`
	var after string
	patience, cancel := context.WithTimeout(ctx, upWithin)
	defer cancel()
	_ = check.Wait(patience, "the end of maintenance", func(ctx context.Context) (err error) {
		if after, err = look(ctx); err == nil && after != again {
			err = errors.New(after)
		}
		return err
	})
	if ctx.Err() != nil {
		return check.Result{}, context.Cause(ctx)
	}
	ok := (before == well || before == again) && during == away && after == again
	return check.Decide(ok, "%s; then %s", during, after).Want("%s; then %s", away, again).Of(3).Because("before: %s", before), nil
}
