package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

// Sidecar brings what a source has to an app: it renders, checks and writes each new set, switches to it, and tells the
// app. What is in place stays until something better is: no fault of the source's, of a template or of the check takes
// from the app what it has.
type Sidecar struct {
	Render *Renderer
	Check  *Check
	Place  *Place
	Teller *Teller

	MinWait, MaxWait   time.Duration // quiet time before a set is applied, and the most that a change waits for it
	RetryMin, RetryMax time.Duration
	ConfirmText        string // a template of what the app's answer must have in it
	ConfirmAttempts    int
	RollBack           bool // to the version before, when the app does not confirm
	Keep               int  // versions besides the one that is applied

	Log     *slog.Logger
	Ready   func(ok bool, reason string)
	Metrics *metrics

	Back, Release <-chan struct{} // a person's wish to go back, and to let it go on

	mail chan Set // the newest set, if it was not taken yet
	rec  record   // Run's alone
	set  *Set     // the newest that was looked at
	told int      // how often the app was told of what is applied, without a confirmation

	mu sync.Mutex // guards s
	s  Status
}

// Open reads what is in place. It comes before Run and Offer.
func (s *Sidecar) Open() error {
	s.mail = make(chan Set, 1)
	if err := os.MkdirAll(s.Place.Dir, 0o755); err != nil {
		return err
	}
	rec, err := s.Place.Load()
	if err != nil {
		s.Log.Warn("record mended", "error", err)
	}
	s.rec = rec
	if rec.Applied != nil {
		if err := s.Place.Show(); err != nil {
			return err
		}
		s.Log.Info("configuration in place", "version", rec.Applied.Version, "told", rec.Applied.Told)
	}
	s.publish("")
	return s.Place.Clean(s.folders()...)
}

func (s *Sidecar) folders() (names []string) {
	for _, e := range s.rec.Before {
		names = append(names, e.Folder)
	}
	return names
}

// Offer hands over a set. One that was offered before and not looked at is forgotten: the last one wins.
func (s *Sidecar) Offer(set Set) {
	s.served(set)
	for {
		select {
		case s.mail <- set:
			return
		default:
		}
		select {
		case <-s.mail:
		default:
		}
	}
}

// Run applies and tells until ctx is done.
func (s *Sidecar) Run(ctx context.Context) {
	quiet, retry := stopped(), stopped()
	defer quiet.Stop()
	defer retry.Stop()
	var since time.Time // of the first change that waits; zero: none does
	failures := 0
	if s.rec.Applied != nil && !s.rec.Applied.Told {
		retry.Reset(0)
	}
	for {
		var err error
		select {
		case <-ctx.Done():
			return
		case set := <-s.mail:
			s.set = &set
			now := time.Now()
			if since.IsZero() {
				since = now
			}
			wait := min(s.MinWait, s.MaxWait-now.Sub(since))
			if s.rec.Applied == nil {
				wait = 0 // the app waits for it
			}
			quiet.Reset(max(0, wait))
			continue
		case <-quiet.C:
			since, failures = time.Time{}, 0
			err = s.work(ctx)
		case <-retry.C:
			err = s.work(ctx)
		case <-s.Back:
			failures = 0
			err = errors.Join(s.back("rolled back by a person"), s.work(ctx))
		case <-s.Release:
			failures = 0
			err = errors.Join(s.release(), s.work(ctx))
		}
		retry.Stop()
		if err != nil && ctx.Err() == nil {
			failures++
			retry.Reset(backoff(s.RetryMin, s.RetryMax, failures))
		}
	}
}

func stopped() *time.Timer {
	t := time.NewTimer(0)
	t.Stop()
	return t
}

// errHeld says that a set is the one that was rolled back. To try again is no use.
var errHeld = errors.New("held")

// work does what is to be done: apply the newest set, and tell the app of what is applied. An error is tried again.
func (s *Sidecar) work(ctx context.Context) error {
	applying := s.apply(ctx)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if e := s.rec.Applied; e != nil && !e.Told { // to tell may take its time, and what is in place is known by now
		s.publish(line(errors.Join(applying, errors.New("the app is being told")).Error(), 1000))
	}
	telling := s.tell(ctx)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	err := errors.Join(applying, telling)
	reason := ""
	if err != nil {
		reason = line(err.Error(), 1000)
	}
	s.publish(reason)
	if errors.Is(applying, errHeld) {
		return telling
	}
	return err
}

// apply brings the newest set to the disk, unless it is there. It is compared with what is applied, not with what was
// seen last: after a bad one the one before is no change, and a failed one is none either.
func (s *Sidecar) apply(ctx context.Context) error {
	if s.set == nil {
		return nil
	}
	files, err := s.Render.Set(ctx, *s.set)
	if err != nil {
		return s.refuse("render", err)
	}
	digest := files.Digest()
	switch {
	case s.rec.Applied != nil && s.rec.Applied.Digest == digest:
		if s.rec.Applied.Version != s.set.Version || s.rec.Held != "" {
			s.rec.Applied.Version, s.rec.Held, s.rec.Why = s.set.Version, "", ""
			return s.save()
		}
		return nil
	case s.rec.Held == digest:
		return fmt.Errorf("version %s is %w: %s; it waits for another one, or for SIGUSR2", s.set.Version, errHeld, s.rec.Why)
	}
	folder, err := s.Place.Stage(files)
	if err != nil {
		return s.refuse("write", err)
	}
	if err := s.Check.Run(ctx, filepath.Join(s.Place.Dir, folder), s.set.Version); err != nil {
		s.Place.Remove(folder)
		return s.refuse("check", err)
	}
	was := s.rec
	was.Held, was.Why = "", "" // the source has moved on
	return s.replace(entry{Version: s.set.Version, Digest: digest, Folder: folder, At: time.Now().UTC()}, was)
}

// refuse notes why the newest set is not applied.
func (s *Sidecar) refuse(step string, err error) error {
	s.Metrics.applied(false)
	err = fmt.Errorf("version %s refused: %s: %w", s.set.Version, step, err)
	if reason := line(err.Error(), 1000); s.status().Reason != reason {
		s.Log.Warn("version refused", "version", s.set.Version, "step", step, "error", err)
	}
	return err
}

// replace switches to a folder that is whole. The record is written before: what is found after a crash is judged by
// the link, and a record of a folder that the link does not lead to is of a version to go back to, or of none.
func (s *Sidecar) replace(e entry, was record) error {
	next := record{Applied: &e, Held: was.Held, Why: was.Why, Before: slices.Clone(was.Before)}
	if was.Applied != nil && was.Applied.Folder != e.Folder {
		next.Before = slices.Insert(next.Before, 0, *was.Applied)
	}
	next.Before = slices.DeleteFunc(next.Before, func(b entry) bool { return b.Folder == e.Folder })
	next.Before = next.Before[:min(len(next.Before), s.Keep)]
	err := s.Place.Save(next)
	if err == nil {
		err = s.Place.Apply(e.Folder)
	}
	if err != nil && s.Place.Current() != e.Folder {
		s.Place.Remove(e.Folder)
		return s.refuse("write", errors.Join(err, s.Place.Save(s.rec)))
	}
	s.rec, s.told = next, 0
	s.Metrics.applied(err == nil)
	s.Log.Info("version applied", "version", e.Version, "folder", e.Folder)
	if err == nil {
		err = s.Place.Clean(s.folders()...)
	}
	if err != nil { // the switch is made, and what the app opens does not follow it yet
		return fmt.Errorf("version %s: %w", e.Version, err)
	}
	return nil
}

// tell tells the app of what is applied, until it was.
func (s *Sidecar) tell(ctx context.Context) error {
	e := s.rec.Applied
	if e == nil || e.Told {
		return nil
	}
	if err := s.Place.Show(); err != nil { // an earlier try may not have got so far
		return err
	}
	if err := s.Teller.Tell(ctx, e.Version); err != nil {
		s.Metrics.reloaded(false)
		return fmt.Errorf("version %s applied, the app not told: %w", e.Version, err)
	}
	s.told++
	if err := s.confirm(ctx, e); err != nil {
		s.Metrics.reloaded(false)
		if s.told < s.ConfirmAttempts || ctx.Err() != nil {
			return fmt.Errorf("version %s applied: %w", e.Version, err)
		}
		e.Refused = line(err.Error(), 400)
		if s.RollBack && len(s.rec.Before) > 0 {
			return errors.Join(s.back("the app refused it: "+e.Refused), errors.New("to tell the app of the version before"))
		}
		return fmt.Errorf("version %s applied, told %d times: %w", e.Version, s.told, err)
	}
	e.Told, e.Refused, s.told = true, "", 0
	s.Metrics.reloaded(true)
	return s.save()
}

// confirm asks the app whether it has what is applied.
func (s *Sidecar) confirm(ctx context.Context, e *entry) error {
	if s.Teller.ConfirmURL == "" {
		return nil
	}
	files, err := s.Place.Read(e.Folder)
	if err != nil {
		return err
	}
	text, err := s.Render.confirmation(ctx, s.ConfirmText, e.Version, files)
	if err != nil {
		return err
	}
	return s.Teller.Confirmed(ctx, text)
}

// back goes back to the newest version before that was good, and holds the one that it leaves.
func (s *Sidecar) back(why string) error {
	i := slices.IndexFunc(s.rec.Before, func(e entry) bool { return e.Refused == "" })
	if s.rec.Applied == nil || i < 0 {
		s.Log.Warn("no version to go back to")
		return nil
	}
	left, to := *s.rec.Applied, s.rec.Before[i]
	was := s.rec
	was.Held, was.Why = left.Digest, why
	to.Told, to.At = false, time.Now().UTC()
	s.Log.Warn("rolling back", "from", left.Version, "to", to.Version, "reason", why)
	was.Before, was.Applied = was.Before[i+1:], nil // what is left is not gone back to
	if err := s.replace(to, was); err != nil {
		return err
	}
	s.Metrics.rollbacks.Inc()
	return nil
}

// release lets a version that is held be applied again.
func (s *Sidecar) release() error {
	s.rec.Held, s.rec.Why = "", ""
	s.Log.Info("hold released")
	return s.save()
}

func (s *Sidecar) save() error { return s.Place.Save(s.rec) }
