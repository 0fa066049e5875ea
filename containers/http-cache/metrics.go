package main

import (
	"fmt"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics are the cache's.
type Metrics struct {
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	origin   *prometheus.CounterVec
	refused  *prometheus.CounterVec
	rejected *prometheus.CounterVec
	purged   *prometheus.CounterVec
	evicted  prometheus.Counter
	accepted prometheus.Counter
}

// results are what becomes of a request.
var results = []string{"hit", "stale", "revalidated", "miss", "collapsed", "pass", "error", "left", "purge", "refused"}

// NewMetrics registers them. What is stored is looked up when it is asked for.
func NewMetrics(reg prometheus.Registerer, s *Store, inFlight func() int) *Metrics {
	counter := func(noun, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: metric(noun), Help: help}, labels)
		reg.MustRegister(c)
		return c
	}
	m := &Metrics{
		requests: counter("requests_total", "Requests by result (hit, stale, revalidated, miss, collapsed, pass, error, left, purge, refused) and class of status.", "result", "code"),
		origin:   counter("origin_requests_total", "Questions to origins, by class of status, or error.", "code"),
		refused:  counter("refused_total", "Requests that were refused for what they are, by reason.", "reason"),
		rejected: counter("connections_rejected_total", "Connections that were closed at once, by reason.", "reason"),
		purged:   counter("purged_total", "Objects that were purged, by url or by tag.", "by"),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: metric("request_seconds"), Help: "Time from a request to the end of its answer, by result.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 60},
		}, []string{"result"}),
		evicted:  prometheus.NewCounter(prometheus.CounterOpts{Name: metric("evicted_total"), Help: "Keys that made room for others."}),
		accepted: prometheus.NewCounter(prometheus.CounterOpts{Name: metric("connections_total"), Help: "Connections accepted."}),
	}
	for _, result := range results {
		m.seconds.WithLabelValues(result)
	}
	gauge := func(noun, help string, f func() float64) {
		reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: metric(noun), Help: help}, f))
	}
	gauge("stored_bytes", "Bytes that what is stored takes, nearly.", func() float64 { _, n := s.Stored(); return float64(n) })
	gauge("stored_keys", "Keys of which something is stored or known.", func() float64 { n, _ := s.Stored(); return float64(n) })
	gauge("in_flight", "Requests being answered now.", func() float64 { return float64(inFlight()) })
	reg.MustRegister(m.seconds, m.evicted, m.accepted)
	return m
}

func metric(noun string) string { return "http_cache_" + noun }

func (m *Metrics) asked(code string) { m.origin.WithLabelValues(code).Inc() }

func (m *Metrics) answered(result string, code int, took time.Duration) {
	m.requests.WithLabelValues(result, class(code)).Inc()
	m.seconds.WithLabelValues(result).Observe(took.Seconds())
}

// class is that of a status, as 2xx.
func class(code int) string { return strconv.Itoa(code/100) + "xx" }

// plural says how many objects a purge has found.
func plural(n int) string {
	if n == 1 {
		return "1 object purged\n"
	}
	return fmt.Sprintf("%d objects purged\n", n)
}
