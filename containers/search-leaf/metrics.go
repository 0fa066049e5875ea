package main

import "github.com/prometheus/client_golang/prometheus"

// metrics are the leaf's.
type metrics struct {
	searches  *prometheus.CounterVec
	scanned   prometheus.Counter
	slowed    prometheus.Counter
	working   prometheus.Gauge
	seconds   prometheus.Histogram
	reloads   *prometheus.CounterVec
	documents *prometheus.GaugeVec
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		searches: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "search_leaf_searches_total", Help: "Searches that have ended, by what came of them: done, deadline, gone (who asked), refused or bad.",
		}, []string{"result"}),
		scanned: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "search_leaf_scanned_total", Help: "Postings that were scored.",
		}),
		slowed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "search_leaf_slowed_total", Help: "Searches that waited for SLOW_TIME.",
		}),
		working: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "search_leaf_working", Help: "Searches under way.",
		}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "search_leaf_seconds", Help: "Time that searches took.", Buckets: prometheus.ExponentialBuckets(0.0005, 2, 16),
		}),
		reloads: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "search_leaf_loads_total", Help: "Times that the documents were read, by what came of it: ok or refused.",
		}, []string{"result"}),
		documents: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "search_leaf_documents", Help: "Documents, by shard.",
		}, []string{"shard"}),
	}
	reg.MustRegister(m.searches, m.scanned, m.slowed, m.working, m.seconds, m.reloads, m.documents)
	return m
}
