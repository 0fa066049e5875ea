package proxy

import (
	"context"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"distlab/containers/internal/reactor"
	"distlab/containers/shard-ambassador/resp"
)

// connect begins to connect. It is false if it may not yet, or cannot; that is
// counted.
func (b *backend) connect() bool {
	s, w := b.shard, b.w()
	if w.loop.Now() < s.dialAt {
		s.stats.Errors[ErrConnect]++
		return false
	}
	b.state = connecting
	b.dials++
	cfg := &s.pool.cfg
	if d := cfg.ConnectTimeout; d > 0 {
		w.loop.Arm(&b.timer, d)
	} else if cfg.Timeout > 0 {
		w.loop.Arm(&b.timer, cfg.Timeout)
	}
	addr := s.server.Addr
	if addr.Network == "unix" {
		b.dialed(reactor.DialUnix(addr.Address))
		return b.state != idle
	}
	if to, err := netip.ParseAddrPort(addr.Address); err == nil {
		b.dialed(reactor.DialTCP(to))
		return b.state != idle
	}
	dial := b.dials
	go func() {
		to, err := lookup(addr.Address)
		w.loop.Post(func() {
			if b.state != connecting || b.dials != dial {
				return
			}
			if err != nil {
				b.fail(ErrConnect, err.Error())
				return
			}
			b.dialed(reactor.DialTCP(to))
		})
	}()
	return true
}

// lookup finds an address, IPv4 first.
func lookup(address string) (netip.AddrPort, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return netip.AddrPort{}, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	number, err := net.DefaultResolver.LookupPort(ctx, "tcp", port)
	if err != nil {
		return netip.AddrPort{}, err
	}
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return netip.AddrPort{}, err
	}
	best := ips[0]
	for _, ip := range ips {
		if ip.Unmap().Is4() {
			best = ip
			break
		}
	}
	return netip.AddrPortFrom(best, uint16(number)), nil
}

func (b *backend) dialed(fd int, err error) {
	if err != nil {
		b.fail(ErrConnect, reason(err))
		return
	}
	reactor.NoDelay(fd)
	if b.shard.pool.cfg.TCPKeepAlive {
		reactor.KeepAlive(fd, keepAlive)
	}
	if b.src, err = b.w().loop.Register(fd, b); err != nil {
		reactor.CloseFD(fd)
		b.fail(ErrConnect, err.Error())
	}
}

// shake logs in. Requests wait until it has succeeded: they must not be
// executed in another database than their own.
func (b *backend) shake() {
	cfg := &b.shard.pool.cfg
	b.shard.stats.Connections++
	b.hello, b.shakes = b.hello[:0], 0
	say := func(args ...string) {
		b.hello = resp.AppendCommand(b.hello, args...)
		b.shakes++
	}
	switch {
	case b.resp3 && cfg.RedisAuth != "":
		say("HELLO", "3", "AUTH", "default", cfg.RedisAuth)
	case b.resp3:
		say("HELLO", "3")
	case cfg.RedisAuth != "":
		say("AUTH", cfg.RedisAuth)
	}
	if cfg.RedisDB > 0 {
		say("SELECT", strconv.Itoa(cfg.RedisDB))
	}
	if b.probe {
		say("PING")
	}
	b.state = shaking
	if b.shakes == 0 {
		b.isReady()
		return
	}
	if _, err := b.src.Write(b.hello); err != nil { // an empty socket takes a few bytes
		b.fail(ErrConnect, reason(err))
	}
}

func (b *backend) isReady() {
	b.state = ready
	if b.shard.down {
		b.shard.down = false
		b.w().srv.log().Info("shard connected", "pool", b.shard.pool.cfg.Name, "shard", b.shard.server.Name, "address", b.shard.server.Addr.String())
	}
	b.shard.backoff, b.shard.dialAt = 0, 0
	b.w().loop.Disarm(&b.timer)
	if b.probe {
		b.probe = false
		b.shard.probed(true)
	}
	now := int64(b.w().loop.Now())
	b.progress, b.opened = now, now
	b.watch()
	b.markDirty()
}

// shaken takes replies of the handshake.
func (b *backend) shaken(data []byte) (n int, ok bool) {
	for n < len(data) && b.shakes > 0 {
		k, done, err := b.scan.Scan(data[n:])
		switch {
		case err != nil:
			b.fail(ErrProtocol, err.Error())
			return n, false
		case b.scan.Kind == '-':
			text, _, _ := strings.Cut(string(data[n:n+k]), "\r\n")
			b.fail(ErrConnect, "login: "+strings.Trim(text, "-\r"))
			return n, false
		case done:
			b.shakes--
		}
		n += k
	}
	if b.shakes == 0 {
		b.isReady()
	}
	return n, true
}
