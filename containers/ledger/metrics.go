package main

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
)

// register shows the store's counts.
func (s *Store) register(reg prometheus.Registerer) {
	reg.MustRegister(storeMetrics{s})
}

type storeMetrics struct{ s *Store }

var (
	entriesDesc = prometheus.NewDesc("ledger_entries_total", "What was asked of the store, by operation and verdict.",
		[]string{"op", "verdict"}, nil)
	tokenDesc    = prometheus.NewDesc("ledger_token", "The newest fencing token that was seen.", nil, nil)
	accountsDesc = prometheus.NewDesc("ledger_accounts", "Accounts in the store.", nil, nil)
)

func (m storeMetrics) Describe(ch chan<- *prometheus.Desc) {
	ch <- entriesDesc
	ch <- tokenDesc
	ch <- accountsDesc
}

func (m storeMetrics) Collect(ch chan<- prometheus.Metric) {
	st := m.s.Status()
	for key, n := range st.Counts {
		op, verdict, _ := strings.Cut(key, " ")
		ch <- prometheus.MustNewConstMetric(entriesDesc, prometheus.CounterValue, float64(n), op, verdict)
	}
	ch <- prometheus.MustNewConstMetric(tokenDesc, prometheus.GaugeValue, float64(st.Token))
	ch <- prometheus.MustNewConstMetric(accountsDesc, prometheus.GaugeValue, float64(st.Accounts))
}

// clerkMetrics are the clerk's.
type clerkMetrics struct {
	misdirected, fenced, sessions prometheus.Counter
	thinking                      prometheus.Gauge
}

func (c *Clerk) register(reg prometheus.Registerer) {
	c.counts = clerkMetrics{
		misdirected: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "ledger_misdirected_total", Help: "Requests to a clerk that is not the owner.",
		}),
		fenced: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "ledger_fenced_total", Help: "Answers of the store's that this clerk is not the owner any more.",
		}),
		sessions: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "ledger_sessions_total", Help: "Times that the clerk has read all accounts.",
		}),
		thinking: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "ledger_thinking", Help: "Requests that think between the clerk's last look and its write.",
		}),
	}
	reg.MustRegister(c.counts.misdirected, c.counts.fenced, c.counts.sessions, c.counts.thinking)
}

// requests counts answers.
type requests struct{ *prometheus.CounterVec }

func newRequests(reg prometheus.Registerer) requests {
	r := requests{prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "ledger_requests_total", Help: "Requests answered, by status code.",
	}, []string{"code"})}
	reg.MustRegister(r)
	return r
}

func (m requests) count(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rec := &recorder{ResponseWriter: w, code: http.StatusOK}
		next.ServeHTTP(rec, r)
		m.WithLabelValues(strconv.Itoa(rec.code)).Inc()
	})
}

type recorder struct {
	http.ResponseWriter
	code int
}

func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

func (r *recorder) WriteHeader(code int) {
	r.code = code
	r.ResponseWriter.WriteHeader(code)
}
