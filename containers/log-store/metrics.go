package main

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	records, repeats, syncs, removed, forgotten prometheus.Counter
	batches                                     *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer) *metrics {
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: "log_store_" + name, Help: help})
		reg.MustRegister(c)
		return c
	}
	m := &metrics{
		records:   counter("records_total", "Records kept."),
		repeats:   counter("repeats_total", "Records that had come before, and were dropped."),
		syncs:     counter("syncs_total", "Appends flushed to the disk."),
		removed:   counter("segments_removed_total", "Segments that made room."),
		forgotten: counter("streams_forgotten_total", "Streams forgotten: there were too many."),
		batches: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "log_store_batches_total", Help: "Batches, by result.",
		}, []string{"result"}),
	}
	reg.MustRegister(m.batches)
	for _, result := range []string{"kept", "repeated", "refused", "failed"} {
		m.batches.WithLabelValues(result)
	}
	return m
}
