package main

import (
	"encoding/json"
	"net/http"
	"sync"
	"time"
)

// stream sends records as they are read: a line each, and a last one that says what came of the sources. Without that line
// it was cut.
func (a *API) stream(w http.ResponseWriter, r *http.Request, q query) {
	if q.at.Source != "" {
		a.problem(w, r, http.StatusBadRequest, "a stream has no pages", "errors", []parameterError{{"cursor", "not with ndjson"}})
		return
	}
	w.Header().Set("Vary", "Accept")
	if r.Method == http.MethodHead {
		w.Header().Set("Content-Type", "application/x-ndjson")
		return
	}
	out := &lines{w: w, rc: http.NewResponseController(w)}
	defer out.stop()
	n := 0
	var outcomes []Outcome
	for _, src := range q.sources {
		o := a.Puller.pass(r.Context(), &q.all.Schema, src, func(_ int, values []value) error {
			if !q.matches(values) {
				return nil
			}
			n++
			return out.write(func(b []byte) []byte {
				b = append(b, "{\"source\":\""+src.Name+`","record":`...)
				return append(a.append(q.all, b, values), "}\n"...)
			})
		}, none)
		outcomes = append(outcomes, o)
		if r.Context().Err() != nil || out.failed() {
			return
		}
	}
	if n == 0 && a.failed(w, r, q, n, outcomes) {
		return
	}
	if q.forbid && partial(outcomes) {
		panic(http.ErrAbortHandler) // too late for a status: the client sees it cut
	}
	end, _ := json.Marshal(map[string]any{"end": map[string]any{"partial": partial(outcomes), "records": n, "sources": outcomes}})
	out.write(func(b []byte) []byte { return append(append(b, end...), '\n') })
}

// lines is a stream that is sent when there is much of it, or when it has waited for a moment.
type lines struct {
	w  http.ResponseWriter
	rc *http.ResponseController

	mu    sync.Mutex
	begun bool
	done  bool
	buf   []byte
	err   error
	timer *time.Timer
}

const (
	flushAfter = 20 * time.Millisecond
	flushAt    = 32 << 10
	sendMax    = 30 * time.Second // for who does not read
)

func (l *lines) write(add func([]byte) []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.buf = add(l.buf)
	switch {
	case len(l.buf) >= flushAt:
		l.flush()
	case l.timer == nil:
		l.timer = time.AfterFunc(flushAfter, func() {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.timer = nil
			l.flush()
		})
	}
	return l.err
}

// flush sends what waits. mu is held.
func (l *lines) flush() {
	if l.done || l.err != nil || len(l.buf) == 0 {
		return
	}
	if !l.begun {
		l.w.Header().Set("Content-Type", "application/x-ndjson")
		l.w.Header().Set("X-Content-Type-Options", "nosniff")
		l.begun = true
	}
	l.rc.SetWriteDeadline(time.Now().Add(sendMax))
	if _, l.err = l.w.Write(l.buf); l.err == nil {
		l.err = l.rc.Flush()
	}
	l.buf = l.buf[:0]
}

func (l *lines) failed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err != nil
}

// stop sends the rest; nothing is written after it, also not by a timer.
func (l *lines) stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.timer != nil {
		l.timer.Stop()
	}
	if v := recover(); v != nil {
		l.done = true
		panic(v)
	}
	l.flush()
	l.done = true
}
