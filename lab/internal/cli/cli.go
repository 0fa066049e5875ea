// Package cli is the `lab` command: one file per verb, each thin over the packages that do the work.
//
// Standard output carries data only; progress and hints go to standard error. The exit code tells the truth: 0 all as
// asked, 1 a claim failed, 2 inconclusive, 3 could not run, 64 wrong usage, 130 interrupted.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"distlab/lab/check"
	"distlab/lab/internal/hint"
	"distlab/lab/internal/images"
	"distlab/lab/internal/runner"
	"distlab/lab/internal/stack"
)

// Exit codes.
const (
	exitOK           = 0
	exitFail         = 1
	exitInconclusive = 2
	exitCannotRun    = 3
	exitUsage        = 64
	exitInterrupted  = 130
)

var errInterrupted = errors.New("interrupted")

// quietExit is an exit code for which everything has been said already.
type quietExit int

func (q quietExit) Error() string { return fmt.Sprintf("exit code %d", int(q)) }

// usageError is a wrong command line.
type usageError struct{ error }

func (u usageError) Unwrap() error { return u.error }

func usagef(h, format string, args ...any) error {
	err := fmt.Errorf(format, args...)
	if h != "" {
		err = hint.Wrap(err, "%s", h)
	}
	return usageError{err}
}

// app is one run of the command.
type app struct {
	labs   []check.Lab
	root   string // the clone
	stdout io.Writer
	stderr io.Writer
	live   bool // standard error is a terminal that can redraw
	color  bool // standard output may be coloured
	width  int  // of the terminal that standard output is; 0 where it is none
	engine *stack.Engine
}

// Main runs the command for a catalog of labs and gives the exit code.
func Main(labs []check.Lab, args []string) int {
	ctx, stop := interruptible()
	defer stop()
	a := &app{labs: labs, stdout: os.Stdout, stderr: os.Stderr}
	a.live = term.IsTerminal(int(os.Stderr.Fd())) && os.Getenv("TERM") != "dumb"
	a.color = os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" && term.IsTerminal(int(os.Stdout.Fd()))
	if width, _, err := term.GetSize(int(os.Stdout.Fd())); err == nil {
		a.width = width
	}
	return a.run(ctx, args)
}

func (a *app) run(ctx context.Context, args []string) int {
	root := a.command()
	root.SetArgs(args)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	// cobra shows the root's help for an unknown verb with --help, and calls that a success.
	for _, arg := range args {
		if strings.HasPrefix(arg, "-") {
			continue
		}
		if !slices.Contains(verbs, arg) && !strings.HasPrefix(arg, cobra.ShellCompRequestCmd) {
			return a.report(ctx, unknownVerb(arg))
		}
		break
	}
	return a.report(ctx, root.ExecuteContext(ctx))
}

// report says an error once, with its remedy, and gives its exit code.
func (a *app) report(ctx context.Context, err error) int {
	if err == nil {
		return exitOK
	}
	if q, ok := errors.AsType[quietExit](err); ok {
		return int(q)
	}
	if errors.Is(context.Cause(ctx), errInterrupted) {
		// What was in hand was taken away again; only a failure of that is worth a word.
		fmt.Fprintln(a.stderr, "lab: interrupted")
		return exitInterrupted
	}
	fmt.Fprintf(a.stderr, "lab: %v\n", err)
	if h := hint.Of(err); h != "" {
		fmt.Fprintf(a.stderr, "hint: %s\n", strings.ReplaceAll(typed(h), "\n", "\nhint: "))
	}
	if _, ok := errors.AsType[usageError](err); ok {
		return exitUsage
	}
	return exitCannotRun
}

// interruptible is a context that ends at the first SIGINT, SIGTERM or SIGHUP; a second one ends the process, for a
// person who does not want to wait for the cleaning up.
func interruptible() (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	go func() {
		<-signals
		cancel(errInterrupted)
		<-signals
		os.Exit(exitInterrupted)
	}()
	return ctx, func() { signal.Stop(signals) }
}

func (a *app) command() *cobra.Command {
	root := &cobra.Command{
		Use:   "lab",
		Short: "Run, prove and break the patterns of distributed systems",
		Long: `Each lab is one pattern as a running system, with claims that are measured on it.

  lab up sidecar/tls       start a lab, and see what to try
  lab verify sidecar/tls   measure what it claims
  lab down sidecar/tls     leave nothing behind

A lab is named in full (sidecar/tls) or by its last part (tls), where that is unique.
Exit codes: 0 all as asked, 1 a claim failed, 2 inconclusive, 3 could not run, 64 wrong usage, 130 interrupted.`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return unknownVerb(args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetFlagErrorFunc(wrongFlag)
	root.CompletionOptions.HiddenDefaultCmd = false
	root.AddCommand(a.list(), a.explain(), a.up(), a.verify(), a.test(), a.bench(), a.down(), a.status(), a.logs(),
		a.build(), a.images(), a.doctor(), a.gc(), a.version())
	root.SetHelpCommand(help(root))
	completion(root)
	for _, cmd := range root.Commands() {
		a.completeFlags(cmd)
	}
	return root
}

// wrongFlag says what a flag takes, where the library says which function of it could not read the value.
func wrongFlag(cmd *cobra.Command, err error) error {
	see := "see: " + cmd.CommandPath() + " --help"
	invalid, ok := errors.AsType[*pflag.InvalidValueError](err)
	if !ok {
		return usagef(see, "%v", err)
	}
	takes := map[string]string{"uint64": "a whole number, 0 or more", "int": "a whole number"}[invalid.GetFlag().Value.Type()]
	if takes == "" {
		takes = "another value"
	}
	return usagef(see, "--%s %q: it takes %s", invalid.GetFlag().Name, invalid.GetValue(), takes)
}

var verbs = []string{
	"list", "explain", "up", "verify", "test", "bench", "down", "status", "logs", "build", "images",
	"doctor", "gc", "completion", "version", "help",
}

var invocation = regexp.MustCompile(`\blab (` + strings.Join(verbs, "|") + `)\b`)

// typed turns "lab VERB" in a text into what this person types: scripts/lab says in DISTLAB_COMMAND how it was called.
func typed(text string) string {
	text = hint.Here(text)
	command := os.Getenv("DISTLAB_COMMAND")
	if command == "" {
		return text
	}
	return invocation.ReplaceAllString(text, strings.ReplaceAll(command, "$", "$$")+" $1")
}

func unknownVerb(word string) error {
	return usagef(didYouMean(word, verbs, "see: lab --help"), "unknown verb %q", word)
}

// findRoot is the clone that the command works on: DISTLAB_ROOT, or the nearest folder upwards with labs and
// containers in it.
func (a *app) findRoot() (string, error) {
	if a.root != "" {
		return a.root, nil
	}
	dir := os.Getenv("DISTLAB_ROOT")
	if dir == "" {
		wd, err := os.Getwd()
		if err != nil {
			return "", err
		}
		dir = wd
		for !isClone(dir) {
			parent := filepath.Dir(dir)
			if parent == dir {
				return "", hint.Wrap(fmt.Errorf("no clone of distlab at %s or above it", wd),
					"cd into one, or set DISTLAB_ROOT to its folder")
			}
			dir = parent
		}
	}
	if !isClone(dir) {
		return "", hint.Wrap(fmt.Errorf("DISTLAB_ROOT=%q is not a clone of distlab", dir), "it is the folder with go.mod, labs and containers in it")
	}
	a.root = dir
	return dir, nil
}

// fromHere is a file's path as a person in the present folder would type it.
func (a *app) fromHere(file string) string {
	wd, err := os.Getwd()
	if err != nil {
		return file
	}
	if rel, err := filepath.Rel(wd, file); err == nil && !strings.HasPrefix(rel, "..") {
		return rel
	}
	return file
}

func isClone(dir string) bool {
	for _, name := range []string{"go.mod", "labs", "containers"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			return false
		}
	}
	return true
}

// connect finds the engine, and puts right what ended commands left: faults first, then stacks that nobody owns.
func (a *app) connect(ctx context.Context) (*stack.Engine, error) {
	if a.engine != nil {
		return a.engine, nil
	}
	e, err := stack.Connect(ctx)
	if err != nil {
		return nil, err
	}
	a.engine = e
	done, err := e.Tidy(ctx)
	for _, line := range done {
		fmt.Fprintln(a.stderr, line)
	}
	if err != nil && ctx.Err() == nil {
		fmt.Fprintf(a.stderr, "warning: what an ended command left could not be put right: %v\n", err)
	}
	return e, nil
}

// runner is a stack of a lab, with a display for what happens to it.
func (a *app) runner(ctx context.Context, lab check.Lab, instance string, d *display) (*runner.Runner, error) {
	root, err := a.findRoot()
	if err != nil {
		return nil, err
	}
	e, err := a.connect(ctx)
	if err != nil {
		return nil, err
	}
	return &runner.Runner{
		Engine: e, Root: root, Lab: lab, Instance: instance,
		Images:   &images.Images{Root: root, Docker: e.Docker, Report: d.image},
		Progress: d.service(lab.Name),
	}, nil
}

func verdictExit(v check.Verdict) error {
	switch v {
	case check.Pass:
		return nil
	case check.Fail:
		return quietExit(exitFail)
	}
	return quietExit(exitInconclusive)
}
