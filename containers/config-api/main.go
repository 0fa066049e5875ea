// Config-api keeps configurations of several files each, in versions: who reads may wait for the next one, who writes
// may say which version the change was made to, and every version that is kept can be had back.
package main

import (
	"context"
	"net"
	"os"
	"time"

	"distlab/containers/internal/daemon"
	"distlab/containers/internal/env"

	"golang.org/x/net/netutil"
)

type config struct {
	ListenAddr env.Addr      `env:"LISTEN_ADDR" default:":8080" help:"address to serve HTTP on"`
	DataPath   string        `env:"DATA_PATH" default:"" help:"file that everything is kept in, in a folder that it may write to; in memory without it"`
	SeedDir    string        `env:"SEED_DIR" default:"" help:"folder with a folder of files for each configuration that is made at the start, if it never was"`
	WriteToken string        `env:"WRITE_TOKEN" secret:"true" help:"bearer token that a change needs"`
	ReadToken  string        `env:"READ_TOKEN" default:"" secret:"true" help:"bearer token that reading needs; the write token will do too; without it anybody may read"`
	MaxSize    env.Bytes     `env:"MAX_SIZE" default:"1MiB" min:"1KiB" max:"64MiB" help:"size of a configuration, all of its files"`
	MaxFiles   int           `env:"MAX_FILES" default:"100" min:"1" help:"files of a configuration"`
	MaxConfigs int           `env:"MAX_CONFIGS" default:"100" min:"1" help:"configurations"`
	History    int           `env:"HISTORY" default:"50" min:"1" help:"versions that are kept of a configuration"`
	StoreSize  env.Bytes     `env:"STORE_SIZE" default:"32MiB" min:"4KiB" help:"size of all versions of all configurations; the oldest versions make room"`
	MaxWait    time.Duration `env:"MAX_WAIT" default:"1m" min:"0s" help:"longest that a reader may wait for the next version"`
	MaxWaiting int           `env:"MAX_WAITING" default:"1000" min:"1" help:"readers that wait at a time"`
	daemon.Config
}

func run(ctx context.Context, cfg config, p *daemon.Process) error {
	store := &Store{
		Path: cfg.DataPath, MaxSize: int(cfg.MaxSize), MaxFiles: cfg.MaxFiles, MaxConfigs: cfg.MaxConfigs,
		History: cfg.History, Size: int(cfg.StoreSize),
	}
	if err := store.Open(); err != nil {
		return err
	}
	if err := store.Seed(cfg.SeedDir); err != nil {
		return err
	}
	ln, err := net.Listen("tcp", string(cfg.ListenAddr))
	if err != nil {
		return err
	}
	api := &API{
		Store: store, WriteToken: cfg.WriteToken, ReadToken: cfg.ReadToken, MaxWait: cfg.MaxWait, MaxWaiting: cfg.MaxWaiting,
		Log: p.Log, Metrics: newMetrics(p.Metrics, store),
	}
	p.Status(func() any { return store.List() })
	p.Log.Info("listening", "address", ln.Addr().String(), "configs", len(store.List()), "path", cfg.DataPath)
	p.Ready(true, "")
	// Those who wait hold a connection each; there must be some left for those who do not.
	return p.Serve(ctx, netutil.LimitListener(ln, cfg.MaxWaiting+spareConns), api.Server())
}

// spareConns is how many connections may do something else than wait.
const spareConns = 200

func main() {
	os.Exit(daemon.Main(daemon.Program[config]{
		Name:    "config-api",
		Summary: "Config-api keeps configurations in versions, and tells who waits of the next one.",
		Run:     run,
	}, os.Args[1:]))
}
