package main

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// started is shown by /version: who asks twice can see that the process is
// the same.
var started = time.Now()

// App is the shop. Site and Files are required.
type App struct {
	Site    *Site
	Files   *Files
	Log     *slog.Logger
	Metrics *metrics

	sockets  sync.WaitGroup // WebSockets, which http.Server does not wait for
	stopping chan struct{}  // closed when the server stops accepting
}

// metrics counts what was asked of the app.
type metrics struct {
	requests *prometheus.CounterVec
	inFlight prometheus.Gauge
	reloads  *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "legacy_app_requests_total",
			Help: "Requests answered, by status code.",
		}, []string{"code"}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "legacy_app_in_flight",
			Help: "Requests being answered now, WebSockets included.",
		}),
		reloads: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "legacy_app_reloads_total",
			Help: "Reloads of the settings file, by result: loaded or refused.",
		}, []string{"result"}),
	}
	m.reloads.WithLabelValues("loaded")
	m.reloads.WithLabelValues("refused")
	reg.MustRegister(m.requests, m.inFlight, m.reloads)
	return m
}

// Server is the app as a server of its own: HTTP/1.1 and nothing else.
func (a *App) Server() *Server {
	a.stopping = make(chan struct{})
	s := &Server{app: a, Server: http.Server{
		Handler:           a.Handler(),
		Protocols:         new(http.Protocols),
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(a.Log.Handler(), slog.LevelDebug),
	}}
	s.Protocols.SetHTTP1(true)
	s.RegisterOnShutdown(sync.OnceFunc(func() { close(a.stopping) }))
	return s
}

// Server also waits for the WebSockets.
type Server struct {
	http.Server
	app *App
}

// Shutdown stops accepting, says goodbye to the WebSockets and waits until
// nothing is in flight, or until ctx is done.
func (s *Server) Shutdown(ctx context.Context) error {
	if err := s.Server.Shutdown(ctx); err != nil {
		return err
	}
	closed := make(chan struct{})
	go func() { s.app.sockets.Wait(); close(closed) }()
	select {
	case <-closed:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Handler is all of the app's pages.
func (a *App) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", a.home)
	mux.HandleFunc("GET /about", a.about)
	mux.HandleFunc("GET /old-about", a.oldAbout)
	mux.HandleFunc("GET /orders", a.orders)
	mux.HandleFunc("GET /orders/{id}", a.order)
	mux.HandleFunc("GET /style.css", a.style)
	mux.HandleFunc("GET /version", a.version)
	mux.HandleFunc("/echo", a.echo)
	mux.HandleFunc("/echo/", a.echo)
	mux.HandleFunc("GET /slow", a.slow)
	mux.HandleFunc("GET /bytes", a.bytes)
	mux.HandleFunc("GET /status/{code}", a.status)
	mux.HandleFunc("GET /upload", a.uploadForm)
	mux.HandleFunc("POST /upload", a.upload)
	mux.HandleFunc("PUT /upload", a.upload)
	mux.HandleFunc("GET /files/{name}", a.file)
	mux.HandleFunc("GET /ws", a.ws)
	return a.count(mux)
}

// count is the middleware of the metrics and of the debug log.
func (a *App) count(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		begin := time.Now()
		rec := &recorder{ResponseWriter: w}
		a.Metrics.inFlight.Inc()
		defer func() {
			a.Metrics.inFlight.Dec()
			a.Metrics.requests.WithLabelValues(strconv.Itoa(rec.status())).Inc()
			a.Log.Debug("request", "method", r.Method, "target", r.RequestURI, "remote", r.RemoteAddr,
				"code", rec.status(), "seconds", time.Since(begin).Seconds())
		}()
		next.ServeHTTP(rec, r)
	})
}

// recorder notes the status code. Flushing and hijacking go through Unwrap.
type recorder struct {
	http.ResponseWriter
	code int
}

func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

func (r *recorder) WriteHeader(code int) {
	if r.code < http.StatusOK && r.code != http.StatusSwitchingProtocols { // the last of 1xx and the first final one
		r.code = code
	}
	r.ResponseWriter.WriteHeader(code)
}

func (r *recorder) status() int {
	if r.code == 0 {
		return http.StatusOK
	}
	return r.code
}

// Version says which process this is and which settings are in force.
type Version struct {
	PID            int       `json:"pid"`
	Started        time.Time `json:"started"`
	Title          string    `json:"title"`
	Greeting       string    `json:"greeting"`
	Slow           string    `json:"slow"`
	MaxUpload      string    `json:"max_upload"`
	SettingsPath   string    `json:"settings_path"`
	SettingsSHA256 string    `json:"settings_sha256"`
	SettingsLoaded time.Time `json:"settings_loaded"`
	SettingsLoads  int       `json:"settings_loads"`
	Refused        string    `json:"refused"` // why the newest file is not in force
}

// Version is what /version and the admin port's /status show.
func (a *App) Version() Version {
	state, refused := a.Site.State()
	v := Version{
		PID:            os.Getpid(),
		Started:        started,
		Title:          state.Title,
		Greeting:       state.Greeting,
		Slow:           state.Slow.String(),
		MaxUpload:      state.MaxUpload.String(),
		SettingsPath:   a.Site.Path(),
		SettingsSHA256: state.SHA256,
		SettingsLoaded: state.Loaded,
		SettingsLoads:  state.Loads,
	}
	if refused != nil {
		v.Refused = refused.Error()
	}
	return v
}

func (a *App) version(w http.ResponseWriter, _ *http.Request) { writeJSON(w, a.Version()) }

func writeJSON(w http.ResponseWriter, v any) {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Write(append(text, '\n'))
}
