package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"distlab/containers/internal/whole"
)

// Open reads the journal, if there is one. What a crash has left of a last line was never answered, and is cut off; a bad
// line before the last is an error: what is behind it cannot be believed.
func (s *Store) Open() error {
	s.accounts, s.counts = map[string]int64{}, map[string]int{}
	if s.Path == "" {
		return nil
	}
	f, err := os.OpenFile(s.Path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	good, err := s.replay(f)
	if err == nil {
		err = f.Truncate(good)
	}
	if err == nil {
		_, err = f.Seek(good, io.SeekStart)
	}
	if err == nil {
		err = whole.Sync(filepath.Dir(s.Path))
	}
	if err != nil {
		f.Close()
		return fmt.Errorf("journal: %w", err)
	}
	s.file = f
	return nil
}

// longestLine bounds a line of the journal: names are short.
const longestLine = 64 << 10

// replay does what the journal says, and is where it ends well.
func (s *Store) replay(r io.Reader) (good int64, err error) {
	lines := bufio.NewReaderSize(r, longestLine)
	for {
		line, err := lines.ReadSlice('\n')
		if err == io.EOF {
			return good, nil // the rest has no end
		}
		if err != nil {
			return good, fmt.Errorf("after %d bytes: %w", good, err)
		}
		var e Entry
		d := json.NewDecoder(bytes.NewReader(line))
		d.DisallowUnknownFields()
		if err := d.Decode(&e); err != nil {
			return good, fmt.Errorf("after %d bytes: %w", good, err)
		}
		if e.Seq != s.seq+1 {
			return good, fmt.Errorf("after %d bytes: number %d where %d should be", good, e.Seq, s.seq+1)
		}
		s.apply(e)
		good += int64(len(line))
	}
}

// journal writes an entry. Once that has gone wrong nothing is accepted any more: what is in the file is not known then.
func (s *Store) journal(e Entry) error {
	if s.failed != nil {
		return s.failed
	}
	if s.file == nil {
		return nil
	}
	text, err := json.Marshal(e)
	if err == nil {
		_, err = s.file.Write(append(text, '\n'))
	}
	if err == nil {
		err = s.file.Sync()
	}
	if err != nil {
		s.failed = fmt.Errorf("journal: %w", err)
	}
	return s.failed
}

// Close ends the journal.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file == nil {
		return nil
	}
	s.failed = errors.New("journal: closed")
	return s.file.Close()
}
