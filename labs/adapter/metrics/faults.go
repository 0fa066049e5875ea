package metrics

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"distlab/lab/check"
)

// scraped does what only this measurement does, and waits for Prometheus to have it.
func scraped(m *check.M) check.Result {
	const limit = 8 * time.Second
	watched(m)
	busy(m)
	m.Exec(redis, "redis-benchmark", "-q", "-n", "3000", "-c", "4", "-t", "incr")
	for range 30 {
		check.Must(m.Get(nginxPod, webPort, "/").Is(200))
	}
	incr, sum := calls(info(m), "incr"), status(m)["nginx_connections_accepted"]
	queries := map[string]float64{
		`redis_up{job="redis"}`: 1, `redis_up{job="redis-elsewhere",instance="redis-2:6379"}`: 1, `nginx_up`: 1, `count(up == 1)`: 3,
		`redis_commands_total{job="redis",cmd="incr"}`:                                  incr,
		fmt.Sprintf(`nginx_connections_accepted >= bool %v`, sum):                       1,
		`count(redis_total_error_replies{job="redis"})`:                                 1,
		`instance:redis_commands_processed:rate10s{job="redis"} > bool 50`:              1,
		`instance:nginx_http_requests:rate10s > bool 1`:                                 1,
		`max(scrape_duration_seconds) < bool 1`:                                         1,
		`count(redis_instance_info{job="redis",redis_mode="standalone",role="master"})`: 1,
	}
	// All at once: a rate is there for ten seconds, however long another query takes to be answered.
	asked := slices.Sorted(maps.Keys(queries))
	var ways check.Ways
	way := ways.Way("queries")
	m.Each(len(asked), len(asked), func(m *check.M, i int) {
		took, last := m.Until(limit, is(asked[i], queries[asked[i]]))
		way.Note(took.Within(limit), "%v", last)
	})
	return ways.Decide()
}

// late says whether an answer came after its time. Where another answer of the adapter, which asks nobody, takes half of the margin,
// this machine is too busy to call anything late.
func late(m *check.M, pod string, took, limit time.Duration) bool {
	if took <= limit+margin {
		return false
	}
	control := m.Get(pod, metricsPort, "/") // a few words, or not found
	m.Need(control.Took <= margin/2, "late, but so is this machine: an answer without a question took %v", control.Took)
	return true
}

// hung freezes Redis, and scrapes it with several limits. Another Redis, asked by the same adapter, is scraped meanwhile.
func hung(m *check.M) check.Result {
	well(m)
	frozen := m.Pause(redis)
	defer m.Heal(frozen)
	var ways check.Ways
	slowest := time.Duration(0)
	ask := func(m *check.M, said, limit time.Duration) {
		f, p := scrape(m, redisPod, "/metrics", said)
		up, there := f.value("redis_up")
		why, _ := f.value("redis_exporter_last_scrape_error", "err=timeout")
		ways.Way(fmt.Sprintf("limit %v", limit)).Note(there && up == 0 && why == 1 && !late(m, redisPod, p.Took, limit) && len(f["redis_memory_used_bytes"].GetMetric()) == 0,
			"redis_up %v, timeout %v, after %v", up, why, p.Took)
	}
	m.Together(func(m *check.M) {
		for range 3 {
			ask(m, time.Second, time.Second)
		}
	}, func(m *check.M) {
		for range 2 {
			ask(m, 500*time.Millisecond, 500*time.Millisecond)
		}
	}, func(m *check.M) {
		ask(m, 0, timeout) // says no limit
	}, func(m *check.M) {
		ask(m, time.Minute, timeout)
	}, func(m *check.M) {
		for range 10 {
			f, p := scrape(m, redisPod, elsewhere, time.Second)
			up, _ := f.value("redis_up")
			slowest = max(slowest, p.Took)
			ways.Way("another Redis").Note(up == 1 && !late(m, redisPod, p.Took, 0), "redis_up %v after %v", up, p.Took)
		}
	})
	res := ways.Decide()
	return res.Because("another Redis' slowest scrape took %v", slowest)
}

// upZero stops each server and looks at every scrape until it is back.
func upZero(m *check.M) check.Result {
	const limit, back, hold = 2 * time.Second, 5 * time.Second, 2 * time.Second
	well(m)
	var ways check.Ways
	for _, of := range []struct{ service, pod, up, prefix string }{
		{redis, redisPod, "redis_up", "redis_"},
		{nginx, nginxPod, "nginx_up", "nginx_"},
	} {
		way := ways.Way(of.service)
		gone := m.Stop(of.service)
		down := func(m *check.M) error {
			f, p := scrape(m, of.pod, "/metrics", time.Second)
			if up, there := f.value(of.up); !there || up != 0 {
				return fmt.Errorf("%s is %v", of.up, up)
			}
			for _, name := range f.of(of.prefix) {
				if name != of.up && !strings.Contains(name, "_exporter_") {
					return fmt.Errorf("it still says %s", name)
				}
			}
			if late(m, of.pod, p.Took, time.Second) {
				return fmt.Errorf("an answer after %v", p.Took)
			}
			return nil
		}
		took, last := m.Until(2*limit, down)
		way.Note(took.Within(limit), "stopped, %s 0 after %v: %v", of.up, took, last)
		held := m.Hold(hold, down)
		way.Note(held.Broke == nil, "it %v", held)
		m.Heal(gone)
		took, last = m.Until(2*back, func(m *check.M) error {
			f, _ := scrape(m, of.pod, "/metrics", time.Second)
			if up, _ := f.value(of.up); up != 1 || len(f.of(of.prefix)) < 7 {
				return fmt.Errorf("%s is %v, with %d names", of.up, up, len(f.of(of.prefix)))
			}
			return nil
		})
		way.Note(took.Within(back), "started, up after %v: %v", took, last)
	}
	return ways.Decide()
}

// alerts stops Redis and waits for the alert, and for its end. The adapter is up all the time, and the other Redis is well.
func alerts(m *check.M) check.Result {
	const limit = 8 * time.Second
	watched(m)
	firing := `ALERTS{alertstate="firing"}`
	m.Await(patience, "Prometheus without an alert", none(firing))
	gone := m.Stop(redis)
	fired, last := m.Until(2*limit, is(`ALERTS{alertname="RedisDown",alertstate="firing",job="redis"}`, 1))
	others := query(m, `ALERTS{alertstate=~"firing|pending",job!="redis"} or ALERTS{alertname!="RedisDown"}`)
	adapterUp := m.Hold(time.Second, is(`up{job="redis"}`, 1))
	m.Heal(gone)
	resolved, left := m.Until(2*limit, none(firing))
	ok := fired.Within(limit) && len(others) == 0 && adapterUp.Broke == nil && resolved.Within(limit)
	return check.Decide(ok, "fired after %v, resolved after %v, %d other alerts; that the adapter is up %v", fired, resolved, len(others), adapterUp).
		Want("within %v each, none, held", limit).Of(adapterUp.Asked).Because("%v %v %v", last, left, others)
}
