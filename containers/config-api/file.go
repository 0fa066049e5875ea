package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

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

// save writes everything, whole: it is small, and what has been answered must be there after a crash.
func save(path string, configs map[string]*history) error {
	if path == "" {
		return nil
	}
	doc := document{Format: format, Configs: map[string][]*Version{}}
	for name, h := range configs {
		doc.Configs[name] = h.versions
	}
	text, err := json.Marshal(doc)
	if err != nil {
		return err
	}
	return whole.Write(path, text, 0o600)
}
