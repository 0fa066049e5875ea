package stack

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"distlab/lab/check"
)

// journal is the list of faults that are done to a stack and not undone, the newest at the end.
type journal struct {
	Version int     `json:"version"` // one more with each writing
	Faults  []noted `json:"faults"`
}

// journalFiles are where it lies in the lock's container: in turn, so that one is whole when its writer is killed.
var journalFiles = [2]string{"/faults.0.json", "/faults.1.json"}

// ErrNoLock says that a fault cannot be written down.
var ErrNoLock = errors.New("a fault needs the stack's lock, where it is written down")

// note writes down a fault before it is done.
func (l *Lock) note(ctx context.Context, n noted) error {
	if l == nil {
		return ErrNoLock
	}
	l.mu.Lock()
	l.journal.Faults = append(l.journal.Faults, n)
	l.mu.Unlock()
	return l.write(ctx)
}

// write puts the journal into the lock. It is read when this process has been killed.
func (l *Lock) write(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.id == "" {
		return ErrNoLock
	}
	l.stale = false
	return l.engine.writeJournal(ctx, l.id, &l.journal)
}

func (e *Engine) writeJournal(ctx context.Context, lock string, j *journal) error {
	j.Version++
	data, err := json.Marshal(j)
	if err == nil {
		err = e.writeFile(ctx, lock, file{Path: journalFiles[j.Version%2], Content: data, Mode: 0o600})
	}
	if err != nil {
		return fmt.Errorf("journal of faults: %w", err)
	}
	return nil
}

// readJournal reads the newer of the two that is whole. A torn one was being written, and its fault was not done yet.
func (e *Engine) readJournal(ctx context.Context, lock string) (journal, error) {
	var newest journal
	for _, path := range journalFiles {
		f, err := e.readFile(ctx, lock, path)
		if err != nil {
			return journal{}, fmt.Errorf("journal of faults: %w", err)
		}
		var j journal
		if f.Exists && json.Unmarshal(f.Content, &j) == nil && j.Version > newest.Version {
			newest = j
		}
	}
	return newest, nil
}

// last is the newest fault of a kind on a container.
func (l *Lock) last(id string, kind check.ActionKind) (n noted, ok bool) {
	if l == nil {
		return noted{}, false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, n := range slices.Backward(l.journal.Faults) {
		if n.Container == id && n.Action.Kind == kind {
			return n, true
		}
	}
	return noted{}, false
}

// undone takes the newest fault of a kind on a container off the list. That is written down with the next fault or beat, so
// that it takes no time from who measures: to undo a fault twice does nothing.
func (l *Lock) undone(id string, kind check.ActionKind) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, n := range slices.Backward(l.journal.Faults) {
		if n.Container == id && n.Action.Kind == kind {
			l.journal.Faults = slices.Delete(l.journal.Faults, i, i+1)
			l.stale = true
			return
		}
	}
}

// Heal undoes the faults that dead commands left, and says what it did. A stack that a living one holds is left to that. A
// command can be undone only where its container runs; where it does not, Up does that.
func (e *Engine) Heal(ctx context.Context) ([]string, error) {
	_, left, err := e.locks(ctx)
	if err != nil {
		return nil, err
	}
	var done []string
	var errs []error
	seen := map[string]bool{}
	for _, h := range left {
		if seen[h.project] {
			continue
		}
		seen[h.project] = true
		lock, err := e.Lock(ctx, h.project, "heal")
		if errors.Is(err, ErrBusy) {
			continue
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		what, err := e.heal(ctx, h.project)
		lock.Release()
		done, errs = append(done, what...), append(errs, err)
	}
	return done, errors.Join(errs...)
}

// healTimeout bounds one stack's healing: who does it came for something else.
const healTimeout = time.Minute

// heal undoes what dead holders of a stack's lock left, for who holds it now.
func (e *Engine) heal(ctx context.Context, project string) ([]string, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, healTimeout, limit("healing "+project, healTimeout))
	defer cancel()
	all, err := e.list(ctx, labelLock+"="+project)
	if err != nil {
		return nil, err
	}
	var done []string
	var errs []error
	for _, c := range all {
		if name(c) == lockName(project) {
			continue
		}
		what, err := e.healOne(ctx, project, c)
		done, errs = append(done, what...), append(errs, err)
	}
	return done, errors.Join(errs...)
}

// healOne goes through the journal of one lock, newest first, and removes the lock when nothing is left in it.
func (e *Engine) healOne(ctx context.Context, project string, lock container.Summary) (done []string, err error) {
	j, err := e.readJournal(ctx, lock.ID)
	if err != nil {
		return nil, err
	}
	for len(j.Faults) > 0 {
		n := j.Faults[len(j.Faults)-1]
		if n.Action.Kind == check.ActRun {
			if c, there, err := e.at(ctx, n.Replica); err == nil && there && c.State != container.StateRunning {
				return done, nil
			}
		}
		if err := e.undo(ctx, n); err != nil {
			return done, err
		}
		done = append(done, fmt.Sprintf("healed %s: undid a %s that an ended command had left", project, n.Action.Kind))
		j.Faults = j.Faults[:len(j.Faults)-1]
		if err := e.writeJournal(ctx, lock.ID, &j); err != nil {
			return done, err
		}
	}
	_, err = e.Docker.ContainerRemove(ctx, lock.ID, client.ContainerRemoveOptions{Force: true})
	if errdefs.IsNotFound(err) {
		err = nil
	}
	return done, err
}
