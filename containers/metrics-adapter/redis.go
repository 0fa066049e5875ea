package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"distlab/containers/internal/dial"
	"distlab/containers/internal/resp"
)

// Redis is a Redis, or a Valkey: https://redis.io/docs/latest/commands/info/.
type Redis struct {
	Addr               string      // host:port, or the path of a socket
	TLS                *tls.Config // nil: plain TCP
	Username, Password string
	PasswordPath       string // read at each login, in the place of Password
	EmptyDatabases     bool
	Now                func() time.Time // nil: time.Now
}

func checkRedisAddr(addr string) error {
	if strings.HasPrefix(addr, "/") {
		return nil
	}
	if host, port, err := net.SplitHostPort(addr); err != nil || host == "" || port == "" || strings.Contains(host, "/") {
		return fmt.Errorf("%q is not a Redis: host:port, or the path of a socket", addr)
	}
	return nil
}

// Collect connects, logs in, and asks. A connection for each collection: one that is kept would outlive passwords and
// servers, and a scrape is rare.
//
// INFO is what a target must answer. The rest may be forbidden, renamed or not there yet (while it loads its data): then
// those metrics are missing, and it is up.
func (r *Redis) Collect(ctx context.Context) (*page, error) {
	p := &page{}
	begun := time.Now()
	c, err := r.connect(ctx)
	if err != nil {
		return p, err
	}
	defer c.Close()
	p.add(gauge, "redis_exporter_last_scrape_connect_time_seconds", "Time to connect and log in, in seconds.", time.Since(begun).Seconds())
	text, err := c.do("INFO", "ALL")
	if err != nil {
		return p, fmt.Errorf("INFO: %w", err)
	}
	in := parseInfo(text.Text)
	if in.fields["redis_version"] == "" {
		return p, fmt.Errorf("INFO: %w: it has no redis_version", errProtocol)
	}
	config, err := c.config()
	if err != nil {
		return p, err
	}
	in.metrics(p, config, r.EmptyDatabases, r.now())
	for _, ask := range []struct {
		unless bool
		words  []string
		add    func(*page, resp.Value)
	}{
		{words: []string{"SLOWLOG", "LEN"}, add: addSlowlogLength},
		{words: []string{"SLOWLOG", "GET", "1"}, add: addSlowlog},
		{words: []string{"LATENCY", "LATEST"}, add: addSpikes},
		{words: []string{"LATENCY", "HISTOGRAM"}, add: in.addLatencies},
		{words: []string{"CLUSTER", "INFO"}, add: addCluster, unless: in.fields["cluster_enabled"] != "1"},
	} {
		if ask.unless {
			continue
		}
		v, err := c.may(ask.words...)
		if err != nil {
			return p, err
		}
		if v != nil {
			ask.add(p, *v)
		}
	}
	return p, nil
}

func (r *Redis) now() time.Time {
	if r.Now != nil {
		return r.Now()
	}
	return time.Now()
}

// Frame adds redis_up and what the exporter tells of itself.
func (r *Redis) Frame(p *page, t tally) {
	p.add(gauge, "redis_up", "1 if Redis answered INFO.", truth(t.Up))
	p.add(gauge, "redis_exporter_last_scrape_error", "1 if the last scrape failed, and why.", truth(!t.Up), "err", t.Reason)
	p.add(gauge, "redis_exporter_last_scrape_duration_seconds", "Duration of the last scrape, in seconds.", seconds(t.Took))
	p.add(counter, "redis_exporter_scrapes_total", "Scrapes of this target.", float64(t.Number))
	p.summary("redis_exporter_scrape_duration_seconds", "Durations of scrapes, in seconds.", t.Number, seconds(t.TookAll), nil)
}

// redisConn is one connection. Its deadline is the collection's.
type redisConn struct {
	net.Conn
	in  *resp.Reader
	ctx context.Context
}

func (r *Redis) connect(ctx context.Context) (*redisConn, error) {
	network := "tcp"
	if strings.HasPrefix(r.Addr, "/") {
		network = "unix"
	}
	raw, err := new(dial.Dialer).DialContext(ctx, network, r.Addr)
	if err != nil {
		return nil, err
	}
	if deadline, ok := ctx.Deadline(); ok {
		_ = raw.SetDeadline(deadline)
	}
	if r.TLS != nil {
		secure := tls.Client(raw, r.TLS)
		if err := secure.HandshakeContext(ctx); err != nil {
			raw.Close()
			return nil, fmt.Errorf("TLS: %w", err)
		}
		raw = secure
	}
	c := &redisConn{Conn: raw, in: resp.NewReader(raw), ctx: ctx}
	if err := r.login(c); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

func (r *Redis) login(c *redisConn) error {
	password := r.Password
	if r.PasswordPath != "" {
		b, err := os.ReadFile(r.PasswordPath)
		if err != nil {
			return err
		}
		password = strings.TrimRight(string(b), "\r\n")
	}
	words := []string{"AUTH"}
	switch {
	case r.Username != "":
		words = append(words, r.Username, password)
	case password != "":
		words = append(words, password)
	default:
		return nil
	}
	_, err := c.do(words...)
	if err != nil {
		return fmt.Errorf("log in: %w", err)
	}
	return nil
}

// do sends a command and reads its reply.
func (c *redisConn) do(words ...string) (resp.Value, error) {
	if _, err := c.Write(resp.Append(nil, words...)); err != nil {
		return resp.Value{}, err
	}
	return c.in.Reply(replyBudget)
}

// may is do for a command that the server may refuse: then the value is nil.
func (c *redisConn) may(words ...string) (*resp.Value, error) {
	v, err := c.do(words...)
	var no resp.ServerError
	switch {
	case errors.As(err, &no):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("%s: %w", words[0], err)
	}
	return &v, nil
}

// configNames are the settings that are shown. They are asked for by name: others are secrets.
var configNames = []string{"databases", "maxclients", "maxmemory", "io-threads", "client-output-buffer-limit"}

// config are the server's settings; none where CONFIG is forbidden.
func (c *redisConn) config() (map[string]string, error) {
	all := map[string]string{}
	for _, name := range configNames {
		v, err := c.may("CONFIG", "GET", name)
		if err != nil {
			return nil, err
		}
		if v == nil {
			return all, nil
		}
		for i := 0; i+1 < len(v.List); i += 2 {
			all[v.List[i].Text] = v.List[i+1].Text
		}
	}
	return all, nil
}

// replyBudget bounds a reply, in bytes. INFO of a busy server with every command in its statistics is some 100 KB.
const replyBudget = 8 << 20
