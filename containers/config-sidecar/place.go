package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"distlab/containers/internal/whole"
)

// Place is the folder that the app reads. It is laid out as Kubernetes lays out the volume of a ConfigMap:
//
//	..2026-11-25_02.31.40-1234567/site.conf   a version's files, which never change
//	..data -> ..2026-11-25_02.31.40-1234567   the version that is applied: one rename switches all of its files
//	site.conf -> ..data/site.conf             what the app opens
//
// A program that opens several files and must not see two versions resolves ..data once. The folder of the version before
// is kept, so that one that has resolved it can read on.
// Source: pkg/volume/util/atomic_writer.go in github.com/kubernetes/kubernetes.
type Place struct {
	Dir string
	// Switch is how what the app opens follows ..data: by links to it (folder), as files of their own that are renamed over
	// the old ones, each whole but not all at once (file), or by writing into the files that are there (in-place), for those
	// that are mounted one by one and cannot be replaced.
	Switch string
	Mode   fs.FileMode // of a file that was not there
	Limits Limits
}

const (
	byFolder  = "folder"
	byFile    = "file"
	byWriting = "in-place"

	link      = "..data"
	linkNew   = "..data_tmp"
	stateFile = "..state.json"
)

// Stage writes files into a new folder, which nobody sees yet, and flushes them. It is the folder's name.
func (p *Place) Stage(files Files) (name string, err error) {
	dir, err := os.MkdirTemp(p.Dir, ".."+time.Now().UTC().Format("2006-01-02_15.04.05")+"-")
	if err != nil {
		return "", err
	}
	name = filepath.Base(dir)
	defer func() {
		if err != nil {
			os.RemoveAll(dir)
		}
	}()
	if err := os.Chmod(dir, 0o755); err != nil {
		return name, err
	}
	for _, file := range files.names() {
		path := filepath.Join(dir, file)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return name, err
		}
		if err := write(path, files[file], p.like(file)); err != nil {
			return name, err
		}
	}
	return name, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		return whole.Sync(path)
	})
}

// attributes are what a file has besides its content.
type attributes struct {
	mode     fs.FileMode
	uid, gid int // -1: nobody in particular
}

// like is what a new file shall have: what the one has that the app sees now.
func (p *Place) like(name string) attributes {
	info, err := os.Stat(filepath.Join(p.Dir, name))
	if err != nil || !info.Mode().IsRegular() {
		return attributes{p.Mode, -1, -1}
	}
	a := attributes{info.Mode().Perm(), -1, -1}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		a.uid, a.gid = int(st.Uid), int(st.Gid)
	}
	return a
}

// write makes a new file, flushed. Owner and mode are right before the first byte is in it: nobody can read it who
// should not.
func write(path, text string, a attributes) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	err = own(f, a)
	if err == nil {
		_, err = f.WriteString(text)
	}
	return errors.Join(err, f.Sync(), f.Close())
}

func own(f *os.File, a attributes) error {
	if a.uid >= 0 {
		info, err := f.Stat()
		if err != nil {
			return err
		}
		if st, ok := info.Sys().(*syscall.Stat_t); ok && (int(st.Uid) != a.uid || int(st.Gid) != a.gid) {
			if err := f.Chown(a.uid, a.gid); err != nil {
				return fmt.Errorf("keep owner %d:%d of %s: %w; run as that user, or let it have CAP_CHOWN", a.uid, a.gid, filepath.Base(f.Name()), err)
			}
		}
	}
	return f.Chmod(a.mode)
}

// Current is the name of the folder that is applied, empty for none.
func (p *Place) Current() string {
	target, err := os.Readlink(filepath.Join(p.Dir, link))
	if err != nil {
		return ""
	}
	return filepath.Base(target)
}

// Read is the files of a version.
func (p *Place) Read(name string) (Files, error) {
	return readFolder(filepath.Join(p.Dir, name), Limits{Size: p.Limits.Size * 2, Files: p.Limits.Files * 2})
}

// Apply makes a staged folder the one that the app sees.
func (p *Place) Apply(name string) error {
	temp := filepath.Join(p.Dir, linkNew)
	os.Remove(temp) // of one that was killed
	if err := os.Symlink(name, temp); err != nil {
		return err
	}
	if err := os.Rename(temp, filepath.Join(p.Dir, link)); err != nil {
		return err
	}
	if err := whole.Sync(p.Dir); err != nil {
		return err
	}
	return p.Show()
}

// Show makes what the app opens follow ..data. It may be repeated: what is as it should be is left alone.
func (p *Place) Show() error {
	current := p.Current()
	files, err := p.Read(current)
	if err != nil {
		return err
	}
	shown := map[string]bool{}
	for _, name := range files.names() {
		if p.Switch == byFolder {
			name, _, _ = strings.Cut(name, "/") // the first part is the link; the others lie behind it
			if shown[name] {
				continue
			}
			err = p.showLink(name)
		} else {
			err = p.showFile(name, files[name])
		}
		shown[name] = true
		if err != nil {
			return err
		}
	}
	return errors.Join(p.hide(shown), whole.Sync(p.Dir))
}

func (p *Place) showLink(name string) error {
	path, target := filepath.Join(p.Dir, name), link+"/"+name
	if is, err := os.Readlink(path); err == nil && is == target {
		return nil
	}
	if info, err := os.Lstat(path); err == nil && info.IsDir() {
		return fmt.Errorf("%s is a folder, and would be a link: move it away", path)
	}
	temp := filepath.Join(p.Dir, whole.Prefix+"link")
	os.Remove(temp)
	if err := os.Symlink(target, temp); err != nil {
		return err
	}
	return os.Rename(temp, path)
}

func (p *Place) showFile(name, text string) error {
	path := filepath.Join(p.Dir, name)
	info, err := os.Lstat(path)
	if err == nil && info.Mode().IsRegular() {
		if is, err := os.ReadFile(path); err == nil && string(is) == text {
			return nil
		}
		if p.Switch == byWriting {
			return overwrite(path, text)
		}
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	temp := filepath.Join(filepath.Dir(path), whole.Prefix+filepath.Base(path))
	os.Remove(temp)
	if err := write(temp, text, p.like(name)); err != nil {
		os.Remove(temp)
		return err
	}
	if err := os.Rename(temp, path); err != nil {
		os.Remove(temp)
		return fmt.Errorf("%w; a file that is mounted by itself cannot be replaced: mount its folder, or say SWITCH=in-place", err)
	}
	return whole.Sync(filepath.Dir(path))
}

// overwrite is what the other ways avoid: who reads meanwhile sees an empty file, or half of one.
func overwrite(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Sync(), f.Close())
}

// hide takes away what was shown of an earlier version and is in this one no more. Files are known by the version that
// they came with: what somebody else has put there stays.
func (p *Place) hide(shown map[string]bool) error {
	entries, err := os.ReadDir(p.Dir)
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		target, err := os.Readlink(filepath.Join(p.Dir, e.Name()))
		if err == nil && target == link+"/"+e.Name() && !(p.Switch == byFolder && shown[e.Name()]) {
			errs = append(errs, os.Remove(filepath.Join(p.Dir, e.Name())))
		}
	}
	if p.Switch == byFolder {
		return errors.Join(errs...)
	}
	for _, e := range entries {
		if !e.IsDir() || !strings.HasPrefix(e.Name(), "..") || e.Name() == p.Current() {
			continue
		}
		old, err := p.Read(e.Name())
		if err != nil {
			continue // half staged
		}
		for _, name := range old.names() {
			path := filepath.Join(p.Dir, name)
			if is, err := os.ReadFile(path); !shown[name] && err == nil && string(is) == old[name] {
				errs = append(errs, os.Remove(path))
			}
		}
	}
	return errors.Join(errs...)
}

// Clean removes what a process that was killed has left, and all versions but those to keep.
func (p *Place) Clean(keep ...string) error {
	entries, err := os.ReadDir(p.Dir)
	errs := []error{err}
	keep = append(keep, p.Current())
	for _, e := range entries {
		name := e.Name()
		ours := strings.HasPrefix(name, "..2") || name == linkNew || strings.HasPrefix(name, whole.Prefix)
		if ours && !slices.Contains(keep, name) {
			errs = append(errs, os.RemoveAll(filepath.Join(p.Dir, name)))
		}
	}
	return errors.Join(errs...)
}

// Remove removes a version's folder.
func (p *Place) Remove(name string) {
	if strings.HasPrefix(name, "..") && name == filepath.Base(name) && name != ".." {
		os.RemoveAll(filepath.Join(p.Dir, name))
	}
}

// record is what the sidecar must know after a restart. It lies beside the versions.
type record struct {
	Format  int     `json:"format"`
	Applied *entry  `json:"applied,omitempty"`
	Before  []entry `json:"before,omitempty"` // what can be gone back to, the newest first
	Held    string  `json:"held,omitempty"`   // the digest of what was rolled back, not to be applied again
	Why     string  `json:"why,omitempty"`
}

// entry is a version that was applied.
type entry struct {
	Version string    `json:"version"`
	Digest  string    `json:"digest"`
	Folder  string    `json:"folder"`
	At      time.Time `json:"at"`
	Told    bool      `json:"told"`    // the app was told, and has confirmed it where it can be asked
	Refused string    `json:"refused"` // why the app did not take it
}

const format = 1

// Save keeps the record.
func (p *Place) Save(r record) error {
	r.Format = format
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return whole.Write(filepath.Join(p.Dir, stateFile), text, 0o644)
}

// Load is the record as far as it is true: the link says what is applied, and the files what that is. Its error says
// what was not, which is no reason to stop: a version that nobody knows the name of is one all the same.
func (p *Place) Load() (r record, err error) {
	text, err := os.ReadFile(filepath.Join(p.Dir, stateFile))
	if err == nil {
		if err = json.Unmarshal(text, &r); err == nil && r.Format != format {
			err = fmt.Errorf("%s is of format %d, and this program knows %d", stateFile, r.Format, format)
		}
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if err != nil {
		r = record{}
	}
	current := p.Current()
	if current == "" {
		return record{Held: r.Held, Why: r.Why}, err
	}
	files, bad := p.Read(current)
	if bad != nil || len(files) == 0 {
		return record{Held: r.Held, Why: r.Why}, errors.Join(err, bad)
	}
	all := r.Before
	if r.Applied != nil {
		all = append([]entry{*r.Applied}, all...)
	}
	applied := entry{Version: "unknown", Folder: current, At: time.Now()}
	r.Before = nil
	for _, e := range all {
		switch _, bad := os.Stat(filepath.Join(p.Dir, e.Folder)); {
		case e.Folder == current:
			applied = e
		case bad == nil && e.Folder == filepath.Base(e.Folder):
			r.Before = append(r.Before, e)
		}
	}
	if digest := files.Digest(); digest != applied.Digest {
		if applied.Digest != "" {
			err = errors.Join(err, fmt.Errorf("%s was changed by somebody else", current))
		}
		applied.Digest, applied.Told = digest, false
	}
	r.Applied = &applied
	return r, err
}
