package main

import (
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// mostSeries bounds a page, whatever a server says of itself.
const mostSeries = 20_000

// page is what one collection found, as metrics. It is a collector that describes nothing in advance: which series a server
// has is known only when it has answered.
type page struct {
	metrics []prometheus.Metric
	seen    map[string]bool
}

const (
	counter = prometheus.CounterValue
	gauge   = prometheus.GaugeValue
)

// add adds a series; labels are names and values in turns.
func (p *page) add(kind prometheus.ValueType, name, help string, value float64, labels ...string) {
	names, values, ok := p.admit(name, labels)
	if !ok {
		return
	}
	m, err := prometheus.NewConstMetric(prometheus.NewDesc(name, help, names, nil), kind, value, values...)
	p.keep(m, err)
}

// summary adds quantiles with their names as the server has them.
func (p *page) summary(name, help string, count uint64, sum float64, quantiles map[float64]float64, labels ...string) {
	names, values, ok := p.admit(name, labels)
	if !ok {
		return
	}
	m, err := prometheus.NewConstSummary(prometheus.NewDesc(name, help, names, nil), count, sum, quantiles, values...)
	p.keep(m, err)
}

// histogram adds cumulative buckets.
func (p *page) histogram(name, help string, count uint64, sum float64, buckets map[float64]uint64, labels ...string) {
	names, values, ok := p.admit(name, labels)
	if !ok {
		return
	}
	m, err := prometheus.NewConstHistogram(prometheus.NewDesc(name, help, names, nil), count, sum, buckets, values...)
	p.keep(m, err)
}

// admit takes labels apart, and refuses a series that is there already: a page with one series twice is no page at all.
func (p *page) admit(name string, labels []string) (names, values []string, ok bool) {
	key := name
	for i := 0; i+1 < len(labels); i += 2 {
		value := strings.ToValidUTF8(labels[i+1], "\uFFFD")
		names, values = append(names, labels[i]), append(values, value)
		key += "\xff" + value
	}
	if p.seen[key] || len(p.metrics) >= mostSeries {
		return nil, nil, false
	}
	if p.seen == nil {
		p.seen = map[string]bool{}
	}
	p.seen[key] = true
	return names, values, true
}

func (p *page) keep(m prometheus.Metric, err error) {
	if err == nil {
		p.metrics = append(p.metrics, m)
	}
}

// Describe describes nothing: see page.
func (p *page) Describe(chan<- *prometheus.Desc) {}

// Collect gives the metrics.
func (p *page) Collect(ch chan<- prometheus.Metric) {
	for _, m := range p.metrics {
		ch <- m
	}
}

func seconds(d time.Duration) float64 { return d.Seconds() }

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
