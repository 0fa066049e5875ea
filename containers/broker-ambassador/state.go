package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"distlab/containers/internal/whole"
)

// Kept is the last good answer for one service, as it is kept on disk.
type Kept struct {
	Select    string     `json:"select,omitempty"` // what it was chosen by: kept instances of another environment are none
	Version   string     `json:"version"`
	Confirmed time.Time  `json:"confirmed"`
	Instances []Instance `json:"instances"`
}

// ParseState reads a state file. A registration that would not be believed of a registry is not believed of a disk either.
func ParseState(text []byte, now time.Time) (map[string]Kept, error) {
	var state map[string]Kept
	if err := json.Unmarshal(text, &state); err != nil {
		return nil, fmt.Errorf("not a state file: %w", err)
	}
	for service, kept := range state {
		if len(kept.Instances) > mostInstances {
			return nil, fmt.Errorf("not a state file: %.80q has %d instances", service, len(kept.Instances))
		}
		for _, in := range kept.Instances {
			if err := in.check(); err != nil {
				return nil, fmt.Errorf("not a state file: %.80q: %w", service, err)
			}
		}
		if kept.Confirmed.After(now) { // a clock was wrong; its age is not to be less than nothing
			kept.Confirmed = now
			state[service] = kept
		}
	}
	return state, nil
}

func readState(path string) (map[string]Kept, error) {
	if path == "" {
		return nil, nil
	}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, 4*mostFile))
	if err != nil {
		return nil, err
	}
	return ParseState(text, time.Now())
}

func writeState(path string, state map[string]Kept) error {
	text, err := json.MarshalIndent(state, "", "  ")
	if err != nil {
		return err
	}
	return whole.Write(path, append(text, '\n'), 0o644)
}
