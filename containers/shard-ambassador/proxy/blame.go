package proxy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"distlab/containers/internal/dial"
	"distlab/containers/internal/reactor"
	"distlab/containers/shard-ambassador/pool"
)

// Who is to blame decides what is done. A shard that fails is a failure for all of its keys and may eject it; what one
// client wants, or what this machine lacks, must not: else one client, or one full table of descriptors, would
// take every shard from everybody.

// blamed says whether a failure is the shard's.
func (k ErrorKind) blamed() bool { return k != ErrLocal && k != ErrClient }

// refusesRESP3 says whether a login's reply is that the shard speaks RESP2 alone: a Redis before 6, or one whose rights
// leave HELLO out. It is no failure, for it serves who does not ask for RESP3.
func refusesRESP3(reply []byte) bool {
	for _, prefix := range []string{"-NOPROTO", "-ERR unknown command", "-NOPERM"} {
		if bytes.HasPrefix(reply, []byte(prefix)) {
			return true
		}
	}
	return false
}

// judge looks at an error reply: some say that the shard cannot do its work, and count as failures. The client gets
// them as they are. Which they are is a setting, since most errors are about a client's request, or caused by one:
// -OOM is an answer to writes alone, and -BUSY is somebody's script.
func (b *backend) judge(piece []byte) {
	for _, word := range b.shard.pool.cfg.FailureReplies {
		if len(piece) > len(word)+1 && string(piece[1:len(word)+1]) == string(word) && piece[len(word)+1] == ' ' {
			b.bad = true
			b.shard.stats.Errors[ErrReply]++
			line, _, _ := bytes.Cut(piece[1:], []byte("\r\n"))
			b.shard.lastErr = string(bytes.TrimRight(line, "\r"))
			b.shard.failed()
			return
		}
	}
}

// Descriptors. What clients may take is what the pools' connections and the process itself leave: else a client more
// would be a shard that cannot be connected to.
const ownDescriptors = 32

// reserve sets how many connections of clients, and of large requests, there may be.
func (s *Server) reserve(pools []pool.Pool) error {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("getrlimit: %w", err)
	}
	threads := max(1, s.Threads)
	own := ownDescriptors + 2*threads
	for _, p := range pools {
		// RESP2's and RESP3's, and two for the listener.
		own += 2 + threads*len(p.Servers)*2*max(1, p.ServerConnections)
	}
	most := int64(min(limit.Cur, 1<<30))
	if most <= int64(own) {
		return fmt.Errorf("%d descriptors (ulimit -n) leave none for clients: the pools' servers and the process itself may take %d",
			most, own)
	}
	s.descriptors.Store(most - int64(own))
	return nil
}

// take is a descriptor of those that there are for clients; release gives it back.
func (s *Server) take() bool {
	if s.taken.Add(1) <= s.descriptors.Load() {
		return true
	}
	s.taken.Add(-1)
	return false
}

func (s *Server) release() { s.taken.Add(-1) }

// turnAway tells a new connection that there is no room, as Redis does.
func (w *worker) turnAway(fd int, p *shardPool) {
	syscall.Write(fd, []byte("-ERR max number of clients reached\r\n"))
	reactor.CloseFD(fd)
	p.stats.Rejected++
	w.srv.rarely.warn(w.srv.log(), "client turned away", "pool", p.cfg.Name, "reason", "no descriptors are left (ulimit -n)")
}

// rarely writes warnings that others can cause as often as they like: of each message a few in ten seconds; the next one
// says how many were left out.
type rarely struct {
	mu       sync.Mutex
	messages map[string]*said
}

type said struct {
	since time.Time
	times int
	left  int
}

const (
	sayPeriod = 10 * time.Second
	sayTimes  = 5
)

// warn writes one. Which message it is, and so what is counted together, is msg alone.
func (r *rarely) warn(log *slog.Logger, msg string, args ...any) {
	r.say(log, slog.LevelWarn, msg, args...)
}

func (r *rarely) say(log *slog.Logger, level slog.Level, msg string, args ...any) {
	r.mu.Lock()
	m := r.messages[msg]
	if m == nil {
		if r.messages == nil {
			r.messages = map[string]*said{}
		}
		m = &said{}
		r.messages[msg] = m
	}
	if now := time.Now(); now.Sub(m.since) >= sayPeriod {
		m.since, m.times = now, 0
	}
	if m.times++; m.times > sayTimes {
		m.left++
		r.mu.Unlock()
		return
	}
	left := m.left
	m.left = 0
	r.mu.Unlock()
	if left > 0 {
		args = append(args, "left_out", left)
	}
	log.Log(context.Background(), level, msg, args...)
}

// peer is who is connected, for the log.
func peer(fd int) string {
	sa, err := syscall.Getpeername(fd)
	if err != nil {
		return ""
	}
	switch a := sa.(type) {
	case *syscall.SockaddrInet4:
		return fmt.Sprintf("%d.%d.%d.%d:%d", a.Addr[0], a.Addr[1], a.Addr[2], a.Addr[3], a.Port)
	case *syscall.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr).Unmap(), uint16(a.Port)).String()
	}
	return "unix"
}

// kindOf is what the loss of a connection is counted as.
func kindOf(err error) ErrorKind {
	switch {
	case errors.Is(err, errEOF):
		return ErrClosed
	case dial.Local(err):
		return ErrLocal
	}
	return ErrBroken
}
