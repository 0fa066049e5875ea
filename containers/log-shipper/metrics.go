package main

import (
	"github.com/prometheus/client_golang/prometheus"

	"distlab/containers/internal/follow"
)

// metrics count what came in, what was acknowledged and what was lost: nothing goes missing without a number.
type metrics struct {
	readLines, readBytes, ackedLines, ackedBytes        prometheus.Counter
	droppedLines, droppedBytes, lostBytes, batches      *prometheus.CounterVec
	rotations, truncations, adoptions, longs, partials  prometheus.Counter
	nuls, errors, saves, saveErrors                     prometheus.Counter
	up, files, buffered, unread, waiting, held, age, at prometheus.Gauge
	sendSeconds                                         prometheus.Histogram
}

func newMetrics(reg prometheus.Registerer) *metrics {
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: "log_shipper_" + name, Help: help})
		reg.MustRegister(c)
		return c
	}
	vector := func(name, label, help string, values ...string) *prometheus.CounterVec {
		v := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "log_shipper_" + name, Help: help}, []string{label})
		reg.MustRegister(v)
		for _, value := range values {
			v.WithLabelValues(value)
		}
		return v
	}
	gauge := func(name, help string) prometheus.Gauge {
		g := prometheus.NewGauge(prometheus.GaugeOpts{Name: "log_shipper_" + name, Help: help})
		reg.MustRegister(g)
		return g
	}
	m := &metrics{
		readLines:  counter("read_lines_total", "Lines read."),
		readBytes:  counter("read_bytes_total", "Bytes of the lines read."),
		ackedLines: counter("acknowledged_lines_total", "Lines that the store has acknowledged."),
		ackedBytes: counter("acknowledged_bytes_total", "Bytes of the lines acknowledged."),
		droppedLines: vector("dropped_lines_total", "reason", "Lines dropped: too much waited (limit), or the store will not have them (rejected).",
			"limit", "rejected"),
		droppedBytes: vector("dropped_bytes_total", "reason", "Bytes of the lines dropped.", "limit", "rejected"),
		lostBytes: vector("lost_bytes_total", "reason", "Bytes that were gone before they were read: with a file (deleted, gone, rotated).",
			"deleted", "gone"),
		batches:     vector("batches_total", "result", "Attempts to send a batch, by result.", "acknowledged", "failed", "rejected"),
		rotations:   counter("rotations_total", "Files whose name was seen to change."),
		truncations: counter("truncations_total", "Files that were found with a new beginning."),
		adoptions:   counter("adoptions_total", "Files whose rest was found under another name, or in a copy."),
		longs:       counter("truncated_lines_total", "Lines longer than MAX_LINE, sent without their end."),
		partials:    counter("partial_lines_total", "Last lines of finished files, sent though they had no line end."),
		nuls:        counter("nul_bytes_total", "NUL bytes left out at the start of lines: holes of files that were truncated under their writer."),
		errors:      counter("read_errors_total", "Errors when files were opened or read."),
		saves:       counter("checkpoints_total", "Checkpoints written."),
		saveErrors:  counter("checkpoint_errors_total", "Checkpoints that could not be written."),
		up:          gauge("store_up", "1 if the store took the last batch."),
		files:       gauge("open_files", "Files open."),
		buffered:    gauge("buffered_bytes", "Memory of lines that were read and are not acknowledged."),
		unread:      gauge("unread_bytes", "Bytes in the files that were not read."),
		waiting:     gauge("waiting_bytes", "Space on the disk that waits for the shipper: what is not acknowledged, and deleted files."),
		held:        gauge("held_bytes", "Space of files that were deleted and are not read yet."),
		age:         gauge("oldest_batch_seconds", "Age of the oldest line that was read and is not acknowledged."),
		at:          gauge("last_scan_timestamp_seconds", "When the names were looked at last, in Unix time."),
		sendSeconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "log_shipper_send_seconds", Help: "Time from a batch's departure to its acknowledgement.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 14),
		}),
	}
	reg.MustRegister(m.sendSeconds)
	return m
}

func (m *metrics) dropped(reason string, lines, bytes int64) {
	m.droppedLines.WithLabelValues(reason).Add(float64(lines))
	m.droppedBytes.WithLabelValues(reason).Add(float64(bytes))
}

// counters are what the follower is told to tell.
func (m *metrics) counters() follow.Counters {
	return follow.Counters{
		Rotated:     m.rotations.Inc,
		Truncated:   m.truncations.Inc,
		Adopted:     m.adoptions.Inc,
		Dropped:     func(lines, bytes int64) { m.dropped("limit", lines, bytes) },
		Lost:        func(reason string, bytes int64) { m.lostBytes.WithLabelValues(reason).Add(float64(bytes)) },
		LongLine:    m.longs.Inc,
		PartialLine: m.partials.Inc,
		Error:       m.errors.Inc,
		Nuls:        func(bytes int64) { m.nuls.Add(float64(bytes)) },
	}
}
