// Search-leaf answers for its shards of a collection of documents: an inverted index each, BM25, and the best k. What
// it scores by are the statistics of the whole collection, which who asks brings along.
package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"time"

	"golang.org/x/net/netutil"

	"distlab/containers/internal/daemon"
	"distlab/containers/internal/env"
)

type config struct {
	ListenAddr  env.Addr      `env:"LISTEN_ADDR" default:":8080" help:"address to serve HTTP on"`
	Documents   []string      `env:"DOCUMENTS" default:"/documents/*.tsv,/documents/*.tsv.gz" help:"files of documents, a line each: ID, tab, text; SIGHUP reads them again"`
	Shards      []int         `env:"SHARDS" default:"0" help:"the shards that it has, of 0 to SHARD_COUNT-1"`
	ShardCount  int           `env:"SHARD_COUNT" default:"1" min:"1" max:"1024" help:"shards of the whole collection; a document's ID decides whose it is"`
	MaxDocs     int           `env:"MAX_DOCUMENTS" default:"1000000" min:"1" help:"documents in all files"`
	MaxBytes    env.Bytes     `env:"MAX_BYTES" default:"256MiB" min:"1KiB" help:"size of all files, unpacked"`
	MaxInFlight int           `env:"MAX_IN_FLIGHT" default:"32" min:"1" help:"searches at a time; one more is refused with 503"`
	Workers     int           `env:"WORKERS" default:"2" min:"1" help:"searches that score at a time; the others of MAX_IN_FLIGHT wait"`
	MaxTime     time.Duration `env:"MAX_TIME" default:"30s" min:"1ms" help:"longest that a search may take, whoever asks"`
	SlowShare   float64       `env:"SLOW_SHARE" default:"0" min:"0" max:"1" help:"for experiments: chance with which a search waits for SLOW_TIME first"`
	SlowTime    time.Duration `env:"SLOW_TIME" default:"0s" min:"0s" max:"1m" help:"for experiments: how long such a one waits"`
	Experiments bool          `env:"EXPERIMENTS" default:"false" help:"for experiments: a search may ask to be made costly"`
	daemon.Config
}

// Check holds what settings must fit each other.
func (c config) Check() error {
	if len(c.Shards) == 0 {
		return errors.New("SHARDS is empty: a leaf without a shard answers nothing")
	}
	for i, s := range c.Shards {
		if s < 0 || s >= c.ShardCount {
			return fmt.Errorf("SHARDS has %d: with SHARD_COUNT=%d they are 0 to %d", s, c.ShardCount, c.ShardCount-1)
		}
		if slices.Contains(c.Shards[:i], s) {
			return fmt.Errorf("SHARDS has %d twice", s)
		}
	}
	return nil
}

func run(ctx context.Context, cfg config, p *daemon.Process) error {
	metrics := newMetrics(p.Metrics)
	leaf := &Leaf{
		Source: Source{
			Patterns: cfg.Documents, Shards: cfg.Shards, Count: cfg.ShardCount,
			MaxDocs: cfg.MaxDocs, MaxBytes: int64(cfg.MaxBytes),
		},
		MaxInFlight: cfg.MaxInFlight, Workers: cfg.Workers, MaxTime: cfg.MaxTime,
		SlowShare: cfg.SlowShare, SlowTime: cfg.SlowTime, Experiments: cfg.Experiments,
		Log: p.Log, Metrics: metrics,
	}
	if err := leaf.Load(); err != nil {
		return err
	}
	ln, err := net.Listen("tcp", string(cfg.ListenAddr))
	if err != nil {
		return err
	}
	p.Status(func() any { return leaf.Status() })
	p.Log.Info("listening", "address", ln.Addr().String(), "shards", cfg.Shards)
	p.Ready(true, "")
	go func() {
		for {
			select {
			case <-p.Reload:
				if err := leaf.Load(); err != nil {
					p.Log.Error("reload refused", "error", err)
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	// Who is refused for MAX_IN_FLIGHT must be told, and so needs a connection.
	return p.Serve(ctx, netutil.LimitListener(ln, 4*cfg.MaxInFlight+64), leaf.Server())
}

func main() {
	os.Exit(daemon.Main(daemon.Program[config]{
		Name:    "search-leaf",
		Summary: "Search-leaf answers for its shards of a collection of documents: BM25, and the best k.",
		Run:     run,
	}, os.Args[1:]))
}
