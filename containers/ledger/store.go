package main

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"sort"
	"sync"
	"time"

	"distlab/containers/internal/names"
)

// What happened to what was asked of the store.
const (
	opOpen  = "open"  // a writer begins, with its token
	opWrite = "write" // a balance is replaced

	accepted = "accepted"
	fenced   = "fenced" // an older token than somebody had before
	stale    = "stale"  // the right token, and an earlier session of the same owner's
)

// Entry is a line of the history: what was asked, by whom, and whether it was done. What was refused is there, too.
type Entry struct {
	Seq     int64     `json:"seq"`
	Time    time.Time `json:"time"`
	Op      string    `json:"op"`
	Verdict string    `json:"verdict"`
	Token   int64     `json:"token"`
	Session int64     `json:"session"`
	Writer  string    `json:"writer"`
	Account string    `json:"account,omitempty"`
	Balance int64     `json:"balance,omitempty"` // after a write
	ID      string    `json:"id,omitempty"`      // of the request that it was for
}

// What the store refuses.
var (
	errFenced = errors.New("the token is an older owner's")
	errStale  = errors.New("the session is an earlier one")
	errBad    = errors.New("bad request")
	errFull   = errors.New("there are as many accounts as there may be")
)

// Store keeps balances. It is not told who the owner is, and needs not know: it sees a newer token, and from then on
// refuses older ones. A new owner shows its token when it begins, by opening a session, before it reads anything: what its
// predecessor has still on the way comes too late then, even where nothing new has been written yet.
type Store struct {
	Fencing           bool
	Path              string
	Most, MaxAccounts int

	mu       sync.Mutex
	accounts map[string]int64
	token    int64 // the newest that was seen
	session  int64 // the newest
	seq      int64
	history  []Entry // the newest last
	counts   map[string]int
	file     *os.File
	failed   error // the journal's: nothing is accepted any more
}

// Begin opens a writer's session. Its answer has all balances, as they are once nobody older may write.
func (s *Store) Begin(token int64, writer, id string) (session int64, accounts map[string]int64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := Entry{Op: opOpen, Token: token, Session: s.session, Writer: writer, ID: id, Verdict: accepted}
	if s.Fencing && token < s.token {
		e.Verdict = fenced
		return 0, nil, errors.Join(errFenced, s.note(e))
	}
	e.Session++
	if err := s.note(e); err != nil {
		return 0, nil, err
	}
	return e.Session, maps.Clone(s.accounts), nil
}

// Write replaces a balance.
func (s *Store) Write(token, session int64, writer, account string, balance int64, id string) error {
	if !names.Plain(account) {
		return fmt.Errorf("%w: no account's name: %.80q", errBad, account)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	e := Entry{
		Op: opWrite, Token: token, Session: session, Writer: writer, Account: account, Balance: balance, ID: id, Verdict: accepted,
	}
	switch {
	case s.Fencing && token < s.token:
		e.Verdict = fenced
		return errors.Join(errFenced, s.note(e))
	case s.Fencing && (session != s.session || token != s.token):
		e.Verdict = stale
		return errors.Join(errStale, s.note(e))
	}
	if _, there := s.accounts[account]; !there && len(s.accounts) >= s.MaxAccounts {
		return errFull
	}
	return s.note(e)
}

// note makes an entry part of the history, first of all in the journal, and does what it says.
func (s *Store) note(e Entry) error {
	if s.seq == math.MaxInt64 || s.session == math.MaxInt64 {
		return errors.New("no numbers are left")
	}
	e.Seq, e.Time = s.seq+1, time.Now().UTC()
	if err := s.journal(e); err != nil {
		return err
	}
	s.apply(e)
	return nil
}

func (s *Store) apply(e Entry) {
	s.seq = e.Seq
	if e.Verdict == accepted {
		s.token = max(s.token, e.Token)
		s.session = max(s.session, e.Session)
		if e.Op == opWrite {
			s.accounts[e.Account] = e.Balance
		}
	}
	s.counts[e.Op+" "+e.Verdict]++
	s.history = append(s.history, e)
	// The oldest go in lumps: to move the others for each would cost as much as they are.
	if n := len(s.history) - s.Most; n > s.Most/4 {
		s.history = append([]Entry(nil), s.history[n:]...)
	}
}

// Balance is an account's, and how new it is.
func (s *Store) Balance(account string) (balance, token int64, there bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	balance, there = s.accounts[account]
	return balance, s.token, there
}

// Status is what the store is at.
type Status struct {
	Token    int64          `json:"token"`
	Session  int64          `json:"session"`
	Seq      int64          `json:"seq"`
	Accounts int            `json:"accounts"`
	Counts   map[string]int `json:"counts"` // of entries, by operation and verdict
	Fencing  bool           `json:"fencing"`
	Journal  string         `json:"journal_error,omitempty"`
}

// Status is the state of this moment.
func (s *Store) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := Status{
		Token: s.token, Session: s.session, Seq: s.seq, Accounts: len(s.accounts), Counts: maps.Clone(s.counts), Fencing: s.Fencing,
	}
	if s.failed != nil {
		st.Journal = s.failed.Error()
	}
	return st
}

// historyPart bounds how many entries are in one answer.
const historyPart = 10_000

// After are entries from behind a number on, the oldest first, as many as are told at once, and the newest number there is.
func (s *Store) After(seq int64) (part []Entry, newest int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	first := sort.Search(len(s.history), func(i int) bool { return s.history[i].Seq > seq })
	part = append([]Entry{}, s.history[first:min(first+historyPart, len(s.history))]...)
	return part, s.seq
}
