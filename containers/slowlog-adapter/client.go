package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"distlab/containers/internal/resp"
)

// entryBudget is what an entry of the slow log may take: Redis keeps 32 arguments of 128 bytes and a little more. Of an
// entry of a server that keeps more, so much is read.
const entryBudget = 12 << 10

// smallBudget is for every other reply.
const smallBudget = 256 << 10

// Server says how to reach a Redis and who to be there.
type Server struct {
	Addr               string      // host:port, or the path of a socket
	TLS                *tls.Config // nil: plain TCP
	Username, Password string
	Timeout            time.Duration // of connecting, and of each command
	Name               string        // by which the server knows this client
}

// conn is one connection. One process of Redis is at its end: what holds of the process, its run ID, is asked once.
type conn struct {
	server *Server
	net.Conn
	in    *resp.Reader
	runID string
	addr  string // this end's address as the server sees it
}

// dial connects, authenticates and asks who the server is.
func (s *Server) dial(ctx context.Context) (*conn, error) {
	ctx, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	network := "tcp"
	if strings.HasPrefix(s.Addr, "/") {
		network = "unix"
	}
	raw, err := new(net.Dialer).DialContext(ctx, network, s.Addr)
	if err != nil {
		return nil, err
	}
	if s.TLS != nil {
		secure := tls.Client(raw, s.TLS)
		if err := secure.HandshakeContext(ctx); err != nil {
			raw.Close()
			return nil, fmt.Errorf("TLS with %s: %w", s.Addr, err)
		}
		raw = secure
	}
	c := &conn{server: s, Conn: raw, in: resp.NewReader(raw), addr: raw.LocalAddr().String()}
	if err := c.greet(ctx); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// greet makes the connection one that can be polled. A name and an address are for telling one's own commands apart;
// a user who may set neither still gets what it came for.
func (c *conn) greet(ctx context.Context) error {
	s := c.server
	switch {
	case s.Username != "":
		if _, err := c.do(ctx, smallBudget, "AUTH", s.Username, s.Password); err != nil {
			return fmt.Errorf("authenticate as the given user: %w", err)
		}
	case s.Password != "":
		if _, err := c.do(ctx, smallBudget, "AUTH", s.Password); err != nil {
			return fmt.Errorf("authenticate: %w", err)
		}
	}
	if _, err := c.do(ctx, smallBudget, "CLIENT", "SETNAME", s.Name); err != nil && !refused(err) {
		return err
	}
	info, err := c.do(ctx, smallBudget, "CLIENT", "INFO") // from Redis 6.2
	if err != nil && !refused(err) {
		return err
	}
	for field := range strings.FieldsSeq(info.Text) {
		if addr, ok := strings.CutPrefix(field, "addr="); ok {
			c.addr = addr
		}
	}
	info, err = c.do(ctx, smallBudget, "INFO", "server")
	if err != nil {
		return fmt.Errorf("INFO server: %w", err)
	}
	for line := range strings.Lines(info.Text) {
		if id, ok := strings.CutPrefix(line, "run_id:"); ok {
			c.runID = strings.TrimSpace(id)
		}
	}
	// It is compared, kept in a file and written: what is no word is not one process's name.
	if c.runID == "" || len(c.runID) > 128 || strings.ContainsFunc(c.runID, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return errors.New("INFO server: has no run_id")
	}
	return nil
}

// slowlog is the newest n entries, newest first.
func (c *conn) slowlog(ctx context.Context, n int) ([]Entry, error) {
	c.in.Share = entryBudget
	v, err := c.do(ctx, smallBudget+int64(n)*entryBudget, "SLOWLOG", "GET", strconv.Itoa(n))
	c.in.Share = 0
	if err != nil {
		return nil, fmt.Errorf("SLOWLOG GET: %w", err)
	}
	entries, err := parseLog(v)
	if err != nil {
		return nil, fmt.Errorf("SLOWLOG GET: %w", err)
	}
	return entries, nil
}

// reset is SLOWLOG RESET: what this program never does unless told to imitate those that do.
func (c *conn) reset(ctx context.Context) error {
	if _, err := c.do(ctx, smallBudget, "SLOWLOG", "RESET"); err != nil {
		return fmt.Errorf("SLOWLOG RESET: %w", err)
	}
	return nil
}

// do sends a command and reads its reply, within the server's timeout. An error that is no refusal leaves the
// connection useless.
func (c *conn) do(ctx context.Context, budget int64, args ...string) (resp.Value, error) {
	ctx, cancel := context.WithTimeout(ctx, c.server.Timeout)
	defer cancel()
	if err := c.SetDeadline(time.Time{}); err != nil {
		return resp.Value{}, err
	}
	stop := context.AfterFunc(ctx, func() { c.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if _, err := c.Write(resp.Append(nil, args...)); err != nil {
		return resp.Value{}, c.timedOut(ctx, err)
	}
	v, err := c.in.Reply(budget)
	return v, c.timedOut(ctx, err)
}

// timedOut says "no answer" where a read was cut by the deadline.
func (c *conn) timedOut(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil && !refused(err) {
		return fmt.Errorf("%s: no answer within %s: %w", c.server.Addr, c.server.Timeout, ctx.Err())
	}
	return err
}

func refused(err error) bool {
	var no resp.ServerError
	return errors.As(err, &no)
}
