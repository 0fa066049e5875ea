// Log-store takes batches of log lines, keeps each line once, and acknowledges what is on the disk.
package main

import (
	"context"
	"os"

	"distlab/containers/internal/daemon"
	"distlab/containers/internal/env"
)

type config struct {
	ListenAddr env.Addr  `env:"LISTEN_ADDR" default:":8080" help:"address to take batches and answer questions on"`
	DataDir    string    `env:"DATA_DIR" help:"folder for the records, which it has to itself"`
	Segment    env.Bytes `env:"SEGMENT" default:"16MiB" min:"4KiB" help:"size of one file of records"`
	Space      env.Bytes `env:"SPACE" default:"256MiB" min:"8KiB" help:"space for all records; the oldest file makes room"`
	MaxBatch   env.Bytes `env:"MAX_BATCH" default:"8MiB" min:"1KiB" max:"256MiB" help:"largest batch, unpacked"`
	MaxStreams int       `env:"MAX_STREAMS" default:"100000" min:"1" help:"streams whose repeats are known; the one that was silent longest is forgotten"`
	Faults     bool      `env:"FAULTS" default:"false" help:"let POST /fault on the admin port make it refuse, hang, fail, be busy, or lose acknowledgements"`
	daemon.Config
}

func run(ctx context.Context, cfg config, p *daemon.Process) error {
	daemon.CollectWithin(daemon.Available().Memory)
	m := newMetrics(p.Metrics)
	store := &Store{
		Dir: cfg.DataDir, Segment: int64(cfg.Segment), Space: max(int64(cfg.Space), 2*int64(cfg.Segment)), Streams: cfg.MaxStreams,
		Log: p.Log, Metrics: m,
	}
	if err := store.Open(); err != nil {
		return err
	}
	defer store.Close()
	gate, err := listen(string(cfg.ListenAddr))
	if err != nil {
		return err
	}
	faults := newFaults(gate)
	srv := &Server{Store: store, Faults: faults, MaxBody: int64(cfg.MaxBatch), Log: p.Log, Metrics: m}
	p.Status(func() any { return srv.counts() })
	if cfg.Faults {
		p.Handle("POST /fault", faults)
	}
	p.Log.Info("listening", "address", gate.Addr().String())
	p.Ready(true, "")
	hs := srv.HTTP()
	hs.RegisterOnShutdown(func() { faults.Set(Fault{Mode: "none"}) }) // what hangs is let go
	return p.Serve(ctx, limitListener(gate, maxConns), hs)
}

func main() {
	os.Exit(daemon.Main(daemon.Program[config]{
		Name:    "log-store",
		Summary: "Log-store takes batches of log lines, keeps each line once, and acknowledges what is on the disk.",
		Run:     run,
	}, os.Args[1:]))
}
