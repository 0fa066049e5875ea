package main

import (
	"math"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/maypok86/otter/v2"
)

// Store keeps objects by their keys, as many bytes of them as it may. Which go, when they are too many, is for
// W-TinyLFU to say: what is asked for once does not push out what is asked for often.
type Store struct {
	Size     int64 // bytes
	Variants int   // of one key; 0: any number
	Now      func() time.Time
	Evicted  func() // is told of each that makes room; nil: nobody is

	entries *otter.Cache[string, *resource]

	mu      sync.Mutex // guards the following, and orders storing with purging
	seq     uint64
	tags    map[string]uint64 // purged, when
	flights map[*Flight]struct{}
}

// resource is what is known of one key. It is never changed, only replaced.
type resource struct {
	objects []*Object // the newest first
	vary    []string  // what its last answer varied by
	apart   time.Time // until then its answers are for one each: nobody waits for another's
	failed  time.Time // until then the origin is not asked for what may be used stale
}

func (s *Store) init() {
	weigh := func(key string, r *resource) uint32 {
		n := 200 + len(key)
		for _, o := range r.objects {
			n += o.size()
		}
		return uint32(min(n, math.MaxUint32))
	}
	s.entries = otter.Must(&otter.Options[string, *resource]{
		MaximumWeight: uint64(s.Size),
		Weigher:       weigh,
		OnDeletion: func(e otter.DeletionEvent[string, *resource]) {
			if e.WasEvicted() && len(e.Value.objects) > 0 && s.Evicted != nil {
				s.Evicted()
			}
		},
	})
	s.tags, s.flights = map[string]uint64{}, map[*Flight]struct{}{}
}

// find is what is known of a key, and the object that fits a request, if any.
func (s *Store) find(key string, a Asked, h http.Header) (r *resource, o *Object) {
	r, ok := s.entries.GetIfPresent(key)
	if !ok {
		return &resource{}, nil
	}
	for _, o := range r.objects {
		if o.Fits(a, h) {
			return r, o
		}
	}
	return r, nil
}

// forPersons is behind a key for what is known of its answers to those with a password or a cookie.
const forPersons = "\x00personal"

// apart is whether the answers of a key are for one each.
func (s *Store) apart(key string, known *resource, a Asked, now time.Time) bool {
	if a.Personal {
		if r, ok := s.entries.GetIfPresent(key + forPersons); ok && now.Before(r.apart) {
			return true
		}
	}
	return now.Before(known.apart)
}

// change replaces what is known of a key.
func (s *Store) change(key string, f func(r resource) resource) {
	s.entries.Compute(key, func(old *resource, found bool) (*resource, otter.ComputeOp) {
		var r resource
		if found {
			r = *old
		}
		r = f(r)
		if len(r.objects) == 0 && r.vary == nil && r.apart.IsZero() {
			return nil, otter.InvalidateOp
		}
		return &r, otter.WriteOp
	})
}

// learn notes by what the answers of a key vary, and whether they are for one each.
func (s *Store) learn(key string, vary []string, apart time.Duration) {
	var until time.Time
	if apart > 0 {
		until = s.Now().Add(apart)
	}
	r, ok := s.entries.GetIfPresent(key)
	if !ok && until.IsZero() && len(vary) == 0 || ok && slices.Equal(r.vary, vary) && r.apart.IsZero() && until.IsZero() {
		return
	}
	s.change(key, func(r resource) resource {
		r.vary, r.apart = vary, until
		return r
	})
}

// spare leaves the origin of a key alone for a while, as far as there is something to answer with.
func (s *Store) spare(key string, d time.Duration) {
	until := s.Now().Add(d)
	s.change(key, func(r resource) resource {
		r.failed = until
		return r
	})
}

// put stores what a flight has brought, unless it was purged meanwhile: then it is older than the purge.
func (s *Store) put(f *Flight, o *Object) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f.purged.Load() {
		return false
	}
	for _, tag := range o.Tags {
		if s.tags[tag] > f.seq {
			return false
		}
	}
	s.change(f.key, func(r resource) resource {
		objects := []*Object{o}
		for _, old := range r.objects {
			if old.Varied == o.Varied && slices.Equal(old.Vary, o.Vary) {
				continue
			}
			if s.Variants > 0 && len(objects) >= s.Variants {
				break
			}
			objects = append(objects, old)
		}
		r.objects, r.failed = objects, time.Time{}
		return r
	})
	return true
}

// began and over are told of flights, so that a purge finds those that it has overtaken.
func (s *Store) began(f *Flight) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f.seq = s.seq
	s.flights[f] = struct{}{}
}

func (s *Store) over(f *Flight) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if delete(s.flights, f); len(s.tags) == 0 {
		return
	}
	oldest := s.seq
	for f := range s.flights {
		oldest = min(oldest, f.seq)
	}
	for tag, when := range s.tags {
		if when <= oldest {
			delete(s.tags, tag)
		}
	}
}

// Purge forgets a key, with all its variants, and what is on its way for it. It returns how many objects
// there were.
func (s *Store) Purge(key string) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for f := range s.flights {
		if f.key == key {
			f.purged.Store(true)
			f.overtaken.Store(true)
		}
	}
	if r, there := s.entries.Invalidate(key); there {
		n = len(r.objects)
	}
	return n
}

// PurgeTag forgets all that has a tag, and what is on its way and turns out to have it. It returns how many objects
// there were.
func (s *Store) PurgeTag(tag string) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seq++
	if len(s.flights) > 0 {
		s.tags[tag] = s.seq
	}
	for f := range s.flights { // nobody knows yet what tags their answers have
		f.overtaken.Store(true)
	}
	var keys []string
	for key, r := range s.entries.All() {
		if slices.ContainsFunc(r.objects, func(o *Object) bool { return slices.Contains(o.Tags, tag) }) {
			keys = append(keys, key)
		}
	}
	for _, key := range keys {
		s.change(key, func(r resource) resource {
			kept := []*Object{}
			for _, o := range r.objects {
				if slices.Contains(o.Tags, tag) {
					n++
					continue
				}
				kept = append(kept, o)
			}
			r.objects = kept
			return r
		})
	}
	return n
}

// Stored is how many keys have something, or are known, and how many bytes that is.
func (s *Store) Stored() (entries int, bytes uint64) {
	return s.entries.EstimatedSize(), s.entries.WeightedSize()
}

// keyOf is what an answer is stored under: all that the origin is told of where the request goes, as it is told.
// Nothing is made equal here that the origin could tell apart.
func keyOf(out *http.Request, target string) string {
	host, forwarded := out.Host, out.Header.Get("X-Forwarded-Host")
	if forwarded == host {
		forwarded = ""
	}
	return strings.Join([]string{out.Header.Get("X-Forwarded-Proto"), host, forwarded, target}, "\x00")
}

// drop forgets one object, which the origin has taken back.
func (s *Store) drop(key string, o *Object) {
	s.change(key, func(r resource) resource {
		r.objects = slices.DeleteFunc(slices.Clone(r.objects), func(old *Object) bool { return old == o })
		return r
	})
}
