package proxy

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"distlab/containers/internal/reactor"
	"distlab/containers/shard-ambassador/pool"
	"distlab/containers/shard-ambassador/ring"
)

// Backoff between attempts to connect to a shard, doubled each time; each
// wait is shortened by up to a half, so that many proxies do not come at once.
const (
	leastBackoff = 50 * time.Millisecond
	mostBackoff  = time.Second
)

// shardPool is a pool on one loop.
type shardPool struct {
	w       *worker
	cfg     pool.Pool
	ring    *ring.Ring // of all servers
	live    *ring.Ring // of those that are not ejected; nil: none is left
	shards  []*shard   // by the ring's index
	clients int
	total   *atomic.Int64 // clients of the pool on all loops
	stats   PoolStats
}

// shard is a server on one loop.
type shard struct {
	pool   *shardPool
	server pool.Server
	conns  [2][]*backend // for clients of RESP2, and of RESP3

	failures  int // in a row
	ejected   bool
	down      bool             // the last connection failed: said once in the log
	resp2Only bool             // it has refused RESP3
	gone      bool             // not in the pool any more: a reload took it out
	backoff   [2]time.Duration // as conns
	dialAt    [2]time.Duration // not before
	failedAs  [2]ErrorKind     // the last attempt to connect
	rarely    rarely
	lastErr   string        // why the last connection failed
	retry     reactor.Timer // has it tried again while it is ejected
	stats     ShardStats
}

func newShardPool(w *worker, cfg pool.Pool, r *ring.Ring) *shardPool {
	p := &shardPool{w: w, cfg: cfg, ring: r, live: r}
	for _, server := range cfg.Servers {
		p.shards = append(p.shards, newShard(p, server))
	}
	return p
}

func newShard(p *shardPool, server pool.Server) *shard {
	s := &shard{pool: p, server: server}
	s.retry.Fire = s.tryAgain
	for proto := range s.conns {
		for range max(1, p.cfg.ServerConnections) {
			s.conns[proto] = append(s.conns[proto], newBackend(s, proto == 1))
		}
	}
	return s
}

// resp2Only is a shard that has refused RESP3, if there is one: a client that asks for it is better served with
// RESP2, which libraries fall back to.
func (p *shardPool) resp2Only() *shard {
	for _, s := range p.shards {
		if s.resp2Only {
			return s
		}
	}
	return nil
}

// pick is the shard of a key. The error is for the client.
func (p *shardPool) pick(key []byte) (int, string) {
	i := p.live.Pick(key)
	if i < 0 {
		return i, "-ERR no shard is up\r\n"
	}
	return i, ""
}

// backend is the connection to a shard that a client's requests take: always
// the same, so that they stay in order. The error is for the client.
func (p *shardPool) backend(i int, c *client) (*backend, string) {
	s := p.shards[i]
	proto := 0
	if c.resp3 {
		proto = 1
	}
	b := s.conns[proto][int(c.id)%len(s.conns[proto])]
	if s.ejected {
		s.stats.Errors[ErrEjected]++
		return nil, s.errText("ejected: " + s.lastErr)
	}
	if b.state == idle && !b.connect() {
		return nil, s.errText(s.lastErr)
	}
	return b, ""
}

// errText is an error reply about the shard.
func (s *shard) errText(why string) string {
	return fmt.Sprintf("-ERR shard %q (%s): %s\r\n", s.server.Name, s.server.Addr, why)
}

// failed counts a failure; as many as the limit in a row eject the shard.
func (s *shard) failed() {
	s.failures++
	cfg := &s.pool.cfg
	if s.gone || s.ejected || !cfg.AutoEjectHosts || s.failures < max(1, cfg.ServerFailureLimit) {
		return
	}
	s.ejected = true
	s.stats.Ejections++
	s.stats.EjectedAt = s.pool.w.loop.Time()
	s.pool.relive()
	s.pool.w.loop.Arm(&s.retry, cfg.ServerRetryTimeout)
	s.rarely.warn(s.pool.w.srv.log(), "shard ejected", "pool", s.pool.cfg.Name, "shard", s.server.Name,
		"address", s.server.Addr.String(), "error", s.lastErr, "failures", s.failures)
}

// relive makes the ring of the shards that take requests.
func (p *shardPool) relive() {
	p.live = p.ring
	if p.cfg.Eject == pool.FailFast {
		return
	}
	down, any := make([]bool, len(p.shards)), false
	for i, s := range p.shards {
		down[i] = s.ejected
		any = any || s.ejected
	}
	if any {
		p.live = p.ring.Without(down)
	}
}

// tryAgain is when an ejected shard's time is over. It must answer a PING
// first, where that is asked for.
func (s *shard) tryAgain() {
	if !s.ejected || s.gone {
		return
	}
	if !s.pool.cfg.Probe {
		s.readmit()
		return
	}
	b := s.conns[0][0]
	if b.state != idle {
		b.fail(ErrConnect, "probed")
	}
	s.dialAt[0] = 0
	b.probe = true
	b.connect()
}

// probed ends a probe.
func (s *shard) probed(ok bool) {
	if !s.ejected {
		return
	}
	if ok {
		s.readmit()
		return
	}
	s.pool.w.loop.Arm(&s.retry, s.pool.cfg.ServerRetryTimeout)
}

func (s *shard) readmit() {
	s.ejected = false
	s.failures = 0
	s.backoff, s.dialAt = [2]time.Duration{}, [2]time.Duration{}
	s.pool.relive()
	s.rarely.say(s.pool.w.srv.log(), slog.LevelInfo, "shard back", "pool", s.pool.cfg.Name, "shard", s.server.Name,
		"address", s.server.Addr.String(), "ejected_seconds", s.pool.w.loop.Time().Sub(s.stats.EjectedAt).Seconds())
	s.stats.EjectedAt = time.Time{}
}

// delay puts the next attempt to connect off: for the protocol's version alone, which a shard may refuse.
func (s *shard) delay(i int) {
	s.backoff[i] = min(max(leastBackoff, 2*s.backoff[i]), mostBackoff)
	s.dialAt[i] = s.pool.w.loop.Now() + s.backoff[i] - rand.N(s.backoff[i]/2)
}

// retire lets a shard that is no longer in the pool end what it has in hand.
func (s *shard) retire() {
	s.gone = true
	s.pool.w.loop.Disarm(&s.retry)
	for _, conns := range s.conns {
		for _, b := range conns {
			if b.pending.len() == 0 {
				b.close()
			}
		}
	}
}
