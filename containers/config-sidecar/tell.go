package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"syscall"
	"time"

	"distlab/containers/internal/procs"
)

// Teller tells the app that its files have changed, and asks it whether it has them.
type Teller struct {
	Signal syscall.Signal // zero: by URL, or nobody is told
	Target procs.Selector
	All    bool          // tell all that the selector finds, not only one
	Age    time.Duration // of a process that is told: one that has just started may not know of the signal yet
	URL    string        // POST

	ConfirmURL string        // empty: whoever was told is believed
	Confirm    time.Duration // for the answer to show it
	Timeout    time.Duration // for a request

	Client *http.Client
	Table  Table
	Log    *slog.Logger
}

// Table is the processes of the namespace.
type Table interface {
	Find(procs.Selector) ([]procs.Process, error)
	Signal(procs.Process, syscall.Signal) error
	Heeds(procs.Process, syscall.Signal) (bool, error)
	Age(procs.Process) (time.Duration, error)
}

// ends are the signals that are meant to end what gets them, so that nobody need have asked for them.
var ends = []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGKILL, syscall.SIGABRT}

// errAbsent says that nobody is there to be told.
var errAbsent = errors.New("the app is not there")

// Tell tells the app once. An error says that it was not told, and may be later.
func (t *Teller) Tell(ctx context.Context, version string) error {
	switch {
	case t.Signal != 0:
		return t.signal()
	case t.URL != "":
		return t.post(ctx, version)
	}
	return nil
}

func (t *Teller) signal() error {
	found, err := t.Table.Find(t.Target)
	if err != nil {
		return err
	}
	switch {
	case len(found) == 0:
		return errAbsent
	case len(found) > 1 && !t.All:
		var list []string
		for _, p := range found {
			list = append(list, fmt.Sprintf("%s (pid %d)", p.Name, p.PID))
		}
		return fmt.Errorf("%d processes might be the app: %s; name one by TARGET_PID_FILE or TARGET_COMMAND, or tell all (TARGET_ALL)",
			len(found), strings.Join(list, ", "))
	}
	// All are looked at before one is told: what is told twice because another one was not ready has been disturbed.
	for _, p := range found {
		if err := t.ready(p); err != nil {
			return err
		}
	}
	for _, p := range found {
		if err := t.Table.Signal(p, t.Signal); errors.Is(err, procs.ErrGone) {
			return errAbsent
		} else if err != nil {
			return err
		}
		t.Log.Info("app told", "pid", p.PID, "name", p.Name, "signal", signalName(t.Signal))
	}
	return nil
}

// ready says why a process had better not get the signal yet. Most signals end who has not asked for them.
func (t *Teller) ready(p procs.Process) error {
	for _, sig := range ends {
		if sig == t.Signal {
			return nil
		}
	}
	if age, err := t.Table.Age(p); err != nil {
		return err
	} else if age < t.Age {
		return fmt.Errorf("%s (pid %d) has just started", p.Name, p.PID)
	}
	heeds, err := t.Table.Heeds(p, t.Signal)
	switch {
	case errors.Is(err, procs.ErrGone):
		return errAbsent
	case err != nil:
		return err
	case !heeds:
		return fmt.Errorf("%s (pid %d) does not heed %s, which would end it", p.Name, p.PID, signalName(t.Signal))
	}
	return nil
}

func (t *Teller) post(ctx context.Context, version string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, t.Timeout, fmt.Errorf("no answer within %v", t.Timeout))
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, t.URL, nil)
	if err != nil {
		return err
	}
	req.Header.Set("X-Config-Version", version)
	resp, err := t.Client.Do(req)
	if err != nil {
		return fmt.Errorf("POST %s: %w", t.URL, cause(ctx, short(err)))
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 4<<10))
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("POST %s: %s: %s", t.URL, resp.Status, line(string(body), 200))
	}
	t.Log.Info("app told", "url", t.URL, "status", resp.StatusCode)
	return nil
}

// confirmEach is the time between two questions for the same.
const confirmEach = 50 * time.Millisecond

// maxAnswer bounds the answer in which the confirmation is looked for.
const maxAnswer = 1 << 20

// Confirmed asks the app until its answer has the text in it, or for as long as it may take.
func (t *Teller) Confirmed(ctx context.Context, text string) error {
	ctx, cancel := context.WithTimeout(ctx, t.Confirm)
	defer cancel()
	last := errors.New("not asked")
	for {
		if err := t.ask(ctx, text); err == nil {
			return nil
		} else if ctx.Err() == nil {
			last = err // not what the end of the time has made of it
		}
		timer := time.NewTimer(confirmEach)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return fmt.Errorf("told, and not confirmed within %v: %w", t.Confirm, last)
		}
	}
}

func (t *Teller) ask(ctx context.Context, text string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, t.ConfirmURL, nil)
	if err != nil {
		return err
	}
	resp, err := t.Client.Do(req)
	if err != nil {
		return short(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	switch {
	case err != nil:
		return short(err)
	case resp.StatusCode/100 != 2:
		return fmt.Errorf("%s: %s", resp.Status, line(string(body), 200))
	case !strings.Contains(string(body), text):
		return fmt.Errorf("its answer does not have %q in it", line(text, 100))
	}
	return nil
}
