package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Seed makes the configurations that lie in a folder, each in a folder of its name, where the store has not had them. One
// that was deleted is not brought back.
func (s *Store) Seed(dir string) error {
	if dir == "" {
		return nil
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("seed: %w", err)
	}
	for _, e := range entries {
		if !e.IsDir() || s.configs[e.Name()] != nil {
			continue
		}
		files, err := s.folder(filepath.Join(dir, e.Name()))
		if err == nil {
			never := func(v *Version) bool { return v == nil }
			_, _, err = s.Change(e.Name(), "seed", never, func(*Version) (Files, error) { return files, nil })
		}
		if err != nil {
			return fmt.Errorf("seed: %s: %w", e.Name(), err)
		}
	}
	return nil
}

func (s *Store) folder(dir string) (Files, error) {
	files := Files{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		if !info.Mode().IsRegular() || info.Size() > int64(s.MaxSize) {
			return fmt.Errorf("%s: not a file of at most %d bytes", path, s.MaxSize)
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		files[filepath.ToSlash(name)] = string(text)
		return err
	})
	return files, err
}
