package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Process is the running program, as its Run sees it. All methods may be
// called at any time and from any goroutine.
type Process struct {
	Log     *slog.Logger
	Metrics *prometheus.Registry // shown on /metrics; names start with the program's, in underscores

	// Reload gets a value at SIGHUP. Signals that come while one is waiting
	// are one; during the drain there are none. Who has nothing to reload
	// leaves it alone.
	Reload <-chan struct{}

	name         string
	drainTimeout time.Duration
	drainCtx     context.Context // done when DRAIN_TIMEOUT is over
	endDrain     context.CancelFunc
	reloads      chan struct{}
	mux          *http.ServeMux

	mu         sync.Mutex // guards the following
	ready      bool
	everReady  bool
	reason     string // why not ready
	changed    time.Time
	drainStart time.Time // zero: not draining
	status     func() any
}

func newProcess(name string, log *slog.Logger, drainTimeout time.Duration) *Process {
	reloads := make(chan struct{}, 1)
	p := &Process{
		Log:          log,
		Metrics:      prometheus.NewRegistry(),
		Reload:       reloads,
		name:         name,
		drainTimeout: drainTimeout,
		reloads:      reloads,
		mux:          http.NewServeMux(),
		reason:       "starting",
		changed:      started,
	}
	p.drainCtx, p.endDrain = context.WithCancel(context.Background())
	p.registerMetrics()
	p.registerEndpoints()
	return p
}

// Ready says whether the program can do its work now; until the first call it
// cannot ("starting"). The reason is for people, on /readyz and in the log,
// and is ignored when ok. A draining program is unready whatever it says.
func (p *Process) Ready(ok bool, reason string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	was := p.ready
	p.ready, p.reason = ok, reason
	if was == ok || !p.drainStart.IsZero() {
		return
	}
	now := time.Now()
	took := now.Sub(p.changed).Seconds()
	p.changed = now
	// Logged under the lock, so that the lines are in the order of the changes.
	switch {
	case !ok:
		p.Log.Warn("unready", "reason", reason, "ready_seconds", took)
	case !p.everReady:
		p.everReady = true
		p.Log.Info("ready", "startup_seconds", took)
	default:
		p.Log.Info("ready", "unready_seconds", took)
	}
}

// readiness is what /readyz says: the reason is empty when ready.
func (p *Process) readiness() (ok bool, reason string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case !p.drainStart.IsZero():
		return false, "draining"
	case !p.ready:
		return false, p.reason
	}
	return true, ""
}

// Status sets what /status shows: f is called for every request, from any
// goroutine, and its value is encoded as JSON. Without one /status is a 404.
func (p *Process) Status(f func() any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.status = f
}

// Handle adds an endpoint to the admin port. pattern is that of
// [http.ServeMux], such as "POST /rotate".
func (p *Process) Handle(pattern string, h http.Handler) { p.mux.Handle(pattern, h) }

// DrainContext is done when DRAIN_TIMEOUT is over. Its clock starts at
// SIGTERM or at the first call, whichever is first, and the process is unready
// from then on for good: call it only to stop.
func (p *Process) DrainContext() context.Context {
	p.startDrain()
	return p.drainCtx
}

// startDrain is false when the drain had been started before.
func (p *Process) startDrain() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.drainStart.IsZero() {
		return false
	}
	p.drainStart = time.Now()
	time.AfterFunc(p.drainTimeout, p.endDrain)
	return true
}

func (p *Process) reload() {
	p.mu.Lock()
	draining := !p.drainStart.IsZero()
	p.mu.Unlock()
	if draining {
		p.Log.Info("reload ignored", "reason", "draining")
		return
	}
	select {
	case p.reloads <- struct{}{}:
	default: // one is waiting already, and will see what changed since
	}
}

// Server is what Serve stops in order: *http.Server is one. Shutdown stops
// accepting and returns nil once nothing is in flight, or ctx's error; Serve
// then returns too, with an error that does not count. Close cuts what is left.
type Server interface {
	Serve(net.Listener) error
	Shutdown(context.Context) error
	Close() error
}

// Serve serves ln with srv until ctx is done, and then does the shutdown: stop
// accepting, drain until DRAIN_TIMEOUT, close. It returns nil if everything in
// flight ended, an error that wraps ErrDrainCut if something was cut, and the
// server's own error if it stopped by itself. It owns ln.
//
// A program with several listeners calls it once for each, in parallel: they
// share one DRAIN_TIMEOUT.
func (p *Process) Serve(ctx context.Context, ln net.Listener, srv Server) error {
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ln) }()
	select {
	case err := <-served:
		srv.Close()
		if err == nil {
			err = errors.New("stopped by itself")
		}
		return fmt.Errorf("serve %s: %w", ln.Addr(), err)
	case <-ctx.Done():
	}
	drain := p.DrainContext()
	// A Serve that was not yet accepting when Shutdown came would return at
	// once and leave the listener to Shutdown's caller.
	defer ln.Close()
	err := srv.Shutdown(drain)
	switch {
	case err == nil:
		<-served
		return nil
	case drain.Err() == nil:
		// Not the clock: the server could not stop in order.
		srv.Close()
		return fmt.Errorf("shut down %s: %w", ln.Addr(), err)
	}
	srv.Close()
	return fmt.Errorf("serve %s: %w after %s", ln.Addr(), ErrDrainCut, p.drainTimeout)
}
