package main

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics counts probes and restarts.
type metrics struct {
	probes   *prometheus.CounterVec
	seconds  prometheus.Histogram
	restarts *prometheus.CounterVec
	failed   prometheus.Counter
	outage   prometheus.Histogram
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		probes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "restarter_probes_total", Help: "Probes made, by outcome: success, failure or unknown.",
		}, []string{"outcome"}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "restarter_probe_seconds", Help: "How long probes took.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}),
		restarts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "restarter_restarts_total", Help: "Targets ended, by what ended them: stop, the stop signal, or kill.",
		}, []string{"by"}),
		failed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "restarter_failures_total", Help: "Targets that could not be ended.",
		}),
		outage: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "restarter_outage_seconds", Help: "Time from the first failed probe to the next success, restarts included.",
			Buckets: []float64{1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600, 1800},
		}),
	}
	reg.MustRegister(m.probes, m.seconds, m.restarts, m.failed, m.outage)
	for _, o := range []Outcome{Success, Failure, Unknown} {
		m.probes.WithLabelValues(string(o))
	}
	m.restarts.WithLabelValues("stop")
	m.restarts.WithLabelValues("kill")
	return m
}

// watch shows the present state.
func (m *metrics) watch(reg prometheus.Registerer, r *Restarter) {
	gauge := func(name, help string, labels prometheus.Labels, f func(Status) float64) {
		reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help, ConstLabels: labels}, func() float64 {
			return f(r.Status())
		}))
	}
	for _, state := range states {
		gauge("restarter_state", "1 for the target's present state.", prometheus.Labels{"state": string(state)}, func(s Status) float64 {
			return truth(s.State == state)
		})
	}
	gauge("restarter_failures_in_a_row", "Probes in a row that have failed.", nil, func(s Status) float64 { return float64(s.Failures) })
	gauge("restarter_held", "1 while a hold keeps it from restarting.", nil, func(s Status) float64 { return truth(s.HeldUntil != nil) })
	gauge("restarter_backoff_seconds", "Time until the next restart is allowed.", nil, func(s Status) float64 {
		if s.NotBefore == nil {
			return 0
		}
		return max(0, time.Until(*s.NotBefore).Seconds())
	})
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func (m *metrics) probed(o Outcome, took time.Duration) {
	m.probes.WithLabelValues(string(o)).Inc()
	m.seconds.Observe(took.Seconds())
}

func (m *metrics) ended(by string) { m.restarts.WithLabelValues(by).Inc() }
