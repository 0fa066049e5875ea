package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"distlab/containers/internal/whole"
)

// Store keeps a cursor in a file, so that a restart of this program repeats nothing.
type Store struct{ Path string }

// load is the stored cursor; none yet is the zero one. A file that is something else is an error: to overwrite it may
// not be what was meant.
func (s *Store) load() (Cursor, error) {
	none := Cursor{Last: -1}
	text, err := os.ReadFile(s.Path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return none, nil
	case err != nil:
		return none, err
	}
	c := none
	if err := json.Unmarshal(text, &c); err != nil || c.Last < -1 {
		return none, fmt.Errorf("%s: not a cursor that this program stored", s.Path)
	}
	return c, nil
}

// save replaces the file whole: a program that dies leaves the old cursor or the new one.
func (s *Store) save(c Cursor) error {
	text, err := json.Marshal(c)
	if err != nil {
		return err
	}
	return whole.Write(s.Path, append(text, '\n'), 0o644)
}
