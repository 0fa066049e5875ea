package main

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are counted by pass: a record that is read twice counts twice. The gauges are of the last pass.
type metrics struct {
	passes, records, rejected, bytes, requests, reloads *prometheus.CounterVec
	seconds                                             *prometheus.HistogramVec
	up, last                                            *prometheus.GaugeVec

	mu      sync.Mutex
	order   []string
	known   map[string]lastPass
	failure string // of the last reload
}

// lastPass is what is known of a source.
type lastPass struct {
	Outcome
	At   *time.Time `json:"as_of"`
	Good *time.Time `json:"read_whole_at"`
}

func newMetrics(reg prometheus.Registerer) *metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "format_adapter_" + name, Help: help}, labels)
		reg.MustRegister(c)
		return c
	}
	m := &metrics{
		passes:   counter("passes_total", "Readings of a source.", "source", "state"),
		records:  counter("records_total", "Records read.", "source"),
		rejected: counter("bad_records_total", "Records that could not be read.", "source", "reason"),
		bytes:    counter("read_bytes_total", "Bytes read.", "source"),
		requests: counter("requests_total", "Requests answered.", "code"),
		reloads:  counter("reloads_total", "Readings of the sources' files after the first.", "result"),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "format_adapter_pass_seconds", Help: "Time that reading a source took.", Buckets: prometheus.ExponentialBuckets(1e-3, 4, 8),
		}, []string{"source"}),
		up: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "format_adapter_source_up", Help: "1 if the last reading of the source did not fail.",
		}, []string{"source"}),
		last: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "format_adapter_source_bad_records", Help: "Bad records in the last whole reading of the source.",
		}, []string{"source"}),
		known: map[string]lastPass{},
	}
	reg.MustRegister(m.seconds, m.up, m.last)
	return m
}

// passed notes what came of a pass.
func (m *metrics) passed(o Outcome, took time.Duration) {
	m.passes.WithLabelValues(o.Name, o.State).Inc()
	m.seconds.WithLabelValues(o.Name).Observe(took.Seconds())
	up := 1.0
	if o.failed() {
		up = 0
	}
	m.up.WithLabelValues(o.Name).Set(up)
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now().UTC()
	l := m.known[o.Name]
	l.Outcome, l.At = o, &now
	if o.State == stateOK {
		m.last.WithLabelValues(o.Name).Set(float64(o.Rejected))
		l.Good = &now
	}
	m.known[o.Name] = l
}

// keep forgets sources that are gone.
func (m *metrics) keep(all *Sources) {
	m.mu.Lock()
	defer m.mu.Unlock()
	kept := map[string]lastPass{}
	m.order = nil
	for _, s := range all.Sources {
		l := m.known[s.Name]
		l.Name = s.Name
		if l.State == "" {
			l.State = stateUnread
		}
		kept[s.Name] = l
		m.order = append(m.order, s.Name)
	}
	for name := range m.known {
		if _, ok := kept[name]; !ok {
			for _, v := range []interface{ DeletePartialMatch(prometheus.Labels) int }{
				m.passes, m.records, m.rejected, m.bytes, m.seconds, m.up, m.last,
			} {
				v.DeletePartialMatch(prometheus.Labels{"source": name})
			}
		}
	}
	m.known = kept
}

func (m *metrics) loaded(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.failure = ""
	result := "ok"
	if err != nil {
		m.failure, result = err.Error(), "refused"
	}
	m.reloads.WithLabelValues(result).Inc()
}

// status is /status: each source as its last pass found it.
func (m *metrics) status() any {
	m.mu.Lock()
	defer m.mu.Unlock()
	list := []lastPass{}
	for _, name := range m.order {
		list = append(list, m.known[name])
	}
	return map[string]any{"sources": list, "reload_error": m.failure}
}
