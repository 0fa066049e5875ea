package stack

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"distlab/lab/internal/hint"
)

// StateDir is where locks and the journal of faults lie: one place for all clones on this machine, since their
// stacks meet in one engine. XDG_STATE_HOME moves it.
func StateDir() string {
	if dir := os.Getenv("XDG_STATE_HOME"); dir != "" {
		return filepath.Join(dir, "distlab")
	}
	if home, err := os.UserHomeDir(); err == nil {
		return filepath.Join(home, ".local", "state", "distlab")
	}
	return filepath.Join(os.TempDir(), fmt.Sprintf("distlab-%d", os.Getuid()))
}

// Lock is a stack held by one command. The kernel lets go of it when the process dies, however it dies.
type Lock struct{ file *os.File }

type holder struct {
	Owner Owner     `json:"owner"`
	Verb  string    `json:"verb"`
	Since time.Time `json:"since"`
}

// ErrBusy says that another command holds the stack.
var ErrBusy = errors.New("another command is at work on it")

// Acquire takes the lock of a stack for a verb, or says who holds it.
func Acquire(project, verb string) (*Lock, error) {
	dir := filepath.Join(StateDir(), "locks")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("lock %s: %w", project, err)
	}
	f, err := os.OpenFile(filepath.Join(dir, project+".lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", project, err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		defer f.Close()
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock %s: %w", project, err)
		}
		var h holder
		if json.NewDecoder(f).Decode(&h) != nil {
			return nil, hint.Wrap(fmt.Errorf("%s: %w", project, ErrBusy), "wait for it, or end it")
		}
		return nil, hint.Wrap(fmt.Errorf("%s: %w: lab %s, process %d, for %v", project, ErrBusy, h.Verb, h.Owner.PID(),
			time.Since(h.Since).Round(time.Second)), "wait for it, or end it: kill %d", h.Owner.PID())
	}
	data, err := json.Marshal(holder{Owner: Self(), Verb: verb, Since: time.Now()})
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", project, err)
	}
	if err := errors.Join(f.Truncate(0), writeAt(f, data)); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", project, err)
	}
	return &Lock{file: f}, nil
}

func writeAt(f *os.File, data []byte) error {
	_, err := f.WriteAt(data, 0)
	return err
}

// Release lets go. A nil lock is let go of already.
func (l *Lock) Release() {
	if l != nil && l.file != nil {
		l.file.Close()
		l.file = nil
	}
}

// journal is the list of faults that are done to a stack and not undone, by one process.
type journal struct {
	Project string  `json:"project"`
	Owner   Owner   `json:"owner"`
	Faults  []noted `json:"faults"`
}

func journalPath(project string) string {
	return filepath.Join(StateDir(), "faults", project+".json")
}

func (j journal) save() error {
	path := journalPath(j.Project)
	if len(j.Faults) == 0 {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("journal of faults: %w", err)
		}
		return nil
	}
	data, err := json.Marshal(j)
	if err != nil {
		return fmt.Errorf("journal of faults: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("journal of faults: %w", err)
	}
	// Whole or not at all: it is read after a crash.
	if err := os.WriteFile(path+".new", data, 0o600); err != nil {
		return fmt.Errorf("journal of faults: %w", err)
	}
	return os.Rename(path+".new", path)
}

// journals are all that were left, by whichever process.
func journals() ([]journal, error) {
	dir := filepath.Join(StateDir(), "faults")
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("journal of faults: %w", err)
	}
	var out []journal
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".json") {
			continue
		}
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if errors.Is(err, fs.ErrNotExist) {
			continue // healed meanwhile
		}
		if err != nil {
			return nil, fmt.Errorf("journal of faults: %w", err)
		}
		var j journal
		if err := json.Unmarshal(data, &j); err != nil {
			return nil, hint.Wrap(fmt.Errorf("journal of faults %s: %w", e.Name(), err), "remove it: rm %s", filepath.Join(dir, e.Name()))
		}
		out = append(out, j)
	}
	return out, nil
}
