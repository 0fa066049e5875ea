package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"

	_ "golang.org/x/crypto/x509roots/fallback" // an image from scratch has no authorities of its own
)

const service = "git-upload-pack"

// overHTTP speaks git's smart HTTP: gitprotocol-http(5).
type overHTTP struct {
	base     *url.URL // where a redirect has led
	client   *http.Client
	user     string
	password string // empty: none
	bodies   []io.Closer
}

func (r *Remote) dialHTTP() (*overHTTP, error) {
	h := &overHTTP{base: r.URL, user: r.Username}
	if r.URL.User != nil {
		h.user = r.URL.User.Username()
	}
	if r.PasswordPath != "" {
		var err error
		if h.password, err = secret(r.PasswordPath); err != nil {
			return nil, fmt.Errorf("PASSWORD_PATH: %w", err)
		}
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxResponseHeaderBytes = 64 << 10
	transport.ForceAttemptHTTP2 = true
	if r.CAPath != "" {
		pem, err := os.ReadFile(r.CAPath)
		if err != nil {
			return nil, fmt.Errorf("CA_PATH: %w", err)
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("CA_PATH: %s has no certificate", r.CAPath)
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: pool}
	}
	h.client = &http.Client{Transport: transport, CheckRedirect: mayFollow}
	return h, nil
}

// mayFollow lets the first question be sent elsewhere, as git does, but never from HTTPS to HTTP.
func mayFollow(req *http.Request, via []*http.Request) error {
	switch last := via[len(via)-1]; {
	case req.Method != http.MethodGet:
		return errors.New("a redirect of a request that is not the first")
	case len(via) >= 5:
		return errors.New("more than five redirects")
	case last.URL.Scheme == "https" && req.URL.Scheme != "https":
		return fmt.Errorf("a redirect from HTTPS to %s", req.URL.Scheme)
	case !strings.HasSuffix(req.URL.Path, "/info/refs"):
		return fmt.Errorf("a redirect to %s, which is no repository", req.URL.Redacted())
	}
	return nil
}

func (h *overHTTP) refs(ctx context.Context) (io.Reader, error) {
	resp, err := h.do(ctx, http.MethodGet, "/info/refs?service="+service, nil, "application/x-"+service+"-advertisement")
	if err != nil {
		return nil, err
	}
	// Who was sent to another host leaves the password behind: net/http has not sent it there, and neither do we
	// later.
	at := *resp.Request.URL
	if at.Host != h.base.Host {
		h.password = ""
	}
	at.Path, at.RawPath, at.RawQuery = strings.TrimSuffix(at.Path, "/info/refs"), "", ""
	h.base = &at
	return resp.Body, nil
}

func (h *overHTTP) ask(ctx context.Context, request []byte) (io.Reader, error) {
	resp, err := h.do(ctx, http.MethodPost, "/"+service, request, "application/x-"+service+"-result")
	if err != nil {
		return nil, err
	}
	return resp.Body, nil
}

func (h *overHTTP) do(ctx context.Context, method, path string, body []byte, want string) (*http.Response, error) {
	at := *h.base
	at.User = nil
	req, err := http.NewRequestWithContext(ctx, method, at.String()+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", "git/git-sync") // some forges answer only what calls itself git
	req.Header.Set("Accept", want)
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/x-"+service+"-request")
	}
	if h.password != "" {
		req.SetBasicAuth(h.user, h.password)
	}
	resp, err := h.client.Do(req)
	if err != nil {
		return nil, err
	}
	h.bodies = append(h.bodies, resp.Body)
	switch kind := resp.Header.Get("Content-Type"); {
	case resp.StatusCode == http.StatusUnauthorized, resp.StatusCode == http.StatusForbidden:
		return nil, fmt.Errorf("%s %s: %s: see USERNAME and PASSWORD_PATH", method, at.Redacted(), resp.Status)
	case resp.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("%s %s: %s", method, at.Redacted(), resp.Status)
	case kind != want:
		return nil, fmt.Errorf("%s %s: answers with %q: not a git repository over smart HTTP", method, at.Redacted(), kind)
	}
	return resp, nil
}

func (h *overHTTP) Close() error {
	for _, b := range h.bodies {
		b.Close()
	}
	h.client.CloseIdleConnections()
	return nil
}
