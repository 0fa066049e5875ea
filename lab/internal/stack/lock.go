package stack

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"distlab/lab/internal/compose"
	"distlab/lab/internal/hint"
)

// Lock is a stack held by one command. It is a container that never runs, named after the stack: the engine gives a name
// once, whoever asks, so the lock holds between users, clones and machines that share an engine. The stack's journal of
// faults lies in it.
//
// A holder that was killed leaves its lock. It is found dead at once from where its process number means something; from
// elsewhere (another PID namespace, another machine) when it has shown no life for [patience]. Then the lock is renamed, which
// frees the name, and [Engine.Heal] undoes what its journal has and removes it.
type Lock struct {
	engine  *Engine
	project string
	verb    string

	mu      sync.Mutex
	id      string    // of the container
	since   time.Time // when it was made, by our clock
	journal journal
	stale   bool // what the lock has of the journal lists more than there is
	ended   chan struct{}
	beating sync.WaitGroup
}

// ErrBusy says that another command holds the stack.
var ErrBusy = errors.New("another command is at work on it")

// A holder shows life every beat. One that has shown none for patience, and whose process cannot be asked for, is dead.
const (
	beat     = 10 * time.Second
	patience = 6 * beat
)

// lockImage is empty, and of no architecture: nothing of it ever runs.
const lockImage = "distlab/lock:1"

// Labels on a lock.
const (
	labelLock  = "distlab.lock"  // the stack's project
	labelPlace = "distlab.place" // where its holder's process number means something
	labelVerb  = "distlab.verb"  // what its holder does
)

// lockTimeout bounds a request about a lock. It is carried out even when the command is interrupted: what the engine was
// asked to create it creates.
const lockTimeout = 30 * time.Second

func lockName(project string) string { return project + ".lock" }

// Lock takes the lock of a stack for a verb, or says who holds it.
func (e *Engine) Lock(ctx context.Context, project, verb string) (*Lock, error) {
	ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), lockTimeout, limit("locking the stack", lockTimeout))
	defer cancel()
	l := &Lock{engine: e, project: project, verb: verb, ended: make(chan struct{})}
	for range 5 { // others may be about to take it, too
		err := l.create(ctx)
		if err == nil {
			l.beating.Go(l.beat)
			return l, nil
		}
		if !errdefs.IsConflict(err) {
			return nil, e.explain(ctx, fmt.Errorf("lock %s: %w", project, err))
		}
		h, err := e.holder(ctx, lockName(project))
		if errdefs.IsNotFound(err) {
			continue
		}
		if err != nil {
			return nil, e.explain(ctx, fmt.Errorf("lock %s: %w", project, err))
		}
		if alive, err := e.alive(ctx, h); err != nil {
			return nil, e.explain(ctx, fmt.Errorf("lock %s: %w", project, err))
		} else if alive {
			return nil, h.busy(project)
		}
		// By its ID: whoever takes a dead one's place makes the same name of it, and takes nobody else's away.
		_, err = e.Docker.ContainerRename(ctx, h.id, client.ContainerRenameOptions{NewName: project + ".left-" + h.id[:12]})
		if err != nil && !errdefs.IsNotFound(err) && !errdefs.IsInvalidArgument(err) && !errdefs.IsConflict(err) {
			return nil, e.explain(ctx, fmt.Errorf("lock %s: %w", project, err))
		}
	}
	return nil, hint.Wrap(fmt.Errorf("%s: %w", project, ErrBusy), "try again")
}

// create makes the lock's container, and the image that it is of where the engine has none.
func (l *Lock) create(ctx context.Context) error {
	opts := client.ContainerCreateOptions{
		Name: lockName(l.project),
		Config: &container.Config{Image: lockImage, Cmd: []string{"/none"}, Labels: map[string]string{
			labelLock: l.project, labelVerb: l.verb, labelPlace: here(),
			compose.LabelOwner: string(Self()), compose.LabelSession: session(),
		}},
		HostConfig: &container.HostConfig{NetworkMode: "none"},
	}
	made, err := l.engine.Docker.ContainerCreate(ctx, opts)
	if errdefs.IsNotFound(err) {
		if err := l.engine.importLockImage(ctx); err != nil {
			return err
		}
		made, err = l.engine.Docker.ContainerCreate(ctx, opts)
	}
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.id, l.since = made.ID, time.Now().Round(0) // a suspended machine's clock goes on
	l.stale = len(l.journal.Faults) > 0
	return nil
}

func (e *Engine) importLockImage(ctx context.Context) error {
	var empty bytes.Buffer
	if err := tar.NewWriter(&empty).Close(); err != nil {
		return err
	}
	res, err := e.Docker.ImageImport(ctx, client.ImageImportSource{Source: &empty, SourceName: "-"}, lockImage, client.ImageImportOptions{})
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, res)
	return errors.Join(err, res.Close())
}

// beat shows life until the lock is released. What can be changed of a container that never runs, without meaning anything, is
// how often it would be restarted: that is the number of beats since it was made.
func (l *Lock) beat() {
	tick := time.NewTicker(beat)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-l.ended:
			return
		}
		l.once()
	}
}

func (l *Lock) once() {
	ctx, cancel := context.WithTimeout(context.Background(), lockTimeout)
	defer cancel()
	gone := errdefs.IsNotFound(l.show(ctx)) // docker container prune takes it
	if gone {
		gone = l.create(ctx) != nil
	}
	if l.outdated() && !gone {
		_ = l.write(ctx) // where that fails, the next fault tells
	}
}

func (l *Lock) outdated() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.stale
}

// show shows life once.
func (l *Lock) show(ctx context.Context) error {
	l.mu.Lock()
	id, beats := l.id, int(time.Now().Round(0).Sub(l.since)/beat)
	l.mu.Unlock()
	_, err := l.engine.Docker.ContainerUpdate(ctx, id, client.ContainerUpdateOptions{RestartPolicy: &container.RestartPolicy{
		Name: container.RestartPolicyOnFailure, MaximumRetryCount: max(1, beats),
	}})
	return err
}

// Release lets go, and forgets the journal: what was done must have been undone. A nil lock is let go of already.
func (l *Lock) Release() {
	if l == nil {
		return
	}
	l.mu.Lock()
	id := l.id
	l.id = ""
	l.mu.Unlock()
	if id == "" {
		return
	}
	close(l.ended)
	l.beating.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), lockTimeout)
	defer cancel()
	// One that stays is the lock of a process that has ended, and the next command removes it.
	_, _ = l.engine.Docker.ContainerRemove(ctx, id, client.ContainerRemoveOptions{Force: true})
}

// holder is who holds a lock, or held it.
type holder struct {
	id, project, verb, session, place string
	owner                             Owner
	since, seen                       time.Time // made, and the last sign of life, by the engine's clock
}

// holder looks at a lock, by name or ID.
func (e *Engine) holder(ctx context.Context, id string) (holder, error) {
	res, err := e.Docker.ContainerInspect(ctx, id, client.ContainerInspectOptions{})
	if err != nil {
		return holder{}, err
	}
	c := res.Container
	labels := c.Config.Labels
	h := holder{
		id: c.ID, project: labels[labelLock], verb: labels[labelVerb], place: labels[labelPlace],
		session: labels[compose.LabelSession], owner: Owner(labels[compose.LabelOwner]),
	}
	if h.since, err = time.Parse(time.RFC3339Nano, c.Created); err != nil {
		return h, fmt.Errorf("container %s: created: %w", id, err)
	}
	h.seen = h.since.Add(time.Duration(c.HostConfig.RestartPolicy.MaximumRetryCount) * beat)
	return h, nil
}

// alive says whether a lock's holder still works.
func (e *Engine) alive(ctx context.Context, h holder) (bool, error) {
	if runs, known := h.owner.runs(h.place); known {
		return runs, nil
	}
	now, err := e.now(ctx)
	return h.seemsAlive(now), err
}

func (h holder) seemsAlive(now time.Time) bool { return now.Sub(h.seen) < patience }

// now is the engine's clock.
func (e *Engine) now(ctx context.Context) (time.Time, error) {
	res, err := e.Docker.Info(ctx, client.InfoOptions{})
	if err != nil {
		return time.Time{}, err
	}
	now, err := time.Parse(time.RFC3339Nano, res.Info.SystemTime)
	if err != nil {
		return time.Time{}, fmt.Errorf("the engine's clock: %w", err)
	}
	return now, nil
}

func (h holder) busy(project string) error {
	remedy := fmt.Sprintf("wait for it, or end it: kill %d", h.owner.PID())
	who := fmt.Sprintf("process %d", h.owner.PID())
	if h.place != here() {
		who += " of another place on " + h.owner.Host()
		remedy = fmt.Sprintf("wait for it, or end it there; a lock that shows no life for %v is free", patience)
	}
	return hint.Wrap(fmt.Errorf("%s: %w: lab %s, %s, for %v", project, ErrBusy, h.verb, who,
		max(0, time.Since(h.since)).Round(time.Second)), "%s", remedy)
}

// locks are all in the engine: those that are held, and those that dead holders left.
func (e *Engine) locks(ctx context.Context) (held, left []holder, err error) {
	all, err := e.list(ctx, labelLock)
	if err != nil {
		return nil, nil, err
	}
	for _, c := range all {
		h, err := e.holder(ctx, c.ID)
		if errdefs.IsNotFound(err) {
			continue
		}
		if err != nil {
			return nil, nil, e.explain(ctx, fmt.Errorf("look at the lock %s: %w", name(c), err))
		}
		alive := false
		if name(c) == lockName(h.project) {
			if alive, err = e.alive(ctx, h); err != nil {
				return nil, nil, e.explain(ctx, fmt.Errorf("look at the lock %s: %w", name(c), err))
			}
		}
		if alive {
			held = append(held, h)
		} else {
			left = append(left, h)
		}
	}
	return held, left, nil
}
