package main

import (
	"errors"
	"time"
)

// Status is what /status shows.
type Status struct {
	Repo      string   `json:"repo"`
	Ref       string   `json:"ref"`
	Phase     string   `json:"phase"` // what it is doing now
	Live      *live    `json:"live"`
	Remote    *remote  `json:"remote"`
	Bad       *Bad     `json:"bad"`
	Error     *trouble `json:"error"` // why the last round failed; null where it did not
	Previous  string   `json:"previous,omitempty"`
	Worktrees []string `json:"worktrees"`
}

type live struct {
	Commit string    `json:"commit"`
	Since  time.Time `json:"since"`
}

type remote struct {
	Ref    string    `json:"ref"` // its full name
	Commit string    `json:"commit"`
	At     time.Time `json:"at"` // when it last said so
	Age    float64   `json:"age_seconds"`
}

type trouble struct {
	Message string    `json:"message"`
	Since   time.Time `json:"since"`
	Count   int       `json:"count"` // rounds in a row
}

// Status tells what is live, what the remote has, and why they differ.
func (s *Syncer) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := Status{
		Repo: s.Remote.URL.Redacted(), Ref: s.Ref, Phase: s.phase, Bad: s.bad, Previous: s.previous,
		Worktrees: s.Site.Worktrees(),
	}
	if hash := s.Site.Live(); hash != "" {
		st.Live = &live{hash, s.since.UTC()}
	}
	if !s.seen.at.IsZero() {
		st.Remote = &remote{s.seen.target.Name, s.seen.commit, s.seen.at.UTC(), time.Since(s.seen.at).Seconds()}
	}
	if s.failed.err != nil {
		st.Error = &trouble{line([]byte(s.failed.err.Error())), s.failed.since.UTC(), s.failed.count}
	}
	return st
}

// enter says what it is doing now; "" is waiting.
func (s *Syncer) enter(phase string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if phase == "" {
		phase = "waiting"
	}
	s.phase = phase
}

// saw notes what the remote has.
func (s *Syncer) saw(target Target, commit string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen = sighting{target, commit, time.Now()}
}

// keep writes what has to survive a restart.
func (s *Syncer) keep(next state) error {
	if err := s.Site.writeState(next); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state, s.bad, s.previous = next, next.Bad, next.Previous
	return nil
}

// published tells everybody that another commit is live.
func (s *Syncer) published(hash, was string) {
	s.mu.Lock()
	s.since = time.Now()
	s.mu.Unlock()
	s.Log.Info("published", "commit", hash, "before", was)
	s.showReady()
	s.tell(hash)
}

func (s *Syncer) tell(hash string) {
	for _, h := range s.Hooks {
		if h.Call != nil {
			h.Tell(hash, s.Site.Worktree(hash))
		}
	}
}

func (s *Syncer) hookRan(name string, err error) {
	s.Metrics.hookRan(name, err)
	if err != nil {
		s.Log.Warn("hook failed", "hook", name, "error", err)
	}
}

// showReady: ready is who has something to show, however old. How old is told by /status and a metric.
func (s *Syncer) showReady() {
	hash := s.Site.Live()
	if hash != "" {
		s.Ready(true, "")
		return
	}
	reason := "nothing is published yet"
	if s.failed.err != nil {
		reason += ": " + line([]byte(s.failed.err.Error()))
	}
	s.Ready(false, reason)
}

// report counts a round, and logs where it went otherwise than the last one.
func (s *Syncer) report(begun time.Time, err error) {
	took := time.Since(begun)
	switch {
	case errors.Is(err, errNoop):
		s.Metrics.round("noop", took)
		err = nil
	case err != nil:
		s.Metrics.round("error", took)
	default:
		s.Metrics.round("success", took)
	}
	s.mu.Lock()
	was := s.failed
	switch {
	case err == nil:
		s.failed = failure{}
	case was.err == nil:
		s.failed = failure{err, time.Now(), 1}
	default:
		s.failed = failure{err, was.since, was.count + 1}
	}
	s.mu.Unlock()
	var found *Bad
	switch {
	case errors.As(err, &found): // was logged when it was refused
	case err == nil && was.err != nil:
		s.Log.Info("sync works again", "failed_rounds", was.count)
	case err != nil && (was.err == nil || was.err.Error() != err.Error()):
		s.Log.Error("sync failed", "error", err)
	}
	s.showReady()
}
