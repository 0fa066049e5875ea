package main

import "github.com/prometheus/client_golang/prometheus"

// metrics count what was written, what was left out, and what was lost: nothing goes missing without a number.
type metrics struct {
	entries  prometheus.Counter
	duration prometheus.Histogram
	redacted prometheus.Counter
	own      prometheus.Counter
	skipped  prometheus.Counter
	lost     *prometheus.CounterVec
	restarts prometheus.Counter
	polls    *prometheus.CounterVec
	up       prometheus.Gauge
	last     prometheus.Gauge
	interval prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer) *metrics {
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: "slowlog_adapter_" + name, Help: help})
		reg.MustRegister(c)
		return c
	}
	gauge := func(name, help string) prometheus.Gauge {
		g := prometheus.NewGauge(prometheus.GaugeOpts{Name: "slowlog_adapter_" + name, Help: help})
		reg.MustRegister(g)
		return g
	}
	m := &metrics{
		entries:  counter("entries_total", "Entries written."),
		redacted: counter("redacted_total", "Entries written without their arguments."),
		own:      counter("own_total", "Entries of the adapter's own commands, left out."),
		skipped:  counter("skipped_total", "Entries that were there before the first poll, left out by FIRST=skip."),
		restarts: counter("restarts_total", "Restarts of Redis noticed: what was not read before each cannot be counted."),
		up:       gauge("redis_up", "1 if Redis answered at the last poll."),
		last:     gauge("last_poll_timestamp_seconds", "When Redis last answered, in Unix time; 0: never."),
		interval: gauge("poll_interval_seconds", "The interval now in force."),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "slowlog_adapter_command_duration_seconds", Help: "Duration of the commands written.",
			Buckets: prometheus.ExponentialBuckets(0.001, 4, 8),
		}),
		lost: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "slowlog_adapter_lost_total", Help: "Entries made and gone before they could be read, by reason: overflow or limit.",
		}, []string{"reason"}),
		polls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "slowlog_adapter_polls_total", Help: "Polls, by result: ok or failed.",
		}, []string{"result"}),
	}
	reg.MustRegister(m.duration, m.lost, m.polls)
	for _, reason := range []string{overflow, limit} {
		m.lost.WithLabelValues(reason)
	}
	for _, result := range []string{"ok", "failed"} {
		m.polls.WithLabelValues(result)
	}
	return m
}
