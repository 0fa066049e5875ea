package main

import (
	"time"

	"distlab/containers/internal/fastpath"
	"distlab/containers/internal/forward"
	"distlab/containers/internal/http1"
)

// fast is all that handle does for a plain exchange.
type fast struct{ proxy *Proxy }

func (f *fast) Begin(*forward.Conn, *http1.Request) *forward.Backend {
	f.proxy.Metrics.began()
	return &f.proxy.backend
}

func (f *fast) Answer(dst []byte, _ *forward.Conn, _ *http1.Response, _ time.Time) (lines []byte, plain bool) {
	return dst, true
}

func (f *fast) Says(dst []byte, _ *forward.Conn) []byte { return dst }

func (f *fast) End(_ *forward.Conn, status int, how fastpath.Ending, took time.Duration) {
	if how == fastpath.Broken {
		f.proxy.Metrics.appFailed("broken")
	}
	f.proxy.Metrics.wasFast()
	f.proxy.Metrics.answered(status, took)
}

func (f *fast) Undo(*forward.Conn) { f.proxy.Metrics.undone() }
