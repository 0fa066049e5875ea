package main

import (
	"net/http"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are the root's.
type metrics struct {
	requests   *prometheus.CounterVec
	asks       *prometheus.CounterVec
	denied     prometheus.Counter
	hedgesWon  prometheus.Counter
	partial    prometheus.Counter
	missing    *prometheus.CounterVec
	local      prometheus.Counter
	rounds     prometheus.Counter
	statistics prometheus.Counter
	inFlight   prometheus.Gauge
	seconds    prometheus.Histogram
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "search_root_requests_total", Help: "Requests answered, by status code.",
		}, []string{"code"}),
		asks: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "search_root_asks_total", Help: "Requests to leaves, by kind: first, hedge or failover.",
		}, []string{"kind"}),
		denied: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "search_root_hedges_denied_total", Help: "Second requests that the budget did not allow.",
		}),
		hedgesWon: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "search_root_hedges_won_total", Help: "Second requests that were answered first.",
		}),
		partial: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "search_root_partial_total", Help: "Searches that were not answered whole.",
		}),
		missing: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "search_root_missing_total", Help: "Shards that were missing in an answer, by why: deadline, unreachable or local.",
		}, []string{"why"}),
		local: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "search_root_local_failures_total", Help: "Requests to leaves that this machine could not make; no leaf is blamed.",
		}),
		rounds: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "search_root_rounds_again_total", Help: "Times that leaves were asked anew because their documents had changed.",
		}),
		statistics: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "search_root_statistics_total", Help: "Statistics of a shard that were learned.",
		}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "search_root_in_flight", Help: "Searches under way.",
		}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "search_root_seconds", Help: "Time that searches took.", Buckets: prometheus.ExponentialBuckets(0.001, 2, 16),
		}),
	}
	reg.MustRegister(m.requests, m.asks, m.denied, m.hedgesWon, m.partial, m.missing, m.local,
		m.rounds, m.statistics, m.inFlight, m.seconds)
	for _, kind := range []string{first, hedge, failover} {
		m.asks.WithLabelValues(kind)
	}
	return m
}

// count counts answers.
func (m *metrics) count(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rec := &recorder{ResponseWriter: w, code: http.StatusOK}
		next.ServeHTTP(rec, r)
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
