package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"time"
)

// Check is how to see that an instance works before the app is sent to it.
type Check struct {
	Kind   string // tcp: a connection is enough; line: so is not; none: nothing is asked, for servers that count such visits
	Send   string // line: what to say, without the end of the line; empty: the server speaks first
	Expect string // line: how the answer begins
}

// ParseCheck reads "tcp", "none" or "SEND:EXPECT".
func ParseCheck(text string) (Check, error) {
	if text == "tcp" || text == "none" {
		return Check{Kind: text}, nil
	}
	send, expect, ok := strings.Cut(text, ":")
	if !ok || expect == "" || strings.ContainsAny(text, "\r\n") {
		return Check{}, fmt.Errorf("not tcp, none or SEND:EXPECT: %.80q", text)
	}
	return Check{"line", send, expect}, nil
}

// Do checks once.
func (c Check) Do(ctx context.Context, dial func(ctx context.Context, network, address string) (net.Conn, error), address string) error {
	if c.Kind == "none" {
		return nil
	}
	conn, err := dial(ctx, "tcp", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	if c.Kind == "tcp" {
		return nil
	}
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	got, err := c.ask(conn)
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		return fmt.Errorf("no answer to %q: %w", c.Send, err)
	case !strings.HasPrefix(got, c.Expect):
		return fmt.Errorf("answered %q", got)
	}
	return nil
}

// ask is the first bytes of the answer: as many as are expected, or the line if it is shorter.
func (c Check) ask(conn io.ReadWriter) (string, error) {
	if c.Send != "" {
		if _, err := io.WriteString(conn, c.Send+"\r\n"); err != nil {
			return "", err
		}
	}
	r := bufio.NewReader(io.LimitReader(conn, int64(len(c.Expect))))
	var got strings.Builder
	for got.Len() < len(c.Expect) {
		b, err := r.ReadByte()
		if err != nil {
			return "", err
		}
		if b == '\n' {
			break
		}
		got.WriteByte(b)
	}
	return got.String(), nil
}
