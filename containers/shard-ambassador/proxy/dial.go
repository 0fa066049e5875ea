package proxy

import (
	"log/slog"
	"strconv"
	"strings"

	"distlab/containers/internal/dial"
	"distlab/containers/internal/reactor"
	"distlab/containers/shard-ambassador/resp"
)

// connect begins to connect. It is false if it may not yet; that is counted.
func (b *backend) connect() bool {
	s, w := b.shard, b.w()
	if w.loop.Now() < s.dialAt[b.proto()] {
		s.stats.Errors[s.failedAs[b.proto()]]++ // the same again, without trying
		return false
	}
	b.state = connecting
	cfg := &s.pool.cfg
	if d := cfg.ConnectTimeout; d > 0 {
		w.loop.Arm(&b.timer, d)
	} else if cfg.Timeout > 0 {
		w.loop.Arm(&b.timer, cfg.Timeout)
	}
	b.attempt.Start(s.server.Addr.Network, s.server.Addr.Address)
	return true
}

// dialed is the end of the attempt.
func (b *backend) dialed(fd int, err error) {
	if err == nil {
		reactor.NoDelay(fd)
		if b.shard.pool.cfg.TCPKeepAlive {
			reactor.KeepAlive(fd, keepAlive)
		}
		if b.src, err = b.w().loop.Register(fd, b); err != nil {
			reactor.CloseFD(fd)
		}
	}
	switch {
	case err == nil:
		b.shake()
	case dial.Local(err):
		b.fail(ErrLocal, reason(err))
	default:
		b.fail(ErrConnect, reason(err))
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
		b.shard.rarely.say(b.w().srv.log(), slog.LevelInfo, "shard connected", "pool", b.shard.pool.cfg.Name,
			"shard", b.shard.server.Name, "address", b.shard.server.Addr.String())
	}
	b.shard.backoff[b.proto()], b.shard.dialAt[b.proto()] = 0, 0
	b.shard.resp2Only = false // it may have been replaced by a newer one
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
			kind := ErrConnect
			if b.resp3 && refusesRESP3(data[n:n+k]) {
				kind = ErrClient
				b.shard.resp2Only = true
			}
			b.fail(kind, "login: "+strings.Trim(text, "-\r"))
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
