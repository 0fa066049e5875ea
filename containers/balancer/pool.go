package main

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"distlab/containers/internal/balance"
	"distlab/containers/internal/forward"
)

// Member is a replica as it is named by whoever says which there are.
type Member struct {
	Addr     string // host:port
	Weight   int
	MaxConns int  // requests, or connections in TCP mode, at once; 0: no limit
	Drain    bool // gets nothing new, but for those whom a cookie has put there
}

// Replica is one server of the pool, as long as it is a member or has something in flight.
type Replica struct {
	Addr    string          // as in Member; this one never changes and needs no lock
	Backend forward.Backend // how it is asked
	counter replicaMetrics

	// The following are the pool's, under its mu.
	Member
	peer     *balance.Peer
	checked  bool          // a check has said something
	healthy  bool          // what the checks say
	failures int           // in a row
	ejected  time.Duration // until then it is out for its failures
	times    int           // that it was ejected, less what time has forgiven
	in       bool          // it takes part
	since    time.Duration // and has since then
	first    bool          // it was there at the start: no slow start
}

// Pool is the replicas and what is known of them. It knows no network: who carries requests asks Choose, Again after a
// failure, and says Done. Its fields must not be changed after Set.
type Pool struct {
	Policy    string      // smooth, least or hash
	Key       balance.Key // what hash hashes
	Bound     float64     // how much more than its fair share a replica may have in flight under hash; 0: no bound
	Checks    bool        // a replica takes part only once a check was good
	Eject     Ejection
	Panic     float64       // share of the replicas below which those that can be used are not relied on; 0: never
	SlowStart time.Duration // time in which a replica that joins or comes back gets its full share
	Queue     int           // requests that may wait for a replica with room
	Budget    balance.Budget
	Metrics   *Metrics // nil: nobody counts

	mu       sync.Mutex
	began    time.Time  // of the clock
	replicas []*Replica // members, in the order of their naming
	peers    *balance.Peers
	waiting  []chan struct{} // first come, first served
	changes  int
}

// Ejection says when a replica whose answers fail is left alone, and for how long.
//
// Source: Envoy's outlier detection (consecutive_5xx, base_ejection_time, max_ejection_percent), but for the jitter, which
// keeps several balancers from coming back at one moment.
type Ejection struct {
	After int           // failures in a row; 0: never
	For   time.Duration // the first time; then 2, 3, 4 … times as long
	Most  time.Duration
	Share float64 // of the replicas that may be out so at once; one may always
}

var (
	errNone = errors.New("no replica can be used")
	errFull = errors.New("every replica has as much in flight as it may")
)

// Choice is a request's replica, and what it has tried before.
type Choice struct {
	*Replica
	Panicked bool // it was chosen among all, since too few can be used
	Sticky   bool // a cookie had put it there
	pick     balance.Pick
	peers    *balance.Peers
}

// clock never goes back, and is not 0: that is "never" here.
func (p *Pool) clock() time.Duration { return time.Since(p.began) + time.Second }

// Set says which replicas there are. Those of the same address keep what is known of them and what is in flight. Those
// that are not named any more get nothing new.
func (p *Pool) Set(members []Member) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.began.IsZero() {
		p.began = time.Now()
	}
	list := make([]*Replica, 0, len(members))
	for _, m := range members {
		i := slices.IndexFunc(p.replicas, func(r *Replica) bool { return r.Addr == m.Addr })
		var r *Replica
		if i >= 0 {
			r = p.replicas[i]
		} else {
			r = &Replica{Addr: m.Addr, peer: &balance.Peer{}, first: p.replicas == nil}
			r.Backend.Addr = m.Addr
			r.counter = p.Metrics.replica(m.Addr)
		}
		r.Member = m
		r.peer.Server = m.Addr
		list = append(list, r)
	}
	for _, r := range p.replicas {
		if !slices.Contains(list, r) {
			p.Metrics.forget(r.Addr)
		}
	}
	p.replicas, p.peers = list, nil
	p.changes++
	p.wake()
}

// usable says whether a replica takes part, at this time. The caller holds mu, here and below.
func (p *Pool) usable(r *Replica, now time.Duration) bool {
	return !r.Drain && r.Weight > 0 && (r.healthy || !p.Checks) && now >= r.ejected
}

// scale is what a weight is multiplied with while one of the replicas starts slowly.
const scale = 20

// prepare brings the peers up to date: who takes part, and with what weight.
func (p *Pool) prepare(now time.Duration) {
	slow := false
	for _, r := range p.replicas {
		switch usable := p.usable(r, now); {
		case !usable:
			r.in = false
		case !r.in && r.first:
			r.in, r.since, r.first = true, now-p.SlowStart, false
		case !r.in:
			r.in, r.since = true, now
		}
		slow = slow || p.part(r, now) < 1
	}
	anew := p.peers == nil
	for _, r := range p.replicas {
		weight := r.Weight
		if slow && p.Policy != "hash" { // whose ring would move
			weight = max(1, int(math.Round(float64(weight*scale)*p.part(r, now))))
		}
		anew = anew || r.peer.Weight != weight
		r.peer.Weight, r.peer.MaxConns = weight, r.MaxConns
		r.peer.Down, r.peer.Unhealthy = r.Drain, !r.in
	}
	if anew {
		list := make([]*balance.Peer, len(p.replicas))
		for i, r := range p.replicas {
			list[i] = r.peer
		}
		p.peers = balance.New(list, p.Policy == "hash")
	}
}

// part is the share of its weight that a replica has by now, from a tenth on.
func (p *Pool) part(r *Replica, now time.Duration) float64 {
	if p.SlowStart <= 0 || !r.in {
		return 1
	}
	return min(1, 0.1+0.9*float64(now-r.since)/float64(p.SlowStart))
}

// Choose takes a replica for a request. sticky is the address that the client's cookie names, or "". errFull says that
// it may wait: see Wait.
func (p *Pool) Choose(f *balance.Facts, sticky string) (c Choice, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.clock()
	p.Budget.Deposit(now)
	p.prepare(now)
	if sticky != "" {
		for i, r := range p.replicas {
			if r.Addr == sticky && r.Weight > 0 && (r.healthy || !p.Checks) && now >= r.ejected && (r.MaxConns == 0 || r.peer.Conns() < r.MaxConns) {
				c = Choice{Replica: r, Sticky: true, peers: p.peers}
				p.peers.Take(&c.pick, i, now)
				return c, nil
			}
		}
	}
	err = p.next(&c, f, now)
	return c, err
}

// next chooses among those that were not tried.
func (p *Pool) next(c *Choice, f *balance.Facts, now time.Duration) error {
	if c.peers != p.peers {
		c.follow(p.peers, p.replicas)
	}
	usable, full := 0, 0
	for i, r := range p.replicas {
		if r.in {
			usable++
			if r.MaxConns > 0 && r.peer.Conns() >= r.MaxConns && !c.pick.HasTried(i) {
				full++
			}
		}
	}
	if usable == 0 {
		return errNone
	}
	c.pick.Panic = float64(usable) < p.Panic*float64(len(p.replicas))
	c.Panicked = c.pick.Panic
	i := p.pick(&c.pick, f, now)
	if i < 0 {
		if full > 0 {
			return errFull
		}
		return errNone
	}
	c.Replica = p.replicas[i]
	return nil
}

// follow makes a choice one of another set: the replicas that it tried are tried there, too.
func (c *Choice) follow(peers *balance.Peers, replicas []*Replica) {
	var pick balance.Pick
	if c.Replica != nil {
		if i := slices.Index(replicas, c.Replica); i >= 0 {
			pick.Tried(i)
		}
	}
	c.peers, c.pick = peers, pick
}

func (p *Pool) pick(k *balance.Pick, f *balance.Facts, now time.Duration) int {
	switch p.Policy {
	case "least":
		return p.least(k, now)
	case "hash":
		p.bound()
		var scratch [256]byte
		i := p.peers.Consistent(k, p.Key.Append(scratch[:0], f), now)
		for _, r := range p.replicas {
			r.peer.MaxConns = r.MaxConns
		}
		return i
	}
	return p.peers.Smooth(k, now)
}

// bound lets no replica have more in flight than its fair share and Bound of that: a key that all ask for goes on to the
// next on the ring then.
//
// Source: Mirrokni, Thorup and Zadimoghaddam, Consistent Hashing with Bounded Loads (2016), arXiv:1608.01350.
func (p *Pool) bound() {
	if p.Bound <= 0 {
		return
	}
	inFlight, weights := 1, 0
	for _, r := range p.replicas {
		if r.in {
			inFlight += r.peer.Conns()
			weights += r.Weight
		}
	}
	for _, r := range p.replicas {
		most := int(math.Ceil((1 + p.Bound) * float64(inFlight) * float64(r.Weight) / float64(max(weights, 1))))
		if r.peer.MaxConns == 0 || most < r.peer.MaxConns {
			r.peer.MaxConns = max(most, 1)
		}
	}
}

// least takes two at random, by weight, and of them the one that has less in flight for its weight.
//
// Source: Mitzenmacher, The Power of Two Choices in Randomized Load Balancing (2001); Envoy's LEAST_REQUEST.
func (p *Pool) least(k *balance.Pick, now time.Duration) int {
	var buffer [balance.MaxPeers]int
	left, total := buffer[:0], 0
	for i := range p.replicas {
		if p.peers.Usable(k, i, now) {
			left, total = append(left, i), total+p.peers.Peer(i).Weight
		}
	}
	draw := func() int {
		at := rand.IntN(total)
		for n, i := range left {
			if at -= p.peers.Peer(i).Weight; at < 0 {
				left = slices.Delete(left, n, n+1)
				total -= p.peers.Peer(i).Weight
				return i
			}
		}
		panic("balancer: weights do not add up")
	}
	if len(left) == 0 {
		return -1
	}
	best := draw()
	if len(left) > 0 {
		other := draw()
		a, b := p.peers.Peer(best), p.peers.Peer(other)
		if b.Conns()*a.Weight < a.Conns()*b.Weight {
			best = other
		}
	}
	p.peers.Take(k, best, now)
	return best
}

// Again chooses another replica for a request that may be sent once more, and ends the use of the one that failed. It is
// false, and the choice as it was, if there is no other or the budget is used up. sent is whether the one that failed may
// have seen the request: one that has not is no more work for anybody, and costs the budget nothing (gRFC A6).
func (p *Pool) Again(c *Choice, f *balance.Facts, sent bool) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.clock()
	p.prepare(now)
	next := *c
	if p.next(&next, f, now) != nil {
		return false
	}
	if sent && !p.Budget.Withdraw(now) {
		balance.Release(next.peer)
		return false
	}
	next.Sticky = false
	p.done(c.Replica, Failed, now)
	*c = next
	return true
}

// Outcome is what the use of a replica says of it.
type Outcome uint8

const (
	Unknown Outcome = iota // nothing: the client left, or sent nonsense
	Good
	Failed
)

// Done ends the use of a replica.
func (p *Pool) Done(r *Replica, o Outcome) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done(r, o, p.clock())
	p.wake()
}

func (p *Pool) done(r *Replica, o Outcome, now time.Duration) {
	balance.Release(r.peer)
	switch o {
	case Good:
		r.failures = 0
	case Failed:
		r.failures++
		if p.Eject.After > 0 && r.failures >= p.Eject.After && now >= r.ejected && p.mayEject(now) {
			p.eject(r, now)
		}
	}
}

// mayEject keeps a bad hour from emptying the pool.
func (p *Pool) mayEject(now time.Duration) bool {
	out := 0
	for _, r := range p.replicas {
		if now < r.ejected {
			out++
		}
	}
	return out < max(1, int(p.Eject.Share*float64(len(p.replicas))))
}

// eject leaves a replica alone: each time for longer, as long as it was not good for a while, and never for quite the
// same time as another balancer does.
func (p *Pool) eject(r *Replica, now time.Duration) {
	if quiet := now - r.ejected; r.ejected > 0 && p.Eject.For > 0 {
		r.times = max(0, r.times-int(quiet/(4*p.Eject.For)))
	}
	r.times++
	length := min(time.Duration(r.times)*p.Eject.For, cmp.Or(p.Eject.Most, math.MaxInt64))
	length += time.Duration((rand.Float64() - 0.5) * 0.2 * float64(length))
	r.ejected, r.failures = now+length, 0
	r.counter.ejected()
}

// Health is what a check has found of a replica; changed is whether that is news.
func (p *Pool) Health(r *Replica, ok bool) (changed bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	changed = !r.checked || r.healthy != ok
	none := !slices.ContainsFunc(p.replicas, func(r *Replica) bool { return p.usable(r, p.clock()) })
	r.checked, r.healthy = true, ok
	if ok && none {
		r.ejected, r.first = 0, true // the only one there is: it gets all there is at once
	}
	p.wake()
	return changed
}

// Replicas are the members.
func (p *Pool) Replicas() []*Replica {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.replicas)
}

// Usable is how many of how many take part now.
func (p *Pool) Usable() (usable, all int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.clock()
	for _, r := range p.replicas {
		if p.usable(r, now) {
			usable++
		}
	}
	return usable, len(p.replicas)
}

// Wait returns when a replica may have room, or is false when done is closed or too many wait. Who waits is served in turn:
// again says that it has waited before, and somebody who came later was quicker.
func (p *Pool) Wait(done <-chan struct{}, again bool) bool {
	p.mu.Lock()
	if len(p.waiting) >= p.Queue && !again {
		p.mu.Unlock()
		return false
	}
	turn := make(chan struct{})
	if again {
		p.waiting = slices.Insert(p.waiting, 0, turn)
	} else {
		p.waiting = append(p.waiting, turn)
	}
	p.mu.Unlock()
	select {
	case <-turn:
		return true
	case <-done:
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if i := slices.Index(p.waiting, turn); i >= 0 {
		p.waiting = slices.Delete(p.waiting, i, i+1)
	} else {
		p.wake() // its turn had come: somebody else's, then
	}
	return false
}

// wake is called when there may be room for one.
func (p *Pool) wake() {
	if len(p.waiting) > 0 {
		close(p.waiting[0])
		p.waiting = p.waiting[1:]
	}
}

// Waiting is how many wait.
func (p *Pool) Waiting() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.waiting)
}

// State is a replica as it is now, and why.
type State struct {
	Addr     string  `json:"address"`
	Weight   int     `json:"weight"`
	Share    float64 `json:"share"` // of what is dealt now; 0: it takes no part
	Up       bool    `json:"up"`
	Why      string  `json:"why"` // up, starting slowly, not checked yet, unhealthy, ejected, draining, full
	Checked  bool    `json:"checked"`
	Healthy  bool    `json:"healthy"`
	Failures int     `json:"failures"` // in a row
	Ejected  float64 `json:"ejected_seconds,omitempty"`
	Ejects   int     `json:"ejections,omitempty"`
	InFlight int     `json:"in_flight"`
}

// States are the members' states.
func (p *Pool) States() []State {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.clock()
	p.prepare(now)
	total := 0
	for _, r := range p.replicas {
		if r.in {
			total += r.peer.Weight
		}
	}
	list := make([]State, len(p.replicas))
	for i, r := range p.replicas {
		s := State{
			Addr: r.Addr, Weight: r.Weight, Up: r.in, Checked: r.checked, Healthy: r.healthy,
			Failures: r.failures, Ejects: r.times, InFlight: r.peer.Conns(), Why: "up",
		}
		if r.in {
			s.Share = float64(r.peer.Weight) / float64(max(total, 1))
		}
		switch {
		case r.Drain || r.Weight == 0:
			s.Why = "draining"
		case p.Checks && !r.checked:
			s.Why = "not checked yet"
		case p.Checks && !r.healthy:
			s.Why = "unhealthy"
		case now < r.ejected:
			s.Why, s.Ejected = "ejected", (r.ejected - now).Seconds()
		case r.MaxConns > 0 && r.peer.Conns() >= r.MaxConns:
			s.Why = "full"
		case p.part(r, now) < 1:
			s.Why = fmt.Sprintf("starting slowly: %.0f %%", 100*p.part(r, now))
		}
		list[i] = s
	}
	return list
}
