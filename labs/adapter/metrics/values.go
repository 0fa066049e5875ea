package metrics

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"distlab/lab/check"
)

// counters are Redis' metrics and the fields of INFO behind them.
var counters = map[string]string{
	"redis_commands_processed_total":   "total_commands_processed",
	"redis_connections_received_total": "total_connections_received",
	"redis_keyspace_hits_total":        "keyspace_hits",
	"redis_keyspace_misses_total":      "keyspace_misses",
	"redis_net_input_bytes_total":      "total_net_input_bytes",
	"redis_net_output_bytes_total":     "total_net_output_bytes",
	"redis_expired_keys_total":         "expired_keys",
	"redis_evicted_keys_total":         "evicted_keys",
	"redis_rejected_connections_total": "rejected_connections",
	"redis_cpu_user_seconds_total":     "used_cpu_user",
}

// agrees looks at every counter before a scrape, in it and after it, while both servers are under load: the scraped value is
// between the two. After the load, what only the load changes is the same to the last.
func agrees(m *check.M) check.Result {
	const rounds = 5
	well(m)
	var ways check.Ways
	first := info(m)
	page := status(m)
	done := make(chan struct{})
	m.Together(func(m *check.M) {
		defer close(done)
		m.Exec(redis, "redis-benchmark", "-q", "-n", "20000", "-c", "8", "-r", "500", "-t", "set,get")
	}, func(m *check.M) {
		for {
			select {
			case <-done:
				return
			default:
				check.Must(m.Get(nginxPod, webPort, "/").Is(200))
			}
		}
	}, func(m *check.M) {
		for range rounds {
			before, beforePage := info(m), status(m)
			f, _ := scrape(m, redisPod, "/metrics", 0)
			g, _ := scrape(m, nginxPod, "/metrics", 0)
			after, afterPage := info(m), status(m)
			for name, field := range counters {
				low, high := check.Got(strconv.ParseFloat(before[field], 64)), check.Got(strconv.ParseFloat(after[field], 64))
				got, there := f.value(name)
				ways.Way("Redis under load").Note(there && low <= got && got <= high, "%s is %v, INFO %s says %v to %v", name, got, field, low, high)
			}
			for name, low := range beforePage {
				got, there := g.value(name)
				ways.Way("nginx under load").Note(there && low <= got && got <= afterPage[name], "%s is %v, stub_status says %v to %v", name, got, low, afterPage[name])
			}
		}
	})
	last := info(m)
	moved := calls(last, "set")-calls(first, "set") >= 20000 && status(m)["nginx_http_requests_total"] > page["nginx_http_requests_total"]+3*rounds
	m.Need(moved, "the load has not moved the counters")
	f, _ := scrape(m, redisPod, "/metrics", 0)
	for _, cmd := range []string{"set", "get"} {
		got, _ := f.value("redis_commands_total", "cmd="+cmd)
		ways.Way("Redis after it").Note(got == calls(last, cmd), "%s was called %v times, INFO says %v", cmd, got, calls(last, cmd))
	}
	for name, field := range map[string]string{"redis_keyspace_hits_total": "keyspace_hits", "redis_keyspace_misses_total": "keyspace_misses"} {
		got, _ := f.value(name)
		ways.Way("Redis after it").Note(fmt.Sprintf("%.0f", got) == last[field], "%s is %v, INFO says %s", name, got, last[field])
	}
	keys := check.Got(strconv.ParseFloat(m.Exec(redis, "redis-cli", "dbsize"), 64))
	got, _ := f.value("redis_db_keys", "db=db0")
	ways.Way("Redis after it").Note(got == keys && keys > 0, "%v keys, DBSIZE says %v", got, keys)
	waiting(m, &ways)
	return ways.Decide()
}

// waiting holds connections to nginx open, and sees the gauge follow, up and down.
func waiting(m *check.M, ways *check.Ways) {
	const held = 5
	var open []net.Conn
	defer func() {
		for _, c := range open {
			c.Close()
		}
	}()
	addr := m.Address(nginxPod, webPort)
	for range held {
		c := check.Got(new(net.Dialer).DialContext(m.Context(), "tcp", addr))
		open = append(open, c)
		check.Got(fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: it\r\n\r\n"))
		check.Got(c.Read(make([]byte, 4096)))
	}
	see := func(want func(float64) bool) (check.Took, error) {
		return m.Until(5*time.Second, func(m *check.M) error {
			f, _ := scrape(m, nginxPod, "/metrics", 0)
			if n, _ := f.value("nginx_connections_waiting"); !want(n) {
				return fmt.Errorf("%v connections wait", n)
			}
			return nil
		})
	}
	took, last := see(func(n float64) bool { return n == held })
	ways.Way("nginx's open connections").Note(took != check.Never, "with %d held: %v", held, last)
	for _, c := range open {
		c.Close()
	}
	took, last = see(func(n float64) bool { return n == 0 })
	ways.Way("nginx's open connections").Note(took != check.Never, "with none held: %v", last)
}

// cheap freezes Redis, so that scrapes wait, lets fifty of them come, and lets it go on. All are answered, and Redis had
// few questions more.
func cheap(m *check.M) check.Result {
	const scrapes = 50
	well(m)
	looked := time.Now()
	before := calls(info(m), "info")
	frozen := m.Pause(redis)
	begun := time.Now()
	answers := make([]float64, scrapes)
	var asked float64
	var took time.Duration
	numbers := map[float64]bool{}
	m.Together(func(m *check.M) {
		m.Each(scrapes, scrapes, func(m *check.M, i int) {
			f, _ := scrape(m, redisPod, "/metrics", 0)
			up, _ := f.value("redis_up")
			n, _ := f.value("redis_exporter_scrapes_total")
			answers[i] = up * n
		})
		// At once, and not when Redis' own health check has come round again: Prometheus asks once a second.
		asked = calls(info(m), "info") - before
		took = time.Since(looked)
	}, func(m *check.M) {
		m.Until(timeout/2, func(m *check.M) error {
			if n := m.Metric(redisPod, adminPort, "metrics_adapter_scrapes_in_flight"); n < scrapes {
				return errors.New("not all wait")
			}
			return nil
		})
		m.Heal(frozen)
	})
	for _, n := range answers {
		m.Need(n > 0, "Redis was frozen for %.1f s, longer than a collection may take", time.Since(begun).Seconds())
		numbers[n] = true
	}
	// This measurement has asked, too.
	m.Need(took < scrapes/4*time.Second, "it took %.1f s: what Prometheus asks hides what the scrapes do", took.Seconds())
	limit := 4 + 2*took.Seconds()
	return check.Decide(len(numbers) <= 2 && asked <= limit, "%d scrapes had %d collections; Redis was asked for INFO %v times in %.1f s, by all", scrapes, len(numbers), asked, took.Seconds()).
		Want("at most 2, and %.0f by all", limit).Of(scrapes)
}
