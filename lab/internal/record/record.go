// Package record keeps what a run of a lab's claims found: .lab/runs/<family>-<name>/<time>/, with a link `latest`
// to the newest. A run has its reports (report.txt, report.json, junit.xml), the compose file that ran, the log of every
// container from the run's begin, and what claims chose to keep.
package record

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Kept is how many runs of a lab are kept; Finish removes older ones.
const Kept = 50

// Writer is where a record's file goes.
type Writer = io.Writer

// Run is one run's folder.
type Run struct{ Dir string }

// Parent is the folder of a lab's runs.
func Parent(root, lab string) string {
	return filepath.Join(root, ".lab", "runs", strings.ReplaceAll(lab, "/", "-"))
}

// New makes a folder for a run that begins now.
func New(root, lab string) (*Run, error) {
	parent := Parent(root, lab)
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return nil, fmt.Errorf("record the run: %w", err)
	}
	// Two runs may begin in the same millisecond; mkdir decides who has the name.
	for t := time.Now(); ; t = t.Add(time.Millisecond) {
		dir := filepath.Join(parent, t.UTC().Format("2006-01-02T15-04-05.000Z"))
		err := os.Mkdir(dir, 0o755)
		if err == nil {
			return &Run{Dir: dir}, nil
		}
		if !errors.Is(err, fs.ErrExist) {
			return nil, fmt.Errorf("record the run: %w", err)
		}
	}
}

// Write makes a file of the run.
func (r *Run) Write(name string, fill func(Writer) error) error {
	f, err := os.Create(filepath.Join(r.Dir, name))
	if err != nil {
		return fmt.Errorf("record the run: %w", err)
	}
	if err := errors.Join(fill(f), f.Close()); err != nil {
		return fmt.Errorf("record the run: %s: %w", name, err)
	}
	return nil
}

// Copy keeps a copy of a file.
func (r *Run) Copy(name, from string) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return fmt.Errorf("record the run: %w", err)
	}
	return r.Write(name, func(w Writer) error {
		_, err := w.Write(data)
		return err
	})
}

// Finish points `latest` at the run and removes the oldest beyond Kept.
func (r *Run) Finish() error {
	parent := filepath.Dir(r.Dir)
	link := filepath.Join(parent, "latest")
	tmp := fmt.Sprintf("%s.%d", link, os.Getpid())
	if err := os.Symlink(filepath.Base(r.Dir), tmp); err != nil {
		return fmt.Errorf("record the run: %w", err)
	}
	if err := os.Rename(tmp, link); err != nil {
		return fmt.Errorf("record the run: %w", err)
	}
	entries, err := os.ReadDir(parent)
	if err != nil {
		return fmt.Errorf("record the run: %w", err)
	}
	var runs []string
	for _, e := range entries {
		if e.IsDir() {
			runs = append(runs, e.Name())
		}
	}
	slices.Sort(runs)
	for len(runs) > Kept {
		if err := os.RemoveAll(filepath.Join(parent, runs[0])); err != nil {
			return fmt.Errorf("record the run: %w", err)
		}
		runs = runs[1:]
	}
	return nil
}
