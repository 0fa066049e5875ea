package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// Bad is a commit that a check or the app itself has found wrong. It is not tried again until the ref moves.
type Bad struct {
	Commit string    `json:"commit"`
	Stage  string    `json:"stage"`  // check: it was never published; health: it was, and the link went back
	Reason string    `json:"reason"` // what the check said
	At     time.Time `json:"at"`
}

func (b *Bad) Error() string {
	return fmt.Sprintf("commit %s is bad (%s): %s", b.Commit, b.Stage, b.Reason)
}

func bad(commit, stage, reason string) *Bad {
	return &Bad{Commit: commit, Stage: stage, Reason: reason, At: time.Now().UTC().Truncate(time.Second)}
}

// Check decides before a commit is published. Who cannot be asked has decided nothing: that is an error of the
// surroundings, and the commit is tried again.
type Check struct {
	URL     string
	Command string
	Timeout time.Duration
}

// Run is nil for a good commit, a *Bad for a bad one, and another error where nobody decided.
func (c Check) Run(ctx context.Context, hash, dir string) error {
	if c.Command != "" {
		if err := c.command(ctx, hash, dir); err != nil {
			return err
		}
	}
	if c.URL != "" {
		return c.url(ctx, hash)
	}
	return nil
}

func (c Check) command(ctx context.Context, hash, dir string) error {
	err := runCommand(ctx, c.Command, hash, dir, c.Timeout)
	var failed *failedCommand
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.As(err, &failed):
		return bad(hash, "check", failed.Error())
	case err != nil:
		return fmt.Errorf("CHECK_COMMAND: %w", err)
	}
	return nil
}

// url asks until the answer is good or the time is up: an app may take a moment to see the staged link.
func (c Check) url(ctx context.Context, hash string) error {
	limit, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	pause, reason, unheard := 20*time.Millisecond, "", error(nil)
	for {
		err := ask(limit, c.URL, hash, c.Timeout)
		var dial *net.OpError
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.As(err, &dial) && dial.Op == "dial":
			if limit.Err() == nil || unheard == nil {
				unheard = err
			}
		case limit.Err() == nil || reason == "":
			reason = err.Error()
		}
		select {
		case <-limit.Done():
			if reason == "" {
				return fmt.Errorf("CHECK_URL: nobody to ask: %w", unheard)
			}
			return bad(hash, "check", reason)
		case <-time.After(pause):
		}
		pause = min(2*pause, time.Second)
	}
}

// client follows no redirect and keeps no connection: each answer is about the files that are there now.
var client = &http.Client{
	Transport:     &http.Transport{DisableKeepAlives: true},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// ask is nil where a URL answers 2xx in time. The error has the beginning of what it says instead.
func ask(ctx context.Context, url, hash string, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Gitsync-Hash", hash)
	resp, err := client.Do(req)
	if err != nil {
		if errors.Is(err, context.DeadlineExceeded) {
			return fmt.Errorf("%s: no answer within %s", url, limit)
		}
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 512))
	switch {
	case resp.StatusCode/100 != 2 && strings.Contains(resp.Header.Get("Content-Type"), "html"):
		return fmt.Errorf("%s: %s", url, resp.Status) // a page for people, of which the status is all that matters
	case resp.StatusCode/100 != 2:
		return fmt.Errorf("%s: %s: %s", url, resp.Status, line(body))
	case err != nil:
		return fmt.Errorf("%s: %w", url, err)
	}
	return nil
}

// line is text for a log: one line, not long, without control characters.
func line(text []byte) string {
	clean := strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(string(text), "\uFFFD"))
	words := strings.Join(strings.Fields(clean), " ")
	if runes := []rune(words); len(runes) > 300 {
		words = string(runes[:300]) + "…"
	}
	return words
}

// Health watches a commit after it was published. A few bad answers in a row are a reason to go back; where it
// answered badly before, too, the commit is not what is wrong, and may be the cure.
type Health struct {
	URL      string
	For      time.Duration
	Timeout  time.Duration
	Failures int
}

// Before says whether there is anything to lose.
func (h Health) Before(ctx context.Context, hash string) bool {
	return h.URL != "" && ask(ctx, h.URL, hash, h.Timeout) == nil
}

// Watch is nil where it stayed good, a *Bad where it did not, and ctx's error where it was cut short.
func (h Health) Watch(ctx context.Context, hash string) error {
	ticker := time.NewTicker(min(max(h.For/10, 10*time.Millisecond), time.Second))
	defer ticker.Stop()
	over := time.After(h.For)
	failed, ended := 0, false
	for {
		err := ask(ctx, h.URL, hash, h.Timeout)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if failed++; err == nil {
			failed = 0
		}
		if failed >= h.Failures {
			return bad(hash, "health", err.Error())
		}
		// The time may end between two bad answers: then it is not over yet.
		if ended && failed == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-over:
			ended = true
		case <-ticker.C:
		}
	}
}
