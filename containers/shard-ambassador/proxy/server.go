// Package proxy is the ambassador's data path: clients of Redis on one side,
// shards on the other.
//
//	srv := &proxy.Server{}
//	err := srv.Start(pools)
//	…
//	err = srv.Shutdown(ctx)
//
// Each of a few event loops owns a share of the clients, and its own
// connections to every shard, which all of these clients share. In one round of
// events a loop reads what its clients have sent, cuts it into requests, and
// adds each to what waits for its shard; at the end of the round every shard gets
// all of it in one write. The way back is the same. So the number of system
// calls falls as the load grows, and nothing is allocated for a request.
//
// A shard answers in the order of its requests, and that order is all that says
// whose a reply is. So a connection on which anything was late or wrong is
// closed, never used again.
//
// Source: twemproxy's notes/recommendation.md and src/nc_message.c for what it
// does; the batching of both sides by rounds is Redis' own, and mcrouter's.
package proxy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"distlab/containers/internal/dial"
	"distlab/containers/internal/lastcall"
	"distlab/containers/shard-ambassador/pool"
	"distlab/containers/shard-ambassador/ring"
)

// keepAlive is how long a connection is idle before the system probes it: a
// client's always, a server's with tcpkeepalive.
const keepAlive = time.Minute

// staleNames is how long a server's addresses stand in while nobody can be asked for them.
const staleNames = time.Hour

// Defaults of a Server.
const (
	DefaultClientBuffer  = 64 << 20
	DefaultMaxRequest    = 64 << 20
	DefaultClientTimeout = 10 * time.Second
)

// Server serves pools. Its fields are set before Start.
type Server struct {
	Log          *slog.Logger // nil: slog's default
	Threads      int          // event loops; 0: one
	ClientBuffer int          // bytes of replies kept for clients that do not read them, in all; 0: DefaultClientBuffer
	MaxRequest   int          // bytes of a request that is not only passed on; 0: DefaultMaxRequest

	ClientTimeout time.Duration // for a client to take leastTaken when no more may be kept; 0: DefaultClientTimeout
	ResolvePeriod time.Duration // how long a server's addresses are taken without asking again; see dial.Names

	names       *dial.Names
	descriptors atomic.Int64 // that clients may take in all
	taken       atomic.Int64 // of them
	rarely      rarely
	workers     []*worker
	ended       chan error // one for each loop
	broken      chan error
	nextID      atomic.Int64

	mu        sync.Mutex // guards the following
	running   int        // loops
	listeners map[string]*listener
	order     []string // names of the pools, as in their file
	configs   map[string]pool.Pool

	totals sync.Map // of clients by pool: *atomic.Int64
}

func (s *Server) total(name string) *atomic.Int64 {
	n, _ := s.totals.LoadOrStore(name, new(atomic.Int64))
	return n.(*atomic.Int64)
}

func (s *Server) log() *slog.Logger {
	if s.Log == nil {
		return slog.Default()
	}
	return s.Log
}

func (s *Server) clientBuffer() int { return orDefault(s.ClientBuffer, DefaultClientBuffer) }
func (s *Server) maxRequest() int   { return orDefault(s.MaxRequest, DefaultMaxRequest) }

func orDefault(n, d int) int {
	if n == 0 {
		return d
	}
	return n
}

// Start listens on the addresses of the pools and serves them until Shutdown.
// It is called once.
func (s *Server) Start(pools []pool.Pool) error {
	s.listeners, s.configs = map[string]*listener{}, map[string]pool.Pool{}
	s.names = &dial.Names{Keep: s.ResolvePeriod, Stale: staleNames}
	for range max(1, s.Threads) {
		w, err := newWorker(s)
		if err != nil {
			s.closeWorkers()
			return err
		}
		s.workers = append(s.workers, w)
	}
	s.ended = make(chan error, len(s.workers))
	s.broken = make(chan error, len(s.workers))
	s.running = len(s.workers)
	for _, w := range s.workers {
		go func() {
			err := w.loop.Run()
			close(w.gone)
			if err != nil {
				s.broken <- err
			}
			s.ended <- err
		}()
	}
	if err := s.apply(pools); err != nil {
		s.stop()
		return err
	}
	return nil
}

func (s *Server) closeWorkers() {
	for _, w := range s.workers {
		w.loop.Close()
	}
}

// stop ends the loops, and with them every connection.
func (s *Server) stop() error {
	var errs []error
	for _, w := range s.workers {
		w.loop.Stop()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for ; s.running > 0; s.running-- {
		errs = append(errs, <-s.ended)
	}
	for _, ln := range s.listeners {
		ln.ln.Close()
	}
	return errors.Join(errs...)
}

// Reload replaces the pools. Connections of clients stay, those to servers that
// stay do too, and what is under way is answered by who has it. On an error
// everything is as before.
func (s *Server) Reload(pools []pool.Pool) error { return s.apply(pools) }

func (s *Server) apply(pools []pool.Pool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	rings := make([]*ring.Ring, len(pools))
	for i, p := range pools {
		if !p.Redis {
			return fmt.Errorf("pool %s: memcached is not served here: a pool of Redis servers says redis: true, which is not twemproxy's default", p.Name)
		}
		r, err := p.Ring()
		if err != nil {
			return fmt.Errorf("pool %s: %w", p.Name, err)
		}
		rings[i] = r
	}
	// Everything that can fail comes first.
	if err := s.reserve(pools); err != nil {
		return err
	}
	fresh := map[string]*listener{}
	for _, p := range pools {
		if old := s.listeners[p.Name]; old != nil && old.same(p) {
			continue
		}
		ln, err := listen(p)
		if err != nil {
			for _, ln := range fresh {
				ln.ln.Close()
			}
			return fmt.Errorf("pool %s: %w", p.Name, err)
		}
		fresh[p.Name] = ln
	}
	wanted := map[string]bool{}
	s.order = s.order[:0]
	for i, p := range pools {
		wanted[p.Name] = true
		s.order = append(s.order, p.Name)
		s.configs[p.Name] = p
		for _, w := range s.workers {
			s.do(w, func() { w.setPool(p, rings[i]) })
		}
	}
	first := s.workers[0]
	var leaving []*listener
	for name, ln := range s.listeners {
		if !wanted[name] || fresh[name] != nil {
			leaving = append(leaving, ln)
			delete(s.listeners, name)
		}
	}
	s.closeListeners(context.Background(), leaving)
	for name := range s.configs {
		if !wanted[name] {
			delete(s.configs, name)
			for _, w := range s.workers {
				s.do(w, func() { w.removePool(name) })
			}
		}
	}
	var errs []error
	for name, ln := range fresh {
		s.listeners[name] = ln
		s.do(first, func() { errs = append(errs, ln.register(s, name)) })
		s.log().Info("listening", "pool", name, "address", ln.ln.Addr().String())
	}
	return errors.Join(errs...)
}

// Broken gets the error of an event loop that has ended by itself: the server
// serves no longer as it should.
func (s *Server) Broken() <-chan error { return s.broken }

// do runs f in a loop and waits for it. A loop that has ended runs nothing.
func (s *Server) do(w *worker, f func()) {
	done := make(chan struct{})
	if !w.loop.Post(func() { f(); close(done) }) {
		return
	}
	select {
	case <-done:
	case <-w.gone:
	}
}

// Shutdown stops accepting, answers all that has been received, tells each client by closing,
// and ends. It returns ctx's error if that was cut. A second call does nothing more.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.closeListeners(ctx, slices.Collect(maps.Values(s.listeners)))
	clear(s.listeners)
	s.mu.Unlock()
	var wait sync.WaitGroup
	for _, w := range s.workers {
		wait.Add(1)
		if !w.loop.Post(func() { w.drain(wait.Done) }) {
			wait.Done()
		}
	}
	gone := make(chan struct{})
	go func() { wait.Wait(); close(gone) }()
	var cut error
	select {
	case <-gone:
	case <-ctx.Done():
		cut = ctx.Err()
	}
	return errors.Join(cut, s.stop())
}

// closeListeners takes in who has connected, or is about to, and then closes.
func (s *Server) closeListeners(ctx context.Context, list []*listener) {
	if len(list) == 0 {
		return
	}
	first := s.workers[0]
	for _, ln := range list {
		s.do(first, ln.retire)
	}
	select {
	case <-ctx.Done():
	case <-time.After(lastcall.Grace):
	}
	for _, ln := range list {
		s.do(first, ln.close)
	}
}

// drain has all clients served to their end.
func (w *worker) drain(done func()) {
	w.draining, w.drained = true, done
	for c := range w.clients {
		c.readable = true
		c.resume()
	}
}

// PoolSnapshot is what a pool is and has done.
type PoolSnapshot struct {
	Config pool.Pool
	Addr   string // where it listens
	PoolStats
	Shards []ShardSnapshot
}

// ShardSnapshot is what one of its servers has done, and whether it takes requests.
type ShardSnapshot struct {
	Server    pool.Server
	Ejected   bool
	LastError string
	ShardStats
}

// Snapshot asks all loops. It costs the data path nothing but the asking.
func (s *Server) Snapshot() []PoolSnapshot {
	s.mu.Lock()
	var list []PoolSnapshot
	for _, name := range s.order {
		snap := PoolSnapshot{Config: s.configs[name]}
		if ln := s.listeners[name]; ln != nil {
			snap.Addr = ln.ln.Addr().String()
		}
		for _, server := range snap.Config.Servers {
			snap.Shards = append(snap.Shards, ShardSnapshot{Server: server})
		}
		list = append(list, snap)
	}
	s.mu.Unlock()
	for _, w := range s.workers {
		s.do(w, func() {
			for i := range list {
				w.snapshot(&list[i])
			}
		})
	}
	return list
}

func (w *worker) snapshot(into *PoolSnapshot) {
	p := w.pools[into.Config.Name]
	if p == nil {
		return
	}
	stats := p.stats
	stats.Clients = p.clients
	into.PoolStats.add(&stats)
	for i := range into.Shards {
		to := &into.Shards[i]
		for _, sh := range p.shards {
			if sh.server == to.Server {
				stats := sh.current()
				to.ShardStats.add(&stats)
				to.Ejected = to.Ejected || sh.ejected
				if sh.lastErr != "" {
					to.LastError = sh.lastErr
				}
			}
		}
	}
}

// current is what is counted, and what is under way now.
func (s *shard) current() ShardStats {
	stats := s.stats
	for _, conns := range s.conns {
		for _, b := range conns {
			stats.InFlight += b.pending.len()
			stats.InQueueBytes += b.out.len()
			if b.state != ready {
				stats.InQueue += b.pending.len()
			}
		}
	}
	return stats
}
