package main

import (
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"distlab/containers/internal/forward"
)

// Metrics are the splitter's own, all named splitter_*.
type Metrics struct {
	requests    *prometheus.CounterVec
	request     *prometheus.HistogramVec
	response    *prometheus.HistogramVec
	decisions   *prometheus.CounterVec
	failures    *prometheus.CounterVec
	retries     *prometheus.CounterVec
	denied      *prometheus.CounterVec
	inFlight    prometheus.Gauge
	fast        prometheus.Counter
	refused     *prometheus.CounterVec
	connections prometheus.Counter
	rejected    *prometheus.CounterVec
	mirrored    *prometheus.CounterVec
	mirrorLost  *prometheus.CounterVec
	mirroring   prometheus.Gauge
	compared    *prometheus.CounterVec
	reloads     *prometheus.CounterVec
	reloadOK    prometheus.Gauge
	checks      *prometheus.CounterVec
	ramps       *prometheus.CounterVec

	mu   sync.Mutex // guards the following
	arms map[string]armCounters
}

var seconds = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}

// NewMetrics registers them with reg.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "splitter_" + name, Help: help}, labels)
		reg.MustRegister(c)
		return c
	}
	gauge := func(name, help string) prometheus.Gauge {
		g := prometheus.NewGauge(prometheus.GaugeOpts{Name: "splitter_" + name, Help: help})
		reg.MustRegister(g)
		return g
	}
	histogram := func(name, help string) *prometheus.HistogramVec {
		h := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "splitter_" + name, Help: help, Buckets: seconds}, []string{"arm"})
		reg.MustRegister(h)
		return h
	}
	m := &Metrics{
		requests:   counter("requests_total", "Requests answered, by the arm that answered (empty: none did) and class of status; 499 is a client that left.", "arm", "code"),
		request:    histogram("request_seconds", "Duration of requests, from their head to the end of the answer."),
		response:   histogram("arm_response_seconds", "Time for an arm to begin its answer."),
		decisions:  counter("decisions_total", "Arms chosen, by reason.", "arm", "reason"),
		failures:   counter("arm_failures_total", "Failures of an arm, by reason (dial, timeout, broken, status).", "arm", "reason"),
		retries:    counter("retries_total", "Requests that were sent once more, to another arm, by the arm that failed.", "arm"),
		denied:     counter("retries_denied_total", "Requests that would have been, but for the budget or for want of an arm, by the arm that failed.", "arm"),
		inFlight:   gauge("requests_in_flight", "Requests being answered now, upgraded connections among them."),
		refused:    counter("requests_refused_total", "Requests that no arm saw, by reason.", "reason"),
		rejected:   counter("connections_rejected_total", "Connections closed for want of room, by reason (max_connections: new ones; evicted: idle ones, for new ones).", "reason"),
		mirrored:   counter("mirror_requests_total", "Copies sent to the mirror, by result (class of status, error, timeout).", "result"),
		mirrorLost: counter("mirror_dropped_total", "Copies not sent, by reason (concurrency, body, broken_body, unread_body, upgrade).", "reason"),
		mirroring:  gauge("mirror_in_flight", "Copies on their way."),
		compared:   counter("comparisons_total", "Answers of the mirror compared with the primary's, by result (same, different, noise, incomparable).", "result"),
		reloads:    counter("reloads_total", "Reloads of the arms file, by result (ok, error).", "result"),
		reloadOK:   gauge("last_reload_success", "1 if the last reload, or the start, was good."),
		checks:     counter("health_checks_total", "Active health checks, by arm and result (ok, error).", "arm", "result"),
		ramps:      counter("ramps_total", "Ramps ended, by result (done, rolled_back, stopped).", "result"),
		arms:       make(map[string]armCounters),
	}
	m.connections = prometheus.NewCounter(prometheus.CounterOpts{Name: "splitter_connections_total", Help: "Connections accepted."})
	m.fast = prometheus.NewCounter(prometheus.CounterOpts{Name: "splitter_fast_requests_total", Help: "Requests of requests_total that were forwarded on the fast path."})
	reg.MustRegister(m.connections, m.fast)
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
	for _, reason := range []string{"concurrency", "body"} {
		m.mirrorLost.WithLabelValues(reason)
	}
	for _, result := range []string{"done", "rolled_back", "stopped"} {
		m.ramps.WithLabelValues(result)
	}
	for _, reason := range []string{"framing", "no_arm", "max_requests"} {
		m.refused.WithLabelValues(reason)
	}
	m.reloadOK.Set(1)
}

// armCounters are an arm's own, looked up once. The zero value counts nothing.
type armCounters struct{ *armSeries }

type armSeries struct {
	m        *Metrics
	name     string
	codes    [6]prometheus.Counter
	request  prometheus.Observer
	response prometheus.Observer
	retries  prometheus.Counter
	denied   prometheus.Counter
	reasons  map[Reason]prometheus.Counter
	failures map[string]prometheus.Counter
	checks   map[bool]prometheus.Counter
}

var reasons = []Reason{
	ByOverride, ByCookie, ByHeader, ByAddress, ByFallback, ByRetry,
	"smooth", "ip_hash", "hash", "consistent", "split_clients",
}

// arm is the series of an arm. Those of an arm that comes back go on.
func (m *Metrics) arm(name string) armCounters {
	m.mu.Lock()
	defer m.mu.Unlock()
	if c, ok := m.arms[name]; ok {
		return c
	}
	s := &armSeries{
		m: m, name: name,
		request: m.request.WithLabelValues(name), response: m.response.WithLabelValues(name),
		retries: m.retries.WithLabelValues(name), denied: m.denied.WithLabelValues(name),
		reasons: map[Reason]prometheus.Counter{}, failures: map[string]prometheus.Counter{},
		checks: map[bool]prometheus.Counter{
			true: m.checks.WithLabelValues(name, "ok"), false: m.checks.WithLabelValues(name, "error"),
		},
	}
	for i := range s.codes {
		s.codes[i] = m.requests.WithLabelValues(name, class(i*100))
	}
	for _, r := range reasons {
		s.reasons[r] = m.decisions.WithLabelValues(name, string(r))
	}
	for _, r := range []string{"dial", "timeout", "broken", "status"} {
		s.failures[r] = m.failures.WithLabelValues(name, r)
	}
	c := armCounters{s}
	m.arms[name] = c
	return c
}

// class is 2xx for 204; 499 stands for itself, in the place of 0xx.
func class(code int) string {
	if code == forward.StatusClientGone || code < 100 {
		return "499"
	}
	return fmt.Sprintf("%dxx", code/100)
}

func (m *Metrics) unsplit(code int) { m.requests.WithLabelValues("", class(code)).Inc() }

func (c armCounters) decided(r Reason) {
	if c.armSeries != nil {
		c.reasons[r].Inc()
	}
}

func (c armCounters) answered(code int, took time.Duration) {
	if c.armSeries == nil {
		return
	}
	i := code / 100
	if code == forward.StatusClientGone || i >= len(c.codes) {
		i = 0
	}
	c.codes[i].Inc()
	c.request.Observe(took.Seconds())
}

func (c armCounters) began(took time.Duration) {
	if c.armSeries != nil {
		c.response.Observe(took.Seconds())
	}
}

func (c armCounters) failed(reason string) {
	if c.armSeries != nil {
		c.failures[reason].Inc()
	}
}

func (c armCounters) retried() {
	if c.armSeries != nil {
		c.retries.Inc()
	}
}

func (c armCounters) refusedRetry() {
	if c.armSeries != nil {
		c.denied.Inc()
	}
}

func (c armCounters) checked(ok bool) {
	if c.armSeries != nil {
		c.checks[ok].Inc()
	}
}

// states shows the arms in force at each scrape.
type states struct {
	splitter                  *Splitter
	up, weight, share, active *prometheus.Desc
}

func newStates(s *Splitter) *states {
	desc := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc("splitter_arm_"+name, help, []string{"arm"}, nil)
	}
	return &states{
		s,
		desc("up", "1 if the arm may be used: healthy, and not out for failures."),
		desc("weight", "The arm's weight."),
		desc("share", "Its part of all weights."),
		desc("in_flight", "Requests that the arm has now."),
	}
}

func (s *states) Describe(ch chan<- *prometheus.Desc) {
	ch <- s.up
	ch <- s.weight
	ch <- s.share
	ch <- s.active
}

func (s *states) Collect(ch chan<- prometheus.Metric) {
	for _, a := range s.splitter.states() {
		up := 0.0
		if a.Up {
			up = 1
		}
		ch <- prometheus.MustNewConstMetric(s.up, prometheus.GaugeValue, up, a.Name)
		ch <- prometheus.MustNewConstMetric(s.weight, prometheus.GaugeValue, float64(a.Weight), a.Name)
		ch <- prometheus.MustNewConstMetric(s.share, prometheus.GaugeValue, a.Share, a.Name)
		ch <- prometheus.MustNewConstMetric(s.active, prometheus.GaugeValue, float64(a.InFlight), a.Name)
	}
}
