package check

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Report is a run's outcome. The JSON names are stable: other programs read them.
type Report struct {
	Lab      string        `json:"lab"`
	Variant  string        `json:"variant"`
	Instance string        `json:"instance"`
	Verdict  Verdict       `json:"verdict"`
	Seed     uint64        `json:"seed"`
	Seconds  float64       `json:"seconds"`
	Engine   string        `json:"engine"`
	Claims   []ClaimReport `json:"claims"`
}

// ClaimReport is one claim's outcome. Faults are the receipts of what was done to the lab meanwhile.
type ClaimReport struct {
	ID       string    `json:"id"`
	Says     string    `json:"says"`
	Verdict  Verdict   `json:"verdict"`
	Measured string    `json:"measured"`
	Want     string    `json:"want"`
	Samples  int       `json:"samples"`
	Detail   string    `json:"detail"`
	Seconds  float64   `json:"seconds"`
	Faults   []Receipt `json:"faults,omitempty"`
}

// Options choose what a run does.
type Options struct {
	Claims  []string          // IDs; none: all
	Engine  string            // what the report says of the engine
	Started func(Claim)       // a claim begins
	Decided func(ClaimReport) // a claim is decided
}

// settleTimeout bounds the wait for a healthy lab before a claim, and the healing after it.
const settleTimeout = 30 * time.Second

// overrun is how long a claim may go on after its time is up, to return what it knows. Then it is left alone: it can do
// nothing to the lab any more, and the run goes on.
const overrun = 10 * time.Second

// Run decides a lab's claims, one after the other, on a running stack. Faults that a claim leaves are healed before
// the next; a lab that is not healthy when a claim begins makes it inconclusive.
func Run(ctx context.Context, lab Lab, s *Stack, o Options) Report {
	start := time.Now()
	r := Report{Lab: lab.Name, Variant: s.Variant, Instance: s.Instance, Seed: s.Seed, Engine: o.Engine, Claims: []ClaimReport{}}
	var verdicts []Verdict
	for _, c := range lab.Claims {
		if len(o.Claims) > 0 && !slices.Contains(o.Claims, c.ID) {
			continue
		}
		if o.Started != nil {
			o.Started(c)
		}
		cr := c.run(ctx, s.forClaim(c.ID))
		r.Claims = append(r.Claims, cr)
		verdicts = append(verdicts, cr.Verdict)
		if o.Decided != nil {
			o.Decided(cr)
		}
	}
	r.Verdict = Worst(verdicts...)
	r.Seconds = time.Since(start).Seconds()
	return r
}

func (c Claim) run(ctx context.Context, s *Stack) ClaimReport {
	start := time.Now()
	res := c.measure(ctx, s)
	if err := s.close(ctx); err != nil {
		// What was measured stands; but a lab that stays broken must be heard of.
		res = res.Because("clean up: %v", err)
		if res.Verdict == Pass {
			res.Verdict = Inconclusive
		}
	}
	return ClaimReport{
		ID: c.ID, Says: c.Says, Verdict: res.Verdict, Measured: res.Measured, Want: res.Wanted,
		Samples: res.Samples, Detail: res.Detail, Seconds: time.Since(start).Seconds(), Faults: s.receipts,
	}
}

// measure is Measure with everything that can go wrong turned into "inconclusive".
func (c Claim) measure(ctx context.Context, s *Stack) Result {
	if ctx.Err() != nil {
		return Unknown("the run ended before the claim began: %v", context.Cause(ctx))
	}
	settle, cancel := context.WithTimeout(ctx, settleTimeout)
	err := s.driver.Settled(settle)
	cancel()
	if err != nil {
		return Unknown("the lab was not healthy when the claim began: %v", err)
	}
	timeout := c.Timeout
	if timeout == 0 {
		timeout = DefaultTimeout
	}
	ctx, cancel = context.WithTimeoutCause(ctx, timeout, fmt.Errorf("the claim took longer than %v", timeout))
	defer cancel()
	res, err := c.call(ctx, s)
	switch {
	case err != nil && ctx.Err() != nil && !errors.Is(err, context.Cause(ctx)):
		return Unknown("%v: %v", context.Cause(ctx), err)
	case err != nil:
		return Unknown("%v", err)
	case ctx.Err() != nil:
		return Unknown("%v; it would have said: %s, %s", context.Cause(ctx), res.Verdict, res.Measured)
	case res.Verdict != Pass && res.Verdict != Fail && res.Verdict != Inconclusive:
		return Unknown("the measurement gave no verdict")
	case res.Verdict != Inconclusive && res.Samples < 1:
		return Unknown("the measurement rests on no sample; it would have said: %s, %s", res.Verdict, res.Measured)
	}
	if f := s.unproven(); f != "" && res.Verdict != Inconclusive {
		return Unknown("%s: %v; it would have said: %s, %s", f, ErrNoEffect, res.Verdict, res.Measured)
	}
	return res
}

// call is Measure in a goroutine of its own: it may panic, it may end without returning, and it may not end at all.
func (c Claim) call(ctx context.Context, s *Stack) (Result, error) {
	type end struct {
		res Result
		err error
	}
	done := make(chan end, 1)
	go func() {
		o := end{err: errors.New("the measurement ended without a result")}
		defer func() {
			if p := recover(); p != nil {
				o.res, o.err = outcome(p)
			}
			done <- o
		}()
		o.res, o.err = c.Measure(ctx, s)
	}()
	select {
	case o := <-done:
		return o.res, o.err
	case <-ctx.Done():
	}
	select {
	case o := <-done:
		return o.res, o.err
	case <-time.After(overrun):
		return Result{}, errors.New("the measurement does not end")
	}
}

// unproven names a fault that was injected and has no receipt, which a claim might have overlooked.
func (s *Stack) unproven() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.faults {
		if !f.Proven() {
			return f.Receipt().Fault
		}
	}
	return ""
}

// close ends a claim's probes and heals its faults, last first, even when ctx is cancelled: a lab that someone else
// uses must not stay broken.
func (s *Stack) close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTimeout)
	defer cancel()
	s.mu.Lock()
	s.closed = true
	closers, faults := s.closers, s.faults
	s.mu.Unlock()
	var errs []error
	for _, f := range slices.Backward(closers) {
		errs = append(errs, f())
	}
	for _, f := range slices.Backward(faults) {
		errs = append(errs, f.Heal(ctx))
	}
	for _, f := range faults {
		s.receipts = append(s.receipts, f.Receipt())
	}
	return errors.Join(errs...)
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:6])
}
