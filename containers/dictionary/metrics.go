package main

import (
	"net/http"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are the service's.
type metrics struct {
	requests *prometheus.CounterVec
	started  prometheus.Counter
	reloads  *prometheus.CounterVec
	loaded   prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "dictionary_requests_total",
			Help: "Requests answered, by page and status code; cut: the connection ended in place of an answer.",
		}, []string{"page", "code"}),
		started: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "dictionary_sessions_started_total", Help: "Clients whose first visit it was.",
		}),
		reloads: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "dictionary_reloads_total", Help: "Reloads of the words, by result: loaded or refused.",
		}, []string{"result"}),
		loaded: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "dictionary_load_seconds", Help: "Time that loading took at the start.",
		}),
	}
	m.requests.WithLabelValues("word", "200")
	m.reloads.WithLabelValues("loaded")
	m.reloads.WithLabelValues("refused")
	reg.MustRegister(m.requests, m.started, m.reloads, m.loaded)
	return m
}

// observe registers what is read off the server when it is asked for.
func (s *Server) observe(reg prometheus.Registerer) {
	gauge := func(name, help string, f func() float64) {
		reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, f))
	}
	gauge("dictionary_in_flight", "Requests being answered now.", func() float64 { return float64(s.inFlight.Load()) })
	gauge("dictionary_sessions", "Clients whose visits are counted.", func() float64 { return float64(s.Sessions.Len()) })
	gauge("dictionary_asked", "1 if /readyz says that it should be asked.", func() float64 {
		if s.unready() == "" {
			return 1
		}
		return 0
	})
	gauge("dictionary_words", "Words that it knows; 0 until they are loaded.", func() float64 {
		if d := s.words.Load(); d != nil {
			return float64(d.Len())
		}
		return 0
	})
}

// count counts a page's answers.
func (s *Server) count(page string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rec := &recorder{ResponseWriter: w}
		code := "cut"
		defer func() { s.Metrics.requests.WithLabelValues(page, code).Inc() }()
		next.ServeHTTP(rec, r)
		code = strconv.Itoa(rec.status())
	})
}

type recorder struct {
	http.ResponseWriter
	code int
}

func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

func (r *recorder) WriteHeader(code int) {
	if r.code < http.StatusOK { // the last of 1xx and the first final one
		r.code = code
	}
	r.ResponseWriter.WriteHeader(code)
}

func (r *recorder) status() int {
	if r.code == 0 {
		return http.StatusOK
	}
	return r.code
}
