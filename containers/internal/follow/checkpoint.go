package follow

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"distlab/containers/internal/whole"
)

// Checkpoint is the file that keeps how far everything was acknowledged. An empty Path keeps nothing.
type Checkpoint struct{ Path string }

// checkpointVersion is of the file's form. Another one is an error: to guess would be to repeat or to lose.
const checkpointVersion = 1

// maxCheckpoint bounds what is read of the file: some hundred bytes a file, and files are bounded.
const maxCheckpoint = 64 << 20

type saved struct {
	Version int       `json:"version"`
	Looked  time.Time `json:"looked"` // when the names were looked at last before it
	Files   []Entry   `json:"files"`
}

// Load reads the file. There being none is no error: it is the first start.
func (c Checkpoint) Load() (files []Entry, looked time.Time, found bool, err error) {
	if c.Path == "" {
		return nil, time.Time{}, false, nil
	}
	if err := whole.Clean(filepath.Dir(c.Path)); err != nil {
		return nil, time.Time{}, false, fmt.Errorf("checkpoint: %w", err)
	}
	file, err := os.Open(c.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, time.Time{}, false, nil
	}
	if err != nil {
		return nil, time.Time{}, false, fmt.Errorf("checkpoint: %w", err)
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxCheckpoint))
	if err != nil {
		return nil, time.Time{}, false, fmt.Errorf("checkpoint: %w", err)
	}
	var s saved
	if err := json.Unmarshal(text, &s); err != nil {
		return nil, time.Time{}, false, fmt.Errorf("checkpoint %s: %w; remove it to read all files from their beginning", c.Path, err)
	}
	if s.Version != checkpointVersion {
		return nil, time.Time{}, false, fmt.Errorf("checkpoint %s: version %d, not %d; remove it to read all files from their beginning",
			c.Path, s.Version, checkpointVersion)
	}
	for i, e := range s.Files {
		if e.Stream == "" || e.Source == "" || e.Acked.Offset < 0 || e.Print.Bytes < 0 || e.Print.Bytes > e.Size || e.Acked.Offset > e.Size {
			return nil, time.Time{}, false, fmt.Errorf("checkpoint %s: file %d makes no sense; remove it to read all files from their beginning",
				c.Path, i)
		}
	}
	return s.Files, s.Looked, true, nil
}

// Save replaces the file whole, and has it on the disk when it returns.
func (c Checkpoint) Save(files []Entry, looked time.Time) error {
	if c.Path == "" {
		return nil
	}
	text, err := json.Marshal(saved{checkpointVersion, looked, files})
	if err != nil {
		return err
	}
	return whole.Write(c.Path, append(text, '\n'), 0o600)
}
