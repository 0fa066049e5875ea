package main

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"distlab/containers/internal/names"
)

// Files are a configuration: texts by their names, which may have folders in them.
type Files map[string]string

func (f Files) size() int {
	n := 0
	for name, text := range f {
		n += len(name) + len(text)
	}
	return n
}

// digest depends on the content alone: the same files have the same one, whichever store has them.
func (f Files) digest() string {
	h := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(f)) {
		fmt.Fprintf(h, "%d:%s%d:%s", len(name), name, len(f[name]), f[name])
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Version is one state of a configuration. It never changes once it is made.
type Version struct {
	Number  int       `json:"version"`
	Time    time.Time `json:"time"`
	Message string    `json:"message,omitempty"` // what the change is for
	Deleted bool      `json:"deleted,omitempty"` // it was deleted; a later version may bring it back
	Files   Files     `json:"files,omitempty"`

	digest string
	size   int
	doc    []byte // what readers get, encoded once
}

// ETag names the version and its content: a store that has lost its file and counts anew does not pass for the old one.
func (v *Version) ETag() string { return fmt.Sprintf(`"%d-%s"`, v.Number, v.digest[:16]) }

// seal completes a version that is new, or was read.
func (v *Version) seal() {
	v.digest, v.size = v.Files.digest(), v.Files.size()
	text, err := json.Marshal(v)
	if err != nil {
		panic(err) // texts, numbers and a time
	}
	v.doc = append(text, '\n')
}

// Entry is a line of a list.
type Entry struct {
	Name    string    `json:"name,omitempty"`
	Version int       `json:"version"`
	Time    time.Time `json:"time"`
	Message string    `json:"message,omitempty"`
	Deleted bool      `json:"deleted,omitempty"`
	Files   int       `json:"files"`
	Bytes   int       `json:"bytes"`
	ETag    string    `json:"etag"`
}

func (v *Version) entry(name string) Entry {
	return Entry{name, v.Number, v.Time, v.Message, v.Deleted, len(v.Files), v.size, v.ETag()}
}

// What a change may be refused for.
var (
	errNotFound = errors.New("there is no such configuration or version")
	errChanged  = errors.New("it has changed meanwhile")
	errTooMuch  = errors.New("too much")
	errBad      = errors.New("bad request")
)

// Store is the configurations. What a reader sees is in the file already: a change is written first.
type Store struct {
	Path                          string
	MaxSize, MaxFiles, MaxConfigs int
	History, Size                 int

	writing sync.Mutex // one change at a time

	mu      sync.RWMutex
	configs map[string]*history
}

// history is a configuration: its versions, the newest last. Neither changes once readers can see it.
type history struct {
	versions []*Version
	changed  chan struct{} // closed when another one is in its place
}

func (h *history) newest() *Version { return h.versions[len(h.versions)-1] }

// Get is a version of a configuration, the newest for 0, and a channel that is closed when there is another one. The
// newest may be one that says that it was deleted; a configuration that never was is none.
func (s *Store) Get(name string, number int) (*Version, <-chan struct{}, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	h := s.configs[name]
	if h == nil {
		return nil, nil, errNotFound
	}
	if number == 0 {
		return h.newest(), h.changed, nil
	}
	for _, v := range h.versions {
		if v.Number == number {
			return v, h.changed, nil
		}
	}
	return nil, nil, errNotFound
}

// List is the newest version of each that is not deleted.
func (s *Store) List() []Entry {
	s.mu.RLock()
	defer s.mu.RUnlock()
	list := []Entry{}
	for name, h := range s.configs {
		if v := h.newest(); !v.Deleted {
			list = append(list, v.entry(name))
		}
	}
	slices.SortFunc(list, func(a, b Entry) int { return cmp.Compare(a.Name, b.Name) })
	return list
}

// Versions is the history of a configuration, the newest first.
func (s *Store) Versions(name string) ([]Entry, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	h := s.configs[name]
	if h == nil {
		return nil, errNotFound
	}
	var list []Entry
	for _, v := range slices.Backward(h.versions) {
		list = append(list, v.entry(""))
	}
	return list, nil
}

// Change makes a new version of a configuration from its newest one, which is nil if there is none. What build gives is
// what it shall be: nil for deleted. A change that changes nothing makes no version. allowed is asked first, with the
// newest version or nil: whether the change was made to this one.
func (s *Store) Change(name, message string, allowed func(*Version) bool, build func(*Version) (Files, error)) (v *Version, changed bool, err error) {
	s.writing.Lock()
	defer s.writing.Unlock()
	if err := checkName(name); err != nil {
		return nil, false, err
	}
	old := s.configs[name] // nobody else changes the map
	var was, is *Version
	next := 1
	if old != nil {
		is = old.newest()
		next = is.Number + 1
		if !is.Deleted {
			was = is
		}
	}
	if !allowed(was) {
		return was, false, errChanged
	}
	files, err := build(was)
	if err != nil {
		return was, false, err
	}
	switch {
	case files == nil && was == nil:
		return nil, false, errNotFound
	case files != nil && was != nil && files.digest() == was.digest:
		return was, false, nil
	case files != nil:
		if err := s.check(name, files); err != nil {
			return was, false, err
		}
	}
	v = &Version{Number: next, Time: time.Now().UTC().Round(time.Millisecond), Message: message, Deleted: files == nil, Files: files}
	v.seal()
	h := &history{changed: make(chan struct{})}
	if old != nil {
		h.versions = old.versions
	}
	h.versions = append(slices.Clip(h.versions), v)
	configs := s.prune(name, h)
	if err := save(s.Path, configs); err != nil {
		return was, false, fmt.Errorf("keep the change: %w", err)
	}
	s.mu.Lock()
	s.configs = configs
	s.mu.Unlock()
	if old != nil {
		close(old.changed)
	}
	return v, true, nil
}

// prune is all configurations with one of them replaced, without the versions that are too many or too large together, and
// without the deleted configurations that are too many. The newest version of each stays; of the others the oldest go.
func (s *Store) prune(name string, h *history) map[string]*history {
	configs := maps.Clone(s.configs)
	configs[name] = h
	if n := len(h.versions) - s.History; n > 0 {
		h.versions = h.versions[n:]
	}
	for len(configs) > s.MaxConfigs { // check has seen to it that one of them is deleted
		var gone string
		for other, h := range configs {
			if v := h.newest(); v.Deleted && other != name && (gone == "" || v.Time.Before(configs[gone].newest().Time)) {
				gone = other
			}
		}
		if gone == "" {
			break
		}
		delete(configs, gone)
	}
	total := 0
	for _, h := range configs {
		for _, v := range h.versions {
			total += v.size
		}
	}
	for total > s.Size {
		var oldest string
		for name, h := range configs {
			if len(h.versions) > 1 && (oldest == "" || h.versions[0].Time.Before(configs[oldest].versions[0].Time)) {
				oldest = name
			}
		}
		if oldest == "" {
			break // there is one of each; check keeps these within bounds
		}
		h := configs[oldest]
		total -= h.versions[0].size
		configs[oldest] = &history{versions: h.versions[1:], changed: h.changed}
	}
	return configs
}

// check says what is wrong with a configuration.
func (s *Store) check(name string, files Files) error {
	if len(files) == 0 {
		return fmt.Errorf("%w: a configuration has at least one file", errBad)
	}
	if len(files) > s.MaxFiles {
		return fmt.Errorf("%w: %d files, the most is %d", errTooMuch, len(files), s.MaxFiles)
	}
	if n := files.size(); n > s.MaxSize {
		return fmt.Errorf("%w: %d bytes, the most is %d", errTooMuch, n, s.MaxSize)
	}
	total, others := files.size(), 0
	for other, h := range s.configs {
		if v := h.newest(); other != name && !v.Deleted {
			total += v.size
			others++
		}
	}
	if others >= s.MaxConfigs {
		return fmt.Errorf("%w: there are %d configurations, which is the most", errTooMuch, others)
	}
	if total > s.Size {
		return fmt.Errorf("%w: all configurations together would have %d bytes, the most is %d", errTooMuch, total, s.Size)
	}
	for path, text := range files {
		if err := checkPath(path); err != nil {
			return err
		}
		if !utf8.ValidString(text) {
			return fmt.Errorf("%w: %s is not UTF-8: files are texts", errBad, path)
		}
		for dir := range parents(path) {
			if _, ok := files[dir]; ok {
				return fmt.Errorf("%w: %s is a file and a folder", errBad, dir)
			}
		}
	}
	return nil
}

func checkName(name string) error {
	if !names.Plain(name) {
		return fmt.Errorf("%w: the name of a configuration is %s, not %.80q", errBad, names.What, name)
	}
	return nil
}

// checkPath refuses what is no plain relative path: it becomes a file's name on the reader's disk. Names that begin with
// two dots are Kubernetes' own.
func checkPath(path string) error {
	bad := !fs.ValidPath(path) || path == "." || len(path) > 1024 || strings.ContainsFunc(path, func(r rune) bool {
		return unicode.IsControl(r) || r == '\\' || r == utf8.RuneError
	})
	for part := range strings.SplitSeq(path, "/") {
		bad = bad || len(part) > 200 || strings.HasPrefix(part, "..")
	}
	if bad {
		return fmt.Errorf("%w: %.80q is not the name of a file: a relative path without dots", errBad, path)
	}
	return nil
}

// parents are the folders that a path is in.
func parents(path string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for i, r := range path {
			if r == '/' && !yield(path[:i]) {
				return
			}
		}
	}
}
