package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"flag"
	"io"
	"net/url"
	"time"
)

// keep is how much of a body is printed; all of it is counted and hashed.
const keep = 1 << 20

func runHTTP(ctx context.Context, args []string, out *printer) error {
	var f requestFlags
	fs := flag.NewFlagSet("http", flag.ContinueOnError)
	f.register(fs, 5*time.Second)
	follow := fs.Bool("follow", false, "follow redirects, ten at most")
	rest, err := parse(fs, args)
	if err != nil {
		return err
	}
	if err := f.check(rest, 100); err != nil {
		return err
	}
	for _, u := range f.urls {
		if err := out.print(f.ask(ctx, u, *follow)); err != nil {
			return err
		}
	}
	return nil
}

// ask sends one request, on a connection of its own.
func (f *requestFlags) ask(ctx context.Context, u *url.URL, follow bool) httpAnswer {
	t := f.transport()
	defer t.CloseIdleConnections()
	req, err := f.request(u)
	if err != nil {
		return httpAnswer{failure: failed(err)}
	}
	a := httpAnswer{Header: map[string][]string{}, Body: []byte{}}
	s := &shot{due: time.Now()}
	hash, body := sha256.New(), &head{max: keep}
	res, n, err := s.do(f.client(t, follow), req.WithContext(s.trace(ctx, nil)), io.MultiWriter(hash, body))
	a.failure, a.Seconds = failed(err), s.taken.Seconds()
	a.Local, a.Remote = addr(s.local), addr(s.remote)
	if res == nil {
		a.TLS = refusedChain(err)
		return a
	}
	a.Status, a.Proto, a.Header = res.StatusCode, res.Proto, res.Header
	a.Bytes, a.Body, a.SHA256 = n, body.Bytes(), hex.EncodeToString(hash.Sum(nil))
	if res.TLS != nil {
		a.TLS = &tlsAnswer{}
		a.TLS.describe(*res.TLS)
	}
	return a
}

// refusedChain is what can be said of a handshake that failed on the peer's certificate; nil of any other error.
func refusedChain(err error) *tlsAnswer {
	var bad *tls.CertificateVerificationError
	if !errors.As(err, &bad) {
		return nil
	}
	return &tlsAnswer{failure: failed(bad), Certificates: certificates(bad.UnverifiedCertificates)}
}

// head keeps the first max bytes that are written to it.
type head struct {
	bytes.Buffer
	max int
}

func (h *head) Write(p []byte) (int, error) {
	h.Buffer.Write(p[:min(len(p), h.max-h.Len())])
	return len(p), nil
}
