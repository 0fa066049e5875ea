// Package balance chooses one of several servers as nginx does: smooth
// weighted round robin, ip_hash, hash, hash … consistent and split_clients,
// each exact to the choice. Nothing here allocates per request, locks, or reads
// a clock: the caller does, and owns the time's unit.
//
//	peers := balance.New(list, false)
//	var pick balance.Pick
//	i := peers.Smooth(&pick, now)      // the first choice
//	j := peers.Smooth(&pick, now)      // the next one, for a retry
//	peers.Done(i, true, now)           // what became of it
//
// Source: nginx 1.26: ngx_http_upstream_round_robin.c, _ip_hash_module.c,
// _hash_module.c and ngx_http_split_clients_module.c, re-implemented.
package balance

import "time"

// MaxPeers is how many peers one set may have: what was tried is a bit each.
const MaxPeers = 64

// Peer is one server, its settings and its state. nginx has no weight 0; here
// it is a server that is never chosen.
type Peer struct {
	Server      string // as written: host or host:port; consistent hashing hashes it
	Weight      int
	MaxFails    int           // failures within FailTimeout that take it out; 0: none do
	FailTimeout time.Duration // how long it is then out
	MaxConns    int           // in use at once; 0: no limit
	Down        bool          // never chosen
	Unhealthy   bool          // not chosen while another can be: a health check's word

	conns     int
	fails     int
	current   int
	effective int
	accessed  time.Duration // of the last failure
	checked   time.Duration // of the last failure, or the last try after it
}

// Conns is how many choices of it are not Done.
func (p *Peer) Conns() int { return p.conns }

// Fails counts failures since the last success that counted.
func (p *Peer) Fails() int { return p.fails }

// Effective is the weight after failures; it grows back by one at each choice.
func (p *Peer) Effective() int { return p.effective }

// Failed says whether failures keep it out at this time.
func (p *Peer) Failed(now time.Duration) bool {
	return p.MaxFails > 0 && p.fails >= p.MaxFails && now-p.checked <= p.FailTimeout
}

// Usable says whether a health check, failures or its limit keep it out.
func (p *Peer) Usable(now time.Duration) bool {
	return !p.Down && !p.Unhealthy && !p.full() && !p.Failed(now)
}

func (p *Peer) full() bool { return p.MaxConns > 0 && p.conns >= p.MaxConns }

// Peers is a set of peers in the order of their declaration. It is not safe
// for concurrent use.
type Peers struct {
	list   []*Peer
	total  int     // of all weights
	points []point // sorted; for Consistent
	parts  []uint32
	rest   int // whose share is what parts leave
}

// New makes a set. Peers may have been in a set before: what is in use and what
// failed stays, and the round robin goes on where the weights allow, so that a
// small share gets its turn though the weights change all the time. ring is whether Consistent will
// be asked: it takes 160 points for each unit of weight.
func New(list []*Peer, ring bool) *Peers {
	if len(list) > MaxPeers {
		panic("balance: too many peers")
	}
	s := &Peers{list: list}
	for _, p := range list {
		s.total += p.Weight
		p.effective = p.Weight
	}
	s.resume()
	if ring {
		s.points = newPoints(list)
	}
	s.parts, s.rest = newParts(list, s.total)
	return s
}

// resume starts the round robin over, unless it is in a state that these
// weights can lead to.
func (s *Peers) resume() {
	sum, fits := 0, true
	for _, p := range s.list {
		sum += p.current
		fits = fits && -s.total < p.current && p.current < s.total && (p.Weight > 0 || p.current == 0)
	}
	if sum == 0 && fits {
		return
	}
	for _, p := range s.list {
		p.current = 0
	}
}

// Clone is a set of copies, for asking what would be chosen.
func (s *Peers) Clone() *Peers {
	c := *s
	c.list = make([]*Peer, len(s.list))
	for i, p := range s.list {
		copied := *p
		c.list[i] = &copied
	}
	return &c
}

// Peer is the one at i.
func (s *Peers) Peer(i int) *Peer { return s.list[i] }

// Total is the sum of the weights.
func (s *Peers) Total() int { return s.total }

// Pick is one request's way through the peers: what it has tried, and how far
// its hash has gone. The zero value is a new request.
type Pick struct {
	// Panic chooses among peers that failed, too: for when no other is left.
	Panic bool
	// Moved is set when the key's own peer could not be used.
	Moved bool

	tried  uint64
	tries  int
	hash   uint32
	rehash uint32
	begun  bool
}

// Tried takes a peer out of this request's choice.
func (k *Pick) Tried(i int) { k.tried |= 1 << i }

// HasTried says whether peer i was chosen, or taken out, before.
func (k *Pick) HasTried(i int) bool { return k.tried&(1<<i) != 0 }

// Usable says whether peer i may be chosen for this request.
func (s *Peers) Usable(k *Pick, i int, now time.Duration) bool {
	p := s.list[i]
	if k.HasTried(i) || p.Weight == 0 {
		return false
	}
	return p.Usable(now) || k.Panic && !p.Down && !p.full()
}

// Take chooses peer i, whatever its state: for who knows better.
func (s *Peers) Take(k *Pick, i int, now time.Duration) {
	p := s.list[i]
	k.Tried(i)
	if now-p.checked > p.FailTimeout {
		p.checked = now
	}
	p.conns++
}

// Smooth is nginx's smooth weighted round robin. It returns -1 if no peer is
// left.
func (s *Peers) Smooth(k *Pick, now time.Duration) int {
	best := s.smooth(k, now, "")
	if best >= 0 {
		s.Take(k, best, now)
	}
	return best
}

// smooth moves the weights of the usable peers, those named server alone
// unless that is empty.
func (s *Peers) smooth(k *Pick, now time.Duration, server string) int {
	best, total := -1, 0
	for i, p := range s.list {
		if !s.Usable(k, i, now) || server != "" && p.Server != server {
			continue
		}
		p.current += p.effective
		total += p.effective
		if p.effective < p.Weight {
			p.effective++
		}
		if best < 0 || p.current > s.list[best].current {
			best = i
		}
	}
	if best >= 0 {
		s.list[best].current -= total
	}
	return best
}

// Done ends one choice of a peer, which may have left the set since.
func Done(p *Peer, failed bool, now time.Duration) {
	p.conns--
	if !failed {
		// A success counts only after the time out was over.
		if p.accessed < p.checked {
			p.fails = 0
		}
		return
	}
	p.fails++
	p.accessed, p.checked = now, now
	if p.MaxFails > 0 {
		p.effective = max(0, p.effective-p.Weight/p.MaxFails)
	}
}

// Release ends a choice that says nothing about the peer.
func Release(p *Peer) { p.conns-- }
