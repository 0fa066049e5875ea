package main

import (
	"errors"
	"math"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics counts what was asked of the server, and what was answered without asking it.
type metrics struct {
	reg     prometheus.Registerer
	checks  *prometheus.CounterVec
	seconds *prometheus.HistogramVec
	answers *prometheus.CounterVec
	cached  *prometheus.CounterVec
	changes *prometheus.CounterVec
	opened  prometheus.Counter
	open    prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		reg: reg,
		checks: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "health_adapter_checks_total", Help: "Checks made of the server, by check and result: ok or the kind of failure.",
		}, []string{"check", "result"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "health_adapter_check_seconds", Help: "How long checks took, connecting included.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5},
		}, []string{"check"}),
		answers: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "health_adapter_answers_total", Help: "Answers given, by check (or agent) and status code (or word).",
		}, []string{"check", "code"}),
		cached: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "health_adapter_cached_total", Help: "Answers given without asking the server.",
		}, []string{"check"}),
		changes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "health_adapter_changes_total", Help: "Changes of state, by check and new state: up or down.",
		}, []string{"check", "to"}),
		opened: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "health_adapter_connections_total", Help: "Logins to the server that succeeded.",
		}),
		open: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "health_adapter_connections", Help: "Connections to the server that are open: at most one for each check.",
		}),
	}
	reg.MustRegister(m.checks, m.seconds, m.answers, m.cached, m.changes, m.opened, m.open)
	for _, check := range []string{"live", "ready"} {
		m.checks.WithLabelValues(check, "ok")
		m.seconds.WithLabelValues(check)
		m.cached.WithLabelValues(check)
		m.changes.WithLabelValues(check, "up")
		m.changes.WithLabelValues(check, "down")
	}
	m.answers.WithLabelValues("ready", "200")
	return m
}

// watch shows the present state: what is known, without a check.
func (m *metrics) watch(c *Checks) {
	gauge := func(name, help string, labels prometheus.Labels, f func() float64) {
		m.reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help, ConstLabels: labels}, f))
	}
	for _, h := range []*Health{c.Live, c.Ready} {
		gauge("health_adapter_up", "1 if the last known state is up.", prometheus.Labels{"check": h.Name}, func() float64 {
			return truth(h.Last().Up)
		})
	}
	gauge("health_adapter_maintenance", "1 if maintenance is switched on.", nil, func() float64 { return truth(c.Maintenance.On()) })
	gauge("health_adapter_replication_lag_seconds", "How far a replica is behind, where it is asked; NaN while nobody knows.", nil, func() float64 {
		r := c.Ready.Last()
		if !r.Up && !r.Finding.Replica {
			return math.NaN()
		}
		return r.Finding.Lag.Seconds()
	})
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func (m *metrics) checked(check string, r Report, err error) {
	result := "ok"
	if err != nil {
		result = "timeout"
		var why reason
		if errors.As(err, &why) {
			result = why.kind
		}
	}
	m.checks.WithLabelValues(check, result).Inc()
	m.seconds.WithLabelValues(check).Observe(r.Took.Seconds())
}

func (m *metrics) answered(check, code string, cached bool) {
	m.answers.WithLabelValues(check, code).Inc()
	if cached {
		m.cached.WithLabelValues(check).Inc()
	}
}

// clone is the same server with a connection of its own, which is counted.
func (s *Server) clone(m *metrics) *Server {
	return &Server{
		Addr: s.Addr, User: s.User, Password: s.Password, Database: s.Database, TLS: s.TLS, Plaintext: s.Plaintext,
		MaxAge: s.MaxAge, Limit: s.Limit,
		Opened: func() { m.opened.Inc(); m.open.Inc() }, Closed: m.open.Dec,
	}
}
