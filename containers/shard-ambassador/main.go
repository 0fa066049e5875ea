// Shard-ambassador is one Redis address in front of many: it reads twemproxy's pool
// files and puts every key where twemproxy does.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"distlab/containers/internal/daemon"
	"distlab/containers/internal/env"
	"distlab/containers/shard-ambassador/pool"
	"distlab/containers/shard-ambassador/proxy"
)

type config struct {
	pool.Settings
	Threads       int           `env:"THREADS" default:"1" min:"1" max:"64" help:"event loops; each has connections of its own to every server"`
	ClientBuffer  env.Bytes     `env:"CLIENT_BUFFER" default:"64MiB" min:"1MiB" help:"replies kept for clients that do not read them, in all; while more would be, servers wait for these clients"`
	ClientTimeout time.Duration `env:"CLIENT_TIMEOUT" default:"10s" min:"100ms" help:"with CLIENT_BUFFER full, who takes less than 64 KiB of its replies in this time is cut off"`
	MaxRequest    env.Bytes     `env:"MAX_REQUEST" default:"64MiB" min:"64KiB" help:"largest request that has to be kept whole: one of several keys"`
	ResolvePeriod time.Duration `env:"RESOLVE_PERIOD" default:"10s" min:"0s" help:"how long the addresses of a server's name are taken without asking again; it is also asked for when none of them answers"`
	daemon.Config
}

func run(ctx context.Context, cfg config, p *daemon.Process) error {
	pools, err := cfg.Pools()
	if err != nil {
		return err
	}
	srv := &proxy.Server{
		Log: p.Log, Threads: cfg.Threads,
		ClientBuffer: int(cfg.ClientBuffer), ClientTimeout: cfg.ClientTimeout, MaxRequest: int(cfg.MaxRequest), ResolvePeriod: cfg.ResolvePeriod,
	}
	a := &ambassador{cfg: cfg, process: p, server: srv}
	p.Metrics.MustRegister(collector{srv})
	if err := srv.Start(pools); err != nil {
		return err
	}
	a.loaded(pools)
	p.Status(a.status)
	p.Ready(true, "")
	for {
		select {
		case <-p.Reload:
			a.reload()
		case err := <-srv.Broken():
			return err
		case <-ctx.Done():
			err := srv.Shutdown(p.DrainContext())
			if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
				return fmt.Errorf("serve clients: %w", daemon.ErrDrainCut)
			}
			return err
		}
	}
}

func main() {
	os.Exit(daemon.Main(daemon.Program[config]{
		Name:     "shard-ambassador",
		Summary:  "Shard-ambassador is one Redis address in front of many. It reads twemproxy's pool files and puts every key where twemproxy does.",
		Run:      run,
		Commands: []daemon.Command{planCommand, checkCommand},
	}, os.Args[1:]))
}
