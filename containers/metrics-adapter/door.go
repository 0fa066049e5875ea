package main

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Door serves the metrics.
type Door struct {
	Main            *Target            // behind /metrics
	Targets         map[string]*Target // that /scrape?target= may name
	Timeout, Offset time.Duration
	Metrics         *metrics
}

// Handler is the whole door.
func (d *Door) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, r *http.Request) { d.serve(w, r, d.Main) })
	mux.HandleFunc("GET /scrape", d.scrape)
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprint(w, "<!DOCTYPE html><title>metrics-adapter</title><p><a href=\"/metrics\">metrics</a>\n")
	})
	return mux
}

// scrape is for one adapter with several servers, as Prometheus' relabelling asks. Whom it names is looked up in the list
// and not understood: nobody makes the adapter connect to what it was not given.
func (d *Door) scrape(w http.ResponseWriter, r *http.Request) {
	name := r.URL.Query().Get("target")
	t := d.Targets[strings.TrimPrefix(name, "redis://")]
	switch {
	case name == "":
		d.refuse(w, http.StatusBadRequest, "missing", "target is missing: /scrape?target=HOST:PORT")
	case t == nil:
		d.refuse(w, http.StatusForbidden, "not_allowed", "this target is not among ALLOWED_TARGETS")
	default:
		d.serve(w, r, t)
	}
}

func (d *Door) refuse(w http.ResponseWriter, code int, reason, words string) {
	d.Metrics.refused.WithLabelValues(reason).Inc()
	http.Error(w, words, code)
}

// serve asks a target and writes what it said, in the form that the scraper prefers. The answer is always 200: that the
// server is down is a measurement.
func (d *Door) serve(w http.ResponseWriter, r *http.Request, t *Target) {
	d.Metrics.scrapes.WithLabelValues(t.Name).Inc()
	d.Metrics.inFlight.Inc()
	defer d.Metrics.inFlight.Dec()
	ctx, cancel := context.WithTimeout(r.Context(), d.limit(r.Header))
	defer cancel()
	page := t.Scrape(ctx)
	reg := prometheus.NewRegistry()
	reg.MustRegister(page)
	// In OpenMetrics a counter ends in _total. The library gives those of the usual exporters that do not as unknown, name kept.
	promhttp.HandlerFor(reg, promhttp.HandlerOpts{
		ErrorHandling: promhttp.ContinueOnError, EnableOpenMetrics: true,
	}).ServeHTTP(w, r)
}

// limit is how long a scrape may wait: the time that Prometheus says it will, less the offset, and never more than
// TIMEOUT. An answer that comes after the scraper has gone would be up 0 of the adapter, not of its target.
func (d *Door) limit(h http.Header) time.Duration {
	seconds, err := strconv.ParseFloat(h.Get("X-Prometheus-Scrape-Timeout-Seconds"), 64)
	if err != nil || !(seconds > 0 && seconds < 1e6) {
		return d.Timeout
	}
	theirs := time.Duration(seconds * float64(time.Second))
	return min(d.Timeout, max(theirs-d.Offset, theirs/2))
}

// Status is the door's on /status.
func (d *Door) Status() any {
	names := make([]string, 0, len(d.Targets))
	for name := range d.Targets {
		names = append(names, name)
	}
	slices.Sort(names)
	var all struct {
		Targets []targetStatus `json:"targets"`
	}
	for _, name := range names {
		all.Targets = append(all.Targets, d.Targets[name].status())
	}
	return all
}

// metrics are the adapter's own. What it tells of its targets stands on its own port.
type metrics struct {
	scrapes, collections, shared, failures, refused *prometheus.CounterVec

	inFlight prometheus.Gauge
}

func newMetrics(r prometheus.Registerer) *metrics {
	vec := func(name, help string, labels ...string) *prometheus.CounterVec {
		v := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "metrics_adapter", Name: name, Help: help}, labels)
		r.MustRegister(v)
		return v
	}
	m := &metrics{
		scrapes:     vec("scrapes_total", "Scrapes that were let in.", "target"),
		collections: vec("collections_total", "Times that a target was asked.", "target", "outcome"),
		shared:      vec("scrapes_shared_total", "Scrapes that shared a collection that was under way.", "target"),
		failures:    vec("failures_total", "Scrapes and collections without an answer of the target.", "target", "reason"),
		refused:     vec("scrapes_refused_total", "Scrapes of targets that are not allowed, or of none.", "reason"),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Namespace: "metrics_adapter", Name: "scrapes_in_flight", Help: "Scrapes that wait for an answer.",
		}),
	}
	r.MustRegister(m.inFlight)
	return m
}
