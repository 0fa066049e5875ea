// Search-root answers searches over a collection that is spread over leaves: it asks one replica of each shard at a
// time, asks a second one where the first is late, and answers by its deadline with what there is, saying what is
// missing.
package main

import (
	"context"
	"errors"
	"net"
	"os"
	"time"

	"golang.org/x/net/netutil"

	"distlab/containers/internal/daemon"
	"distlab/containers/internal/env"
)

type config struct {
	ListenAddr  env.Addr      `env:"LISTEN_ADDR" default:":8080" help:"address to serve HTTP on"`
	Shards      Topology      `env:"SHARDS" help:"the leaves of each shard, from shard 0 on: replicas are parted by commas, shards by blanks"`
	Timeout     time.Duration `env:"TIMEOUT" default:"2s" min:"1ms" help:"time in which a search is answered, unless it says another"`
	MaxTimeout  time.Duration `env:"MAX_TIMEOUT" default:"30s" min:"1ms" help:"longest time that a search may say"`
	Margin      time.Duration `env:"MARGIN" default:"20ms" min:"0s" help:"what the root keeps for itself of a search's time; at most a quarter of it"`
	Propagate   bool          `env:"PROPAGATE" default:"true" help:"tell leaves how much time is left, and end their work when nobody waits for it"`
	Partial     Policy        `env:"PARTIAL" default:"answer" oneof:"answer|refuse" help:"what happens where shards are missing, unless a search says it: an answer that says so, or none"`
	Statistics  string        `env:"STATISTICS" default:"global" oneof:"global|local" help:"what leaves score by: the statistics of the whole collection, or of their shard"`
	Fresh       time.Duration `env:"STATISTICS_INTERVAL" default:"5s" min:"100ms" help:"how often leaves are asked whether their statistics have changed; a search that finds it sees to it at once"`
	Stale       string        `env:"STALE" default:"again" oneof:"again|take" help:"what happens where a leaf has other documents than its statistics are of: it is asked again by the right ones, or taken, which is wrong"`
	PerShard    string        `env:"PER_SHARD" default:"k" oneof:"k|share" help:"how many hits each shard sends: as many as are wanted, or its share of them, which is less and wrong"`
	HedgeAt     float64       `env:"HEDGE_QUANTILE" default:"0.95" min:"0.5" max:"0.999" help:"a second replica is asked when the first takes longer than this part of its answers did"`
	HedgeLeast  time.Duration `env:"HEDGE_LEAST" default:"5ms" min:"0s" help:"least time that the first replica has for itself"`
	HedgeMost   time.Duration `env:"HEDGE_MOST" default:"200ms" min:"1ms" help:"longest time that it has; also while little has been measured"`
	HedgeBudget float64       `env:"HEDGE_BUDGET" default:"0.05" min:"0" max:"1" help:"second requests for each first one, at most; 0: none; 1: always"`
	Connect     time.Duration `env:"CONNECT_TIMEOUT" default:"500ms" min:"1ms" help:"time to connect to a leaf; then the next replica is asked"`
	Avoid       time.Duration `env:"AVOID" default:"1s" min:"0s" help:"how long a replica that fails is asked last"`
	MaxInFlight int           `env:"MAX_IN_FLIGHT" default:"64" min:"1" help:"searches at a time; one more is refused with 503"`
	Experiments bool          `env:"EXPERIMENTS" default:"false" help:"for experiments: a search may ask to be made costly (drag, delay)"`
	daemon.Config
}

// Check holds what settings must fit each other.
func (c config) Check() error {
	switch {
	case c.Timeout > c.MaxTimeout:
		return errors.New("TIMEOUT is longer than MAX_TIMEOUT")
	case c.HedgeLeast > c.HedgeMost:
		return errors.New("HEDGE_LEAST is longer than HEDGE_MOST")
	}
	return nil
}

func run(ctx context.Context, cfg config, p *daemon.Process) error {
	root := &Root{
		Topology: cfg.Shards, Margin: cfg.Margin, Propagate: cfg.Propagate, MaxTimeout: cfg.MaxTimeout,
		Local: cfg.Statistics == "local", Share: cfg.PerShard == "share", TakeStale: cfg.Stale == "take",
		Hedge: Hedging{
			Quantile: cfg.HedgeAt, Least: cfg.HedgeLeast, Most: cfg.HedgeMost,
			Budget: &Budget{Ratio: cfg.HedgeBudget, Burst: burst},
		},
		Avoid: cfg.Avoid, Connect: cfg.Connect, Log: p.Log, Metrics: newMetrics(p.Metrics),
	}
	root.Open()
	ln, err := net.Listen("tcp", string(cfg.ListenAddr))
	if err != nil {
		return err
	}
	api := &API{
		Root: root, Timeout: cfg.Timeout, Partial: cfg.Partial, MaxInFlight: cfg.MaxInFlight, Experiments: cfg.Experiments,
		Log: p.Log, Metrics: root.Metrics,
	}
	p.Status(func() any { return root.Status() })
	p.Log.Info("listening", "address", ln.Addr().String(), "shards", len(cfg.Shards))
	p.Ready(false, "no shard's statistics are known yet")
	go root.Refresh(ctx, cfg.Fresh, func(known int) { p.Ready(known > 0, "no shard's statistics are known") })
	return p.Serve(ctx, netutil.LimitListener(ln, 4*cfg.MaxInFlight+64), api.Server())
}

func main() {
	os.Exit(daemon.Main(daemon.Program[config]{
		Name:    "search-root",
		Summary: "Search-root asks one leaf of each shard, hedges, and answers by its deadline with what there is.",
		Run:     run,
	}, os.Args[1:]))
}
