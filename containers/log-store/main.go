// Log-store takes batches of log lines, keeps each line once, and acknowledges what is on the disk.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	neturl "net/url"
	"os"

	"golang.org/x/net/netutil"

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
	Faults     bool      `env:"FAULTS" default:"false" help:"let POST /fault on the admin port, and the command fault, make it refuse, hang, fail, be busy, or lose acknowledgements"`
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
		p.Handle("/fault", faults)
	}
	p.Log.Info("listening", "address", gate.Addr().String())
	p.Ready(true, "")
	hs := srv.HTTP()
	hs.RegisterOnShutdown(func() { faults.Set(Fault{Mode: "none"}) }) // what hangs is let go
	return p.Serve(ctx, netutil.LimitListener(gate, maxConns), hs)
}

// faultCommand is `log-store fault MODE`: it asks the store that runs beside it, by its admin port.
func faultCommand(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	if len(args) > 1 {
		fmt.Fprintln(stderr, "log-store: fault takes a mode: none, refuse, hang, error, busy or cut; without one it says which is on")
		return 2
	}
	var cfg daemon.Config
	if err := env.Load(&cfg, os.LookupEnv); err != nil {
		fmt.Fprintln(stderr, err)
		return 2
	}
	mode, err := askFault(ctx, cfg.AdminAddr.Port(), args)
	if err != nil {
		fmt.Fprintln(stderr, "log-store: fault:", err)
		return 1
	}
	fmt.Fprintln(stdout, mode)
	return 0
}

// askFault sets the fault, or with no argument asks for it, and is the one that is on.
func askFault(ctx context.Context, port int, args []string) (string, error) {
	method, query := http.MethodGet, ""
	if len(args) > 0 {
		method, query = http.MethodPost, "?mode="+neturl.QueryEscape(args[0])
	}
	req, err := http.NewRequestWithContext(ctx, method, fmt.Sprintf("http://127.0.0.1:%d/fault%s", port, query), nil)
	if err != nil {
		return "", err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, 4096))
	switch said := string(bytes.TrimSpace(text)); {
	case err != nil:
		return "", err
	case res.StatusCode == http.StatusNotFound:
		return "", errors.New("this store takes no faults: start it with FAULTS=true")
	case res.StatusCode != http.StatusOK:
		return "", fmt.Errorf("%s: %s", res.Status, said)
	default:
		return said, nil
	}
}

func main() {
	os.Exit(daemon.Main(daemon.Program[config]{
		Name:    "log-store",
		Summary: "Log-store takes batches of log lines, keeps each line once, and acknowledges what is on the disk.",
		Run:     run,
		Commands: []daemon.Command{{
			Name: "fault", Summary: "make the store in this container misbehave: none, refuse, hang, error, busy or cut", Run: faultCommand,
		}},
	}, os.Args[1:]))
}
