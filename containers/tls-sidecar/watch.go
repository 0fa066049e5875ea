package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"
)

// Watch notices when files change, in every way in which certificates are
// rotated: written in place, renamed over, removed and made again, or through
// a symbolic link that is swapped somewhere up the path (Kubernetes' ..data).
// The kernel's notifications make it quick; looking every Interval makes it
// sure, for notifications are lost, run out, or do not exist on the file
// system.
type Watch struct {
	Files    func() []string // paths to watch, asked anew each time; directories among them count with their entries
	Interval time.Duration   // between two looks; 0 is one second
	Settle   time.Duration   // how long the files must be still, so that a pair is not read half-way; 0 is 200 ms
	Changed  func()          // called from Run, one call at a time
	Log      *slog.Logger    // nil: none

	// Known is the signature of the files as they were read last. A change
	// since then, before Run, is a change.
	Known string

	deaf bool // for tests: do without notifications
}

// Run watches until ctx is done.
func (w *Watch) Run(ctx context.Context) {
	interval, settle := w.Interval, w.Settle
	if interval == 0 {
		interval = time.Second
	}
	if settle == 0 {
		settle = 200 * time.Millisecond
	}
	n := newNotifier(w.Log, w.deaf)
	defer n.close()
	n.follow(w.Files())

	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	still := time.NewTimer(settle) // stopped while nothing is going on
	still.Stop()
	known := w.Known
	var seen string     // as the timer was set
	var since time.Time // of the first unsettled look
	look := func() {
		now := signature(w.Files())
		if now == known {
			still.Stop()
			since, seen = time.Time{}, ""
			return
		}
		if since.IsZero() {
			since = time.Now()
		}
		if now != seen {
			seen = now
			// Files that are never still are read all the same.
			if time.Since(since) < 10*settle {
				still.Reset(settle)
			}
		}
	}
	look()
	for {
		select {
		case <-ctx.Done():
			return
		case <-n.events():
			look()
		case <-n.errors():
			look() // an overflow: something was missed
		case <-ticker.C:
			n.follow(w.Files())
			look()
		case <-still.C:
			known, seen, since = signature(w.Files()), "", time.Time{}
			w.Changed()
			n.follow(w.Files())
			// What changed while Changed was reading is a change of its own.
			look()
		}
	}
}

// signature tells two states of the files apart without reading them.
func signature(paths []string) string {
	var b strings.Builder
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil {
			fmt.Fprintf(&b, "%s absent\n", path)
			continue
		}
		fmt.Fprintf(&b, "%s %d %d %s\n", path, info.Size(), info.ModTime().UnixNano(), identity(info))
	}
	return b.String()
}

// notifier is fsnotify on the directories of some files. Without a working one
// it is silent, and Watch looks at its interval only.
type notifier struct {
	watcher *fsnotify.Watcher
	log     *slog.Logger
}

func newNotifier(log *slog.Logger, deaf bool) *notifier {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	if deaf {
		return &notifier{log: log}
	}
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		log.Warn("file notifications unavailable", "error", err)
	}
	return &notifier{watcher: watcher, log: log}
}

func (n *notifier) close() {
	if n.watcher != nil {
		n.watcher.Close()
	}
}

func (n *notifier) events() <-chan fsnotify.Event {
	if n.watcher == nil {
		return nil
	}
	return n.watcher.Events
}

func (n *notifier) errors() <-chan error {
	if n.watcher == nil {
		return nil
	}
	return n.watcher.Errors
}

// follow watches directories rather than files: a file that is renamed over
// takes its watch with it. A directory that was removed loses its watch too
// and gets it back here.
func (n *notifier) follow(paths []string) {
	if n.watcher == nil {
		return
	}
	dirs := dirsOf(paths)
	watched := n.watcher.WatchList()
	for _, dir := range dirs {
		if slices.Contains(watched, dir) {
			continue
		}
		if err := n.watcher.Add(dir); err != nil && !os.IsNotExist(err) {
			n.log.Debug("watch directory", "path", dir, "error", err)
		}
	}
	for _, dir := range watched {
		if !slices.Contains(dirs, dir) {
			n.watcher.Remove(dir)
		}
	}
}

// dirsOf is where events are to be expected: where each path lies, and where
// it leads to.
func dirsOf(paths []string) []string {
	var dirs []string
	add := func(dir string) {
		if !slices.Contains(dirs, dir) {
			dirs = append(dirs, dir)
		}
	}
	for _, path := range paths {
		if isDir(path) {
			add(filepath.Clean(path))
		}
		add(filepath.Dir(path))
		if real, err := filepath.EvalSymlinks(path); err == nil {
			add(filepath.Dir(real))
		}
	}
	return dirs
}
