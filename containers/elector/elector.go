package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"distlab/containers/internal/etcd"
)

// Why an owner is one no more.
const (
	whyNoRenewal = "no renewal in time"
	whyLost      = "the store says that it is over"
	whyStopped   = "stopped"
	whyAsked     = "asked to hand over"
	whyApp       = "the app is not well"
)

// Elector is one candidate. Whether it is the owner is computed whenever it is asked, from when the last renewal that was
// answered had been sent: a timer may be late, and in a process that was frozen it is.
type Elector struct {
	Store       *Store
	Election    string
	ID, Address string
	Lease       time.Duration // how long the store keeps the key of an owner that it does not hear of
	Deadline    time.Duration // how long an owner goes on alone; 0: for ever
	Retry       time.Duration
	Once        bool // try at the start alone
	App         *App
	Clock       func() time.Duration
	StatePath   string
	Ready       func(ok bool, reason string)
	Drain       func() context.Context // what is left of the shutdown's time
	Log         *slog.Logger
	Metrics     *metrics

	kick    chan struct{} // somebody has asked for a hand-over
	writing sync.Mutex    // the file

	mu       sync.Mutex
	term     *Term // nil: not the owner
	renewed  time.Duration
	holder   Holder // who has the key, as last heard
	heard    time.Duration
	everSaid bool // the store has answered once
	trouble  error
	hold     time.Duration // not a candidate until then
	past     []Term        // the newest last
}

// Term is a time as the owner.
type Term struct {
	Token int64     `json:"token"`
	Began time.Time `json:"began"`
	Ended time.Time `json:"ended,omitzero"` // from then on it was not the owner, whether it noticed or not
	Why   string    `json:"why,omitempty"`

	lease string
	began time.Duration // on the candidate's own clock
}

// termsKept is how many past terms are told.
const termsKept = 100

// Open makes the first file, and says what cannot be written before anybody relies on it.
func (e *Elector) Open() error {
	e.kick = make(chan struct{}, 1)
	e.heard = e.Clock()
	return e.tell()
}

// owner is the present term, if there is one that still holds; left is how long it will without another renewal.
func (e *Elector) owner() (t *Term, left time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.ownerLocked()
}

func (e *Elector) ownerLocked() (t *Term, left time.Duration) {
	if e.term == nil {
		return nil, 0
	}
	if e.Deadline == 0 {
		return e.term, e.Lease
	}
	if left = e.renewed + e.Deadline - e.Clock(); left <= 0 {
		return nil, 0
	}
	return e.term, left
}

// Run is a candidate until ctx ends. Then it hands over.
func (e *Elector) Run(ctx context.Context) {
	tried := false
	var old string // a lease that is not needed any more
	for ctx.Err() == nil {
		if old != "" && e.revoke(ctx, old) {
			old = ""
		}
		h, err := e.Store.Holder(ctx)
		e.hear(h, err)
		switch {
		case ctx.Err() != nil:
		case err != nil:
			e.pause(ctx, e.Retry)
		case h.ID != "":
			// Somebody is: the next look is when that changes. Once in a while in any case, for a watch may be with a member
			// that knows nothing new.
			if e.Once {
				tried = true
			}
			if e.Store.Changed(ctx, h, 2*e.Retry) != nil {
				e.pause(ctx, e.Retry)
			}
		case !e.may(ctx, tried):
			e.pause(ctx, e.Retry)
		default:
			tried = tried || e.Once
			var t *Term
			if t, old = e.campaign(ctx); t != nil {
				old = e.lead(ctx, t)
			}
		}
	}
	if old != "" {
		e.revoke(e.Drain(), old)
	}
}

// may is whether this candidate tries to become the owner now.
func (e *Elector) may(ctx context.Context, tried bool) bool {
	e.mu.Lock()
	held := e.Clock() < e.hold
	e.mu.Unlock()
	return !held && !(e.Once && tried) && e.App.Well(ctx)
}

// campaign tries once to get the key. The lease counts from before it was asked for. A lease that is of no use is old.
func (e *Elector) campaign(ctx context.Context) (t *Term, old string) {
	sent := e.Clock()
	lease, err := e.Store.Client.Grant(ctx, e.Lease)
	if err != nil {
		e.hear(Holder{}, err)
		e.pause(ctx, e.Retry)
		return nil, ""
	}
	for ctx.Err() == nil {
		h, err := e.Store.Take(ctx, lease, value(e.ID, e.Address, lease))
		switch {
		case errors.Is(err, etcd.ErrNoLease):
			return nil, ""
		case err == nil && h.lease == lease:
			e.hear(h, nil)
			return e.begin(h, sent), ""
		case err == nil:
			e.hear(h, nil)
			return nil, lease
		}
		// It may have been done: the same again says so.
		e.hear(Holder{}, err)
		if e.Clock()-sent >= e.Lease/2 {
			return nil, lease
		}
		e.pause(ctx, e.Retry/4)
	}
	return nil, lease
}

// begin makes this candidate the owner, from now on.
func (e *Elector) begin(h Holder, sent time.Duration) *Term {
	now := e.Clock()
	e.mu.Lock()
	t := &Term{Token: h.Token, Began: time.Now(), lease: h.lease, began: now}
	select {
	case <-e.kick: // meant for an earlier term
	default:
	}
	e.term, e.renewed = t, sent
	e.mu.Unlock()
	e.Metrics.terms.Inc()
	e.Log.Info("owner", "token", t.Token, "began", t.Began)
	e.tellOrWarn()
	return t
}

// lead is the term: it renews until it must not any more. What it returns is the lease, where it may still hold.
func (e *Elector) lead(ctx context.Context, t *Term) (old string) {
	bad := 0
	for {
		why := e.wait(ctx, e.Retry)
		if _, left := e.owner(); left <= 0 {
			why = whyNoRenewal
		}
		if why == "" && !e.App.Well(ctx) && ctx.Err() == nil {
			if bad++; bad >= e.App.Failures {
				why = whyApp
			}
		} else {
			bad = 0
		}
		if why == "" {
			why = e.renew(ctx, t)
		}
		if _, left := e.owner(); left <= 0 && why != whyLost {
			why = whyNoRenewal
		}
		if why == "" {
			continue
		}
		e.end(t, why)
		switch why {
		case whyLost:
			return ""
		case whyNoRenewal:
			return t.lease
		}
		// In order: the app ends what it does first, and has nothing left to write when the next owner begins.
		drain := ctx
		if ctx.Err() != nil {
			drain = e.Drain()
		}
		e.App.Stop(drain, e.Log)
		if e.revoke(drain, t.lease) {
			return ""
		}
		return t.lease
	}
}

// renew prolongs the lease, and looks that the key is still there: who takes it out by hand deposes the owner.
func (e *Elector) renew(ctx context.Context, t *Term) (why string) {
	_, left := e.owner()
	ctx, cancel := context.WithTimeoutCause(ctx, left, errors.New("the time to renew is over"))
	defer cancel()
	sent := e.Clock()
	err := e.Store.Client.Keep(ctx, t.lease)
	if errors.Is(err, etcd.ErrNoLease) {
		e.Metrics.renewals.WithLabelValues("lost").Inc()
		return whyLost
	}
	if err != nil {
		e.Metrics.renewals.WithLabelValues("failed").Inc()
		e.hear(Holder{}, err)
		return ""
	}
	e.mu.Lock()
	e.renewed = max(e.renewed, sent)
	e.mu.Unlock()
	e.Metrics.renewals.WithLabelValues("ok").Inc()
	h, err := e.Store.Holder(ctx)
	if err != nil {
		e.hear(Holder{}, err)
		return ""
	}
	e.hear(h, nil)
	if h.lease != t.lease {
		return whyLost
	}
	e.tellOrWarn()
	return ""
}

// end makes this candidate the owner no more. It was not since its time was over, where that was before.
func (e *Elector) end(t *Term, why string) {
	now := e.Clock()
	e.mu.Lock()
	t.Ended, t.Why = time.Now(), why
	if late := now - e.renewed - e.Deadline; e.Deadline > 0 && late > 0 {
		t.Ended = t.Ended.Add(-late)
	}
	e.term = nil
	e.past = append(e.past, *t)
	if n := len(e.past) - termsKept; n > 0 {
		e.past = e.past[n:]
	}
	e.mu.Unlock()
	e.Metrics.ended.WithLabelValues(label[why]).Inc()
	e.Log.Warn("no owner any more", "token", t.Token, "why", why, "ended", t.Ended, "held_seconds", (now - t.began).Seconds())
	e.tellOrWarn()
}

var label = map[string]string{
	whyNoRenewal: "no_renewal", whyLost: "lost", whyStopped: "stopped", whyAsked: "asked", whyApp: "app",
}

// wait lets a period pass, or what is left of the term if that is less. It says why the term ends, if it does.
func (e *Elector) wait(ctx context.Context, d time.Duration) (why string) {
	if _, left := e.owner(); left < d {
		d = left
	}
	timer := time.NewTimer(max(d, time.Millisecond))
	defer timer.Stop()
	select {
	case <-timer.C:
		return ""
	case <-e.kick:
		return whyAsked
	case <-ctx.Done():
		return whyStopped
	}
}

// Handover ends this candidate's term, if it has one, and keeps it out of the election for so long.
func (e *Elector) Handover(hold time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.hold = e.Clock() + hold
	if e.term != nil {
		select {
		case e.kick <- struct{}{}:
		default:
		}
	}
}

// revoke gives a lease back. It is true when that is over, whether it was given back or had ended.
func (e *Elector) revoke(ctx context.Context, lease string) bool {
	err := e.Store.Client.Revoke(ctx, lease)
	if err == nil || errors.Is(err, etcd.ErrNoLease) {
		return true
	}
	e.hear(Holder{}, err)
	return false
}

// hear notes what the store said, or why it said nothing.
func (e *Elector) hear(h Holder, err error) {
	if errors.Is(err, context.Canceled) {
		return
	}
	e.mu.Lock()
	now := e.Clock()
	changed, silent := false, time.Duration(0)
	if e.trouble = err; err == nil {
		changed = h.Token != e.holder.Token
		e.holder, e.heard, e.everSaid = h, now, true
	}
	silent = now - e.heard
	said := e.everSaid
	e.mu.Unlock()
	switch {
	case err == nil:
		e.Ready(true, "")
	case !said || silent > e.Lease:
		e.Ready(false, fmt.Sprintf("etcd: %v", err))
	}
	if changed {
		if h.ID != e.ID {
			e.Log.Info("another owner", "id", h.ID, "token", h.Token)
		}
		e.tellOrWarn()
	}
}

// pause lets d pass, or somewhat more.
func (e *Elector) pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d + time.Duration((slack-1)*rand.Float64()*float64(d))):
	case <-ctx.Done():
	}
}
