package main

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	terms    prometheus.Counter
	ended    *prometheus.CounterVec
	renewals *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		terms: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "elector_terms_total", Help: "Times that this candidate became the owner.",
		}),
		ended: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "elector_terms_ended_total", Help: "Times that it was one no more, by why.",
		}, []string{"why"}),
		renewals: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "elector_renewals_total", Help: "Renewals of its lease, by result.",
		}, []string{"result"}),
	}
	reg.MustRegister(m.terms, m.ended, m.renewals)
	return m
}

// watch adds what is computed when it is asked for.
func (m *metrics) watch(reg prometheus.Registerer, e *Elector) {
	reg.MustRegister(
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "elector_owner", Help: "1 if this candidate is the owner.",
		}, func() float64 {
			if e.Told().Owner {
				return 1
			}
			return 0
		}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "elector_token", Help: "The owner's token, as last heard.",
		}, func() float64 {
			if h := e.Told().Holder; h != nil {
				return float64(h.Token)
			}
			return 0
		}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "elector_store_silent_seconds", Help: "Time since etcd last answered.",
		}, func() float64 { return e.Told().Silent }),
	)
}
