package main

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"io"
	"os"
	"strings"
	"time"
)

// versions are the names that -min and -max take.
var versions = map[string]uint16{
	"1.0": tls.VersionTLS10, "1.1": tls.VersionTLS11, "1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13,
}

// secondThoughts bounds the wait for a TLS 1.3 peer to refuse a client certificate after the handshake. A peer that
// accepts says so at once with a session ticket, if it issues any.
const secondThoughts = 500 * time.Millisecond

func runTLS(ctx context.Context, args []string, out *printer) error {
	var f tlsFlags
	fs := flag.NewFlagSet("tls", flag.ContinueOnError)
	f.register(fs)
	low := fs.String("min", "1.0", "the lowest `version` to offer: 1.0, 1.1, 1.2 or 1.3")
	high := fs.String("max", "1.3", "the highest `version` to offer")
	alpn := fs.String("alpn", "", "the `protocols` to offer, h2,http/1.1")
	timeout := fs.Duration("timeout", 3*time.Second, "for everything")
	rest, err := parse(fs, args)
	if err != nil {
		return err
	}
	to, err := address(rest)
	if err != nil {
		return err
	}
	config, err := f.config()
	if err != nil {
		return err
	}
	config.MinVersion, config.MaxVersion = versions[*low], versions[*high]
	switch {
	case config.MinVersion == 0 || config.MaxVersion == 0 || config.MinVersion > config.MaxVersion:
		return wrong("-min %s -max %s: not a range of 1.0, 1.1, 1.2, 1.3", *low, *high)
	case *timeout <= 0:
		return wrong("-timeout %v: not a time", *timeout)
	}
	// What the peer refuses is the question, so offer all that the version has, the weak too.
	for _, suite := range append(tls.CipherSuites(), tls.InsecureCipherSuites()...) {
		config.CipherSuites = append(config.CipherSuites, suite.ID)
	}
	if *alpn != "" {
		config.NextProtos = strings.Split(*alpn, ",")
	}
	ctx, cancel := context.WithTimeout(ctx, *timeout)
	defer cancel()
	return out.print(shake(ctx, to, config))
}

// shake makes one handshake and says what was agreed, or why nothing was.
func shake(ctx context.Context, to string, config *tls.Config) tlsAnswer {
	start := time.Now()
	accepted := &acceptance{ticket: make(chan struct{})}
	config.ClientSessionCache = accepted
	a := tlsAnswer{Certificates: []certificate{}}
	conn, asked, err := handshake(ctx, to, config)
	if err == nil {
		defer conn.Close()
		a.describe(conn.ConnectionState())
		if asked {
			err = accepted.wait(ctx, conn)
		}
	} else if chain := refusedChain(err); chain != nil {
		a = *chain
	}
	a.failure, a.Seconds = failed(err), time.Since(start).Seconds()
	a.Handshake = err == nil
	return a
}

// acceptance finds out whether a TLS 1.3 peer that asked for a client certificate was content with it: once it is, it
// sends a session ticket.
type acceptance struct {
	seen   bool
	ticket chan struct{}
}

// Get is part of tls.ClientSessionCache: no session is ever resumed.
func (a *acceptance) Get(string) (*tls.ClientSessionState, bool) { return nil, false }

// Put is part of tls.ClientSessionCache: the peer sent a ticket, which it does when it has accepted the client.
func (a *acceptance) Put(string, *tls.ClientSessionState) {
	if !a.seen {
		a.seen = true
		close(a.ticket)
	}
}

// wait returns the peer's refusal, or nil when it has accepted or says nothing.
func (a *acceptance) wait(ctx context.Context, conn *tls.Conn) error {
	deadline := time.Now().Add(secondThoughts)
	if d, ok := ctx.Deadline(); ok && d.Before(deadline) {
		deadline = d
	}
	conn.SetReadDeadline(deadline)
	go func() {
		select {
		case <-a.ticket:
			conn.SetReadDeadline(time.Unix(1, 0))
		case <-ctx.Done():
		}
	}()
	_, err := conn.Read(make([]byte, 1))
	if err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		return nil
	}
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return handshakeError{err}
}
