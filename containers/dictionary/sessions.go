package main

import (
	"container/list"
	"crypto/rand"
	"sync"
	"time"
)

const cookieName = "session"

// Visits are one client's.
type Visits struct {
	ID      string    `json:"session"`
	Visits  int       `json:"visits"`
	Since   time.Time `json:"since"`
	Replica string    `json:"replica"`
	last    time.Time
}

// Sessions count clients' visits. They are in the memory of this process and nowhere else: a client that comes to
// another replica begins anew. A name that a client brings along and that is not known here is not taken on: it would
// let one client choose another's.
type Sessions struct {
	Max     int           // the one that was away longest makes room
	Timeout time.Duration // without a visit, after which one is forgotten

	mu    sync.Mutex
	byID  map[string]*list.Element
	order list.List // of *Visits, the newest visit first
}

// Visit counts one; a client without a known session begins one.
func (s *Sessions) Visit(id string) Visits {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	s.expire(now)
	e := s.byID[id]
	if e == nil {
		if s.byID == nil {
			s.byID = map[string]*list.Element{}
		}
		for len(s.byID) >= s.Max {
			s.drop(s.order.Back())
		}
		v := &Visits{ID: rand.Text(), Since: now.UTC()}
		e = s.order.PushFront(v)
		s.byID[v.ID] = e
	}
	v := e.Value.(*Visits)
	v.Visits++
	v.last = now
	s.order.MoveToFront(e)
	return *v
}

// Find is a session as it is.
func (s *Sessions) Find(id string) (Visits, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expire(time.Now())
	e := s.byID[id]
	if e == nil {
		return Visits{}, false
	}
	return *e.Value.(*Visits), true
}

// Forget ends a session.
func (s *Sessions) Forget(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.byID[id]; e != nil {
		s.drop(e)
	}
}

// Len is how many there are.
func (s *Sessions) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expire(time.Now())
	return len(s.byID)
}

// expire forgets those whose time is up. The caller holds mu, here and below.
func (s *Sessions) expire(now time.Time) {
	for e := s.order.Back(); e != nil && now.Sub(e.Value.(*Visits).last) > s.Timeout; e = s.order.Back() {
		s.drop(e)
	}
}

func (s *Sessions) drop(e *list.Element) {
	delete(s.byID, e.Value.(*Visits).ID)
	s.order.Remove(e)
}
