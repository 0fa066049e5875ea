package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"syscall"
	"time"

	"distlab/containers/internal/procs"
)

// State is what the restarter makes of the target.
type State string

// The states.
const (
	Absent   State = "absent"   // no such process: whoever starts it has not yet
	Starting State = "starting" // not seen alive since its start
	Alive    State = "alive"
	Failing  State = "failing" // some probes in a row have failed, or enough, and it is held or backing off
	Silent   State = "unknown" // nobody could be asked
	Ending   State = "ending"  // it was told to end
)

var states = []State{Absent, Starting, Alive, Failing, Silent, Ending}

// Target is the process to watch.
type Target interface {
	Find() (procs.Process, bool, error)
	Alive(procs.Process) bool
	Signal(procs.Process, syscall.Signal) error
}

// killPatience is how long a process may take to vanish after SIGKILL. One that takes longer is stuck in the kernel, or
// frozen with its container where cgroups are of version 1.
const killPatience = 10 * time.Second

// Restarter probes a target and ends it when it is not alive. It starts nothing: that is the restart policy's. The rules
// are those of the kubelet's livenessProbe, startupProbe and CrashLoopBackOff. It differs where the kubelet asks the target
// itself: here somebody else tells of it, so that no answer is no evidence and ends a row of failures.
// Source: https://kubernetes.io/docs/concepts/configuration/liveness-readiness-startup-probes/
type Restarter struct {
	Probe  func(context.Context) (Outcome, string)
	Target Target

	InitialDelay, Period               time.Duration
	FailureThreshold, StartupThreshold int
	StopSignal                         syscall.Signal
	Grace                              time.Duration
	Backoff, BackoffMax, BackoffReset  time.Duration

	Log     *slog.Logger
	Ready   func(ok bool, reason string)
	Metrics *metrics

	mu sync.Mutex // guards what follows: Run writes it, Status and the metrics read it
	s  Status
	// Of the process that is watched now.
	started    bool      // it was alive once
	aliveSince time.Time // zero: the last probe was no success
	outage     time.Time // when the first of the failures in a row began; it outlives a restart
	reported   string    // the last trouble that was logged, so that it is logged once
}

// Status is what /status shows.
type Status struct {
	State       State          `json:"state"`
	Target      *procs.Process `json:"target,omitempty"`
	Since       time.Time      `json:"target_seen"`
	Failures    int            `json:"failures"`
	Reason      string         `json:"reason,omitempty"` // of the last probe that did not succeed
	Probes      int            `json:"probes"`
	Restarts    int            `json:"restarts"`
	LastRestart *time.Time     `json:"last_restart,omitempty"`
	NotBefore   *time.Time     `json:"no_restart_before,omitempty"` // the back-off
	HeldUntil   *time.Time     `json:"held_until,omitempty"`
	Outage      float64        `json:"last_outage_seconds"`
	InARow      int            `json:"restarts_in_a_row"`
}

// Status is the present one.
func (r *Restarter) Status() Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.s
	if s.State == "" {
		s.State = Absent
	}
	if s.HeldUntil != nil && time.Now().After(*s.HeldUntil) {
		s.HeldUntil = nil
	}
	return s
}

// Hold keeps it from ending anything for a time; zero lets it go on. It is a lease, so that nobody can forget it.
func (r *Restarter) Hold(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.s.HeldUntil = nil
	if d > 0 {
		until := time.Now().Add(d)
		r.s.HeldUntil = &until
	}
	r.reported = ""
	r.Log.Info("hold switched", "on", d > 0, "seconds", d.Seconds())
}

// Run watches until ctx is done.
func (r *Restarter) Run(ctx context.Context) {
	tick := time.NewTicker(r.Period)
	defer tick.Stop()
	for {
		r.look(ctx)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// look makes one round: find the target, probe, and end it if it is time.
func (r *Restarter) look(ctx context.Context) {
	proc, ok := r.find()
	if !ok || time.Since(r.Status().Since) < r.InitialDelay {
		return
	}
	begun := time.Now()
	outcome, reason := r.Probe(ctx)
	if ctx.Err() != nil {
		return
	}
	r.Metrics.probed(outcome, time.Since(begun))
	if r.note(outcome, reason, begun) && r.mayEnd() {
		r.end(ctx, proc, reason)
	}
}

// find is the target. A new one begins with a clean sheet.
func (r *Restarter) find() (procs.Process, bool) {
	proc, ok, err := r.Target.Find()
	if err == nil && ok {
		if err = r.Target.Signal(proc, 0); errors.Is(err, procs.ErrGone) {
			ok, err = false, nil
		}
	}
	if err != nil {
		r.Ready(false, err.Error())
		r.report("cannot restart the target", "error", err)
		return procs.Process{}, false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !ok {
		if r.s.Target != nil {
			r.Log.Warn("target absent", "pid", r.s.Target.PID)
		} else if r.s.State == "" {
			r.Ready(false, "the target is not there: is the PID namespace shared with it?")
		}
		r.s.State, r.s.Target, r.s.Failures, r.aliveSince = Absent, nil, 0, time.Time{}
		return procs.Process{}, false
	}
	if r.s.Target == nil || !r.s.Target.Same(proc) {
		r.s.State, r.s.Target, r.s.Since, r.s.Failures = Starting, &proc, time.Now(), 0
		r.started, r.aliveSince, r.reported = false, time.Time{}, ""
		r.Log.Info("target found", "pid", proc.PID, "name", proc.Name)
	}
	r.Ready(true, "")
	return proc, true
}

// note takes a probe's outcome into account, and says whether the target has failed for long enough.
func (r *Restarter) note(o Outcome, reason string, begun time.Time) (enough bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.s.Probes++
	was := r.s.State
	switch o {
	case Success:
		r.well(begun)
	case Unknown:
		r.s.State, r.s.Failures, r.s.Reason, r.aliveSince = Silent, 0, reason, time.Time{}
	case Failure:
		r.s.Failures++
		r.s.Reason, r.aliveSince = reason, time.Time{}
		if r.outage.IsZero() {
			r.outage = begun
		}
		limit := r.FailureThreshold
		if r.started {
			r.s.State = Failing
		} else {
			r.s.State, limit = Starting, max(limit, r.StartupThreshold)
		}
		enough = r.s.Failures >= limit
	}
	if r.s.State != was {
		r.Log.Info("state changed", "from", string(was), "to", string(r.s.State), "reason", r.s.Reason)
	}
	return enough
}

// well is note's for a success.
func (r *Restarter) well(begun time.Time) {
	now := time.Now()
	if !r.outage.IsZero() {
		r.s.Outage = now.Sub(r.outage).Seconds()
		r.Metrics.outage.Observe(r.s.Outage)
		r.outage = time.Time{}
	}
	if r.aliveSince.IsZero() {
		r.aliveSince = begun
	}
	if r.s.InARow > 0 && now.Sub(r.aliveSince) >= r.BackoffReset {
		r.s.InARow, r.s.NotBefore = 0, nil
	}
	r.started, r.s.State, r.s.Failures, r.s.Reason, r.reported = true, Alive, 0, "", ""
}

// mayEnd says whether neither a hold nor the back-off is in the way.
func (r *Restarter) mayEnd() bool {
	s := r.Status()
	switch {
	case s.HeldUntil != nil:
		r.report("restart held", "until", *s.HeldUntil, "reason", s.Reason)
		return false
	case s.NotBefore != nil && time.Now().Before(*s.NotBefore):
		r.report("restart backs off", "until", *s.NotBefore, "reason", s.Reason)
		return false
	}
	return true
}

// report logs a trouble once, until it is over or another one comes.
func (r *Restarter) report(msg string, attrs ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.reported != msg {
		r.reported = msg
		r.Log.Warn(msg, attrs...)
	}
}

// end asks the process to end, and kills it when it does not. The back-off counts either way: what cannot be killed is
// not tried again at once.
func (r *Restarter) end(ctx context.Context, proc procs.Process, reason string) {
	begun := time.Now()
	r.mu.Lock()
	r.s.State = Ending
	wait := r.backoff(r.s.InARow)
	until := begun.Add(wait)
	r.s.InARow, r.s.NotBefore = r.s.InARow+1, &until
	r.mu.Unlock()
	r.Log.Warn("restarting target", "pid", proc.PID, "reason", reason, "grace_seconds", r.Grace.Seconds())
	signal, err := r.kill(ctx, proc)
	switch {
	case ctx.Err() != nil:
		return
	case err != nil:
		r.Metrics.failed.Inc()
		r.Log.Error("restart failed", "pid", proc.PID, "error", err, "again_in_seconds", wait.Seconds())
		return
	}
	r.mu.Lock()
	r.s.Restarts++
	r.s.LastRestart = &begun
	r.mu.Unlock()
	r.Metrics.ended(signal)
	r.Log.Warn("target ended", "pid", proc.PID, "signal", signal, "seconds", time.Since(begun).Seconds(), "no_restart_for_seconds", wait.Seconds())
}

// backoff is the least time from a restart to the next, after so many in a row.
func (r *Restarter) backoff(inARow int) time.Duration {
	d := r.Backoff
	for range inARow {
		if d *= 2; d >= r.BackoffMax {
			break
		}
	}
	return min(d, r.BackoffMax)
}

// kill is the signal that ended it.
func (r *Restarter) kill(ctx context.Context, proc procs.Process) (signal string, err error) {
	for _, step := range []struct {
		signal   syscall.Signal
		name     string
		patience time.Duration
	}{{r.StopSignal, "stop", r.Grace}, {syscall.SIGKILL, "kill", killPatience}} {
		err := r.Target.Signal(proc, step.signal)
		if errors.Is(err, procs.ErrGone) {
			return step.name, nil
		}
		if err != nil {
			return "", err
		}
		if r.gone(ctx, proc, step.patience) {
			return step.name, nil
		}
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
	}
	return "", fmt.Errorf("SIGKILL had no effect within %v: the process is stuck in the kernel, or its container is frozen", killPatience)
}

// gone waits until a process is.
func (r *Restarter) gone(ctx context.Context, proc procs.Process, patience time.Duration) bool {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for r.Target.Alive(proc) {
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
		}
	}
	return true
}
