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

// state is what has to survive a restart. Which commit is live is not in it: that is told by the link alone.
type state struct {
	Version  int    `json:"version"`
	Previous string `json:"previous,omitempty"` // the commit to go back to
	Trial    string `json:"trial,omitempty"`    // the commit that is watched, if it is live
	Bad      *Bad   `json:"bad,omitempty"`
}

const stateVersion = 1

func (s *Site) statePath() string { return filepath.Join(s.Root, private, "state.json") }

// readState reads it. One that is damaged, or of another version, is none: what it knew is found out anew.
func (s *Site) readState() (state, error) {
	text, err := os.ReadFile(s.statePath())
	if errors.Is(err, fs.ErrNotExist) {
		return state{}, nil
	}
	var st state
	if err == nil {
		err = json.Unmarshal(text, &st)
	}
	if err == nil && st.Version != stateVersion {
		err = fmt.Errorf("version %d, not %d", st.Version, stateVersion)
	}
	if err != nil {
		return state{}, fmt.Errorf("%s: %w", s.statePath(), err)
	}
	return st, nil
}

func (s *Site) writeState(st state) error {
	st.Version = stateVersion
	text, err := json.MarshalIndent(st, "", "  ")
	if err != nil {
		return err
	}
	return whole.Write(s.statePath(), append(text, '\n'), 0o644)
}
