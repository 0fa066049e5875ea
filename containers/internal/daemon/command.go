package daemon

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os/signal"
	"runtime"
	"syscall"
	"text/tabwriter"

	"distlab/containers/internal/env"
)

// version may be set with -ldflags "-X distlab/containers/internal/daemon.version=v1.2.3".
var version = "dev"

// main runs the subcommand that args name; none is the daemon.
func (prog *program) main(args []string) int {
	if len(args) == 0 {
		return prog.run()
	}
	name, rest := args[0], args[1:]
	switch name {
	case "-h", "-help", "--help":
		name = "help"
	case "-v", "-version", "--version":
		name = "version"
	}
	for _, c := range prog.allCommands() {
		if c.Name != name {
			continue
		}
		ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
		defer cancel()
		return c.Run(ctx, rest, prog.stdout, prog.stderr)
	}
	return prog.usageError("unknown argument %q", name)
}

func (prog *program) usageError(format string, args ...any) int {
	fmt.Fprintf(prog.stderr, "%s: %s\n", prog.name, fmt.Sprintf(format, args...))
	fmt.Fprintf(prog.stderr, "hint: settings are environment variables, `%s -h` lists them and the commands\n", prog.name)
	return exitUsage
}

// allCommands is the program's own, and then those of every program.
func (prog *program) allCommands() []Command {
	return append(prog.commands[:len(prog.commands):len(prog.commands)],
		prog.builtin("health", "exit 0 if the program in this container is ready, 1 if not", prog.health),
		Command{"settings", "print the settings: -o text, json or markdown", prog.settings},
		prog.builtin("version", "print the version", prog.printVersion),
		prog.builtin("help", "print this", prog.help),
	)
}

// builtin is a command without arguments.
func (prog *program) builtin(name, summary string, run func() int) Command {
	return Command{name, summary, func(_ context.Context, args []string, _, _ io.Writer) int {
		if len(args) != 0 {
			return prog.usageError("%s takes no arguments, not %q", name, args[0])
		}
		return run()
	}}
}

func (prog *program) settings(_ context.Context, args []string, stdout, stderr io.Writer) int {
	format := "text"
	switch {
	case len(args) == 2 && args[0] == "-o":
		format = args[1]
	case len(args) != 0:
		return prog.usageError("settings takes -o FORMAT, not %q", args[0])
	}
	var err error
	switch format {
	case "text":
		err = env.Text(stdout, prog.config)
	case "json":
		enc := json.NewEncoder(stdout)
		enc.SetIndent("", "  ")
		err = enc.Encode(env.Settings(prog.config))
	case "markdown":
		err = env.Markdown(stdout, prog.config)
	default:
		return prog.usageError("no format %q: text, json or markdown", format)
	}
	if err != nil {
		fmt.Fprintf(stderr, "%s: print settings: %v\n", prog.name, err)
		return exitFailed
	}
	return exitOK
}

func (prog *program) printVersion() int {
	fmt.Fprintf(prog.stdout, "%s %s %s %s/%s\n", prog.name, version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return exitOK
}

func (prog *program) help() int {
	w := prog.stdout
	fmt.Fprintf(w, "%s\n\nUsage: %s [COMMAND]\n\nWithout a command it runs until SIGTERM. Commands:\n", prog.summary, prog.name)
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, c := range prog.allCommands() {
		fmt.Fprintf(tw, "  %s\t%s\n", c.Name, c.Summary)
	}
	tw.Flush()
	fmt.Fprintf(w, "\nSettings, from environment variables:\n")
	if err := env.Text(w, prog.config); err != nil {
		return exitFailed
	}
	fmt.Fprintf(w, "\nExit codes: 0 stopped as asked, 1 could not start or the drain was cut, 2 bad settings or usage.\n")
	return exitOK
}
