// Log-writer is an app that writes a log file: numbered lines, and the two ways in which log files are rotated.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"distlab/containers/internal/daemon"
	"distlab/containers/internal/env"
)

type config struct {
	ListenAddr env.Addr  `env:"LISTEN_ADDR" default:"127.0.0.1:8080" help:"address that takes orders, GET / and POST /lines, /text, /control, /rate, /begin, /end, /rotate"`
	Path       string    `env:"LOG_PATH" help:"the log file; rotated ones have .1, .2 and so on"`
	Format     string    `env:"FORMAT" default:"numbered" oneof:"numbered|java|access|logfmt" help:"what its lines look like; each has its number, and every fifth of java a trace"`
	Rate       int       `env:"RATE" default:"10" min:"0" max:"100000" help:"lines a second that it writes by itself"`
	LineSize   env.Bytes `env:"LINE_SIZE" default:"120B" min:"80B" max:"1MiB" help:"size of a line"`
	Rotate     string    `env:"ROTATE" default:"rename" oneof:"rename|copytruncate|none" help:"what is done with a file that has become large"`
	RotateAt   env.Bytes `env:"ROTATE_AT" default:"1MiB" help:"size at which a file is large; 0B: never"`
	Keep       int       `env:"KEEP" default:"3" min:"1" max:"100" help:"rotated files that are kept"`
	daemon.Config
}

type metrics struct {
	bytes, failed, rotations prometheus.Counter
	seconds                  prometheus.Histogram
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		bytes:     prometheus.NewCounter(prometheus.CounterOpts{Name: "log_writer_bytes_total", Help: "Bytes written."}),
		failed:    prometheus.NewCounter(prometheus.CounterOpts{Name: "log_writer_failed_writes_total", Help: "Lines that could not be written."}),
		rotations: prometheus.NewCounter(prometheus.CounterOpts{Name: "log_writer_rotations_total", Help: "Rotations."}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "log_writer_write_seconds", Help: "Time that a write took.", Buckets: prometheus.ExponentialBuckets(1e-6, 4, 12),
		}),
	}
	reg.MustRegister(m.bytes, m.failed, m.rotations, m.seconds)
	return m
}

func run(ctx context.Context, cfg config, p *daemon.Process) error {
	w := &Writer{
		Path: cfg.Path, Format: cfg.Format, Size: int(cfg.LineSize), Rotate: cfg.Rotate, RotateAt: int64(cfg.RotateAt), Keep: cfg.Keep,
		Metrics: newMetrics(p.Metrics),
	}
	if err := w.Open(); err != nil {
		return err
	}
	ln, err := net.Listen("tcp", string(cfg.ListenAddr))
	if err != nil {
		return errors.Join(err, w.Close())
	}
	p.Status(func() any { return w.Status() })
	p.Log.Info("listening", "address", ln.Addr().String())
	p.Ready(true, "")
	done := make(chan struct{})
	var rate atomic.Int64
	rate.Store(int64(cfg.Rate))
	go func() { defer close(done); pace(ctx, w, &rate) }()
	err = p.Serve(ctx, ln, &http.Server{Handler: orders(w, &rate), ReadHeaderTimeout: 5 * time.Second})
	<-done
	return errors.Join(err, w.Close())
}

// pace writes rate lines a second. What a busy machine has made late is made up for.
func pace(ctx context.Context, w *Writer, rate *atomic.Int64) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	last, owed := time.Now(), 0.0
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			owed += now.Sub(last).Seconds() * float64(rate.Load())
			last = now
			if n := int(owed); n > 0 {
				w.Write(n, 0) // a failure is counted
				owed -= float64(n)
			}
		}
	}
}

// Bounds of one order.
const (
	maxLines = 1_000_000
	maxText  = 32 << 20
)

func orders(w *Writer, rate *atomic.Int64) http.Handler {
	mux := http.NewServeMux()
	number := func(rw http.ResponseWriter, r *http.Request, name string) (int, bool) {
		text := r.FormValue(name)
		if text == "" {
			return 0, true
		}
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 || n > maxLines {
			http.Error(rw, fmt.Sprintf("%s: not a number up to %d", name, maxLines), http.StatusBadRequest)
			return 0, false
		}
		return n, true
	}
	answer := func(rw http.ResponseWriter, err error, v any) {
		if err != nil {
			http.Error(rw, err.Error(), http.StatusInsufficientStorage)
			return
		}
		rw.Header().Set("Content-Type", "application/json")
		json.NewEncoder(rw).Encode(v)
	}
	lines := func(do func(n, size int) (any, error)) http.HandlerFunc {
		return func(rw http.ResponseWriter, r *http.Request) {
			n, ok := number(rw, r, "n")
			if !ok {
				return
			}
			if size, ok := number(rw, r, "size"); ok {
				v, err := do(n, size)
				answer(rw, err, v)
			}
		}
	}
	mux.HandleFunc("POST /lines", lines(func(n, size int) (any, error) {
		begun := time.Now()
		first, last, err := w.Write(n, size)
		return map[string]any{"first": first, "last": last, "seconds": time.Since(begun).Seconds()}, err
	}))
	mux.HandleFunc("POST /text", func(rw http.ResponseWriter, r *http.Request) {
		text, err := io.ReadAll(http.MaxBytesReader(rw, r.Body, maxText))
		if err != nil {
			http.Error(rw, err.Error(), http.StatusRequestEntityTooLarge)
			return
		}
		answer(rw, w.Text(string(text)), map[string]int{"bytes": len(text)})
	})
	mux.HandleFunc("POST /control", lines(func(n, size int) (any, error) {
		took, err := w.Control(n, size)
		return map[string]any{"seconds": took.Seconds()}, err
	}))
	mux.HandleFunc("GET /{$}", func(rw http.ResponseWriter, _ *http.Request) { answer(rw, nil, w.Status()) })
	mux.HandleFunc("POST /rate", func(rw http.ResponseWriter, r *http.Request) {
		if n, ok := number(rw, r, "n"); ok {
			answer(rw, nil, map[string]int64{"was": rate.Swap(int64(n))})
		}
	})
	mux.HandleFunc("POST /begin", func(rw http.ResponseWriter, _ *http.Request) {
		n, err := w.Begin()
		answer(rw, err, map[string]int64{"number": n})
	})
	mux.HandleFunc("POST /end", func(rw http.ResponseWriter, _ *http.Request) {
		n, err := w.End()
		answer(rw, err, map[string]int64{"number": n})
	})
	mux.HandleFunc("POST /rotate", func(rw http.ResponseWriter, r *http.Request) {
		how := r.FormValue("by")
		if how != "rename" && how != "copytruncate" {
			http.Error(rw, "by: rename or copytruncate", http.StatusBadRequest)
			return
		}
		if late, ok := number(rw, r, "late"); ok {
			answer(rw, w.RotateNow(how, late), w.Status())
		}
	})
	return mux
}

func main() {
	os.Exit(daemon.Main(daemon.Program[config]{
		Name:    "log-writer",
		Summary: "Log-writer is an app that writes a log file: numbered lines, and the two ways in which log files are rotated.",
		Run:     run,
	}, os.Args[1:]))
}
