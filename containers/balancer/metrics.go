package main

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics are the balancer's. A nil one counts nothing.
type Metrics struct {
	requests  *prometheus.CounterVec
	seconds   *prometheus.HistogramVec
	failures  *prometheus.CounterVec
	retries   *prometheus.CounterVec
	denied    prometheus.Counter
	hedges    *prometheus.CounterVec
	ejections *prometheus.CounterVec
	checks    *prometheus.CounterVec
	refused   *prometheus.CounterVec
	reads     *prometheus.CounterVec
	panicked  prometheus.Counter
	sticky    *prometheus.CounterVec
	fast      prometheus.Counter
	rejected  *prometheus.CounterVec
	accepted  prometheus.Counter
	sent      *prometheus.CounterVec
}

// NewMetrics registers them.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	counter := func(noun, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name + "_" + noun, Help: help}, labels)
		reg.MustRegister(c)
		return c
	}
	m := &Metrics{
		requests:  counter("requests_total", "Answers to clients, by the replica that gave them (none: the balancer itself) and class of status.", "replica", "code"),
		failures:  counter("failures_total", "Attempts that failed, by replica and reason (dial, timeout, broken, status).", "replica", "reason"),
		retries:   counter("retries_total", "Requests that were sent to this replica after another one had failed.", "replica"),
		hedges:    counter("hedges_total", "Requests that were sent to a second replica since the first was slow, by who answered first (first, second).", "won"),
		ejections: counter("ejections_total", "Times that a replica was left alone for its failures.", "replica"),
		checks:    counter("checks_total", "Health checks, by result (ok, failed).", "replica", "result"),
		refused:   counter("refused_total", "Requests that got no replica, or were refused for what they are, by reason.", "reason"),
		reads:     counter("membership_reads_total", "Readings of who the replicas are, by result (ok, error).", "result"),
		sticky:    counter("sticky_total", "Requests with the sticky cookie, by what became of it (kept, moved).", "result"),
		rejected:  counter("connections_rejected_total", "Connections that were closed at once, by reason.", "reason"),
		sent:      counter("tcp_bytes_total", "Bytes passed on in TCP mode, by direction (in, out).", "direction"),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: name + "_request_seconds", Help: "Time from a request to the end of its answer, or of a TCP connection, by replica.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 60},
		}, []string{"replica"}),
		denied:   prometheus.NewCounter(prometheus.CounterOpts{Name: name + "_retries_denied_total", Help: "Requests that would have been sent once more, but for the budget or for want of a replica."}),
		panicked: prometheus.NewCounter(prometheus.CounterOpts{Name: name + "_panic_total", Help: "Requests that were dealt among all replicas, since too few can be used."}),
		fast:     prometheus.NewCounter(prometheus.CounterOpts{Name: name + "_fast_total", Help: "Requests answered on the fast path."}),
		accepted: prometheus.NewCounter(prometheus.CounterOpts{Name: name + "_connections_total", Help: "Connections accepted."}),
	}
	reg.MustRegister(m.seconds, m.denied, m.panicked, m.fast, m.accepted)
	return m
}

func (m *Metrics) read(ok bool) {
	if m != nil {
		m.reads.WithLabelValues(result(ok, "error")).Inc()
	}
}

func result(ok bool, bad string) string {
	if ok {
		return "ok"
	}
	return bad
}

// own counts an answer that no replica gave.
func (m *Metrics) own(code int) { m.requests.WithLabelValues("none", class(code)).Inc() }

func class(code int) string {
	if code == 499 {
		return "left"
	}
	return strconv.Itoa(code/100) + "xx"
}

// replicaMetrics are one replica's. The zero value counts nothing.
type replicaMetrics struct {
	m    *Metrics
	addr string
	ok   prometheus.Counter // 2xx: of nearly every answer
	took prometheus.Observer
}

func (m *Metrics) replica(addr string) replicaMetrics {
	if m == nil {
		return replicaMetrics{}
	}
	return replicaMetrics{m, addr, m.requests.WithLabelValues(addr, "2xx"), m.seconds.WithLabelValues(addr)}
}

// forget takes away the series of a replica that has left: with names that come and go there would be no end of them.
func (m *Metrics) forget(addr string) {
	if m == nil {
		return
	}
	labels := prometheus.Labels{"replica": addr}
	for _, v := range []*prometheus.CounterVec{m.requests, m.failures, m.retries, m.ejections, m.checks} {
		v.DeletePartialMatch(labels)
	}
	m.seconds.DeletePartialMatch(labels)
}

func (r replicaMetrics) answered(code int, took time.Duration) {
	if r.m == nil {
		return
	}
	if code/100 == 2 {
		r.ok.Inc()
	} else {
		r.m.requests.WithLabelValues(r.addr, class(code)).Inc()
	}
	r.took.Observe(took.Seconds())
}

func (r replicaMetrics) failed(reason string) {
	if r.m != nil {
		r.m.failures.WithLabelValues(r.addr, reason).Inc()
	}
}

func (r replicaMetrics) retried() {
	if r.m != nil {
		r.m.retries.WithLabelValues(r.addr).Inc()
	}
}

func (r replicaMetrics) ejected() {
	if r.m != nil {
		r.m.ejections.WithLabelValues(r.addr).Inc()
	}
}

func (r replicaMetrics) checked(ok bool) {
	if r.m != nil {
		r.m.checks.WithLabelValues(r.addr, result(ok, "failed")).Inc()
	}
}

// states are gauges that are read when somebody asks.
type states struct {
	pool     *Pool
	inFlight func() int
	up       *prometheus.Desc
	share    *prometheus.Desc
	busy     *prometheus.Desc
	waiting  *prometheus.Desc
	total    *prometheus.Desc
}

func newStates(p *Pool, inFlight func() int) *states {
	return &states{
		p, inFlight,
		prometheus.NewDesc(name+"_replica_up", "Whether the replica takes part.", []string{"replica"}, nil),
		prometheus.NewDesc(name+"_replica_share", "Its share of what is dealt now.", []string{"replica"}, nil),
		prometheus.NewDesc(name+"_replica_in_flight", "What it has in flight.", []string{"replica"}, nil),
		prometheus.NewDesc(name+"_waiting", "Requests that wait for a replica with room.", nil, nil),
		prometheus.NewDesc(name+"_in_flight", "Requests, or connections in TCP mode, in flight.", nil, nil),
	}
}

// Describe implements prometheus.Collector.
func (s *states) Describe(c chan<- *prometheus.Desc) { prometheus.DescribeByCollect(s, c) }

// Collect implements prometheus.Collector.
func (s *states) Collect(c chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		c <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	gauge(s.waiting, float64(s.pool.Waiting()))
	gauge(s.total, float64(s.inFlight()))
	for _, r := range s.pool.States() {
		up := 0.0
		if r.Up {
			up = 1
		}
		gauge(s.up, up, r.Addr)
		gauge(s.share, r.Share, r.Addr)
		gauge(s.busy, float64(r.InFlight), r.Addr)
	}
}
