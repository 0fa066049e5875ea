package main

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"time"
)

func runHandshakes(ctx context.Context, args []string, out *printer) error {
	var f tlsFlags
	fs := flag.NewFlagSet("handshakes", flag.ContinueOnError)
	f.register(fs)
	var c closedLoad
	fs.IntVar(&c.workers, "connections", 0, "so many at a time")
	fs.DurationVar(&c.length, "duration", 0, "how long handshakes begin")
	fs.IntVar(&c.each, "requests", 0, "handshakes that each of the connections' workers makes")
	timeout := fs.Duration("timeout", 10*time.Second, "for one handshake and the end of its connection")
	rest, err := parse(fs, args)
	if err != nil {
		return err
	}
	to, err := address(rest)
	if err != nil {
		return err
	}
	if err := c.check(); err != nil {
		return err
	}
	if *timeout <= 0 {
		return wrong("-timeout %v: not a time", *timeout)
	}
	config, err := f.config()
	if err != nil {
		return err
	}
	// The same work for every peer: TLS 1.3, one key agreement, and no session to resume, since there is no cache.
	config.MinVersion, config.CurvePreferences = tls.VersionTLS13, []tls.CurveID{tls.X25519}
	if config.ServerName == "" {
		config.ServerName, _, _ = net.SplitHostPort(to)
	}
	c.work = func(ctx context.Context, _ int) (int64, error) {
		ctx, cancel := context.WithTimeout(ctx, *timeout)
		defer cancel()
		return 0, shakeAndClose(ctx, to, config)
	}
	return out.print(c.run(ctx))
}

// shakeAndClose makes a handshake, says goodbye and waits for the peer to do so. A TLS 1.3 client is done one flight before
// its peer: only the peer's end shows that it has finished the handshake too.
func shakeAndClose(ctx context.Context, to string, config *tls.Config) error {
	var d net.Dialer
	raw, err := d.DialContext(ctx, "tcp", to)
	if err != nil {
		return err
	}
	defer raw.Close()
	defer context.AfterFunc(ctx, func() { raw.SetDeadline(time.Unix(1, 0)) })()
	conn := tls.Client(raw, config)
	if err := conn.Handshake(); err != nil {
		return handshakeError{fmt.Errorf("handshake with %s: %w", to, err)}
	}
	if conn.ConnectionState().DidResume {
		return handshakeError{errors.New("a session was resumed")}
	}
	if err := conn.CloseWrite(); err != nil {
		return fmt.Errorf("say goodbye: %w", err)
	}
	if _, err := io.Copy(io.Discard, conn); err != nil {
		return fmt.Errorf("wait for the peer's goodbye: %w", err)
	}
	return nil
}
