package main

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"time"

	"distlab/containers/internal/dial"
)

// Service is what the app finds under one local address: which instances there are, which of them can be used, and who is
// connected to which.
type Service struct {
	Name   string
	Select Selector // nil: all
	Check  Check
	Policy Policy
	Dial   func(ctx context.Context, network, address string) (net.Conn, error)
	Log    *slog.Logger
	// Changed is called when an instance has become usable or not, and Believed when the registry is believed anew, or is not.
	Changed, Believed func()

	mu         sync.Mutex
	ctx        context.Context // of the checks
	known      []Instance      // the last good answer
	version    string
	confirmed  time.Time // when the registry said so
	from       string    // registry or disk
	doubt      string    // why the last answer is not believed; empty: it is
	others     string    // what there is where nothing fits
	garbled    map[string]string
	backends   []*backend
	turn       int
	complained time.Time // of this machine's own failures
	counts     counts
}

// Policy is what all services have in common.
type Policy struct {
	Keep           time.Duration // how long the last good answer is used while no other is believed
	TrustEmpty     bool
	CheckInterval  time.Duration
	CheckTimeout   time.Duration
	CheckFall      int
	ConnectTimeout time.Duration
	LeaveTimeout   time.Duration
}

type counts struct{ connections, refused, retried, cut, checksFailed uint64 }

// Of an instance.
const (
	checking = "checking" // not used before it has been seen to work
	up       = "up"
	failing  = "failing"
	leaving  = "leaving" // the registry has it no more; connections end by themselves, or after LEAVE_TIMEOUT
)

// backend is an instance in use. Guarded by Service.mu.
type backend struct {
	Instance
	state    string
	why      string
	since    time.Time
	failures int
	left     *time.Timer // nil: the registry has it
	over     bool        // its connections have been told to end
	open     int         // connections, those being made too
	conns    map[*pair]bool
	stop     context.CancelFunc // of its checks
}

func (b *backend) shown() string {
	if b.left != nil {
		return leaving
	}
	return b.state
}

// Hear takes an answer of the registry's, or its failure. What is not believed changes nothing but for its age.
func (s *Service) Hear(a Answer, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var chosen []Instance
	if err != nil {
		s.doubted(err.Error())
		return
	}
	for _, in := range a.Instances[s.Name] {
		if s.Select.fits(in) {
			chosen = append(chosen, in)
		}
	}
	garbled := a.Garbled[s.Name]
	if !maps.Equal(garbled, s.garbled) {
		for id, why := range garbled {
			s.Log.Warn("registration cannot be read", "service", s.Name, "id", fmt.Sprintf("%.80q", id), "reason", why)
		}
		s.garbled = garbled
	}
	kept := 0
	old := time.Since(s.confirmed) > s.Policy.Keep
	for _, in := range s.known {
		// What is garbled may be any environment's: only one that was known good stays.
		if _, ok := garbled[in.ID]; ok && !old {
			chosen = append(chosen, in)
			kept++
		}
	}
	switch {
	case kept > 0:
		s.doubted(fmt.Sprintf("%d registrations cannot be read, and are used as they were", kept))
		s.use(chosen, s.version, s.confirmed, s.from) // the others are believed
		return
	case len(chosen) == 0 && len(s.known) > 0 && !s.Policy.TrustEmpty:
		s.doubted("the registry says that there is no instance" + s.wanted())
		if len(s.known) > 0 {
			return
		}
		fallthrough
	case len(chosen) == 0:
		s.others = s.Select.others(a.Instances[s.Name])
	default:
		s.others = ""
	}
	if was := s.doubt; was != "" {
		s.doubt = ""
		s.Log.Info("registry believed", "service", s.Name, "version", a.Version, "was", was)
		defer s.Believed()
	}
	s.use(chosen, a.Version, time.Now(), "registry")
}

func (s *Service) wanted() string {
	if len(s.Select) == 0 {
		return ""
	}
	return " with " + s.Select.String()
}

// doubted goes on with the last good answer, if it is not too old. s.mu is held.
func (s *Service) doubted(why string) {
	if s.doubt == "" {
		s.Log.Warn("registry not believed", "service", s.Name, "reason", why, "age_seconds", s.age())
		defer s.Believed()
	}
	s.doubt = why
	s.expire()
}

// expire lets go of what has been kept for too long. s.mu is held.
func (s *Service) expire() {
	if s.doubt != "" && len(s.known) > 0 && time.Since(s.confirmed) > s.Policy.Keep {
		s.Log.Warn("last good answer dropped", "service", s.Name, "age_seconds", s.age(), "reason", s.doubt)
		s.use(nil, "", s.confirmed, s.from)
	}
}

// Tick lets go of what has been kept for too long, where nobody speaks.
func (s *Service) Tick() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expire()
}

func (s *Service) age() float64 {
	if s.confirmed.IsZero() {
		return 0
	}
	return time.Since(s.confirmed).Seconds()
}

// Start begins with what was kept, before the registry has been heard.
func (s *Service) Start(ctx context.Context, kept Kept, why string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ctx, s.doubt = ctx, why
	if len(kept.Instances) > 0 {
		s.Log.Info("begin with the last good answer", "service", s.Name, "version", kept.Version, "age_seconds", time.Since(kept.Confirmed).Seconds())
		s.use(kept.Instances, kept.Version, kept.Confirmed, "disk")
	}
}

// Kept is what is worth keeping over a restart.
func (s *Service) Kept() Kept {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Kept{s.Select.String(), s.version, s.confirmed, slices.Clone(s.known)}
}

// use makes these the instances. Those that stay are not touched, nor are the connections of those that leave. s.mu is held.
func (s *Service) use(list []Instance, version string, confirmed time.Time, from string) {
	changed := !slices.EqualFunc(s.known, list, Instance.same)
	s.known, s.version, s.confirmed, s.from = list, version, confirmed, from
	wanted := map[[2]string]Instance{}
	for _, in := range list {
		wanted[[2]string{in.ID, in.Address}] = in
	}
	for _, b := range slices.Clone(s.backends) {
		key := [2]string{b.ID, b.Address}
		in, ok := wanted[key]
		delete(wanted, key)
		switch {
		case ok && b.left != nil && !b.over: // back, before all were told to go
			b.left.Stop()
			b.left = nil
			b.Instance = in
			s.Log.Info("instance is back", "service", s.Name, "id", b.ID, "address", b.Address)
			s.check(b, checking)
		case ok && b.left != nil: // it comes anew, beside what is left of it
			wanted[key] = in
		case ok:
			b.Instance = in
		case b.left == nil:
			s.leave(b)
		}
	}
	for _, in := range list { // in the registry's order
		if _, ok := wanted[[2]string{in.ID, in.Address}]; !ok {
			continue
		}
		delete(wanted, [2]string{in.ID, in.Address})
		b := &backend{Instance: in, conns: map[*pair]bool{}}
		s.backends = append(s.backends, b)
		s.Log.Info("instance joins", "service", s.Name, "id", b.ID, "address", b.Address, "from", from)
		s.check(b, checking)
	}
	if changed {
		s.Believed()
	}
	s.Changed()
}

func (in Instance) same(other Instance) bool {
	return in.ID == other.ID && in.Address == other.Address && in.Priority == other.Priority && in.Weight == other.Weight &&
		maps.Equal(in.Labels, other.Labels)
}

// leave gives an instance no new connection; those that it has may end. s.mu is held.
func (s *Service) leave(b *backend) {
	b.stop()
	s.Log.Info("instance leaves", "service", s.Name, "id", b.ID, "address", b.Address, "connections", b.open)
	b.left = time.AfterFunc(s.Policy.LeaveTimeout, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if b.left == nil {
			return
		}
		b.over = true
		for c := range b.conns {
			s.counts.cut++
			c.end()
		}
		s.forget(b)
	})
	s.forget(b)
}

// forget drops an instance that has left and has no connection. s.mu is held.
func (s *Service) forget(b *backend) {
	if b.left != nil && b.open == 0 {
		b.left.Stop()
		s.backends = slices.DeleteFunc(s.backends, func(o *backend) bool { return o == b })
	}
}

// check begins to look after an instance. s.mu is held.
func (s *Service) check(b *backend, state string) {
	b.state, b.why, b.since, b.failures = state, "", time.Now(), 0
	ctx, cancel := context.WithCancel(s.ctx)
	b.stop = cancel
	address := b.Address
	go func() {
		for ctx.Err() == nil {
			err := s.probe(ctx, address)
			s.probed(ctx, b, err)
			pause := time.Duration(float64(s.Policy.CheckInterval) * (0.9 + 0.2*rand.Float64())) // not all at one time
			select {
			case <-time.After(pause):
			case <-ctx.Done():
			}
		}
	}()
}

func (s *Service) probe(ctx context.Context, address string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, s.Policy.CheckTimeout, fmt.Errorf("no answer within %v", s.Policy.CheckTimeout))
	defer cancel()
	return s.Check.Do(ctx, s.Dial, address)
}

func (s *Service) probed(ctx context.Context, b *backend, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ctx.Err() != nil { // it has left, or we stop: that is no failure of its own
		return
	}
	if err == nil {
		b.failures = 0
		s.turned(b, up, "")
		return
	}
	s.counts.checksFailed++
	if s.local(err) {
		return
	}
	if b.failures++; b.state != up || b.failures >= s.Policy.CheckFall {
		s.turned(b, failing, err.Error())
	}
}

// failed says that a connection for the app could not be made: no check is needed to know more.
func (s *Service) failed(b *backend, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts.retried++
	if b.left == nil && !s.local(err) {
		s.turned(b, failing, err.Error())
	}
}

// local says whether a failure is this machine's own: that it has no descriptor or port left tells nothing of an instance,
// and would take all of them away at once. It is logged now and then. s.mu is held.
func (s *Service) local(err error) bool {
	if !dial.Local(err) {
		return false
	}
	if now := time.Now(); now.Sub(s.complained) > 10*time.Second {
		s.complained = now
		s.Log.Warn("not tried: this machine cannot connect", "service", s.Name, "error", err)
	}
	return true
}

// turned changes the state of an instance. s.mu is held.
func (s *Service) turned(b *backend, state, why string) {
	b.why = why
	if b.state == state {
		return
	}
	level := slog.LevelInfo
	if state == failing {
		level = slog.LevelWarn
	}
	s.Log.Log(context.Background(), level, "instance "+state, "service", s.Name, "id", b.ID, "address", b.Address, "reason", why)
	b.state, b.since = state, time.Now()
	s.Changed()
}

// choose takes the usable instance with the fewest connections for its weight, of the lowest priority. What was tried is
// out. Release gives it back.
func (s *Service) choose(tried map[*backend]bool) *backend {
	s.mu.Lock()
	defer s.mu.Unlock()
	var best []*backend
	load := func(b *backend) float64 { return float64(b.open+1) / float64(max(b.Weight*100, 1)) }
	for _, b := range s.backends {
		if b.state != up || b.left != nil || tried[b] {
			continue
		}
		order := -1
		if len(best) > 0 {
			order = cmp.Or(cmp.Compare(b.Priority, best[0].Priority), cmp.Compare(load(b), load(best[0])))
		}
		if order < 0 {
			best = best[:0]
		}
		if order <= 0 {
			best = append(best, b)
		}
	}
	if len(best) == 0 {
		return nil
	}
	s.turn++
	b := best[s.turn%len(best)]
	b.open++
	return b
}

// attach notes a connection. It is too late where all of them have been told to end.
func (s *Service) attach(b *backend, c *pair) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if b.over {
		return false
	}
	s.counts.connections++
	b.conns[c] = true
	return true
}

func (s *Service) release(b *backend, c *pair) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(b.conns, c)
	b.open--
	s.forget(b)
}

// Ready says whether there is an instance to use, and why not.
func (s *Service) Ready() (bool, string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ready()
}

func (s *Service) ready() (bool, string) {
	why := ""
	for _, b := range s.backends {
		switch b.shown() {
		case up:
			return true, ""
		case failing:
			why = fmt.Sprintf("%s: all instances fail: %s: %s", s.Name, b.ID, b.why)
		}
	}
	switch {
	case len(s.known) > 0:
		return false, cmp.Or(why, s.Name+": not checked yet")
	case s.doubt != "":
		return false, s.Name + ": no instance is known: " + s.doubt
	}
	return false, fmt.Sprintf("%s: no instance%s: %s", s.Name, s.wanted(), s.others)
}
