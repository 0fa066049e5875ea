package proxy

import (
	"context"
	"fmt"
	"net"
	"os"
	"time"

	"distlab/containers/internal/lastcall"
	"distlab/containers/internal/reactor"
	"distlab/containers/shard-ambassador/pool"
	"distlab/containers/shard-ambassador/ring"
)

// acceptPause is how long nothing is accepted after an error, such as too many open files.
const acceptPause = 100 * time.Millisecond

// listener accepts for one pool, on the first loop, and deals the connections
// out to all in turn.
type listener struct {
	ln    net.Listener
	cfg   pool.Pool
	srv   *Server
	pool  string
	src   *reactor.Source
	pause reactor.Timer
	next  int // loop
}

// same says whether it serves the pool as it is now.
func (l *listener) same(p pool.Pool) bool {
	return l.cfg.Listen == p.Listen && l.cfg.Backlog == p.Backlog
}

// listen opens a pool's address. A socket that nobody serves any more is replaced.
func listen(p pool.Pool) (*listener, error) {
	network, address := p.Listen.Network, p.Listen.Address
	if network == "unix" {
		if err := removeStale(address); err != nil {
			return nil, err
		}
	}
	cfg := net.ListenConfig{KeepAlive: -1}
	cfg.SetMultipathTCP(false) // see lastcall
	ln, err := cfg.Listen(context.Background(), network, address)
	if err != nil {
		return nil, err
	}
	if p.Listen.Mode != 0 {
		if err := os.Chmod(address, p.Listen.Mode); err != nil {
			ln.Close()
			return nil, err
		}
	}
	return &listener{ln: ln, cfg: p}, nil
}

func removeStale(path string) error {
	info, err := os.Lstat(path)
	if err != nil {
		return nil // nothing there, or listening will say
	}
	if info.Mode()&os.ModeSocket == 0 {
		return fmt.Errorf("listen unix %s: exists and is no socket", path)
	}
	if conn, err := net.Dial("unix", path); err == nil {
		conn.Close()
		return fmt.Errorf("listen unix %s: another process serves it", path)
	}
	return os.Remove(path)
}

// register begins to accept, in the first loop.
func (l *listener) register(srv *Server, name string) error {
	l.srv, l.pool = srv, name
	l.pause.Fire = l.accept
	fd, err := reactor.Listen(l.ln, l.cfg.Backlog)
	if err != nil {
		return err
	}
	if l.src, err = srv.workers[0].loop.Register(fd, l); err != nil {
		reactor.CloseFD(fd)
	}
	return err
}

// Ready is called by the loop.
func (l *listener) Ready(reactor.Event) { l.accept() }

func (l *listener) accept() {
	first := l.srv.workers[0]
	for {
		fd, err := l.src.Accept()
		if err == reactor.ErrAgain {
			return
		}
		if err != nil {
			if !l.pause.Armed() {
				l.srv.rarely.warn(l.srv.log(), "accept failed", "pool", l.pool, "error", err)
				first.loop.Arm(&l.pause, acceptPause)
			}
			return
		}
		w := l.srv.workers[l.next%len(l.srv.workers)]
		l.next++
		if w == first {
			w.adopt(fd, l.pool)
		} else if !w.loop.Post(func() { w.adopt(fd, l.pool) }) {
			reactor.CloseFD(fd)
		}
	}
}

// retire lets nobody new in; close shall come when those whose handshake was
// under way have had the time for it.
func (l *listener) retire() {
	if u, ok := l.ln.(*net.UnixListener); ok {
		if path := l.cfg.Listen.Address; path[0] != '@' {
			os.Remove(path)
		}
		u.SetUnlinkOnClose(false)
	} else if l.src != nil {
		lastcall.Deafen(l.src.FD)
	}
}

// close stops accepting. Who has connected already is taken in first.
func (l *listener) close() {
	if l.src != nil {
		l.accept()
		l.src.Close()
		l.srv.workers[0].loop.Disarm(&l.pause)
	}
	l.ln.Close()
}

// adopt makes a client of a connection.
func (w *worker) adopt(fd int, name string) {
	p := w.pools[name]
	if p == nil {
		reactor.CloseFD(fd)
		return
	}
	if !w.srv.take() {
		w.turnAway(fd, p)
		return
	}
	p.stats.Accepted++
	reactor.NoDelay(fd)
	reactor.KeepAlive(fd, keepAlive) // a client that has vanished would stay for ever
	c := &client{w: w, pool: p, id: w.srv.nextID.Add(1), authed: p.cfg.RedisAuth == ""}
	var err error
	if c.src, err = w.loop.Register(fd, c); err != nil {
		reactor.CloseFD(fd)
		w.srv.release()
		return
	}
	w.clients[c] = struct{}{}
	p.clients++
	all := int(p.total.Add(1))
	if limit := p.cfg.ClientConnections; limit > 0 && all > limit {
		p.stats.Rejected++
		c.reply("-ERR max number of clients reached\r\n")
		c.shut()
	} else if w.draining {
		c.readable = true
		c.resume()
	}
}

// setPool makes a pool, or makes it what it is now.
func (w *worker) setPool(cfg pool.Pool, r *ring.Ring) {
	p := w.pools[cfg.Name]
	if p == nil {
		p = newShardPool(w, cfg, r)
		w.pools[cfg.Name] = p
	} else {
		p.change(cfg, r)
	}
	p.total = w.srv.total(cfg.Name)
	if cfg.Preconnect {
		for _, s := range p.shards {
			for _, b := range s.conns[0] {
				if b.state == idle && !s.ejected {
					b.connect()
				}
			}
		}
	}
}

// change makes a pool what it is now. A server that stays keeps its connections,
// and its requests, even if its place on the ring is another.
func (p *shardPool) change(cfg pool.Pool, r *ring.Ring) {
	kept := map[pool.Server]*shard{}
	for _, s := range p.shards {
		// The weight is the ring's affair.
		key := s.server
		key.Weight = 0
		kept[key] = s
	}
	login := p.cfg.RedisAuth != cfg.RedisAuth || p.cfg.RedisDB != cfg.RedisDB || p.cfg.ServerConnections != cfg.ServerConnections
	p.cfg, p.ring = cfg, r
	p.shards = nil
	for _, server := range cfg.Servers {
		key := server
		key.Weight = 0
		s := kept[key]
		if s == nil || login {
			s = newShard(p, server)
		} else {
			delete(kept, key)
			s.server = server
		}
		p.shards = append(p.shards, s)
	}
	for _, s := range kept {
		s.retire()
	}
	p.relive()
	for c := range p.w.clients {
		if c.pool == p && cfg.RedisAuth == "" {
			c.authed = true
		}
	}
}

// removePool ends a pool: its clients are served to their end and closed.
func (w *worker) removePool(name string) {
	p := w.pools[name]
	if p == nil {
		return
	}
	delete(w.pools, name)
	for c := range w.clients {
		if c.pool == p {
			c.shut()
		}
	}
	for _, s := range p.shards {
		s.retire()
	}
}
