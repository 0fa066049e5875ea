package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"distlab/containers/internal/whole"
)

// Publisher puts pages into a folder that others read at any time.
//
// A page is written beside the old one and renamed over it: a reader has the old one or the new one, whole. All pages of a
// generation are written before the first is renamed: where one does not fit, none is published. A page that has not changed
// is left alone, so that caches keep it.
type Publisher struct {
	Dir        string
	InPlace    bool // write into the file that readers have open
	PlainStamp bool // let a page's time of change be what it is
}

// manifest names the pages that were published, so that those which are no longer made can be removed, and nothing else.
const manifest = ".published.json"

// Open makes the folder ready: what a killed run has left half is removed.
func (p *Publisher) Open() error {
	root, err := os.OpenRoot(p.Dir)
	if err != nil {
		return err
	}
	root.Close()
	return filepath.WalkDir(p.Dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			err = whole.Clean(path)
		}
		return err
	})
}

// staged is a page that is written, but not published yet.
type staged struct {
	temp, path string
}

// Publish replaces the pages that have changed and removes those that are gone. It says which changed. After an error the
// pages of before are there.
func (p *Publisher) Publish(ctx context.Context, pages map[string][]byte) (changed []string, err error) {
	var stage []staged
	defer func() {
		for _, s := range stage { // those that were renamed are not there any more
			if err != nil {
				os.Remove(s.temp)
			}
		}
	}()
	folders := map[string]bool{}
	for _, name := range sorted(pages) {
		path := filepath.Join(p.Dir, filepath.FromSlash(name))
		old, oldErr := os.ReadFile(path)
		if oldErr == nil && bytes.Equal(old, pages[name]) {
			continue
		}
		changed = append(changed, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return nil, err
		}
		folders[filepath.Dir(path)] = true
		if p.InPlace {
			if err := writeInPlace(path, pages[name]); err != nil {
				return nil, err
			}
			continue
		}
		temp, err := write(path, pages[name])
		if temp != "" {
			stage = append(stage, staged{temp, path})
		}
		if err != nil {
			return nil, err
		}
	}
	if !p.PlainStamp && !p.InPlace {
		if err := p.stamp(ctx, stage); err != nil {
			return nil, err
		}
	}
	for _, s := range stage {
		if err := os.Rename(s.temp, s.path); err != nil {
			return nil, err
		}
	}
	for folder := range folders {
		if err := whole.Sync(folder); err != nil {
			return nil, err
		}
	}
	return changed, p.forget(pages)
}

// write is a file beside path that may be renamed to it.
func write(path string, page []byte) (temp string, err error) {
	f, err := os.CreateTemp(filepath.Dir(path), whole.Prefix+filepath.Base(path)+".*")
	if err != nil {
		return "", err
	}
	_, err = f.Write(page)
	return f.Name(), errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close())
}

// pieces is how much of a page is written at a time by a program that writes as it renders.
const pieces = 512

func writeInPlace(path string, page []byte) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	for piece := range slices.Chunk(page, pieces) {
		if _, err := f.Write(piece); err != nil {
			return errors.Join(err, f.Close())
		}
	}
	return f.Close()
}

// stamp sees to it that no page has the length and the second of change of the one that it replaces: of these two nginx, and
// others, make the ETag, and who has the old page would be told that it is the new one. It waits for the next second; where
// the old page is of a later time, the clock having been put back, the new one gets a second more.
func (p *Publisher) stamp(ctx context.Context, stage []staged) error {
	now := time.Now()
	stamps := make([]time.Time, len(stage))
	wait := false
	for i, s := range stage {
		old, err := os.Stat(s.path)
		fresh, ferr := os.Stat(s.temp)
		if ferr != nil {
			return ferr
		}
		if err != nil || old.Size() != fresh.Size() {
			continue
		}
		switch last := old.ModTime().Unix(); {
		case last == now.Unix():
			wait = true
		case last > now.Unix():
			stamps[i] = time.Unix(last+1, 0)
		}
	}
	if wait {
		next := now.Truncate(time.Second).Add(time.Second)
		timer := time.NewTimer(time.Until(next))
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		now = next
	}
	for i, s := range stage {
		at := stamps[i]
		if at.IsZero() {
			at = now
		}
		if err := os.Chtimes(s.temp, time.Time{}, at); err != nil {
			return err
		}
	}
	return nil
}

// forget removes what earlier generations published and this one does not have, and notes what it has.
func (p *Publisher) forget(pages map[string][]byte) error {
	path := filepath.Join(p.Dir, manifest)
	var before []string
	if text, err := readFile(path, maxData); err == nil {
		_ = json.Unmarshal(text, &before) // one that is no list names nothing to remove
	}
	now := sorted(pages)
	if slices.Equal(before, now) {
		return nil
	}
	for _, name := range before {
		if _, is := pages[name]; is || !fs.ValidPath(name) {
			continue
		}
		if err := os.Remove(filepath.Join(p.Dir, filepath.FromSlash(name))); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove a page that is no longer made: %w", err)
		}
	}
	text, err := json.Marshal(now)
	if err != nil {
		return err
	}
	return whole.Write(path, text, 0o644)
}

func sorted(pages map[string][]byte) []string {
	names := make([]string, 0, len(pages))
	for name := range pages {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
