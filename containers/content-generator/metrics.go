package main

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics count generations.
type metrics struct {
	generations *prometheus.CounterVec
	changed     prometheus.Counter
	seconds     prometheus.Histogram
	published   prometheus.Gauge
	pages       prometheus.Gauge
	bytes       prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer) *metrics {
	gauge := func(name, help string) prometheus.Gauge {
		g := prometheus.NewGauge(prometheus.GaugeOpts{Name: "content_generator_" + name, Help: help})
		reg.MustRegister(g)
		return g
	}
	m := &metrics{
		generations: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "content_generator_generations_total", Help: "Generations, by result: ok or failed.",
		}, []string{"result"}),
		changed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "content_generator_pages_changed_total", Help: "Pages published because they had changed.",
		}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "content_generator_generation_seconds", Help: "How long a generation took, from its beginning to its publication.",
			Buckets: prometheus.ExponentialBuckets(0.001, 4, 8),
		}),
		published: gauge("published_timestamp_seconds", "When the last generation was published, in Unix time; 0: never."),
		pages:     gauge("pages", "Pages of the last generation."),
		bytes:     gauge("pages_bytes", "Their size together."),
	}
	reg.MustRegister(m.generations, m.changed, m.seconds)
	reg.MustRegister(
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "content_generator_cpu_throttled_periods_total", Help: "Periods in which this container used its quota up, as its control group counts them.",
		}, func() float64 {
			if own, err := ownCgroup(); err == nil {
				return float64(own.ThrottledPeriods)
			}
			return 0
		}),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "content_generator_cpu_throttled_seconds_total", Help: "Time that this container stood still for that.",
		}, func() float64 {
			if own, err := ownCgroup(); err == nil {
				return own.ThrottledSeconds
			}
			return 0
		}),
	)
	for _, result := range []string{"ok", "failed"} {
		m.generations.WithLabelValues(result)
	}
	return m
}

func (m *metrics) generation(took time.Duration, changed int, pages map[string][]byte, err error) {
	if err != nil {
		m.generations.WithLabelValues("failed").Inc()
		return
	}
	m.generations.WithLabelValues("ok").Inc()
	m.changed.Add(float64(changed))
	m.seconds.Observe(took.Seconds())
	m.published.SetToCurrentTime()
	m.pages.Set(float64(len(pages)))
	size := 0
	for _, page := range pages {
		size += len(page)
	}
	m.bytes.Set(float64(size))
}
