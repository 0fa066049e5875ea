// Package daemon is what every container's program does around its real work:
// settings, signals, exit codes, logs, the admin port and the health command.
//
// The rules are the same in every container, so that a person who knows one
// knows all, and so that a lab can stop, reload and watch any of them without
// knowing which it is:
//
//   - Settings come from the environment. Bad ones are reported all at once,
//     one line each, and the program exits 2. So do settings that contradict
//     each other: the config struct's Check says so, where it has one.
//   - The admin port (ADMIN_ADDR) answers /livez, /readyz, /metrics and, where
//     there is something to say, /status.
//   - SIGTERM and SIGINT: unready, stop accepting, drain until DRAIN_TIMEOUT,
//     close, exit 0; exit 1 if the drain was cut. A second one changes nothing.
//   - SIGHUP reloads where there is something to reload; it never kills.
//   - Logs are JSON on stderr, one line per change of state.
//
// An example, the whole of a program:
//
//	type config struct {
//		Listen env.Addr `env:"LISTEN_ADDR" default:":8080" help:"address to serve on"`
//		daemon.Config
//	}
//
//	func run(ctx context.Context, cfg config, p *daemon.Process) error {
//		ln, err := net.Listen("tcp", string(cfg.Listen))
//		if err != nil {
//			return err
//		}
//		p.Ready(true, "")
//		return p.Serve(ctx, ln, &http.Server{Handler: handler})
//	}
//
//	func main() {
//		os.Exit(daemon.Main(daemon.Program[config]{
//			Name: "hello", Summary: "Hello says hello.", Run: run,
//		}, os.Args[1:]))
//	}
//
// Source: the signal and probe contract is Kubernetes' "Pod Lifecycle"
// (https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/); the
// order of a shutdown is that of http.Server.Shutdown.
package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"reflect"
	"time"

	"distlab/containers/internal/env"
)

// Exit codes. Any other number is a crash.
const (
	exitOK     = 0
	exitFailed = 1 // could not start, stopped by an error, or the drain was cut
	exitUsage  = 2 // bad settings or arguments
)

// started is as near to the start of the process as Go code gets.
var started = time.Now()

// Config is the part of a container's settings that all have in common. Embed
// it last.
type Config struct {
	AdminAddr    env.Addr      `env:"ADMIN_ADDR" default:":9090" help:"address of the admin port: /livez, /readyz, /metrics, /status"`
	LogLevel     slog.Level    `env:"LOG_LEVEL" default:"info" oneof:"debug|info|warn|error" help:"least level that is logged"`
	DrainTimeout time.Duration `env:"DRAIN_TIMEOUT" default:"10s" help:"time that work in flight gets to end after SIGTERM"`
}

func (c Config) daemonConfig() Config { return c }

// Program is a container's program. C is its config struct, which embeds
// Config.
type Program[C any] struct {
	Name    string // of the folder, the binary, the image and, with underscores, of the metrics
	Summary string // one or two sentences for -h

	// Run does the work until ctx is done, which is at SIGTERM or SIGINT. It
	// then stops accepting, lets what is in flight end until
	// [Process.DrainContext] is done, closes, and returns nil, or an error that
	// wraps ErrDrainCut if something was cut. [Process.Serve] does all of that
	// for one listener. Any other error exits 1.
	Run func(ctx context.Context, cfg C, p *Process) error

	// Commands are subcommands besides health, settings, version and help.
	Commands []Command
}

// Command is a subcommand: `NAME args…`. Run returns the exit code; its ctx is
// done at SIGINT or SIGTERM.
type Command struct {
	Name    string
	Summary string
	Run     func(ctx context.Context, args []string, stdout, stderr io.Writer) int
}

// ErrDrainCut says that DRAIN_TIMEOUT ran out while work was in flight.
var ErrDrainCut = errors.New("drain cut")

// Main runs the program, or the subcommand that args name, and returns the
// exit code. args is os.Args[1:]; os.Exit is the caller's.
func Main[C any](p Program[C], args []string) int { return newProgram(p).main(args) }

// hasConfig is what embedding Config gives to a config struct.
type hasConfig interface{ daemonConfig() Config }

// checked is a config struct that knows which of its settings go together. Check
// looks at nothing but them: a file that is not there is a failure of the start.
type checked interface{ Check() error }

func newProgram[C any](p Program[C]) *program {
	if _, ok := any(*new(C)).(hasConfig); !ok {
		panic(fmt.Sprintf("daemon: %s does not embed daemon.Config", reflect.TypeFor[C]()))
	}
	return &program{
		name:     p.Name,
		summary:  p.Summary,
		commands: p.Commands,
		config:   *new(C),
		load: func(lookup func(string) (string, bool)) (Config, runFunc, error) {
			var cfg C
			if err := env.Load(&cfg, lookup); err != nil {
				return Config{}, nil, err
			}
			if c, ok := any(cfg).(checked); ok {
				if err := c.Check(); err != nil {
					return Config{}, nil, err
				}
			}
			run := func(ctx context.Context, proc *Process) error { return p.Run(ctx, cfg, proc) }
			return any(cfg).(hasConfig).daemonConfig(), run, nil
		},
		lookup: os.LookupEnv,
		stdout: os.Stdout,
		stderr: os.Stderr,
	}
}

type runFunc func(context.Context, *Process) error

// program is a Program without its type parameter, and what it needs of the
// world.
type program struct {
	name, summary  string
	commands       []Command
	config         any // the zero config, for its documentation
	load           func(lookup func(string) (string, bool)) (Config, runFunc, error)
	lookup         func(string) (string, bool)
	stdout, stderr io.Writer
}
