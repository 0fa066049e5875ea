package follow

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// candidate is a file that a pattern matches.
type candidate struct {
	path, source string
	rotated      bool // it has a name that a rotation gave it
	id           ID
	size         int64
	modified     time.Time
}

// list are the files that the patterns match, each once: the followed names first, then the rotated ones, oldest first.
func (f *Follower) list() []candidate {
	var main, rotated []candidate
	seen := map[ID]bool{}
	names := map[string]bool{}
	var paths []string
	for _, pattern := range f.Paths {
		more, _ := filepath.Glob(pattern) // the pattern was checked at the start
		paths = append(paths, more...)
	}
	for _, path := range paths {
		names[path] = true
	}
	take := func(path, source string, isRotated bool, into *[]candidate) {
		if f.excluded(path) {
			return
		}
		info, err := os.Stat(path) // a symbolic link leads to the file
		if err != nil || !info.Mode().IsRegular() {
			return // gone meanwhile, or nothing to follow: a folder, a pipe
		}
		c := candidate{path, source, isRotated, idOf(info), info.Size(), info.ModTime()}
		if seen[c.id] {
			return
		}
		seen[c.id] = true
		*into = append(*into, c)
	}
	for _, path := range paths {
		if base, is := rotatedFrom(path, names); is && !f.ByName {
			take(path, base, true, &rotated)
		} else {
			take(path, path, false, &main)
		}
	}
	if f.ByName {
		return main
	}
	for _, c := range f.sources(main) {
		for _, pattern := range f.rotatedPatterns(c) {
			more, _ := filepath.Glob(pattern)
			for _, path := range more {
				if !names[path] {
					take(path, c, true, &rotated)
				}
			}
		}
	}
	slices.SortStableFunc(rotated, func(a, b candidate) int { return a.modified.Compare(b.modified) })
	return append(main, rotated...)
}

// sources are the followed names: those that are there, those that are known from before and have no file just now, and
// patterns that are plain names.
func (f *Follower) sources(main []candidate) []string {
	var list []string
	for _, c := range main {
		list = append(list, c.source)
	}
	for _, g := range f.generations {
		list = append(list, g.Source)
	}
	for _, p := range f.Paths {
		if !strings.ContainsAny(p, `*?[\`) {
			list = append(list, p)
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// rotatedPatterns match what a rotation makes of a name: app.log.1, app.log-20261125.
func (f *Follower) rotatedPatterns(source string) []string {
	if len(f.Rotated) > 0 {
		return f.Rotated
	}
	quoted := strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(source)
	return []string{quoted + ".*", quoted + "-*"}
}

// rotatedFrom is the name that a file was rotated from, where a pattern matches both.
func rotatedFrom(path string, names map[string]bool) (string, bool) {
	for i := len(path) - 1; i > 0 && path[i] != '/'; i-- {
		if (path[i] == '.' || path[i] == '-') && names[path[:i]] {
			return path[:i], true
		}
	}
	return "", false
}

func (f *Follower) excluded(path string) bool {
	base := filepath.Base(path)
	return slices.ContainsFunc(f.Exclude, func(pattern string) bool {
		ok, _ := filepath.Match(pattern, base)
		return ok
	})
}

// open opens a candidate, if it still is the one that was listed. A file that cannot be read is said once for each reason.
func (f *Follower) open(c candidate) *os.File {
	// Without O_NONBLOCK a pipe that has taken the name would stop everything.
	file, err := os.OpenFile(c.path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		if !os.IsNotExist(err) {
			f.complain(c.path, err)
		}
		return nil
	}
	info, err := file.Stat()
	if err != nil || !info.Mode().IsRegular() || idOf(info) != c.id {
		file.Close()
		return nil
	}
	delete(f.complained, c.path)
	return file
}

// complain logs an error once, until the path is opened again.
func (f *Follower) complain(path string, err error) {
	f.Count.Error()
	if len(f.complained) > 1024 {
		clear(f.complained)
	}
	if f.complained[path] != err.Error() {
		f.complained[path] = err.Error()
		f.Log.Error("cannot read", "path", path, "error", err)
	}
}
