package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"
)

// Live keeps the arms in force: those of the settings or of a file, which is
// read again when it changes and at SIGHUP, and what the admin port changes on
// top, until the next reload. A bad file keeps the old arms.
type Live struct {
	Splitter *Splitter
	Path     string        // of the arms file; "": there is none
	Interval time.Duration // how often to look at it, besides being told by the kernel
	Log      *slog.Logger
	Metrics  *Metrics

	mu     sync.Mutex // one change at a time; guards the following
	text   string     // of the file, as read last
	time   time.Time  // of the last change
	source string     // of the arms in force: settings, file or admin
	err    error      // of the last reload; nil: it was good
}

// settle is how long the file must be still, so that it is not read half-way.
const settle = 50 * time.Millisecond

// maxArmsFile bounds the file: a path that names something endless must be an
// error.
const maxArmsFile = 1 << 20

// Start puts the first arms in force.
func (l *Live) Start(arms []ArmSpec) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.source, l.time = "settings", time.Now()
	if l.Path == "" {
		l.Splitter.Set(arms)
		return nil
	}
	text, err := readArms(l.Path)
	if err == nil {
		arms, err = parseArms(text)
	}
	if err != nil {
		return fmt.Errorf("arms file %s: %w", l.Path, err)
	}
	l.text, l.source = text, "file"
	l.Splitter.Set(arms)
	return nil
}

func readArms(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", errors.Unwrap(err)
	}
	if !info.Mode().IsRegular() || info.Size() > maxArmsFile {
		return "", errors.New("not a file of less than 1 MiB")
	}
	text, err := os.ReadFile(path)
	return string(text), err
}

// Reload reads the file, whether it has changed or not.
func (l *Live) Reload(why string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.Path == "" {
		l.Log.Info("reload ignored", "reason", "no ARMS_PATH")
		return nil
	}
	text, err := readArms(l.Path)
	l.text = text
	var arms []ArmSpec
	if err == nil {
		arms, err = parseArms(text)
	}
	l.err = err
	if err != nil {
		l.Metrics.reloads.WithLabelValues("error").Inc()
		l.Metrics.reloadOK.Set(0)
		l.Log.Error("reload", "path", l.Path, "why", why, "error", err)
		return err
	}
	l.Metrics.reloads.WithLabelValues("ok").Inc()
	l.Metrics.reloadOK.Set(1)
	l.use(arms, "file", why)
	return nil
}

// use puts arms in force; the caller holds mu.
func (l *Live) use(arms []ArmSpec, source, why string) {
	l.Splitter.Set(arms)
	l.source, l.time = source, time.Now()
	list := make([]string, len(arms))
	for i, a := range arms {
		list[i] = a.String()
	}
	level := slog.LevelInfo
	if source == "ramp" {
		level = slog.LevelDebug // its start and end are told
	}
	l.Log.Log(context.Background(), level, "arms changed", "why", why, "arms", list)
}

// Change edits the arms in force. edit gets a copy.
func (l *Live) Change(why string, edit func([]ArmSpec) ([]ArmSpec, error)) error {
	_, err := l.change("admin", why, edit)
	return err
}

// change returns the number of the set that it has made.
func (l *Live) change(source, why string, edit func([]ArmSpec) ([]ArmSpec, error)) (uint64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	arms, err := edit(l.Splitter.Specs())
	if err == nil {
		err = checkArms(arms)
	}
	if err != nil {
		return 0, err
	}
	l.use(arms, source, why)
	return l.Splitter.changes(), nil
}

// Run reloads until ctx is done; a value of reload is a demand.
func (l *Live) Run(ctx context.Context, reload <-chan struct{}) {
	var events <-chan fsnotify.Event
	var ticks <-chan time.Time
	if l.Path != "" {
		if w := l.watcher(); w != nil {
			defer w.Close()
			events = w.Events
		}
		ticker := time.NewTicker(max(l.Interval, 10*time.Millisecond))
		defer ticker.Stop()
		ticks = ticker.C
	}
	still := time.NewTimer(settle)
	still.Stop()
	var seen string
	look := func() {
		text, err := readArms(l.Path)
		if err != nil || text == l.known() {
			return // a file that is away is about to come back
		}
		if text != seen {
			seen = text
			still.Reset(settle)
		}
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-reload:
			l.Reload("SIGHUP")
		case <-events:
			look()
		case <-ticks:
			look()
		case <-still.C:
			if text, err := readArms(l.Path); err == nil && text == seen && text != l.known() {
				l.Reload("change")
			}
			seen = ""
		}
	}
}

func (l *Live) known() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text
}

// watcher watches the file's directory, and that of what it leads to: a file
// that is renamed over takes its own watch with it. nil: the interval has to
// do.
func (l *Live) watcher() *fsnotify.Watcher {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		l.Log.Warn("file notifications unavailable", "error", err)
		return nil
	}
	w.Add(filepath.Dir(l.Path))
	if real, err := filepath.EvalSymlinks(l.Path); err == nil {
		w.Add(filepath.Dir(real))
	}
	return w
}
