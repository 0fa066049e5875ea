package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"time"
)

// App is what the candidate is a sidecar of. Without URLs it is taken for well, and not told.
type App struct {
	URL      string // asked whether it is well
	Timeout  time.Duration
	Failures int    // bad answers in a row that end a term
	Release  string // told before the lease is given back
	Client   *http.Client
}

// Well is whether the app can do an owner's work.
func (a *App) Well(ctx context.Context) bool {
	if a.URL == "" {
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, a.Timeout)
	defer cancel()
	return a.ask(ctx, http.MethodGet, a.URL) == nil
}

// Stop tells the app that it is not the owner any more, and waits until it has ended what it did. One that does not say so
// in what is left of the time is left alone: its writes have an old token.
func (a *App) Stop(ctx context.Context, log *slog.Logger) {
	if a.Release == "" {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, a.Timeout)
	defer cancel()
	if err := a.ask(ctx, http.MethodPost, a.Release); err != nil {
		log.Warn("the app was told and has not ended", "error", err)
	}
}

func (a *App) ask(ctx context.Context, method, url string) error {
	req, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		return err
	}
	resp, err := a.Client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	io.CopyN(io.Discard, resp.Body, 64<<10)
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("%s", resp.Status)
	}
	return nil
}
