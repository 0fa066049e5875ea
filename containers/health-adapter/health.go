package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Finding is what a check saw besides success.
type Finding struct {
	Lag     time.Duration // behind its source; 0 where it was not asked
	Replica bool          // Lag was asked, and the server is a replica
}

// Health is what is known of one check's result. It asks when somebody wants to know and what is known is older than
// TTL, once for all who want to know at that time; and it changes its mind only after Fall failures, or Rise successes,
// in a row. The first result of all counts at once. Fields must not change after the first Get.
type Health struct {
	Name       string
	Ask        func(context.Context) (Finding, error) // one check; it ends when its context does
	Timeout    time.Duration                          // of one check; 0: none
	TTL        time.Duration                          // from the end of a check to the begin of the next
	Rise, Fall int                                    // 0 counts as 1
	Checked    func(Report, error)                    // after each check, or nil
	Changed    func(Report)                           // after each change between up and down, or nil

	mu     sync.Mutex
	last   Report
	flight *flight
	stuck  chan struct{} // closed when the Ask ends that did not heed its context
}

// flight is one check in progress and all who wait for it.
type flight struct {
	done   chan struct{}
	report Report // when done
}

// Report is the state of one check.
type Report struct {
	Up        bool
	Reason    string // why the last check failed; with Up, it failed too seldom to count
	Failures  int    // checks in a row that failed
	Successes int    // checks in a row that succeeded
	At        time.Time
	Took      time.Duration
	Since     time.Time // of Up
	Finding   Finding
	Cached    bool // no check was made for this answer
}

// known says whether there was any check yet.
func (r Report) known() bool { return !r.At.IsZero() }

func (r Report) status() string {
	switch {
	case !r.known():
		return "unknown"
	case r.Up:
		return "up"
	}
	return "down"
}

// grace is how long after its context's end an Ask may take to return before it is left behind.
const grace = 50 * time.Millisecond

// errStuck: the driver did not come back. No further check is begun until it does, so that nothing piles up.
var errStuck = errors.New("an earlier check has not ended")

// Get is the state, from a check that is at most TTL old. It returns within Timeout, and when ctx is done with what is
// known.
func (h *Health) Get(ctx context.Context) Report {
	h.mu.Lock()
	if h.last.known() && time.Since(h.last.At) < h.TTL {
		defer h.mu.Unlock()
		r := h.last
		r.Cached = true
		return r
	}
	f := h.flight
	if f == nil {
		f = &flight{done: make(chan struct{})}
		h.flight = f
		go h.fly(f)
	}
	h.mu.Unlock()
	select {
	case <-f.done:
		return f.report
	case <-ctx.Done():
		return h.Last()
	}
}

// Last is the state as it is known, without a check.
func (h *Health) Last() Report {
	h.mu.Lock()
	defer h.mu.Unlock()
	r := h.last
	r.Cached = true
	return r
}

// fly makes one check. It belongs to no request: who began it may go away while others wait.
func (h *Health) fly(f *flight) {
	begun := time.Now()
	found, err := h.ask()
	now := time.Now()
	h.mu.Lock()
	was := h.last
	r := was.next(found, err, max(h.Rise, 1), max(h.Fall, 1))
	r.At, r.Took = now, now.Sub(begun)
	changed := !was.known() || r.Up != was.Up
	if changed {
		r.Since = now
	}
	h.last, h.flight, f.report = r, nil, r
	h.mu.Unlock()
	// Before anyone is answered: who sees a change finds it in the log and in the metrics.
	if h.Checked != nil {
		h.Checked(r, err)
	}
	if changed && h.Changed != nil {
		h.Changed(r)
	}
	close(f.done)
}

// next is the state after one more check.
func (r Report) next(found Finding, err error, rise, fall int) Report {
	first := !r.known()
	if err != nil {
		r.Failures, r.Successes, r.Reason = r.Failures+1, 0, err.Error()
		if first || r.Failures >= fall {
			r.Up = false
		}
		if found.Replica || !r.Up {
			r.Finding = found // a lag that was true once is not shown of a server that is down
		}
		return r
	}
	r.Failures, r.Successes, r.Finding = 0, r.Successes+1, found
	if first || r.Successes >= rise {
		r.Up = true
	}
	if r.Up {
		r.Reason = ""
	}
	return r
}

type outcome struct {
	found Finding
	err   error
}

// ask is Ask with its time bounded, whatever Ask does.
func (h *Health) ask() (Finding, error) {
	h.mu.Lock()
	stuck := h.stuck
	h.mu.Unlock()
	if stuck != nil {
		select {
		case <-stuck:
		default:
			return Finding{}, errStuck
		}
	}
	ctx, cancel := context.Background(), context.CancelFunc(func() {})
	var late <-chan time.Time
	if h.Timeout > 0 {
		ctx, cancel = context.WithTimeout(ctx, h.Timeout)
		timer := time.NewTimer(h.Timeout + grace)
		defer timer.Stop()
		late = timer.C
	}
	result, ended := make(chan outcome, 1), make(chan struct{})
	go func() {
		defer close(ended)
		defer cancel()
		found, err := h.Ask(ctx)
		result <- outcome{found, err}
	}()
	select {
	case o := <-result:
		if o.err != nil && ctx.Err() != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return o.found, h.noAnswer()
		}
		return o.found, o.err
	case <-late:
		h.mu.Lock()
		h.stuck = ended
		h.mu.Unlock()
		return Finding{}, h.noAnswer()
	}
}

func (h *Health) noAnswer() error { return fmt.Errorf("no answer within %s", h.Timeout) }
