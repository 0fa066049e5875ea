package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Files are texts by their names: slash-separated, relative, as they will lie on the disk.
type Files map[string]string

// Set is the files of one version, as a source gives them.
type Set struct {
	Files
	Version string // what the source calls it
	Tag     string // what tells the source that this one is known; not shown
}

// Digest depends on names and content alone. It is what sets are compared by: a version that brings the same files is
// no change, whatever it is called.
func (f Files) Digest() string {
	h := sha256.New()
	for _, name := range f.names() {
		fmt.Fprintf(h, "%d:%s%d:%s", len(name), name, len(f[name]), f[name])
	}
	return hex.EncodeToString(h.Sum(nil))
}

func (f Files) names() []string { return slices.Sorted(maps.Keys(f)) }

func (f Files) size() (n int) {
	for name, text := range f {
		n += len(name) + len(text)
	}
	return n
}

// Limits bound what a source may give. A source is believed to be right, not to be well.
type Limits struct{ Size, Files int }

// check says why a set is none.
func (l Limits) check(f Files) error {
	if len(f) == 0 {
		return errors.New("there is no file in it")
	}
	if len(f) > l.Files {
		return fmt.Errorf("%d files, the most is %d", len(f), l.Files)
	}
	if n := f.size(); n > l.Size {
		return fmt.Errorf("%d bytes, the most is %d", n, l.Size)
	}
	for _, name := range f.names() {
		if err := checkName(name); err != nil {
			return err
		}
		for i, r := range name {
			if _, ok := f[name[:i]]; ok && r == '/' {
				return fmt.Errorf("%q is a file and a folder", name[:i])
			}
		}
	}
	return nil
}

// checkName refuses what would leave the folder, or what the folder's own names begin with: two dots, as with
// Kubernetes' volumes.
func checkName(name string) error {
	bad := !fs.ValidPath(name) || name == "." || len(name) > 1024 || strings.ContainsFunc(name, func(r rune) bool {
		return unicode.IsControl(r) || r == '\\' || r == utf8.RuneError
	})
	for part := range strings.SplitSeq(name, "/") {
		bad = bad || len(part) > 200 || strings.HasPrefix(part, "..")
	}
	if bad {
		return fmt.Errorf("%.80q is not the name of a file: a relative path without dots", name)
	}
	return nil
}

// line is a text of somebody else's in one short line, for a reason or the log.
func line(text string, most int) string {
	text = strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, text[:min(len(text), 4*most)])
	text = strings.Join(strings.Fields(text), " ")
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}
