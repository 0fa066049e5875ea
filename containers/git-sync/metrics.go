package main

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics have the names that the well-known git-sync gives them, where it has them.
type metrics struct {
	registry  *prometheus.Registry
	duration  *prometheus.SummaryVec
	rounds    *prometheus.CounterVec
	fetches   prometheus.Counter
	hooks     *prometheus.CounterVec
	refused   *prometheus.CounterVec
	rollbacks prometheus.Counter
}

func newMetrics(r *prometheus.Registry) *metrics {
	m := &metrics{
		registry: r,
		duration: prometheus.NewSummaryVec(prometheus.SummaryOpts{
			Name: "git_sync_duration_seconds", Help: "Time that rounds took.",
		}, []string{"status"}),
		rounds: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "git_sync_count_total", Help: "Rounds, by outcome: success, error, noop.",
		}, []string{"status"}),
		fetches: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "git_fetch_count_total", Help: "Fetches from the remote.",
		}),
		hooks: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "git_sync_hook_run_count_total", Help: "Calls of hooks, by hook and outcome.",
		}, []string{"name", "status"}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "git_sync_refused_total", Help: "Commits found bad, by what found them: check, health.",
		}, []string{"stage"}),
		rollbacks: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "git_sync_rollbacks_total", Help: "Times that the link went back to the commit before.",
		}),
	}
	r.MustRegister(m.duration, m.rounds, m.fetches, m.hooks, m.refused, m.rollbacks)
	for _, status := range []string{"success", "error", "noop"} {
		m.rounds.WithLabelValues(status)
		m.duration.WithLabelValues(status)
	}
	for _, stage := range []string{"check", "health"} {
		m.refused.WithLabelValues(stage)
	}
	return m
}

// watch adds what is read from a syncer when it is asked for.
func (m *metrics) watch(s *Syncer) {
	m.registry.MustRegister(
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "git_sync_remote_age_seconds", Help: "Time since the remote last said what the ref is; -1 if it never did.",
		}, func() float64 {
			if r := s.Status().Remote; r != nil {
				return r.Age
			}
			return -1
		}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "git_sync_current", Help: "1 if what is live is what the remote last said the ref is.",
		}, func() float64 {
			if st := s.Status(); st.Live != nil && st.Remote != nil && st.Live.Commit == st.Remote.Commit {
				return 1
			}
			return 0
		}),
		liveInfo{s.Site},
	)
}

// liveInfo tells the commit that is live as a label. It reads the link when it is asked, and so cannot differ from
// it.
type liveInfo struct{ site *Site }

var liveDesc = prometheus.NewDesc("git_sync_live_info", "Always 1; the label is the commit that is live.", []string{"commit"}, nil)

func (liveInfo) Describe(ch chan<- *prometheus.Desc) { ch <- liveDesc }

func (l liveInfo) Collect(ch chan<- prometheus.Metric) {
	if hash := l.site.Live(); hash != "" {
		ch <- prometheus.MustNewConstMetric(liveDesc, prometheus.GaugeValue, 1, hash)
	}
}

func (m *metrics) fetched() { m.fetches.Inc() }

func (m *metrics) round(status string, took time.Duration) {
	m.rounds.WithLabelValues(status).Inc()
	m.duration.WithLabelValues(status).Observe(took.Seconds())
}

func (m *metrics) hookRan(name string, err error) {
	status := "success"
	if err != nil {
		status = "error"
	}
	m.hooks.WithLabelValues(name, status).Inc()
}
