package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"distlab/containers/internal/whole"
)

// Site is the folder that readers see: a checkout for each commit under .worktrees, named by its hash, and a
// symbolic link to the one that is live. The link is replaced by a rename, and relative, so that the volume may be
// mounted anywhere.
type Site struct {
	Root    string
	Link    string
	Staged  string // a second link, to the commit that is being checked; empty: none
	KeepFor time.Duration

	lock *os.File
}

const (
	worktrees = ".worktrees"
	private   = ".git-sync"
	half      = whole.Prefix // begins the names of what is not whole yet
)

// Open makes the folders, takes the lock and removes what a run that was killed has left half done.
func (s *Site) Open() error {
	dirs := []string{filepath.Join(s.Root, private), filepath.Join(s.Root, worktrees), filepath.Dir(s.link(s.Link))}
	for _, dir := range dirs {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	lock, err := os.OpenFile(filepath.Join(s.Root, private, "lock"), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	// The kernel lets go of it however this process ends: no lock is ever stale.
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		lock.Close()
		return fmt.Errorf("%s: another git-sync works here: give each a ROOT of its own", s.Root)
	}
	s.lock = lock
	if err := whole.Clean(filepath.Join(s.Root, private)); err != nil {
		return err
	}
	for _, link := range []string{s.Link, s.Staged} {
		if link == "" {
			continue
		}
		at := s.link(link)
		if st, err := os.Lstat(at); err == nil && st.Mode()&fs.ModeSymlink == 0 {
			return fmt.Errorf("%s is not a symbolic link: move it away, or give LINK another name", at)
		}
		if err := remove(s.temporary(at)); err != nil {
			return err
		}
	}
	entries, err := os.ReadDir(filepath.Join(s.Root, worktrees))
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), half) {
			err = errors.Join(err, os.RemoveAll(filepath.Join(s.Root, worktrees, e.Name())))
		}
	}
	return err
}

// Close lets another one in.
func (s *Site) Close() error {
	// A child that is just being forked still has the descriptor, and with it the lock, until it runs its program.
	return errors.Join(syscall.Flock(int(s.lock.Fd()), syscall.LOCK_UN), s.lock.Close())
}

func (s *Site) link(name string) string {
	if filepath.IsAbs(name) {
		return filepath.Clean(name)
	}
	return filepath.Join(s.Root, name)
}

func (s *Site) temporary(link string) string {
	return filepath.Join(filepath.Dir(link), half+filepath.Base(link))
}

// Worktree is where the checkout of a commit is, or would be.
func (s *Site) Worktree(hash string) string { return filepath.Join(s.Root, worktrees, hash) }

// Linked is the hash that the link names, or "" where it names none of the checkouts here.
func (s *Site) Linked() string {
	at := s.link(s.Link)
	to, err := os.Readlink(at)
	hash := filepath.Base(to)
	if err != nil || !fullHash.MatchString(hash) || filepath.Join(filepath.Dir(at), to) != s.Worktree(hash) {
		return ""
	}
	return hash
}

// Live is the same, or "" where there is no such checkout any more.
func (s *Site) Live() string {
	hash := s.Linked()
	if st, err := os.Stat(s.Worktree(hash)); hash == "" || err != nil || !st.IsDir() {
		return ""
	}
	return hash
}

// Make has a checkout made in a folder aside, and gives it its name once it is whole. One of that name, which is then
// damaged, is swapped for it.
func (s *Site) Make(hash string, fill func(dir string) error) (err error) {
	dir, err := os.MkdirTemp(filepath.Join(s.Root, worktrees), half)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(dir))
		}
	}()
	if err := os.Chmod(dir, 0o755); err != nil { // readers are other users
		return err
	}
	if err := fill(dir); err != nil {
		return err
	}
	at := s.Worktree(hash)
	if _, err := os.Lstat(at); err == nil {
		old := filepath.Join(s.Root, worktrees, half+"old-"+hash)
		if err := errors.Join(os.RemoveAll(old), os.Rename(at, old)); err != nil {
			return err
		}
		defer os.RemoveAll(old)
	}
	if err := os.Rename(dir, at); err != nil {
		return err
	}
	return whole.Sync(filepath.Dir(at))
}

// Publish makes a commit the live one.
func (s *Site) Publish(hash string) error {
	if _, err := os.Stat(s.Worktree(hash)); err != nil {
		return err
	}
	was := s.Live()
	if err := s.point(s.Link, hash); err != nil {
		return err
	}
	if was != "" && was != hash {
		// From now on its age counts.
		now := time.Now()
		return os.Chtimes(s.Worktree(was), now, now)
	}
	return nil
}

// Stage shows a commit by the second link; "" takes it away.
func (s *Site) Stage(hash string) error {
	switch {
	case s.Staged == "":
		return nil
	case hash == "":
		return remove(s.link(s.Staged))
	}
	return s.point(s.Staged, hash)
}

// point puts a link in the place of another by one rename.
func (s *Site) point(name, hash string) error {
	at := s.link(name)
	to, err := filepath.Rel(filepath.Dir(at), s.Worktree(hash))
	if err != nil {
		return err
	}
	tmp := s.temporary(at)
	if err := remove(tmp); err != nil { // a killed run's
		return err
	}
	if err := os.Symlink(to, tmp); err != nil {
		return err
	}
	if err := os.Rename(tmp, at); err != nil {
		return errors.Join(fmt.Errorf("publish %s: %w", hash, err), remove(tmp))
	}
	return whole.Sync(filepath.Dir(at))
}

// Worktrees are the hashes of all checkouts.
func (s *Site) Worktrees() (hashes []string) {
	entries, _ := os.ReadDir(filepath.Join(s.Root, worktrees))
	for _, e := range entries {
		if fullHash.MatchString(e.Name()) {
			hashes = append(hashes, e.Name())
		}
	}
	return hashes
}

// Prune removes the checkouts that nobody uses: neither those named, nor what a reader may have begun with within
// KeepFor.
func (s *Site) Prune(used ...string) error {
	keep := map[string]bool{s.Live(): true}
	for _, hash := range used {
		keep[hash] = true
	}
	var errs []error
	for _, hash := range s.Worktrees() {
		st, err := os.Stat(s.Worktree(hash))
		if keep[hash] || err != nil || time.Since(st.ModTime()) < s.KeepFor {
			continue
		}
		errs = append(errs, os.RemoveAll(s.Worktree(hash)))
	}
	return errors.Join(errs...)
}

// remove is os.Remove for what may not be there.
func remove(path string) error {
	if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
