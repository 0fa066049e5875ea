package main

import (
	"slices"
	"sync"
	"time"

	"distlab/containers/internal/balance"
	"distlab/containers/internal/forward"
)

// Splitter decides which arm a request goes to. It knows of no HTTP library
// and no network: who carries requests asks Decide, asks Again when the arm
// failed before anything reached the client, and says Done for each arm it was
// given. None of these allocates. All methods may be called from any
// goroutine.
type Splitter struct {
	Rules  Rules
	Budget balance.Budget // of retries

	Metrics *Metrics // nil: none

	// Observe is told how each request to an arm ended, under no lock. It must
	// not block. nil: nobody is.
	Observe func(*Arm, Outcome)

	mu     sync.Mutex // guards the following, and all that hangs on it
	set    *set
	change uint64 // counts the sets
}

// Rules say how to decide. They must not be changed after the first decision.
type Rules struct {
	Balance  string // smooth, ip_hash, hash, consistent or split_clients
	Key      Key    // for the last three
	Fallback bool   // leave an arm that fails
	Sticky   Sticky
	Override Override
}

// set is the arms in force, by the order of their declaration.
type set struct {
	arms  []*Arm
	peers *balance.Peers
}

// Arm is one backend. It lives as long as some set has it, or some request.
type Arm struct {
	Name string
	URL  string
	forward.Backend

	spec    ArmSpec // as set last; guarded by Splitter.mu
	peer    *balance.Peer
	epoch   int64 // of its cookies: those of another epoch do not count
	cookie  string
	counter armCounters
}

// Outcome is how a request to an arm ended.
type Outcome struct {
	Kind   OutcomeKind
	Status int           // of the answer; 0: there was none
	Took   time.Duration // to the head of the answer
	Left   bool          // the client was gone before; not a failure, but a sign if one arm has more of them
}

// OutcomeKind is what an outcome says about the arm.
type OutcomeKind uint8

const (
	// Unknown says nothing: the client left, or was at fault.
	Unknown OutcomeKind = iota
	// Good is an answer.
	Good
	// Failed counts towards max_fails.
	Failed
)

// Decision is where a request goes, and why.
type Decision struct {
	Arm    *Arm   // nil: no arm may be used
	Reason Reason // why this one
	Wanted *Arm   // whom it belongs to, when it went to another; else nil
	Panic  bool   // no arm was usable: it was chosen in spite of its failures
	Assign bool   // the client is to be told, by Cookie

	set  *set
	pick balance.Pick
}

// Cookie is the value of the Set-Cookie header that assigns the client to the
// arm.
func (d *Decision) Cookie() string { return d.Arm.cookie }

// Reason is why an arm was chosen.
type Reason string

// Reasons. Those of the balance are its own words.
const (
	ByOverride Reason = "override"
	ByCookie   Reason = "cookie"
	ByHeader   Reason = "header"
	ByAddress  Reason = "address"
	ByFallback Reason = "fallback" // its own arm could not be used
	ByRetry    Reason = "retry"    // its own arm was tried and failed
	ByNothing  Reason = "none"     // no arm is left
)

// Set puts arms in force. Arms of the same name and address keep what is in
// flight and what failed; arms that are not in it get nothing new.
func (s *Splitter) Set(specs []ArmSpec) {
	s.mu.Lock()
	defer s.mu.Unlock()
	arms := make([]*Arm, len(specs))
	for i, spec := range specs {
		if arms[i] = s.find(spec.Name); arms[i] == nil || arms[i].URL != spec.URL {
			arms[i] = &Arm{Name: spec.Name, URL: spec.URL, peer: &balance.Peer{}}
			arms[i].Addr, arms[i].H2C = spec.addr, spec.h2c
			if s.Metrics != nil {
				arms[i].counter = s.Metrics.arm(spec.Name)
			}
		}
		arms[i].apply(spec)
	}
	s.use(arms)
}

func (a *Arm) apply(spec ArmSpec) {
	a.spec = spec
	p := a.peer
	p.Server = serverOf(spec)
	p.Weight, p.MaxFails, p.FailTimeout, p.MaxConns, p.Down = spec.Weight, spec.MaxFails, spec.FailTimeout, spec.MaxConns, spec.Down
	if spec.Drain {
		p.Weight = 0
	}
}

// use makes a set of arms; the caller holds mu.
func (s *Splitter) use(arms []*Arm) {
	peers := make([]*balance.Peer, len(arms))
	for i, a := range arms {
		peers[i] = a.peer
		a.cookie = s.Rules.Sticky.setCookie(a)
	}
	s.set = &set{arms, balance.New(peers, s.Rules.Balance == "consistent")}
	s.change++
}

// find is nil if there is none; the caller holds mu.
func (s *Splitter) find(name string) *Arm {
	if s.set == nil {
		return nil
	}
	return s.set.find(name)
}

func (t *set) find(name string) *Arm {
	if i := t.index(name); i >= 0 {
		return t.arms[i]
	}
	return nil
}

func (t *set) index(name string) int {
	for i, a := range t.arms {
		if a.Name == name {
			return i
		}
	}
	return -1
}

// Specs are the arms in force.
func (s *Splitter) Specs() []ArmSpec {
	s.mu.Lock()
	defer s.mu.Unlock()
	specs := make([]ArmSpec, len(s.set.arms))
	for i, a := range s.set.arms {
		specs[i] = a.spec
	}
	return specs
}

// Decide chooses an arm. Whoever asked says Done, or Again and Done.
func (s *Splitter) Decide(f *Facts) Decision {
	now := clock()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.Budget.Deposit(now)
	return s.set.decide(&s.Rules, f, now)
}

func (t *set) decide(r *Rules, f *Facts, now time.Duration) Decision {
	d := Decision{set: t}
	if i := r.Override.find(t, f); i >= 0 {
		t.take(&d, i, now)
		d.Reason = ByOverride
		return d
	}
	i, reason := r.Sticky.find(t, f)
	if i >= 0 {
		if p := t.peers.Peer(i); p.Usable(now) || !r.Fallback {
			t.take(&d, i, now)
			d.Reason = reason
			return d
		}
		d.Wanted = t.arms[i]
		d.pick.Tried(i)
	}
	t.choose(&d, r, f, now)
	switch {
	case d.Arm == nil:
		d.Reason = ByNothing
	case d.Wanted != nil || d.pick.Moved:
		d.Reason = ByFallback
	default:
		d.Reason = Reason(r.Balance)
	}
	d.Assign = d.Arm != nil && d.Wanted == nil && r.Sticky.Kind == "cookie"
	return d
}

func (t *set) take(d *Decision, i int, now time.Duration) {
	t.peers.Take(&d.pick, i, now)
	d.Arm = t.arms[i]
}

// choose asks the balance; when nobody is usable, it asks again for anybody.
func (t *set) choose(d *Decision, r *Rules, f *Facts, now time.Duration) {
	d.pick.Panic = !r.Fallback
	i := t.next(d, r, f, now)
	if i < 0 && r.Fallback {
		again := d.pick // the tries are used up, not the arms
		d.pick = balance.Pick{Panic: true, Moved: again.Moved}
		if i = t.next(d, r, f, now); i >= 0 {
			d.Panic = true
		}
	}
	if i < 0 {
		d.Arm = nil
		return
	}
	d.Arm = t.arms[i]
}

func (t *set) next(d *Decision, r *Rules, f *Facts, now time.Duration) int {
	if r.Balance == "smooth" {
		return t.peers.Smooth(&d.pick, now)
	}
	if r.Balance == "ip_hash" {
		return t.peers.IPHash(&d.pick, f.Client, now)
	}
	var scratch [256]byte
	key := r.Key.Append(scratch[:0], f)
	switch r.Balance {
	case "hash":
		return t.peers.Hash(&d.pick, key, now)
	case "consistent":
		return t.peers.Consistent(&d.pick, key, now)
	case "split_clients":
		return t.peers.SplitClients(&d.pick, key, now)
	}
	panic("splitter: no balance " + r.Balance)
}

// Again chooses another arm for a request that may be sent once more. It is
// false, and the decision as it was, if there is no other or the budget is
// used up. The arm that failed is Done by its caller.
//
// Sent is whether the arm that failed may have seen the request. One that has not
// costs the budget nothing: it is no more work for anybody, and an arm whose name
// is gone or whose network drops packets fails a second's requests at one moment,
// which no share of them would pay for. Each arm is tried once at most.
//
// Source: gRFC A6, transparent retries.
func (s *Splitter) Again(d *Decision, f *Facts, sent bool) bool {
	if !s.Rules.Fallback || d.Reason == ByOverride {
		return false
	}
	now := clock()
	s.mu.Lock()
	defer s.mu.Unlock()
	next := *d
	if next.set != s.set {
		next.follow(s.set)
	}
	i := next.set.next(&next, &s.Rules, f, now)
	if i < 0 {
		return false
	}
	if sent && !s.Budget.Withdraw(now) {
		balance.Release(next.set.peers.Peer(i))
		return false
	}
	if next.Wanted == nil {
		next.Wanted = d.Arm
	}
	next.Arm, next.Reason, next.Assign = next.set.arms[i], ByRetry, false
	*d = next
	return true
}

// follow makes a decision one of another set: the arms that it tried are
// tried there too.
func (d *Decision) follow(t *set) {
	var pick balance.Pick
	for i, a := range d.set.arms {
		if d.pick.HasTried(i) {
			if j := slices.Index(t.arms, a); j >= 0 {
				pick.Tried(j)
			}
		}
	}
	d.set, d.pick = t, pick
}

// Done ends the use of one arm.
func (s *Splitter) Done(a *Arm, o Outcome) {
	now := clock()
	s.mu.Lock()
	switch {
	case o.Kind == Unknown, !s.Rules.Fallback:
		balance.Release(a.peer) // without fallback each keeps its share
	default:
		balance.Done(a.peer, o.Kind == Failed, now)
	}
	s.mu.Unlock()
	if s.Observe != nil {
		s.Observe(a, o)
	}
}

// Health is what a check found of an arm; changed is whether that is news.
func (s *Splitter) Health(a *Arm, ok bool) (changed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	changed = a.peer.Unhealthy == ok
	a.peer.Unhealthy = !ok
	return changed
}

// Usable is how many arms can be used now.
func (s *Splitter) Usable() (n int) {
	now := clock()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range s.set.arms {
		if a.peer.Weight > 0 && a.peer.Usable(now) {
			n++
		}
	}
	return n
}

// out says whether an arm is down, unhealthy, or out for failures.
func (s *Splitter) out(a *Arm) bool {
	now := clock()
	s.mu.Lock()
	defer s.mu.Unlock()
	return a.peer.Down || a.peer.Unhealthy || a.peer.Failed(now)
}

// evict makes all cookies for an arm count no more.
func (s *Splitter) evict(a *Arm) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a.epoch = max(a.epoch+1, time.Now().Unix())
	a.cookie = s.Rules.Sticky.setCookie(a)
}

func (s *Splitter) changes() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.change
}

// Arms are those in force.
func (s *Splitter) Arms() []*Arm {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.set.arms)
}

// serverOf is what nginx would have in its `server` line.
func serverOf(spec ArmSpec) string {
	u, err := parseTarget(spec.URL)
	if err != nil {
		return spec.Name
	}
	return u.Host
}

var epoch = time.Now()

// clock is the time that balance reckons in. It never goes back, and is not 0:
// that is "never" there.
func clock() time.Duration { return time.Since(epoch) + time.Second }
