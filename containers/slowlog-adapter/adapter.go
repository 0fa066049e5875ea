package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"sync"
	"time"
)

// Why entries were lost.
const (
	overflow = "overflow" // Redis threw them away before they were read, or someone else did with SLOWLOG RESET
	limit    = "limit"    // they lay beyond the most that one poll asks for
)

// firstCount is what a poll asks for at first: mostly little or nothing is new. The second time it is eight times as many,
// Redis's own default for the length of the log.
const firstCount = 16

// Adapter reads a Redis's slow log and writes each entry once. All fields but the marked ones are required.
type Adapter struct {
	Server      *Server
	Out         io.Writer // a write that fails ends the adapter: what cannot be written must not count as read
	Format      format
	Redact      Redact
	Interval    time.Duration // between polls
	MinInterval time.Duration // at least, when entries outrun the interval
	MaxEntries  int           // the most that one poll asks for, and so holds in memory
	SkipFirst   bool          // leave out what is there at the first poll of all
	IDOnly      bool          // a cursor without run ID, as others have: mute after a restart
	Reset       bool          // SLOWLOG RESET after reading, as others do: takes the log from everyone else
	Store       *Store        // optional: where the cursor outlives the process
	Log         *slog.Logger
	Metrics     *metrics
	Ready       func(ok bool, reason string)

	conn   *conn
	cursor Cursor
	down   bool // said that Redis is away

	mu    sync.Mutex // guards what Status shows
	state Status
}

// Status is what /status shows.
type Status struct {
	Redis       string    `json:"redis"` // its address
	Up          bool      `json:"up"`
	Error       string    `json:"error"` // why not
	RunID       string    `json:"run_id"`
	LastID      int64     `json:"last_id"` // -1: none yet
	LastPoll    time.Time `json:"last_poll"`
	LastPollAge float64   `json:"last_poll_age_seconds"` // -1: Redis never answered
	Interval    string    `json:"interval"`              // now in force
	Polls       int64     `json:"polls"`
	Failed      int64     `json:"failed_polls"`
	Written     int64     `json:"written"`
	Own         int64     `json:"own"`
	Skipped     int64     `json:"skipped"`
	Lost        int64     `json:"lost"`
	Restarts    int64     `json:"restarts"`
}

// Status may be called from any goroutine.
func (a *Adapter) Status() Status {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.state
	s.Redis = a.Server.Addr
	s.LastPollAge = -1
	if !s.LastPoll.IsZero() {
		s.LastPollAge = time.Since(s.LastPoll).Seconds()
	}
	return s
}

// Run polls until ctx is done, then once more within the context that drain gives, and returns nil. Redis being away
// is no error: it is waited for. A write that fails is.
func (a *Adapter) Run(ctx context.Context, drain func() context.Context) error {
	a.mu.Lock()
	a.state.LastID, a.cursor.Last = -1, -1
	a.mu.Unlock()
	if a.Store != nil {
		cursor, err := a.Store.load()
		if err != nil {
			return err
		}
		a.cursor = cursor
	}
	defer a.hangUp()
	wait := a.Interval
	for {
		next, err := a.step(ctx, wait)
		if err != nil {
			return err
		}
		wait = next
		select {
		case <-time.After(wait):
			continue
		case <-ctx.Done():
		}
		_, err = a.step(drain(), wait)
		return err
	}
}

// step is one poll and what follows from it: how long to wait for the next.
func (a *Adapter) step(ctx context.Context, wait time.Duration) (time.Duration, error) {
	began := time.Now()
	n, held, err := a.poll(ctx)
	switch {
	case err != nil && ctx.Err() != nil:
		a.hangUp() // a reply was cut: the connection is of no use, and Redis not to blame
		return wait, nil
	case err != nil:
		a.hangUp()
		a.failed(err)
		// Sooner than INTERVAL: its slow log will be empty when it is back, and fill up.
		return a.paced(min(a.Interval, max(a.MinInterval, time.Second))), nil
	}
	a.answered()
	if err := a.write(ctx, n); err != nil {
		return 0, err
	}
	next := a.pace(wait, n, held)
	a.Log.Debug("polled", "entries", len(n.entries), "lost", n.lost, "seconds", time.Since(began).Seconds(), "next", next.String())
	return next, nil
}

// poll reads the log back to the cursor, or as far as it goes, or as may be. held is how many entries the log gave.
func (a *Adapter) poll(ctx context.Context) (n news, held int, err error) {
	if a.conn == nil {
		if a.conn, err = a.Server.dial(ctx); err != nil {
			return n, 0, err
		}
	}
	runID := a.conn.runID
	if a.IDOnly {
		runID = anyProcess
	}
	count := min(firstCount, a.MaxEntries)
	for {
		log, err := a.conn.slowlog(ctx, count)
		if err != nil {
			return n, 0, err
		}
		if len(log) < count || count == a.MaxEntries || a.cursor.reaches(runID, log) {
			return a.cursor.advance(runID, log), len(log), nil
		}
		count = min(8*count, a.MaxEntries) // SLOWLOG GET has no offset: the newest are asked for again
	}
}

// pace is the interval from now on: half of it when the entries that came in one would fill a quarter of the log, so
// that a burst four times as fast still fits; and slowly back, when hardly any came.
func (a *Adapter) pace(wait time.Duration, n news, held int) time.Duration {
	fresh := len(n.entries)
	switch {
	case n.started || n.restarted: // what came may be old
	case n.lost > 0:
		wait = a.MinInterval
	case fresh >= firstCount && 4*fresh >= held: // so many that the log was seen farther back
		wait /= 2
	case fresh <= firstCount/3:
		wait = 3 * wait / 2
	}
	return a.paced(max(min(wait, a.Interval), min(a.MinInterval, a.Interval)))
}

func (a *Adapter) paced(wait time.Duration) time.Duration {
	a.Metrics.interval.Set(wait.Seconds())
	a.mu.Lock()
	defer a.mu.Unlock()
	a.state.Interval = wait.String()
	return wait
}

func (a *Adapter) hangUp() {
	if a.conn != nil {
		a.conn.Close()
		a.conn = nil
	}
}

// failed says once that Redis is away, and why.
func (a *Adapter) failed(err error) {
	a.Metrics.polls.WithLabelValues("failed").Inc()
	a.Metrics.up.Set(0)
	if !a.down {
		a.down = true
		a.Log.Warn("redis away", "address", a.Server.Addr, "error", err)
	}
	a.Ready(false, "redis: "+err.Error())
	a.mu.Lock()
	defer a.mu.Unlock()
	a.state.Up, a.state.Error = false, err.Error()
	a.state.Failed++
}

func (a *Adapter) answered() {
	now := time.Now()
	a.Metrics.polls.WithLabelValues("ok").Inc()
	a.Metrics.up.Set(1)
	a.Metrics.last.Set(float64(now.UnixMilli()) / 1000)
	if a.down {
		a.down = false
		a.Log.Info("redis back", "address", a.Server.Addr, "run_id", a.conn.runID)
	}
	a.Ready(true, "")
	a.mu.Lock()
	defer a.mu.Unlock()
	a.state.Up, a.state.Error, a.state.RunID, a.state.LastPoll = true, "", a.conn.runID, now
	a.state.Polls++
}

// write writes what is new and moves the cursor. Losses come first: they are older than what is left.
func (a *Adapter) write(ctx context.Context, n news) error {
	var b []byte
	var done tally
	now, runID := time.Now(), a.conn.runID
	if n.restarted {
		done.restarts++
		a.Log.Warn("redis restarted", "run_id", runID, "old_run_id", n.before.RunID, "last_id", n.before.Last)
		b = a.Format(b, restartLine(now, n.before, runID))
	}
	if n.lost > 0 {
		done.lost, done.reason = n.lost, overflow
		if len(n.entries) >= a.MaxEntries {
			done.reason = limit
		}
		a.Log.Warn("entries lost", "count", n.lost, "first_id", n.firstLost, "reason", done.reason, "run_id", runID)
		b = a.Format(b, lostLine(now, n.lost, n.firstLost, done.reason, runID))
	}
	for _, e := range n.entries {
		switch {
		case a.own(e):
			done.own++
			continue
		case n.started && a.SkipFirst:
			done.skipped++
			continue
		}
		args, hidden := a.Redact.args(e.Args)
		if hidden {
			done.redacted++
		}
		done.written++
		a.Metrics.duration.Observe(e.Duration.Seconds())
		if b = a.Format(b, slowLine(e, args, runID)); len(b) > 64<<10 {
			if _, err := a.Out.Write(b); err != nil {
				return fmt.Errorf("write entries: %w", err)
			}
			b = b[:0]
		}
	}
	if len(b) > 0 {
		if _, err := a.Out.Write(b); err != nil {
			return fmt.Errorf("write entries: %w", err)
		}
	}
	a.count(done, n.after)
	if a.Reset && len(n.entries) > 0 {
		if err := a.conn.reset(ctx); err != nil {
			a.hangUp()
			a.Log.Warn("slow log not reset", "error", err)
		}
	}
	return a.keep(n)
}

// keep moves the cursor, and stores it. One that cannot be stored only repeats entries after a restart of this program.
func (a *Adapter) keep(n news) error {
	a.cursor = n.after
	if a.Store != nil && n.after != n.before {
		if err := a.Store.save(n.after); err != nil {
			a.Log.Warn("cursor not stored", "error", err)
		}
	}
	return nil
}

// tally is what came of one poll.
type tally struct {
	written, own, skipped, redacted, restarts, lost int64

	reason string // of the loss
}

func (a *Adapter) count(t tally, c Cursor) {
	m := a.Metrics
	m.entries.Add(float64(t.written))
	m.own.Add(float64(t.own))
	m.skipped.Add(float64(t.skipped))
	m.redacted.Add(float64(t.redacted))
	m.restarts.Add(float64(t.restarts))
	if t.lost > 0 {
		m.lost.WithLabelValues(t.reason).Add(float64(t.lost))
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	s := &a.state
	s.LastID, s.Written, s.Own, s.Skipped = c.Last, s.Written+t.written, s.Own+t.own, s.Skipped+t.skipped
	s.Lost, s.Restarts = s.Lost+t.lost, s.Restarts+t.restarts
}

// own says whether an entry is of this program's own commands: by the name it gave itself, by its present address,
// or, where Redis tells nothing of clients, by the command itself.
func (a *Adapter) own(e Entry) bool {
	if e.short {
		return len(e.Args) == 3 && e.Args[0] == "SLOWLOG" && e.Args[1] == "GET" && isNumber(e.Args[2])
	}
	return e.ClientName == a.Server.Name || a.conn != nil && e.Client == a.conn.addr
}

func isNumber(s string) bool {
	_, err := strconv.Atoi(s)
	return err == nil
}
