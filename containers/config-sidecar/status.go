package main

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Status is what /status shows.
type Status struct {
	Source  SourceStatus `json:"source"`
	Served  *Served      `json:"served,omitempty"`  // the newest version that the source gave
	Applied *Applied     `json:"applied,omitempty"` // the one that is on the disk
	InSync  bool         `json:"in_sync"`           // they are one, and the app was told
	Reason  string       `json:"reason,omitempty"`  // why not
	Age     float64      `json:"age_seconds"`       // for how long not
	Before  []string     `json:"before,omitempty"`  // versions that can be gone back to, the newest first
	Held    string       `json:"held,omitempty"`    // why the version that was rolled back is not applied again

	differs time.Time // since when not in sync
}

// SourceStatus is how the source does.
type SourceStatus struct {
	URL      string     `json:"url"`
	Up       bool       `json:"up"` // it answered when it was asked last
	Contact  *time.Time `json:"last_contact,omitempty"`
	Error    string     `json:"error,omitempty"`
	Failures int        `json:"failures"` // in a row
}

// Served is a version as the source gave it.
type Served struct {
	Version string    `json:"version"`
	Seen    time.Time `json:"seen"`
	digest  string
}

// Applied is a version in place.
type Applied struct {
	Version string    `json:"version"`
	Digest  string    `json:"digest"`
	At      time.Time `json:"at"`
	Told    bool      `json:"told"`
	Refused string    `json:"refused,omitempty"` // why the app did not take it
}

// Status is the present one.
func (s *Sidecar) Status() Status {
	now := s.status()
	if !now.InSync && !now.differs.IsZero() {
		now.Age = time.Since(now.differs).Seconds()
	}
	return now
}

func (s *Sidecar) status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.s
}

// Source names the source, without what is secret in it.
func (s *Sidecar) Source(url string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.s.Source.URL = url
}

// Contact notes whether the source has answered.
func (s *Sidecar) Contact(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	src := &s.s.Source
	if err == nil {
		now := time.Now().UTC()
		if src.Failures > 0 {
			s.Log.Info("source back", "failures", src.Failures)
		}
		src.Up, src.Contact, src.Error, src.Failures = true, &now, "", 0
		s.Metrics.up.Set(1)
		s.Metrics.events.Inc()
		return
	}
	s.Metrics.up.Set(0)
	s.Metrics.errors.Inc()
	src.Up, src.Failures = false, src.Failures+1
	if text := line(err.Error(), 1000); text != src.Error {
		src.Error = text
		s.Log.Warn("source failed", "error", err)
	}
	if s.s.Applied == nil {
		s.Ready(false, "no configuration yet: "+src.Error)
	}
}

// served notes what the source gave.
func (s *Sidecar) served(set Set) {
	digest := set.Digest()
	s.mu.Lock()
	defer s.mu.Unlock()
	if was := s.s.Served; was != nil && was.digest == digest && was.Version == set.Version {
		return
	}
	s.s.Served = &Served{set.Version, time.Now().UTC(), digest}
	s.settle("not looked at yet")
}

// publish shows what is applied, and why it is not what it should be.
func (s *Sidecar) publish(reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.s.Applied, s.s.Before, s.s.Held = nil, nil, ""
	if s.rec.Held != "" {
		s.s.Held = s.rec.Why
	}
	if e := s.rec.Applied; e != nil {
		s.s.Applied = &Applied{e.Version, e.Digest, e.At, e.Told, e.Refused}
		s.Ready(true, "")
	} else if reason != "" {
		s.Ready(false, "no configuration yet: "+reason)
	}
	for _, e := range s.rec.Before {
		s.s.Before = append(s.s.Before, e.Version)
	}
	s.settle(reason)
}

// settle decides whether all is as it should be. s.mu is held.
func (s *Sidecar) settle(reason string) {
	a, d := s.s.Applied, s.s.Served
	same := a != nil && a.Told && (d == nil || d.Version == a.Version)
	if s.s.InSync = same; same {
		reason = ""
		s.s.differs = time.Time{}
	} else if s.s.differs.IsZero() {
		s.s.differs = time.Now()
	}
	s.s.Reason = reason
	s.Metrics.sync(same)
}

// metrics are the sidecar's. The names behind the container's own are those of prometheus-config-reloader.
type metrics struct {
	reloads, reloadsFailed, applies, appliesFailed, events, errors, rollbacks prometheus.Counter
	lastOK, lastTime, inSync, up                                              prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer) *metrics {
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: "config_sidecar_" + name, Help: help})
		reg.MustRegister(c)
		return c
	}
	gauge := func(name, help string) prometheus.Gauge {
		g := prometheus.NewGauge(prometheus.GaugeOpts{Name: "config_sidecar_" + name, Help: help})
		reg.MustRegister(g)
		return g
	}
	return &metrics{
		reloads:       counter("reloads_total", "Times that the app was told."),
		reloadsFailed: counter("reloads_failed_total", "Times that the app could not be told, or did not confirm."),
		applies:       counter("config_apply_operations_total", "Versions applied, or tried to."),
		appliesFailed: counter("config_apply_operations_failed_total", "Versions that were not applied: templates, check or disk."),
		events:        counter("watch_events_total", "Answers of the source."),
		errors:        counter("watch_errors_total", "Questions that the source did not answer."),
		rollbacks:     counter("rollbacks_total", "Times that it went back to a version before."),
		lastOK:        gauge("last_reload_successful", "1 if the app was told when it was tried last."),
		lastTime:      gauge("last_reload_success_timestamp_seconds", "When the app was told last."),
		inSync:        gauge("in_sync", "1 if the source's version is applied and the app was told."),
		up:            gauge("source_up", "1 if the source answered when it was asked last."),
	}
}

func (m *metrics) applied(ok bool) {
	m.applies.Inc()
	if !ok {
		m.appliesFailed.Inc()
	}
}

func (m *metrics) reloaded(ok bool) {
	if !ok {
		m.reloadsFailed.Inc()
		m.lastOK.Set(0)
		return
	}
	m.reloads.Inc()
	m.lastOK.Set(1)
	m.lastTime.SetToCurrentTime()
}

func (m *metrics) sync(ok bool) {
	if ok {
		m.inSync.Set(1)
	} else {
		m.inSync.Set(0)
	}
}
