package main

import (
	"github.com/prometheus/client_golang/prometheus"

	"distlab/containers/internal/follow"
)

// metrics count what came in and what was made of it: nothing goes missing without a number.
type metrics struct {
	lines, unparsed, joined, truncated, late, bytes, refused                prometheus.Counter
	rotations, copies, adoptions, longs, partials, nuls, errors, saveErrors prometheus.Counter
	lost, events, dropped                                                   *prometheus.CounterVec
	streams, unread                                                         prometheus.Gauge
	byFormat                                                                map[string]prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) *metrics {
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: "log_adapter_" + name, Help: help})
		reg.MustRegister(c)
		return c
	}
	vector := func(name, label, help string, values ...string) *prometheus.CounterVec {
		v := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "log_adapter_" + name, Help: help}, []string{label})
		reg.MustRegister(v)
		for _, value := range values {
			v.WithLabelValues(value)
		}
		return v
	}
	gauge := func(name, help string) prometheus.Gauge {
		g := prometheus.NewGauge(prometheus.GaugeOpts{Name: "log_adapter_" + name, Help: help})
		reg.MustRegister(g)
		return g
	}
	m := &metrics{
		lines:      counter("lines_total", "Lines read."),
		unparsed:   counter("unparsed_total", "Events of no known form, kept as they are and marked."),
		joined:     counter("joined_lines_total", "Lines that belong to an event that began in one before."),
		truncated:  counter("truncated_events_total", "Events cut at a limit of lines or bytes."),
		late:       counter("late_events_total", "Events that are the rest of one that was written before."),
		bytes:      counter("written_bytes_total", "Bytes written."),
		refused:    counter("refused_connections_total", "Connections over MAX_CONNECTIONS."),
		events:     vector("events_total", "format", "Events written, by their format."),
		dropped:    vector("dropped_events_total", "reason", "Events left out: over RATE_LIMIT (rate), or not understood (unparsed).", "rate", "unparsed"),
		rotations:  counter("rotations_total", "Files whose name was seen to change."),
		copies:     counter("truncations_total", "Files that were found with a new beginning."),
		adoptions:  counter("adoptions_total", "Files whose rest was found under another name, or in a copy."),
		lost:       vector("lost_bytes_total", "reason", "Bytes that were gone before they were read.", "deleted", "gone"),
		longs:      counter("truncated_lines_total", "Lines longer than MAX_LINE."),
		partials:   counter("partial_lines_total", "Last lines of finished files that had no line end."),
		nuls:       counter("nul_bytes_total", "NUL bytes left out at the start of lines."),
		errors:     counter("read_errors_total", "Errors when files were opened or read."),
		saveErrors: counter("checkpoint_errors_total", "Checkpoints that could not be written."),
		streams:    gauge("streams", "Streams of lines."),
		unread:     gauge("unread_bytes", "Bytes in the files that were not read."),
		byFormat:   map[string]prometheus.Counter{},
	}
	return m
}

// count notes an event that is written.
func (m *metrics) count(e *Event, lines int) {
	c := m.byFormat[e.Format]
	if c == nil {
		format := e.Format
		if format == "" {
			format = "none"
		}
		c = m.events.WithLabelValues(format)
		m.byFormat[e.Format] = c
	}
	c.Inc()
	if lines > 1 {
		m.joined.Add(float64(lines - 1))
	}
	if e.Truncated {
		m.truncated.Inc()
	}
	if e.Late {
		m.late.Inc()
	}
}

// counters are what the follower is told to tell.
func (m *metrics) counters() follow.Counters {
	return follow.Counters{
		Rotated:     m.rotations.Inc,
		Truncated:   m.copies.Inc,
		Adopted:     m.adoptions.Inc,
		Dropped:     func(int64, int64) {}, // there is no limit to what may wait
		Lost:        func(reason string, bytes int64) { m.lost.WithLabelValues(reason).Add(float64(bytes)) },
		LongLine:    m.longs.Inc,
		PartialLine: m.partials.Inc,
		Error:       m.errors.Inc,
		Nuls:        func(bytes int64) { m.nuls.Add(float64(bytes)) },
	}
}
