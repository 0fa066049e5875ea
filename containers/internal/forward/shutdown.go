package forward

import (
	"context"
	"time"
)

// freshGraces is how many times DrainIdle a connection without a request gets.
const freshGraces = 4

// Shutdown stops accepting, lets what is in flight end, and returns nil, or
// ctx's error if something was still in flight then; Close cuts that.
//
// An HTTP/1 client may send its next request at the very moment in which the
// server closes the idle connection, and lose it. So idle connections are not
// closed at once: for a little while requests are still answered on them, each
// with `Connection: close`; and a client that has just connected gets somewhat
// longer to send its first. HTTP/2 has GOAWAY for that.
func (e *Engine) Shutdown(ctx context.Context) error {
	e.init()
	d := &e.Door
	d.Retire(ctx)
	grace := e.Limits.DrainIdle
	if grace == 0 {
		grace = 500 * time.Millisecond
	}
	began := time.Now()
	Await(ctx, func() bool {
		took := time.Since(began)
		return d.Open() == 0 || took > grace && d.fresh.Load() == 0 || took > freshGraces*grace
	})
	if e.fast != nil {
		e.fast.CloseIdle()
		if err := Await(ctx, func() bool { return e.fast.Clients() == 0 }); err != nil {
			return err
		}
		e.fast.Close()
	}
	if err := e.server.Shutdown(ctx); err != nil {
		return err
	}
	// The HTTP server does not wait for connections that became tunnels, nor for
	// clients that have yet to read their last answer.
	err := Await(ctx, func() bool { return e.inFlight.Load() == 0 && d.lingering.Load() == 0 })
	e.http1.Close()
	e.http2.CloseIdleConnections()
	return err
}

// Close cuts everything at once.
func (e *Engine) Close() error {
	e.init()
	e.Door.retired.Store(true)
	if e.fast != nil {
		e.fast.Close()
	}
	e.server.Close()
	e.queue.Close()
	e.Door.Close()
	e.http1.Close()
	e.http2.CloseIdleConnections()
	return nil
}
