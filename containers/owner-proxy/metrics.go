package main

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	requests *prometheus.CounterVec
	seconds  prometheus.Histogram
	refused  *prometheus.CounterVec
	retried  *prometheus.CounterVec
	unowned  prometheus.Counter
	waited   prometheus.Counter
	deposed  prometheus.Counter
	cut      prometheus.Counter
	changes  prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	vec := func(name, help, label string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{label})
	}
	m := &metrics{
		requests: vec("owner_proxy_requests_total", "Requests answered, by status code.", "code"),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "owner_proxy_request_seconds", Help: "Time to answer, with the time that was waited for an owner.",
			Buckets: []float64{.001, .005, .01, .05, .1, .5, 1, 2, 5, 10, 30},
		}),
		refused: vec("owner_proxy_refused_total", "Requests that were not for the owner, by reason.", "reason"),
		retried: vec("owner_proxy_retries_total", "Requests that were sent once more, by why the owner had not taken them.", "reason"),
		unowned: counter("owner_proxy_unowned_total", "Requests answered 503 because no owner has taken them in time."),
		waited:  counter("owner_proxy_waited_total", "Requests that had to wait for an owner."),
		deposed: counter("owner_proxy_deposed_total", "Requests that a deposed owner had not answered in its grace."),
		cut:     counter("owner_proxy_cut_total", "Answers that an owner broke off."),
		changes: counter("owner_proxy_changes_total", "Times that the owner has changed, to nobody among others."),
	}
	reg.MustRegister(m.requests, m.seconds, m.refused, m.retried, m.unowned, m.waited, m.deposed, m.cut, m.changes)
	return m
}

func (m *metrics) answered(code int, took time.Duration) {
	m.requests.WithLabelValues(strconv.Itoa(code)).Inc()
	m.seconds.Observe(took.Seconds())
}

// watch adds what is computed when it is asked for.
func (m *metrics) watch(reg prometheus.Registerer, w *Watch, p *Proxy) {
	gauge := func(name, help string, f func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, f)
	}
	reg.MustRegister(
		gauge("owner_proxy_waiting", "Requests that wait for an owner.", func() float64 { return float64(p.waiting.Load()) }),
		gauge("owner_proxy_owner", "1 if there is an owner.", func() float64 {
			if v, _ := w.Owner.Now(); v.Address != "" {
				return 1
			}
			return 0
		}),
		gauge("owner_proxy_etcd_silent_seconds", "Time since etcd last answered; below 0: it never has.", func() float64 {
			ago, _ := w.Heard()
			return ago.Seconds()
		}),
	)
}
