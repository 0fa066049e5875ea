// Format-adapter reads services that speak CSV, XML, fixed-width records or JSON, and answers as one JSON API.
package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"time"

	"golang.org/x/net/netutil"

	"distlab/containers/internal/daemon"
	"distlab/containers/internal/env"
)

type config struct {
	ListenAddr  env.Addr      `env:"LISTEN_ADDR" default:":8080" help:"address to serve the API on"`
	SourcesPath []string      `env:"SOURCES_PATH" help:"files with the schema and the sources, YAML; patterns may be among them; read anew at SIGHUP"`
	Partial     string        `env:"PARTIAL" default:"allow" oneof:"allow|forbid" help:"whether an answer without one of its sources is one, where the request does not say"`
	BadRecords  string        `env:"BAD_RECORDS" default:"report" oneof:"report|skip" help:"whether records that cannot be read are counted and told"`
	Decimals    string        `env:"DECIMALS" default:"exact" oneof:"exact|float" help:"decimals are text with all their places, or numbers of floating point"`
	Read        string        `env:"READ" default:"stream" oneof:"stream|whole" help:"whether a source is read as it comes, or once all of it is in memory"`
	MaxRecord   env.Bytes     `env:"MAX_RECORD" default:"64KiB" min:"1KiB" max:"1MiB" help:"largest record; a longer one is bad"`
	MaxSource   env.Bytes     `env:"MAX_SOURCE" default:"4GiB" min:"1KiB" help:"largest source; what is longer is refused there"`
	MaxRejected int           `env:"MAX_REJECTED" default:"10000" min:"0" help:"bad records of a source, after which it is not read on"`
	MaxRequests int           `env:"MAX_REQUESTS" default:"16" min:"1" max:"1024" help:"requests that read sources at a time; another is told to come again"`
	IdleTimeout time.Duration `env:"IDLE_TIMEOUT" default:"2s" min:"10ms" help:"time without a byte after which a source is given up"`
	PageTimeout time.Duration `env:"PAGE_TIMEOUT" default:"30s" min:"100ms" help:"time for an answer that is not a stream"`
	daemon.Config
}

// clients bounds the connections.
const clients = 256

func run(ctx context.Context, cfg config, p *daemon.Process) error {
	daemon.CollectWithin(daemon.Available().Memory)
	all, err := load(cfg.SourcesPath)
	if err != nil {
		return err
	}
	m := newMetrics(p.Metrics)
	api := &API{
		Puller: &Puller{
			Client: &http.Client{
				Transport: &http.Transport{
					DialContext:            (&net.Dialer{Timeout: cfg.IdleTimeout}).DialContext,
					DisableCompression:     true, // what is packed has no length yet
					DisableKeepAlives:      true,
					ResponseHeaderTimeout:  cfg.IdleTimeout,
					TLSHandshakeTimeout:    cfg.IdleTimeout,
					MaxResponseHeaderBytes: 64 << 10,
				},
				CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
			},
			Limits: Limits{Record: int(cfg.MaxRecord), Source: int64(cfg.MaxSource), Rejected: cfg.MaxRejected, Idle: cfg.IdleTimeout},
			Whole:  cfg.Read == "whole", Skip: cfg.BadRecords == "skip", m: m,
		},
		Forbid: cfg.Partial == "forbid", Float: cfg.Decimals == "float",
		Passes: make(chan struct{}, cfg.MaxRequests), Whole: cfg.PageTimeout, m: m,
	}
	api.Sources.Store(all)
	m.keep(all)
	ln, err := net.Listen("tcp", string(cfg.ListenAddr))
	if err != nil {
		return err
	}
	p.Status(m.status)
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-p.Reload:
				next, err := load(cfg.SourcesPath)
				m.loaded(err)
				if err != nil {
					p.Log.Error("reload refused, the sources stay", "error", err)
					continue
				}
				api.Sources.Store(next)
				m.keep(next)
				p.Log.Info("sources loaded", "sources", len(next.Sources))
			}
		}
	}()
	p.Log.Info("listening", "address", ln.Addr().String(), "sources", len(all.Sources))
	p.Ready(true, "")
	return p.Serve(ctx, netutil.LimitListener(ln, clients), &http.Server{
		Handler: api.Handler(), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second,
		IdleTimeout: time.Minute, MaxHeaderBytes: 32 << 10,
	})
}

// Check is asked by the daemon before anything starts: sources that are wrong are bad settings.
func (c config) Check() error {
	if _, err := load(c.SourcesPath); err != nil {
		return errors.New("SOURCES_PATH: " + err.Error())
	}
	return nil
}

func main() {
	os.Exit(daemon.Main(daemon.Program[config]{
		Name:    "format-adapter",
		Summary: "Format-adapter reads services that speak CSV, XML, fixed-width records or JSON, and answers as one JSON API.",
		Run:     run,
	}, os.Args[1:]))
}
