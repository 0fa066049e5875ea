package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"
)

// Folder is a source on this machine: a volume that Kubernetes fills from a ConfigMap, or any other. Kubernetes
// replaces one by a link, ..data, which is read once for each set. In a plain folder a set is what two reads in a row
// agree about.
type Folder struct {
	Path   string
	Wait   time.Duration // until it is read again without an event: some file systems send none
	Limits Limits
}

// pause is the time between two reads of a folder that is being written, and after the first event of several.
const pause = 20 * time.Millisecond

// Next reads the folder until it is another one than is known.
func (f *Folder) Next(ctx context.Context, known string) (Set, error) {
	if known == "" {
		return f.settled(ctx)
	}
	// The watch is there before the read: what comes after it is seen by one of them. It is the folder's, and not the
	// files': these are replaced.
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return Set{}, err
	}
	defer watcher.Close()
	if err := watcher.Add(f.Path); err != nil {
		return Set{}, err
	}
	for _, dir := range f.below() {
		watcher.Add(dir) // one that has gone meanwhile is an event of its parent's
	}
	set, err := f.settled(ctx)
	if err != nil || set.Tag != known {
		return set, err
	}
	timer := time.NewTimer(f.Wait)
	defer timer.Stop()
	select {
	case <-watcher.Events:
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
	case <-watcher.Errors: // too many of them, say: read it
	case <-timer.C:
	case <-ctx.Done():
	}
	if ctx.Err() != nil {
		return Set{}, context.Cause(ctx)
	}
	if set, err = f.settled(ctx); err == nil && set.Tag == known {
		err = errSame
	}
	return set, err
}

// below are the folders of a plain folder.
func (f *Folder) below() (dirs []string) {
	filepath.WalkDir(f.Path, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && path != f.Path && len(dirs) < f.Limits.Files {
			if strings.HasPrefix(d.Name(), "..") {
				return fs.SkipDir
			}
			dirs = append(dirs, path)
		}
		return nil
	})
	return dirs
}

// settled reads until two reads agree.
func (f *Folder) settled(ctx context.Context) (Set, error) {
	const tries = 50
	last, err := f.read()
	for range tries {
		whole := err == nil && last.Version != ""
		if whole { // a link was followed once: there is nothing to agree about
			return last, nil
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return Set{}, context.Cause(ctx)
		}
		again, err2 := f.read()
		if err == nil && err2 == nil && again.Tag == last.Tag {
			again.Version = again.Tag[:12]
			return again, nil
		}
		if err != nil && err2 != nil && err.Error() == err2.Error() {
			return Set{}, err
		}
		last, err = again, err2
	}
	if err == nil {
		err = errors.New("it changes all the time")
	}
	return Set{}, err
}

// read is the folder as it is now. The version is only set where it is known to be whole.
func (f *Folder) read() (Set, error) {
	root, version := f.Path, ""
	if target, err := os.Readlink(filepath.Join(f.Path, "..data")); err == nil {
		root, version = filepath.Join(f.Path, filepath.Base(target)), strings.TrimPrefix(filepath.Base(target), "..")
	}
	files, err := readFolder(root, f.Limits)
	if err != nil {
		return Set{}, err
	}
	set := Set{Files: files, Version: version, Tag: files.Digest()}
	return set, f.Limits.check(files)
}

// readFolder is what lies in a folder. Nothing in it leads out of it, and names that begin with two dots are not files.
func readFolder(path string, limits Limits) (Files, error) {
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	files, size := Files{}, 0
	err = fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case name != "." && strings.HasPrefix(d.Name(), ".."):
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		case d.IsDir():
			return nil
		}
		info, err := fs.Stat(root.FS(), name) // links within the folder are followed
		if err != nil {
			return err
		}
		if !info.Mode().IsRegular() {
			return nil
		}
		if len(files) >= limits.Files {
			return fmt.Errorf("more than %d files", limits.Files)
		}
		file, err := root.Open(name)
		if err != nil {
			return err
		}
		defer file.Close()
		text, err := io.ReadAll(io.LimitReader(file, int64(limits.Size-size)+1))
		if err != nil {
			return err
		}
		if size += len(name) + len(text); size > limits.Size {
			return fmt.Errorf("more than %d bytes", limits.Size)
		}
		files[name] = string(text)
		return nil
	})
	return files, err
}
