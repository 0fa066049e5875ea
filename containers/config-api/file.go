package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"distlab/containers/internal/whole"
)

// document is the file. A later format has another number, and this program does not touch it.
type document struct {
	Format  int                   `json:"format"`
	Configs map[string][]*Version `json:"configs"` // the newest version last
}

const format = 1

// Open reads the file, if there is one. One that cannot be read is an error: to begin anew would throw away what a
// person could still mend.
func (s *Store) Open() error {
	s.configs = map[string]*history{}
	if s.Path == "" {
		return nil
	}
	if err := whole.Clean(filepath.Dir(s.Path)); err != nil {
		return err
	}
	text, err := os.ReadFile(s.Path)
	if errors.Is(err, fs.ErrNotExist) {
		// What cannot be written is better known now than at the first change.
		return save(s.Path, s.configs)
	}
	if err != nil {
		return err
	}
	var doc document
	if err := json.Unmarshal(text, &doc); err != nil {
		return fmt.Errorf("%s: %w; mend the file, or move it away to begin with none", s.Path, err)
	}
	if doc.Format != format {
		return fmt.Errorf("%s: of format %d, and this program knows %d", s.Path, doc.Format, format)
	}
	for name, versions := range doc.Configs {
		if err := checkName(name); err != nil || len(versions) == 0 {
			return fmt.Errorf("%s: configuration %q: no versions, or no name", s.Path, name)
		}
		for i, v := range versions {
			if v == nil || v.Number <= 0 || i > 0 && v.Number <= versions[i-1].Number {
				return fmt.Errorf("%s: configuration %q: version %d of %d is out of order", s.Path, name, i+1, len(versions))
			}
			v.seal()
		}
		s.configs[name] = &history{versions: versions, changed: make(chan struct{})}
	}
	return nil
}

// save writes everything, whole: it is small, and what has been answered must be there after a crash. Each version was
// encoded when it was made.
func save(path string, configs map[string]*history) error {
	if path == "" {
		return nil
	}
	var text bytes.Buffer
	fmt.Fprintf(&text, `{"format":%d,"configs":{`, format)
	for i, name := range slices.Sorted(maps.Keys(configs)) {
		if i > 0 {
			text.WriteByte(',')
		}
		fmt.Fprintf(&text, "\n%q:[", name) // names are plain
		for j, v := range configs[name].versions {
			if j > 0 {
				text.WriteByte(',')
			}
			text.Write(v.doc)
		}
		text.WriteByte(']')
	}
	text.WriteString("}}\n")
	return whole.Write(path, text.Bytes(), 0o600)
}
