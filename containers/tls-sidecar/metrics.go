package main

import (
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics are the sidecar's own, all named tls_sidecar_*. A nil *Metrics
// counts nothing.
type Metrics struct {
	connections *prometheus.CounterVec // total
	active      prometheus.Gauge
	rejected    *prometheus.CounterVec
	handshakes  *prometheus.CounterVec
	handshake   prometheus.Histogram
	requests    *prometheus.CounterVec
	request     prometheus.Histogram
	inFlight    prometheus.Gauge
	fast        prometheus.Counter
	refused     *prometheus.CounterVec
	bytes       *prometheus.CounterVec
	appErrors   *prometheus.CounterVec
	appUp       prometheus.Gauge
	notAfter    *prometheus.GaugeVec
	reloads     *prometheus.CounterVec
	reloadOK    prometheus.Gauge
	reloadTime  prometheus.Gauge

	// Series that every connection counts in, found once.
	accepts        prometheus.Counter
	good12, good13 func() prometheus.Counter // of handshakes, by version: not there before the first
	in, out        func(float64)

	codes [600]atomic.Pointer[prometheus.Counter] // series of requests, for each answer to find its own at once
}

// NewMetrics registers them with reg.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "tls_sidecar_" + name, Help: help}, labels)
		reg.MustRegister(c)
		return c
	}
	gauge := func(name, help string) prometheus.Gauge {
		g := prometheus.NewGauge(prometheus.GaugeOpts{Name: "tls_sidecar_" + name, Help: help})
		reg.MustRegister(g)
		return g
	}
	histogram := func(name, help string, buckets []float64) prometheus.Histogram {
		h := prometheus.NewHistogram(prometheus.HistogramOpts{Name: "tls_sidecar_" + name, Help: help, Buckets: buckets})
		reg.MustRegister(h)
		return h
	}
	m := &Metrics{
		connections: counter("connections_total", "Connections accepted."),
		active:      gauge("connections_active", "Connections open now."),
		rejected:    counter("connections_rejected_total", "Connections closed for want of room, by reason (max_connections: new ones; evicted: idle ones, for new ones).", "reason"),
		handshakes:  counter("handshakes_total", "TLS handshakes ended, by result (ok, or the cause of failure) and version.", "result", "version"),
		handshake:   histogram("handshake_seconds", "Duration of good TLS handshakes.", []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}),
		requests:    counter("requests_total", "Requests answered, by status code; 499 is a client that left.", "code"),
		request:     histogram("request_seconds", "Duration of requests, from their head to the end of the answer.", prometheus.DefBuckets),
		inFlight:    gauge("requests_in_flight", "Requests being answered now, upgraded connections among them."),
		fast: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "tls_sidecar_fast_requests_total",
			Help: "Requests of requests_total that were forwarded on the fast path.",
		}),
		refused:   counter("requests_refused_total", "Requests that were not passed on to the app, by reason.", "reason"),
		bytes:     counter("bytes_total", "Bytes on the wire, TLS included, by direction (in is from clients).", "direction"),
		appErrors: counter("upstream_errors_total", "Failures between the sidecar and the app, by reason.", "reason"),
		appUp:     gauge("app_up", "1 if the app's port accepted the last check."),
		notAfter: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "tls_sidecar_certificate_not_after_seconds",
			Help: "Unix time at which a certificate that is served expires.",
		}, []string{"name", "serial"}),
		reloads:    counter("reloads_total", "Reloads of the certificates, by result (ok, error).", "result"),
		reloadOK:   gauge("last_reload_success", "1 if the last reload, or the start, was good."),
		reloadTime: gauge("last_reload_success_timestamp_seconds", "Unix time of the last good reload."),
	}
	reg.MustRegister(m.notAfter, m.fast)
	m.start()
	return m
}

// start makes the series that alerts are written on exist before they count.
func (m *Metrics) start() {
	for _, result := range []string{"ok", "error"} {
		m.reloads.WithLabelValues(result)
	}
	for _, reason := range []string{"max_connections", "evicted"} {
		m.rejected.WithLabelValues(reason)
	}
	for _, reason := range []string{"dial", "timeout", "broken"} {
		m.appErrors.WithLabelValues(reason)
	}
	m.accepts = m.connections.WithLabelValues()
	m.in, m.out = m.bytes.WithLabelValues("in").Add, m.bytes.WithLabelValues("out").Add
	m.good12 = sync.OnceValue(func() prometheus.Counter { return m.handshakes.WithLabelValues("ok", "1.2") })
	m.good13 = sync.OnceValue(func() prometheus.Counter { return m.handshakes.WithLabelValues("ok", "1.3") })
	m.reloadOK.Set(1)
	m.reloadTime.SetToCurrentTime()
}

// directions returns the counters of a connection's bytes.
func (m *Metrics) directions() (in, out func(float64)) {
	if m == nil {
		return func(float64) {}, func(float64) {}
	}
	return m.in, m.out
}

func (m *Metrics) accepted() {
	if m != nil {
		m.accepts.Inc()
		m.active.Inc()
	}
}

func (m *Metrics) closed() {
	if m != nil {
		m.active.Dec()
	}
}

func (m *Metrics) reject(reason string) {
	if m != nil {
		m.rejected.WithLabelValues(reason).Inc()
	}
}

func (m *Metrics) shook(result, version string, took time.Duration) {
	if m == nil {
		return
	}
	switch {
	case result != "ok":
		m.handshakes.WithLabelValues(result, version).Inc()
		return
	case version == "1.3":
		m.good13().Inc()
	default:
		m.good12().Inc()
	}
	m.handshake.Observe(took.Seconds())
}

func (m *Metrics) began() {
	if m != nil {
		m.inFlight.Inc()
	}
}

func (m *Metrics) answered(code int, took time.Duration) {
	if m == nil {
		return
	}
	m.inFlight.Dec()
	m.request.Observe(took.Seconds())
	if code < 0 || code >= len(m.codes) {
		m.requests.WithLabelValues(strconv.Itoa(code)).Inc()
		return
	}
	series := m.codes[code].Load()
	if series == nil { // the first of its kind
		c := m.requests.WithLabelValues(strconv.Itoa(code))
		series = &c
		m.codes[code].Store(series)
	}
	(*series).Inc()
}

func (m *Metrics) wasFast() {
	if m != nil {
		m.fast.Inc()
	}
}

// undone takes back a began: it will be said again.
func (m *Metrics) undone() {
	if m != nil {
		m.inFlight.Dec()
	}
}

func (m *Metrics) refuse(reason string) {
	if m != nil {
		m.refused.WithLabelValues(reason).Inc()
	}
}

func (m *Metrics) appFailed(reason string) {
	if m != nil {
		m.appErrors.WithLabelValues(reason).Inc()
	}
}

func (m *Metrics) appIs(up bool) {
	if m != nil {
		m.appUp.Set(float(up))
	}
}

// serves shows the certificates in force, and forgets those that are not.
func (m *Metrics) serves(now *material) {
	if m == nil {
		return
	}
	m.notAfter.Reset()
	for _, p := range now.pairs {
		m.notAfter.WithLabelValues(p.name(), p.serial()).Set(float64(p.leaf.NotAfter.Unix()))
	}
}

func (m *Metrics) reloaded(r Reloaded) {
	if m == nil {
		return
	}
	result := "error"
	if r.OK {
		result = "ok"
		m.reloadTime.Set(float64(r.Time.Unix()))
	}
	m.reloads.WithLabelValues(result).Inc()
	m.reloadOK.Set(float(r.OK))
}

func float(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
