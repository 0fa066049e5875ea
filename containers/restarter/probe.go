package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// Outcome is what a probe says of the target.
type Outcome string

// The outcomes. Unknown is no evidence: whoever tells the health could not be asked.
const (
	Success Outcome = "success"
	Failure Outcome = "failure"
	Unknown Outcome = "unknown"
)

// Probe asks a URL for the target's health, as the kubelet's httpGet probe does: 200 to 399 is alive, redirects are
// not followed, a certificate is not checked.
type Probe struct {
	URL     string
	Timeout time.Duration
	Silence bool // no answer is a failure of the target, and not only of who tells its health
}

// reasonLimit is how much of an answer goes into the log.
const reasonLimit = 200

// client makes each probe on a connection of its own: one that was kept could outlive what it led to.
var client = &http.Client{
	Transport: &http.Transport{
		DisableKeepAlives: true,
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true}, // of the same pod; the kubelet does not check either
	},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// Ask makes one probe. The reason is for people; it is empty when all is well.
func (p *Probe) Ask(ctx context.Context) (o Outcome, reason string) {
	ctx, cancel := context.WithTimeoutCause(ctx, p.Timeout, fmt.Errorf("no answer within %v", p.Timeout))
	defer cancel()
	silence := Unknown
	if p.Silence {
		silence = Failure
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.URL, nil)
	if err != nil {
		return Unknown, err.Error()
	}
	req.Header.Set("User-Agent", "restarter")
	res, err := client.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return silence, err.Error()
	}
	defer res.Body.Close()
	if res.StatusCode >= 200 && res.StatusCode < 400 {
		return Success, ""
	}
	body, _ := io.ReadAll(io.LimitReader(res.Body, reasonLimit)) // what there is of it
	return Failure, strings.TrimSpace(res.Status + ": " + printable(string(body)))
}

// printable is a text in one line.
func printable(text string) string {
	return strings.Join(strings.Fields(strings.ToValidUTF8(text, "?")), " ")
}
