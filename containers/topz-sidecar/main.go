// Topz-sidecar shows what the processes of a pod use, over HTTP, by looking at the /proc of a PID namespace that it
// shares with them.
//
// Source: the sidecar topz of Burns, Designing Distributed Systems, chapter 2; its code is brendandburns/topz.
package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"golang.org/x/net/netutil"

	"distlab/containers/internal/daemon"
	"distlab/containers/internal/env"
)

type config struct {
	ListenAddr   env.Addr      `env:"LISTEN_ADDR" default:":8080" help:"address to serve /topz on; also --address and --addr on the command line"`
	Interval     time.Duration `env:"INTERVAL" default:"1s" min:"100ms" max:"1h" help:"time between two looks at the processes; each number is of the time between the last two"`
	Refresh      time.Duration `env:"REFRESH" default:"2s" min:"1s" help:"after which the HTML page loads itself again"`
	Commands     string        `env:"COMMANDS" default:"redacted" oneof:"full|redacted|name" help:"how command lines are shown; redacted hides what looks like a secret"`
	Environment  []string      `env:"ENVIRONMENT" default:"" help:"variables of the processes' environments to show; what holds a secret should not be among them"`
	GroupBy      string        `env:"GROUP_BY" default:"container" oneof:"container|name" help:"what makes a group of processes where no rule of GROUPS does"`
	Groups       []Rule        `env:"GROUPS" default:"" help:"groups by regular expressions on the command line, such as web=^nginx; the first that matches counts, for descendants too"`
	MaxGroups    int           `env:"MAX_GROUPS" default:"100" min:"1" max:"10000" help:"most groups in the metrics; processes of further ones are counted as other"`
	MaxProcesses int           `env:"MAX_PROCESSES" default:"5000" min:"1" max:"100000" help:"most processes that are looked at; how many were left out is told"`
	ProcPath     string        `env:"PROC_PATH" default:"/proc" help:"where /proc is mounted"`
	CPU          string        `env:"CPU" default:"window" oneof:"window|live|lifetime" help:"what cpu_percent is of; live imitates monitors that lose the time of ended children, lifetime is an average since the start, as ps has it: do not use either"`
	daemon.Config
}

// maxConns bounds the connections: each may hold a rendered table.
const maxConns = 64

func run(ctx context.Context, cfg config, p *daemon.Process) error {
	daemon.CollectWithin(daemon.Available().Memory)
	scanner := &Scanner{Proc: cfg.ProcPath, Environment: cfg.Environment, Most: cfg.MaxProcesses}
	if err := scanner.Open(); err != nil {
		return fmt.Errorf("PROC_PATH: %w", err)
	}
	sampler := &Sampler{
		Scanner: scanner, Meter: &Meter{Lifetime: cfg.CPU == "lifetime", LiveOnly: cfg.CPU == "live"}, Interval: cfg.Interval,
		Rules: cfg.Groups, GroupBy: cfg.GroupBy, Commands: cfg.Commands,
		Totals: &Totals{Most: cfg.MaxGroups}, Log: p.Log, Ready: p.Ready,
	}
	p.Metrics.MustRegister(collector{sampler, sampler.Totals})
	pages := &Pages{Sampler: sampler, Refresh: cfg.Refresh, Stale: 5*cfg.Interval + 5*time.Second}
	ln, err := net.Listen("tcp", string(cfg.ListenAddr))
	if err != nil {
		return err
	}
	p.Log.Info("listening", "address", ln.Addr().String())
	p.Ready(false, "no look yet")
	go sampler.Run(ctx)
	return p.Serve(ctx, netutil.LimitListener(ln, maxConns), &http.Server{
		Handler: pages.Handler(), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second,
		WriteTimeout: 30 * time.Second, IdleTimeout: 30 * time.Second, MaxHeaderBytes: 16 << 10,
	})
}

// withAddress takes the original's flags out of the arguments, --address=HOST:PORT, and /server, the name of its program:
// the command line of the book runs as it stands, but for the image's name. The address is then a setting like any other.
func withAddress(args []string, set func(name, value string) error) (rest []string, err error) {
	for i := 0; i < len(args); i++ {
		name, value, glued := strings.Cut(args[i], "=")
		name = strings.TrimPrefix(strings.TrimPrefix(name, "-"), "-")
		switch {
		case i == 0 && args[i] == "/server":
			continue
		case !strings.HasPrefix(args[i], "-") || name != "address" && name != "addr":
			return append(rest, args[i:]...), nil
		case !glued && i+1 == len(args):
			return nil, fmt.Errorf("%s needs an address, such as 0.0.0.0:8080", args[i])
		case !glued:
			i++
			value = args[i]
		}
		if value == "" {
			return nil, fmt.Errorf("--%s needs an address, such as 0.0.0.0:8080", name)
		}
		if err := set("LISTEN_ADDR", value); err != nil {
			return nil, err
		}
	}
	return rest, nil
}

func main() {
	args, err := withAddress(os.Args[1:], os.Setenv)
	if err != nil {
		fmt.Fprintln(os.Stderr, "topz-sidecar:", err)
		os.Exit(2)
	}
	os.Exit(daemon.Main(daemon.Program[config]{
		Name:    "topz-sidecar",
		Summary: "Topz-sidecar shows what the processes of a pod use, over HTTP. --address HOST:PORT sets LISTEN_ADDR.",
		Run:     run,
	}, args))
}
