package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// overrun is how long after DRAIN_TIMEOUT Run may still take to return. A Run
// that does not is left behind: the engine's SIGKILL would say less.
const overrun = time.Second

// run is the daemon itself: from the settings to the exit code.
func (prog *program) run() int {
	// First of all, so that no signal finds its default action, death. Each in
	// a channel of its own: a burst of SIGHUP must not push out a SIGTERM.
	stop, hup := make(chan os.Signal, 1), make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	signal.Notify(hup, syscall.SIGHUP)
	// Go dies of SIGPIPE on stderr: losing the reader of the logs is no reason.
	signal.Ignore(syscall.SIGPIPE)

	cfg, run, err := prog.load(prog.lookup)
	if err != nil {
		fmt.Fprintln(prog.stderr, err)
		return exitUsage
	}
	log := slog.New(slog.NewJSONHandler(prog.stderr, &slog.HandlerOptions{Level: cfg.LogLevel}))
	p := newProcess(prog.name, log, cfg.DrainTimeout)

	ln, err := net.Listen("tcp", string(cfg.AdminAddr))
	if err != nil {
		log.Error("start failed", "error", err)
		return exitFailed
	}
	log.Info("admin listening", "address", ln.Addr().String())
	admin := p.serveAdmin(ln)
	// Last of all: the drain can be watched to its end.
	defer admin.Close()

	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go p.watch(stop, hup, cancel)
	go newTrimmer().run(ctx)
	return p.exit(p.await(ctx, run))
}

// watch turns signals into the process's state. It ends with the process.
func (p *Process) watch(stop, hup <-chan os.Signal, cancel context.CancelFunc) {
	for {
		select {
		case sig := <-stop:
			if p.startDrain() {
				p.Log.Info("draining", "signal", sig.String(), "timeout_seconds", p.drainTimeout.Seconds())
			} else {
				p.Log.Info("already draining", "signal", sig.String())
			}
			cancel()
		case <-hup:
			p.reload()
		}
	}
}

// await runs the program's Run, and stops waiting for it when it overruns the
// drain.
func (p *Process) await(ctx context.Context, run runFunc) error {
	done := make(chan error, 1)
	go func() { done <- run(ctx, p) }()
	select {
	case err := <-done:
		return err
	case <-p.drainCtx.Done():
	}
	select {
	case err := <-done:
		return err
	case <-time.After(overrun):
		return fmt.Errorf("%w: still running %s after DRAIN_TIMEOUT", ErrDrainCut, overrun)
	}
}

// exit logs how the program ended, and is its exit code.
func (p *Process) exit(err error) int {
	p.mu.Lock()
	ever, since := p.everReady, p.drainStart
	p.mu.Unlock()
	var attrs []any
	if !since.IsZero() {
		attrs = append(attrs, "drain_seconds", time.Since(since).Seconds())
	}
	switch {
	case err == nil:
		p.Log.Info("stopped", attrs...)
		return exitOK
	case errors.Is(err, ErrDrainCut):
		p.Log.Error("drain cut", append(attrs, "error", err)...)
	case !ever && since.IsZero():
		p.Log.Error("start failed", append(attrs, "error", err)...)
	default:
		p.Log.Error("stopped by an error", append(attrs, "error", err)...)
	}
	return exitFailed
}
