package main

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// add keeps a fair sample of all (Vitter's algorithm R).
func (s *sample) add(took float64) {
	s.good++
	if len(s.took) < maxSample {
		s.took = append(s.took, took)
	} else if i := rand.IntN(s.good); i < maxSample {
		s.took[i] = took
	}
}

// Ramps has the ramp that runs; there is one at most. What was ramped is not
// kept over a restart: the arms are then those of the settings or the file.
type Ramps struct {
	Live *Live
	Log  *slog.Logger

	now atomic.Pointer[Ramp] // the last one, running or not
	mu  sync.Mutex           // one start or stop at a time
}

// Observe is for Splitter.
func (r *Ramps) Observe(a *Arm, o Outcome) {
	if now := r.now.Load(); now != nil {
		now.observe(a, o)
	}
}

var errRunning = errors.New("a ramp is running: stop it first")

// Start begins a ramp, which runs until it ends or ctx does.
func (r *Ramps) Start(ctx context.Context, plan RampPlan) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if old := r.now.Load(); old != nil && old.running() {
		return errRunning
	}
	ramp, err := r.prepare(plan)
	if err != nil {
		return err
	}
	ctx, ramp.cancel = context.WithCancel(ctx)
	r.Log.Info("ramp started", "arm", ramp.Plan.Arm, "control", ramp.Plan.Control, "from", plan.From, "to", plan.To,
		"looks", ramp.Plan.total(), "level", ramp.Plan.level())
	go ramp.run(ctx)
	return nil
}

// prepare is a ramp at its first share, which nobody moves on.
func (r *Ramps) prepare(plan RampPlan) (*Ramp, error) {
	s := r.Live.Splitter
	before := s.Specs()
	if err := plan.check(before); err != nil {
		return nil, err
	}
	ramp := &Ramp{Plan: plan, live: r.Live, log: r.Log, before: before, state: "running", began: time.Now()}
	for _, a := range s.Arms() {
		switch a.Name {
		case plan.Arm:
			ramp.experiment = a
		case plan.Control:
			ramp.control = a
		}
	}
	ramp.mu.Lock()
	defer ramp.mu.Unlock()
	if !ramp.use(plan.From) {
		return nil, errors.New(ramp.reason)
	}
	r.now.Store(ramp)
	return ramp, nil
}

func (r *Ramp) run(ctx context.Context) {
	defer r.cancel()
	ticker := time.NewTicker(r.Plan.interval())
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			if !r.tick() {
				return
			}
		}
	}
}

func (r *Ramp) running() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.state == "running" || r.state == "waiting"
}

// Stop ends the ramp where it is, or undoes it.
func (r *Ramps) Stop(back bool) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.now.Load()
	if now == nil || !now.running() {
		return errors.New("no ramp is running")
	}
	now.cancel()
	now.mu.Lock()
	defer now.mu.Unlock()
	switch {
	case now.state != "running" && now.state != "waiting":
	case back:
		now.back("asked to")
	default:
		now.end("stopped", "asked to")
	}
	return nil
}

// RampStatus is a ramp as /ramp and /status show it.
type RampStatus struct {
	Plan     RampPlan `json:"plan"`
	State    string   `json:"state"` // running, waiting (for requests), done, rolled_back or stopped
	Reason   string   `json:"reason,omitempty"`
	Look     int      `json:"look"`
	Looks    int      `json:"looks"`
	Share    float64  `json:"share"` // percent that the plan has for this look
	Level    float64  `json:"level"` // a p-value below it sends the experiment back
	ErrorsP  float64  `json:"errors_p"`
	LatencyP float64  `json:"latency_p"`
	Requests int      `json:"requests"` // of the experiment, up to the last look
	Bad      int      `json:"errors"`
	Control  int      `json:"control_requests"`
	Worse    int      `json:"control_errors"`
	Began    string   `json:"began"`
	Ended    string   `json:"ended,omitempty"`
}

// Status is nil if there was none.
func (r *Ramps) Status() *RampStatus {
	now := r.now.Load()
	if now == nil {
		return nil
	}
	now.mu.Lock()
	defer now.mu.Unlock()
	s := &RampStatus{
		Plan: now.Plan, State: now.state, Reason: now.reason, Look: now.look, Looks: now.Plan.total(),
		Share: now.Plan.share(now.look), Level: now.Plan.level(), ErrorsP: now.errors.P(), LatencyP: now.latency.P(),
		Requests: now.counts[0].All, Bad: now.counts[0].Bad, Control: now.counts[1].All, Worse: now.counts[1].Bad,
		Began: now.began.UTC().Format(time.RFC3339),
	}
	if !now.ended.IsZero() {
		s.Ended = now.ended.UTC().Format(time.RFC3339)
	}
	return s
}

// The admin port's part: GET shows, POST starts, DELETE stops (?back=true
// undoes).

func (a *Admin) ramp(w http.ResponseWriter, _ *http.Request) {
	status := a.Ramps.Status()
	if status == nil {
		http.Error(w, "there was no ramp", http.StatusNotFound)
		return
	}
	writeJSON(w, status)
}

func (a *Admin) startRamp(w http.ResponseWriter, r *http.Request) {
	var plan RampPlan
	if !readJSON(w, r, &plan) {
		return
	}
	err := a.Ramps.Start(a.Context, plan)
	switch {
	case errors.Is(err, errRunning):
		http.Error(w, err.Error(), http.StatusConflict)
	case err != nil:
		http.Error(w, err.Error(), http.StatusBadRequest)
	default:
		a.ramp(w, r)
	}
}

func (a *Admin) stopRamp(w http.ResponseWriter, r *http.Request) {
	if err := a.Ramps.Stop(r.URL.Query().Get("back") == "true"); err != nil {
		http.Error(w, err.Error(), http.StatusConflict)
		return
	}
	a.ramp(w, r)
}
