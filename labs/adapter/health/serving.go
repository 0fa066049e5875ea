package health

import (
	"context"
	"fmt"
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
	probesFor = 5 * time.Second
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
