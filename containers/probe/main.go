// Probe asks one question from inside a lab's network and prints the answer as JSON.
//
// Whether a port is really closed to its neighbours, who a proxy says its client is, or whether a certificate's
// rotation loses a request can only be seen from where the traffic comes from. So the probe is a container of its
// own that is started beside the others, asks, prints, and ends:
//
//	probe http -ca "$(cat ca.pem)" https://tls-sidecar:8443/pages/1
//	probe tcp legacy-app:8080
//	probe tls -min 1.0 -max 1.1 -insecure tls-sidecar:8443
//	probe load -rate 200 -duration 10s -insecure https://tls-sidecar:8443/
//	probe flight -n 20 -insecure https://tls-sidecar:8443/slow
//
// A request that fails is an answer, with its error and the kind of it, and the exit code is 0. The exit code is 2
// for a wrong command line, and 1 if the probe itself could not do its work.
//
// It is a one-shot: it serves nothing, so it has no admin port, no health check and no settings in the environment.
//
// The load generator is vegeta's library (https://github.com/tsenart/vegeta), paced as an open model: see
// Schroeder, Wierman and Harchol-Balter, "Open Versus Closed: A Cautionary Tale", NSDI 2006, and Gil Tene on
// coordinated omission (https://github.com/giltene/wrk2#readme).
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
)

// verbs are the subcommands. Each reads its arguments and prints lines of JSON; ctx ends at the first SIGTERM.
var verbs = []struct {
	name string
	help string
	run  func(ctx context.Context, args []string, out *printer) error
}{
	{"http", "[flags] URL...: one request each, an answer a line", runHTTP},
	{"tcp", "[flags] HOST:PORT: one connection", runTCP},
	{"tls", "[flags] HOST:PORT: one handshake", runTLS},
	{"sockets", ": the TCP sockets that listen in this network namespace", runSockets},
	{"load", "-rate N -duration D [flags] URL...: requests at a fixed rate", runLoad},
	{"flight", "-n N [flags] URL: requests in flight at once", runFlight},
	{"handshakes", "-connections N -duration D [flags] HOST:PORT: as many full handshakes as the peer can make", runHandshakes},
	{"transfer", "-connections N -duration D -down BYTES [flags] URL: large bodies, as fast as they go", runTransfer},
	{"idle", "-n N [flags] HOST:PORT: connections that are used once and kept open", runIdle},
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	context.AfterFunc(ctx, stop) // a second signal ends the probe at once
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run is the program: it returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	if len(args) == 0 {
		fmt.Fprintf(stderr, "probe: which probe? one of %s\n", names())
		return 2
	}
	if args[0] == "-h" || args[0] == "-help" || args[0] == "--help" || args[0] == "help" {
		usage(stdout)
		return 0
	}
	for _, v := range verbs {
		if v.name != args[0] {
			continue
		}
		err := v.run(ctx, args[1:], &printer{w: stdout})
		var help helpWanted
		var wrong usageError
		switch {
		case err == nil:
			return 0
		case errors.As(err, &help):
			fmt.Fprintf(stdout, "usage: probe %s %s\n%s", v.name, v.help, help)
			return 0
		case errors.As(err, &wrong):
			fmt.Fprintf(stderr, "probe %s: %s\n", v.name, oneLine(wrong))
			return 2
		default:
			fmt.Fprintf(stderr, "probe %s: %s\n", v.name, oneLine(err))
			return 1
		}
	}
	fmt.Fprintf(stderr, "probe: unknown probe %q: one of %s\n", args[0], names())
	return 2
}

func usage(w io.Writer) {
	fmt.Fprintln(w, "usage:")
	for _, v := range verbs {
		fmt.Fprintf(w, "  probe %s %s\n", v.name, v.help)
	}
	fmt.Fprintln(w, "\nprobe <name> -h lists the flags of one.")
}

func names() string {
	var all []string
	for _, v := range verbs {
		all = append(all, v.name)
	}
	return strings.Join(all, ", ")
}

func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }

// usageError is a command line that asks for nothing that can be done.
type usageError struct{ error }

// helpWanted carries the list of a subcommand's flags.
type helpWanted string

func (h helpWanted) Error() string { return string(h) }

func wrong(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// parse reads flags and returns what stands behind them.
func parse(fs *flag.FlagSet, args []string) ([]string, error) {
	fs.SetOutput(io.Discard)
	err := fs.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		var text strings.Builder
		fs.SetOutput(&text)
		fs.PrintDefaults()
		return nil, helpWanted(text.String())
	}
	if err != nil {
		return nil, usageError{err}
	}
	for _, arg := range fs.Args() {
		if strings.HasPrefix(arg, "-") {
			return nil, wrong("flag %s stands behind an address", arg)
		}
	}
	return fs.Args(), nil
}

// printer writes one JSON value a line. Its error is the probe's own: nobody would hear the answer.
type printer struct {
	mu sync.Mutex
	w  io.Writer
}

func (p *printer) print(v any) error {
	line, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode the answer: %w", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, err := p.w.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("print the answer: %w", err)
	}
	return nil
}
