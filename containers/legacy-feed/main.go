// Legacy-feed is an old system that tells its facts in a format of its time, and misbehaves when told to.
package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	neturl "net/url"
	"os"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"distlab/containers/internal/daemon"
	"distlab/containers/internal/env"
)

type config struct {
	ListenAddr env.Addr `env:"LISTEN_ADDR" default:":8080" help:"address to serve GET /feed on"`
	Format     string   `env:"FORMAT" default:"csv" oneof:"csv|xml|fixed|json|jsonl" help:"what the feed is, where a request does not say"`
	Encoding   string   `env:"ENCODING" default:"utf-8" oneof:"utf-8|utf-8-bom|utf-16le-bom|utf-16be-bom|utf-16le|iso-8859-1|windows-1252|cp037|cp1047" help:"the feed's encoding, where a request does not say"`
	Records    int      `env:"RECORDS" default:"60" min:"1" max:"1000000" help:"records of the feed; those of the same number are the same in all feeds"`
	Fault      string   `env:"FAULT" default:"none" oneof:"none|error|hang|cut|half|bad|slow|bomb|deep|line|big" help:"how it misbehaves from the start; POST /fault on the admin port, and the command fault, change it"`
	daemon.Config
}

type metrics struct {
	served *prometheus.CounterVec
	bytes  prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		served: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "legacy_feed_requests_total", Help: "Feeds asked for."}, []string{"format", "fault"}),
		bytes:  prometheus.NewCounter(prometheus.CounterOpts{Name: "legacy_feed_sent_bytes_total", Help: "Bytes sent."}),
	}
	reg.MustRegister(m.served, m.bytes)
	return m
}

func run(ctx context.Context, cfg config, p *daemon.Process) error {
	ln, err := net.Listen("tcp", string(cfg.ListenAddr))
	if err != nil {
		return err
	}
	faults := newFaults(cfg.Fault)
	feed := &Feed{Format: cfg.Format, Encoding: cfg.Encoding, Records: cfg.Records, Faults: faults, Metrics: newMetrics(p.Metrics)}
	p.Handle("/fault", faults)
	p.Status(func() any {
		mode, _ := faults.take()
		return map[string]any{"format": cfg.Format, "encoding": cfg.Encoding, "records": cfg.Records, "fault": mode}
	})
	mux := http.NewServeMux()
	mux.Handle("GET /feed", feed)
	p.Log.Info("listening", "address", ln.Addr().String())
	p.Ready(true, "")
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	srv.RegisterOnShutdown(func() { faults.Set("none") }) // what hangs is let go
	return p.Serve(ctx, ln, srv)
}

// faultCommand is `legacy-feed fault MODE`: it asks the feed that runs beside it, by its admin port.
func faultCommand(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	if len(args) > 1 {
		fmt.Fprintln(stderr, "legacy-feed: fault takes one of", strings.Join(modes, ", ")+"; without one it says which is on")
		return 2
	}
	var cfg daemon.Config
	if err := env.Load(&cfg, os.LookupEnv); err != nil {
		fmt.Fprintln(stderr, err)
		return 2
	}
	method, query := http.MethodGet, ""
	if len(args) == 1 {
		method, query = http.MethodPost, "?mode="+neturl.QueryEscape(args[0])
	}
	req, err := http.NewRequestWithContext(ctx, method, fmt.Sprintf("http://127.0.0.1:%d/fault%s", cfg.AdminAddr.Port(), query), nil)
	if err != nil {
		fmt.Fprintln(stderr, "legacy-feed: fault:", err)
		return 1
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		fmt.Fprintln(stderr, "legacy-feed: fault:", err)
		return 1
	}
	defer res.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(res.Body, 4096))
	if res.StatusCode != http.StatusOK {
		fmt.Fprintf(stderr, "legacy-feed: fault: %s", text)
		return 1
	}
	stdout.Write(text)
	return 0
}

func main() {
	os.Exit(daemon.Main(daemon.Program[config]{
		Name:    "legacy-feed",
		Summary: "Legacy-feed is an old system that tells its facts in a format of its time, and misbehaves when told to.",
		Run:     run,
		Commands: []daemon.Command{{
			Name: "fault", Summary: "make the feed in this container misbehave: " + strings.Join(modes[1:], ", ") + "; none", Run: faultCommand,
		}},
	}, os.Args[1:]))
}
