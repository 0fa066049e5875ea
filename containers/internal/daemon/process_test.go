package daemon

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func newTestProcess(drain time.Duration) (*Process, *bytes.Buffer) {
	var log bytes.Buffer
	return newProcess("cat-herder", slog.New(slog.NewTextHandler(&log, nil)), drain), &log
}

func TestReadiness(t *testing.T) {
	p, log := newTestProcess(time.Hour)
	expect := func(step string, wantOK bool, wantReason string) {
		t.Helper()
		if ok, reason := p.readiness(); ok != wantOK || reason != wantReason {
			t.Errorf("%s: %t %q, want %t %q", step, ok, reason, wantOK, wantReason)
		}
	}
	expect("at first", false, "starting")
	p.Ready(false, "no cats yet")
	expect("unready", false, "no cats yet")
	p.Ready(true, "said by mistake")
	expect("ready", true, "")
	p.Ready(false, "the cats left")
	expect("unready again", false, "the cats left")
	p.Ready(false, "still no cats")
	expect("another reason", false, "still no cats")
	p.Ready(true, "")
	p.Ready(true, "")
	expect("ready again", true, "")
	p.DrainContext()
	expect("draining", false, "draining")
	p.Ready(true, "")
	expect("ready while draining", false, "draining")
	p.Ready(false, "gone")
	expect("unready while draining", false, "draining")

	// One line for each change: not for the same again, not for another
	// reason, not for what does not count any more.
	for msg, want := range map[string]int{"msg=ready startup_seconds=": 1, "msg=ready unready_seconds=": 1, "msg=unready reason=": 1} {
		if got := strings.Count(log.String(), msg); got != want {
			t.Errorf("%d lines with %q, want %d:\n%s", got, msg, want, log)
		}
	}
}

func TestReloadCoalesces(t *testing.T) {
	p, _ := newTestProcess(time.Hour)
	for range 3 {
		p.reload()
	}
	if n := len(p.Reload); n != 1 {
		t.Errorf("%d reloads waiting after 3 signals, want 1", n)
	}
	<-p.Reload
	p.reload()
	if n := len(p.Reload); n != 1 {
		t.Errorf("%d reloads waiting after another, want 1", n)
	}
	<-p.Reload
	p.DrainContext()
	p.reload()
	if n := len(p.Reload); n != 0 {
		t.Errorf("%d reloads waiting while draining, want 0", n)
	}
}

// fakeServer has work in flight for some time after it was told to stop.
type fakeServer struct {
	inFlight    time.Duration
	shutdownErr error
	serveErr    error // at once, if there is one

	stopped     chan struct{}
	cut, closed bool
}

func (s *fakeServer) Serve(net.Listener) error {
	if s.serveErr != nil {
		return s.serveErr
	}
	<-s.stopped
	return errors.New("server closed")
}

func (s *fakeServer) Shutdown(ctx context.Context) error {
	close(s.stopped)
	if s.shutdownErr != nil {
		return s.shutdownErr
	}
	select {
	case <-time.After(s.inFlight):
		return nil
	case <-ctx.Done():
		s.cut = true
		return ctx.Err()
	}
}

func (s *fakeServer) Close() error { s.closed = true; return nil }

// fakeListener is an address; synctest knows no network.
type fakeListener struct{ net.Listener }

func (fakeListener) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 80} }
func (fakeListener) Close() error   { return nil }

func TestServe(t *testing.T) {
	broken := errors.New("broken")
	for _, tt := range []struct {
		name   string
		srv    fakeServer
		cancel bool
		err    string
		is     error
		after  time.Duration // when Serve returns
		closed bool
	}{
		{name: "all ends", srv: fakeServer{inFlight: 4 * time.Second}, cancel: true, after: 4 * time.Second},
		{
			name: "cut", srv: fakeServer{inFlight: time.Minute}, cancel: true,
			err: "serve 127.0.0.1:80: drain cut after 10s", is: ErrDrainCut, after: 10 * time.Second, closed: true,
		},
		{
			name: "shutdown breaks", srv: fakeServer{shutdownErr: broken}, cancel: true,
			err: "shut down 127.0.0.1:80: broken", is: broken, closed: true,
		},
		{name: "stops by itself", srv: fakeServer{serveErr: broken}, err: "serve 127.0.0.1:80: broken", is: broken, closed: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, _ := newTestProcess(10 * time.Second)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				if tt.cancel {
					cancel()
				}
				srv := tt.srv
				srv.stopped = make(chan struct{})
				begin := time.Now()
				err := p.Serve(ctx, fakeListener{}, &srv)
				if tt.err == "" && err != nil || tt.err != "" && (err == nil || err.Error() != tt.err || !errors.Is(err, tt.is)) {
					t.Errorf("error %v, want %q", err, tt.err)
				}
				if took := time.Since(begin); took != tt.after {
					t.Errorf("returned after %s, want %s", took, tt.after)
				}
				if srv.closed != tt.closed {
					t.Errorf("closed: %t, want %t", srv.closed, tt.closed)
				}
			})
		})
	}
}

// Two servers, stopped one after the other, share one DRAIN_TIMEOUT: it counts
// from the signal.
func TestOneDrainTimeoutForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _ := newTestProcess(10 * time.Second)
		ctx, cancel := context.WithCancel(t.Context())
		p.startDrain() // as at SIGTERM
		cancel()
		begin := time.Now()
		if err := p.Serve(ctx, fakeListener{}, &fakeServer{inFlight: 7 * time.Second, stopped: make(chan struct{})}); err != nil {
			t.Error(err)
		}
		err := p.Serve(ctx, fakeListener{}, &fakeServer{inFlight: 7 * time.Second, stopped: make(chan struct{})})
		if !errors.Is(err, ErrDrainCut) {
			t.Errorf("the second: %v, want %v", err, ErrDrainCut)
		}
		if took := time.Since(begin); took != 10*time.Second {
			t.Errorf("both took %s, want 10s", took)
		}
	})
}

// await gives up on a Run that overruns the drain, and not before.
func TestAwait(t *testing.T) {
	for _, tt := range []struct {
		run   time.Duration // from SIGTERM to Run's return
		cut   bool
		after time.Duration
	}{
		{run: 3 * time.Second, after: 3 * time.Second},
		{run: 10*time.Second + overrun/2, after: 10*time.Second + overrun/2},
		{run: time.Minute, cut: true, after: 10*time.Second + overrun},
	} {
		t.Run(tt.run.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, _ := newTestProcess(10 * time.Second)
				begin := time.Now()
				p.startDrain()
				err := p.await(t.Context(), func(context.Context, *Process) error {
					<-time.After(tt.run)
					return nil
				})
				if errors.Is(err, ErrDrainCut) != tt.cut {
					t.Errorf("error %v, want a cut drain: %t", err, tt.cut)
				}
				if took := time.Since(begin); took != tt.after {
					t.Errorf("returned after %s, want %s", took, tt.after)
				}
				<-time.After(tt.run) // the bubble ends when Run has
			})
		})
	}
}
