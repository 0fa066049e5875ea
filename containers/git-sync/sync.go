package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
)

// Syncer makes the site follow the remote: look, fetch, check out, check, publish, watch.
type Syncer struct {
	Remote  *Remote
	Store   *Store
	Site    *Site
	Tree    Tree
	Check   Check
	Health  Health
	Hooks   []*Hook
	Ref     string
	Depth   int
	Timeout time.Duration // of a look, a fetch and a checkout together
	Period  time.Duration
	Log     *slog.Logger
	Metrics *metrics
	Ready   func(ok bool, reason string)

	wake  chan struct{}
	state state

	mu       sync.Mutex // guards the following, which /status reads
	phase    string
	seen     sighting
	failed   failure
	bad      *Bad
	since    time.Time // since when this process knows the live commit
	previous string
}

// sighting is what the remote said last.
type sighting struct {
	target Target
	commit string // the target's commit
	at     time.Time
}

// failure is what went wrong last, and since when it does.
type failure struct {
	err   error
	since time.Time
	count int
}

// Open takes over the folder, as a run that ended or was killed has left it.
func (s *Syncer) Open() error {
	s.wake = make(chan struct{}, 1)
	if err := s.Site.Open(); err != nil {
		return err
	}
	var err error
	if s.state, err = s.Site.readState(); err != nil {
		s.Log.Warn("state forgotten", "error", err)
	}
	s.bad, s.previous, s.since = s.state.Bad, s.state.Previous, time.Now()
	if err := s.Site.Stage(""); err != nil {
		return err
	}
	s.showReady()
	return nil
}

// Close lets another one have the folder.
func (s *Syncer) Close() error { return s.Site.Close() }

// Wake has it look at once.
func (s *Syncer) Wake() {
	select {
	case s.wake <- struct{}{}:
	default: // one is waiting already, and will see what was pushed since
	}
}

// Once syncs, and says whether what the ref names is published.
func (s *Syncer) Once(ctx context.Context) error {
	s.takeOver(ctx)
	if err := s.Sync(ctx); err != nil && !errors.Is(err, errNoop) {
		return err
	}
	if s.bad != nil {
		return s.bad
	}
	for _, h := range s.Hooks {
		if h.Call == nil {
			continue
		}
		if err := h.Call(ctx, s.Site.Live(), s.Site.Worktree(s.Site.Live())); err != nil {
			return fmt.Errorf("%s: %w", h.Name, err)
		}
	}
	return nil
}

// Run syncs until ctx ends. A value on again has it try a bad commit once more.
func (s *Syncer) Run(ctx context.Context, again <-chan struct{}) error {
	var hooks sync.WaitGroup
	defer hooks.Wait()
	for _, h := range s.Hooks {
		if h.Call != nil {
			h.Ran = s.hookRan
			hooks.Go(func() { h.Run(ctx) })
		}
	}
	s.takeOver(ctx)
	if live := s.Site.Live(); live != "" {
		s.tell(live) // once more: the last run may have died before it could
	}
	for ctx.Err() == nil {
		begun := time.Now()
		err := s.Sync(ctx)
		if ctx.Err() != nil {
			return nil
		}
		s.report(begun, err)
		select {
		case <-ctx.Done():
		case <-s.wake:
		case <-again:
			s.forgive()
		// A tenth more or less: many followers of one remote shall not come all at once.
		case <-time.After(s.Period + rand.N(s.Period/10+1) - s.Period/20):
		}
	}
	return nil
}

// errNoop says that nothing was to do; it is a success.
var errNoop = errors.New("nothing to do")

// Sync is one round. errNoop and nil are good; a bad commit that is known is nothing new, and so good too.
func (s *Syncer) Sync(ctx context.Context) (err error) {
	defer recovered(&err)
	defer s.enter("")
	// What a reader began with is older by now.
	defer func() {
		if perr := s.Site.Prune(s.state.Previous); perr != nil {
			s.Log.Warn("old checkouts stay", "error", perr)
		}
	}()
	hash, err := s.bring(ctx)
	if err != nil {
		return err
	}
	return s.deploy(ctx, hash)
}

// bring looks, and has the commit that the ref names checked out when it returns. It returns errNoop where that is
// live already, or known as bad.
func (s *Syncer) bring(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, s.Timeout, fmt.Errorf("not done within SYNC_TIMEOUT=%s", s.Timeout))
	defer cancel()
	s.mend(ctx)
	if s.Ref == s.Site.Live() {
		return "", errNoop // a hash never moves
	}
	s.enter("looking")
	session, err := s.Remote.Open(ctx)
	if err != nil {
		return "", cause(ctx, err)
	}
	defer session.Close()
	target, err := resolve(session.Refs, s.Ref)
	if err != nil {
		return "", err
	}
	commit := target.Hash.String()
	if target == s.seen.target {
		commit = s.seen.commit // of a tag that the remote did not peel
	}
	if !s.settled(commit) {
		if commit, err = s.checkOut(ctx, session, target); err != nil {
			return "", cause(ctx, err)
		}
	}
	s.saw(target, commit)
	if b := s.state.Bad; b != nil && b.Commit != commit {
		// The ref has moved. Should it come back, the commit gets another chance.
		next := s.state
		next.Bad = nil
		if err := s.keep(next); err != nil {
			return "", err
		}
	}
	if s.settled(commit) {
		return "", errNoop
	}
	return commit, nil
}

// settled says whether there is nothing to do about a commit.
func (s *Syncer) settled(commit string) bool {
	return commit == s.Site.Live() || s.state.Bad != nil && commit == s.state.Bad.Commit
}

// checkOut fetches a target where it is not here yet, and makes its checkout.
func (s *Syncer) checkOut(ctx context.Context, session *Session, target Target) (string, error) {
	if !s.Store.Has(target.Hash) {
		s.enter("fetching")
		wants := []plumbing.Hash{target.Hash}
		if target.Search {
			if wants = branches(session.Refs); len(wants) == 0 {
				return "", errors.New("the remote is empty")
			}
		}
		if err := s.Store.Fetch(ctx, session, wants, s.Depth); err != nil {
			return "", err
		}
	}
	commit, err := s.Store.Commit(target.Hash)
	if errors.Is(err, plumbing.ErrObjectNotFound) && target.Search {
		return "", fmt.Errorf("no branch has the commit %s within DEPTH=%d", target.Hash, s.Depth)
	}
	if err != nil {
		return "", s.damaged(err)
	}
	hash := commit.Hash.String()
	if s.settled(hash) || s.whole(ctx, commit) == nil {
		return hash, nil
	}
	s.enter("checking out")
	err = s.Site.Make(hash, func(dir string) error {
		return s.Tree.Write(ctx, s.Store.objects(), commit.TreeHash, dir)
	})
	return hash, s.damaged(err)
}

// damaged empties the store where it lacks what it should have. The next round fetches all of it.
func (s *Syncer) damaged(err error) error {
	if errors.Is(err, errStore) {
		s.Log.Warn("store emptied", "error", err)
		return errors.Join(err, s.Store.Empty())
	}
	return err
}

// whole says whether the checkout of a commit is there and as it should be.
func (s *Syncer) whole(ctx context.Context, commit *object.Commit) error {
	return s.Tree.Same(ctx, s.Store.objects(), commit.TreeHash, s.Site.Worktree(commit.Hash.String()))
}

// deploy checks a commit, publishes it, watches it, and goes back where it turns out bad.
func (s *Syncer) deploy(ctx context.Context, hash string) error {
	s.enter("checking")
	if err := s.check(ctx, hash); err != nil {
		return s.refuse(err)
	}
	s.enter("publishing")
	was := s.Site.Live()
	next := state{Previous: was}
	if was != "" && s.Health.Before(ctx, was) {
		next.Trial = hash
	}
	// Before the link: whoever is killed in between finds the trial, and that it has not begun.
	if err := s.keep(next); err != nil {
		return err
	}
	if err := s.Site.Publish(hash); err != nil {
		return err
	}
	s.published(hash, was)
	if next.Trial == "" {
		return nil
	}
	return s.watch(ctx, hash, was)
}

func (s *Syncer) check(ctx context.Context, hash string) error {
	if s.Check.URL == "" && s.Check.Command == "" {
		return nil
	}
	if err := s.Site.Stage(hash); err != nil {
		return err
	}
	err := s.Check.Run(ctx, hash, s.Site.Worktree(hash))
	return errors.Join(err, s.Site.Stage(""))
}

// watch looks after a commit that was published, and goes back to the one before where it turns out bad.
func (s *Syncer) watch(ctx context.Context, hash, was string) error {
	s.enter("watching")
	err := s.Health.Watch(ctx, hash)
	var found *Bad
	switch {
	case err == nil:
		return s.keep(state{Previous: was})
	case !errors.As(err, &found):
		return err
	}
	if err := s.Site.Publish(was); err != nil {
		return fmt.Errorf("%w; go back to %s: %w", found, was, err)
	}
	s.Metrics.rollbacks.Inc()
	s.published(was, hash)
	return s.refuse(found)
}

// refuse remembers a commit that was found bad. The refusal itself is a round that failed.
func (s *Syncer) refuse(err error) error {
	var found *Bad
	if !errors.As(err, &found) {
		return err
	}
	s.Metrics.refused.WithLabelValues(found.Stage).Inc()
	s.Log.Error("commit refused", "commit", found.Commit, "stage", found.Stage, "reason", found.Reason)
	next := s.state
	next.Bad, next.Trial = found, ""
	return errors.Join(err, s.keep(next))
}

// forgive lets a bad commit be tried again.
func (s *Syncer) forgive() {
	next := s.state
	next.Bad = nil
	if err := s.keep(next); err != nil {
		s.Log.Warn("state not written", "error", err)
	}
}

// takeOver puts right what the last run left: a live checkout that is damaged, a commit whose trial was cut short.
func (s *Syncer) takeOver(ctx context.Context) {
	live := s.Site.Live()
	if live == "" {
		return // mend looks after that
	}
	if commit, err := s.Store.Commit(plumbing.NewHash(live)); err == nil {
		if err := s.whole(ctx, commit); err != nil && ctx.Err() == nil {
			s.remake(ctx, commit, err)
		}
	}
	if s.state.Trial == live && s.state.Previous != "" && s.Health.URL != "" {
		if err := s.watch(ctx, live, s.state.Previous); err != nil && ctx.Err() == nil {
			s.Log.Error("trial ended", "error", err)
		}
		s.enter("")
	}
}

// mend makes the checkout that the link names where it is gone, from what is stored: the remote may be away.
func (s *Syncer) mend(ctx context.Context) {
	hash := s.Site.Linked()
	if hash == "" || s.Site.Live() == hash {
		return
	}
	if commit, err := s.Store.Commit(plumbing.NewHash(hash)); err == nil {
		s.remake(ctx, commit, errors.New("it is gone"))
		s.showReady()
	}
}

// remake makes the checkout of a commit anew.
func (s *Syncer) remake(ctx context.Context, commit *object.Commit, why error) {
	hash := commit.Hash.String()
	err := s.Site.Make(hash, func(dir string) error {
		return s.Tree.Write(ctx, s.Store.objects(), commit.TreeHash, dir)
	})
	if err != nil {
		s.Log.Error("live checkout stays damaged", "commit", hash, "damage", why, "error", err)
		return
	}
	s.Log.Warn("live checkout made again", "commit", hash, "damage", why)
}

// cause is what ended ctx where that is why something failed: "context deadline exceeded" would not say which.
func cause(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}
