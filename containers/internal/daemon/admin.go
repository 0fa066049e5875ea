package daemon

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/net/netutil"
)

// adminConns bounds the admin port's connections: it shares its file
// descriptors with the work itself. Slow and idle ones are closed in seconds,
// so that they cannot keep the health check out for long.
const adminConns = 64

// serveAdmin serves the admin port until it is closed.
func (p *Process) serveAdmin(ln net.Listener) io.Closer {
	srv := &http.Server{
		Handler:           p.mux,
		ReadHeaderTimeout: 2 * time.Second,
		ReadTimeout:       5 * time.Second,
		WriteTimeout:      10 * time.Second,
		IdleTimeout:       5 * time.Second,
		MaxHeaderBytes:    8 << 10,
		ErrorLog:          slog.NewLogLogger(p.Log.Handler(), slog.LevelDebug),
	}
	go func() {
		if err := srv.Serve(netutil.LimitListener(ln, adminConns)); err != http.ErrServerClosed {
			p.Log.Error("admin stopped", "error", err)
		}
	}()
	return srv
}

func (p *Process) registerEndpoints() {
	p.mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "ok")
	})
	p.mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		ok, reason := p.readiness()
		if !ok {
			http.Error(w, reason, http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	p.mux.HandleFunc("GET /status", p.serveStatus)
	p.mux.Handle("GET /metrics", promhttp.HandlerFor(p.Metrics, promhttp.HandlerOpts{
		ErrorLog: slog.NewLogLogger(p.Log.Handler(), slog.LevelWarn),
	}))
}

func (p *Process) serveStatus(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	status := p.status
	p.mu.Unlock()
	if status == nil {
		http.NotFound(w, r)
		return
	}
	text, err := json.MarshalIndent(status(), "", "  ")
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Write(append(text, '\n'))
}

// registerMetrics adds what every program shows: Go's own, the process's, the
// build and the readiness.
func (p *Process) registerMetrics() {
	prefix := metricPrefix(p.name)
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name:        prefix + "_build_info",
		Help:        "Always 1; the labels say what was built.",
		ConstLabels: prometheus.Labels{"version": version, "go_version": runtime.Version()},
	})
	build.Set(1)
	p.Metrics.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		build,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: prefix + "_ready",
			Help: "1 if /readyz says ready.",
		}, func() float64 {
			if ok, _ := p.readiness(); ok {
				return 1
			}
			return 0
		}),
	)
}

func metricPrefix(name string) string { return strings.ReplaceAll(name, "-", "_") }
