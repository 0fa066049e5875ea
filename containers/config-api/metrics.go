package main

import (
	"net/http"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are the API's.
type metrics struct {
	requests *prometheus.CounterVec
	changes  prometheus.Counter
	waiting  prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer, store *Store) *metrics {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "config_api_requests_total", Help: "Requests answered, by status code.",
		}, []string{"code"}),
		changes: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "config_api_versions_total", Help: "Versions made.",
		}),
		waiting: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "config_api_waiting", Help: "Readers that wait for the next version.",
		}),
	}
	reg.MustRegister(m.requests, m.changes, m.waiting,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "config_api_configs", Help: "Configurations that are not deleted.",
		}, func() float64 { return float64(len(store.List())) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "config_api_store_bytes", Help: "Size of all versions that are kept.",
		}, func() float64 { return float64(store.bytes()) }))
	return m
}

func (s *Store) bytes() (n int) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, h := range s.configs {
		for _, v := range h.versions {
			n += v.size
		}
	}
	return n
}

// count counts answers.
func (m *metrics) count(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rec := &recorder{ResponseWriter: w}
		next.ServeHTTP(rec, r)
		if rec.code == 0 {
			rec.code = http.StatusOK
		}
		m.requests.WithLabelValues(strconv.Itoa(rec.code)).Inc()
	})
}

type recorder struct {
	http.ResponseWriter
	code int
}

func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

func (r *recorder) WriteHeader(code int) {
	r.code = code
	r.ResponseWriter.WriteHeader(code)
}
