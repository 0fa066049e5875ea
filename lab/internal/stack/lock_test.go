package stack

import (
	"context"
	"errors"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"distlab/lab/check"
	"distlab/lab/internal/compose"
	"distlab/lab/internal/hint"
)

func connect(t *testing.T) *Engine {
	t.Helper()
	if testing.Short() {
		t.SkipNow()
	}
	e, err := Connect(t.Context())
	if err != nil {
		t.Fatalf("%v (-short leaves out what needs Docker)", err)
	}
	return e
}

// lockAs takes a lock in another's name.
func lockAs(t *testing.T, e *Engine, project string, owner Owner, place string, faults ...noted) {
	t.Helper()
	l, err := e.Lock(t.Context(), project, "verify")
	if err != nil {
		t.Fatal(err)
	}
	l.Release()
	made, err := e.Docker.ContainerCreate(t.Context(), client.ContainerCreateOptions{
		Name: lockName(project),
		Config: &container.Config{Image: lockImage, Cmd: []string{"/none"}, Labels: map[string]string{
			labelLock: project, labelVerb: "verify", labelPlace: place,
			compose.LabelOwner: string(owner), compose.LabelSession: "another",
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_, _ = e.Docker.ContainerRemove(context.Background(), made.ID, client.ContainerRemoveOptions{Force: true})
	})
	if len(faults) > 0 {
		if err := e.writeJournal(t.Context(), made.ID, &journal{Faults: faults}); err != nil {
			t.Fatal(err)
		}
	}
}

// ended is a process of this machine that is gone.
func ended(t *testing.T) Owner {
	t.Helper()
	child := exec.Command("sleep", "60")
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	o := ownerOf(int32(child.Process.Pid))
	_ = child.Process.Kill()
	_ = child.Wait()
	return o
}

func TestLock(t *testing.T) {
	e := connect(t)
	l, err := e.Lock(t.Context(), "distlab-x-lock", "up")
	if err != nil {
		t.Fatal(err)
	}
	_, err = e.Lock(t.Context(), "distlab-x-lock", "down")
	if !errors.Is(err, ErrBusy) || !strings.Contains(err.Error(), "lab up") || !strings.Contains(hint.Of(err), "kill ") {
		t.Errorf("the second got %v (hint %q), want ErrBusy, who holds it, and a hint", err, hint.Of(err))
	}
	other, err := e.Lock(t.Context(), "distlab-x-other", "up")
	if err != nil {
		t.Errorf("another stack is locked too: %v", err)
	}
	other.Release()
	l.Release()
	l.Release() // a second time does nothing
	if l, err = e.Lock(t.Context(), "distlab-x-lock", "down"); err != nil {
		t.Errorf("let go of, and still locked: %v", err)
	}
	l.Release()
}

// TestLockOfAnotherPlace: a process of another PID namespace or machine is not taken for dead because nobody sees it from here,
// whatever the host is called.
func TestLockOfAnotherPlace(t *testing.T) {
	e := connect(t)
	const project = "distlab-x-place"
	lockAs(t, e, project, ended(t), "elsewhere")
	_, err := e.Lock(t.Context(), project, "up")
	if !errors.Is(err, ErrBusy) || !strings.Contains(err.Error(), "another place") {
		t.Fatalf("%v, want ErrBusy", err)
	}
	if done, err := e.Heal(t.Context()); err != nil || strings.Contains(strings.Join(done, " "), project) {
		t.Errorf("healed: %q, %v", done, err)
	}
	h, err := e.holder(t.Context(), lockName(project))
	if err != nil {
		t.Fatal(err)
	}
	for after, want := range map[time.Duration]bool{0: true, patience - time.Second: true, patience: false, time.Hour: false} {
		if h.seemsAlive(h.since.Add(after)) != want {
			t.Errorf("%v after its last sign of life: alive %v", after, !want)
		}
	}
}

// TestLockShowsLife: each beat moves the time at which it would be taken for dead.
func TestLockShowsLife(t *testing.T) {
	e := connect(t)
	const project = "distlab-x-life"
	l, err := e.Lock(t.Context(), project, "up")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Release()
	l.mu.Lock()
	l.since = l.since.Add(-time.Hour)
	l.mu.Unlock()
	if err := l.show(t.Context()); err != nil {
		t.Fatal(err)
	}
	h, err := e.holder(t.Context(), lockName(project))
	if err != nil || h.seen.Sub(h.since) < time.Hour || !h.seemsAlive(h.since.Add(time.Hour+30*time.Second)) || h.session != session() {
		t.Errorf("%+v, %v: it shows no life", h, err)
	}
	// Somebody prunes: it is made anew, with its journal.
	if err := l.note(t.Context(), noted{Container: "c", Action: check.Action{Kind: check.ActPause}}); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Docker.ContainerRemove(t.Context(), h.id, client.ContainerRemoveOptions{}); err != nil {
		t.Fatal(err)
	}
	l.once()
	again, err := e.holder(t.Context(), lockName(project))
	if err != nil || again.id == h.id {
		t.Fatalf("the lock was not made anew: %+v, %v", again, err)
	}
	if j, err := e.readJournal(t.Context(), again.id); err != nil || len(j.Faults) != 1 {
		t.Errorf("its journal: %+v, %v", j, err)
	}
}

// TestLockOfTheDead: its place is taken, its faults are undone once, and nothing of it stays.
func TestLockOfTheDead(t *testing.T) {
	e := connect(t)
	const project = "distlab-x-dead"
	lockAs(t, e, project, ended(t), here(), noted{Container: strings.Repeat("0", 64), Action: check.Action{Kind: check.ActPause}})
	held, left, err := e.locks(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	has := func(list []holder) (n int) {
		for _, h := range list {
			if h.project == project {
				n++
			}
		}
		return n
	}
	if has(held) != 0 || has(left) != 1 {
		t.Errorf("%d held, %d left", has(held), has(left))
	}
	l, err := e.Lock(t.Context(), project, "up")
	if err != nil {
		t.Fatal(err)
	}
	// While somebody holds it, what the dead left is that one's business.
	if done, err := e.Heal(t.Context()); err != nil || strings.Contains(strings.Join(done, " "), project) {
		t.Errorf("healed behind the holder's back: %q, %v", done, err)
	}
	l.Release()
	done, err := e.Heal(t.Context())
	if err != nil || !strings.Contains(strings.Join(done, " "), "healed "+project+": undid a pause") {
		t.Errorf("healed: %q, %v", done, err)
	}
	if _, left, err = e.locks(t.Context()); err != nil || has(left) != 0 {
		t.Errorf("%d are left, %v", has(left), err)
	}
}

// TestManyTakeTheDeadOnesPlace: one of them gets it.
func TestManyTakeTheDeadOnesPlace(t *testing.T) {
	e := connect(t)
	const project, n = "distlab-x-many", 8
	lockAs(t, e, project, ended(t), here())
	type result struct {
		l   *Lock
		err error
	}
	results := make(chan result, n)
	for range n {
		go func() {
			l, err := e.Lock(t.Context(), project, "up")
			results <- result{l, err}
		}()
	}
	got := 0
	for range n {
		r := <-results
		switch {
		case r.err == nil:
			got++
			defer r.l.Release()
		case !errors.Is(r.err, ErrBusy):
			t.Error(r.err)
		}
	}
	if got != 1 {
		t.Errorf("%d hold it", got)
	}
}

// TestJournal: the newer of the two that is whole counts.
func TestJournal(t *testing.T) {
	e := connect(t)
	l, err := e.Lock(t.Context(), "distlab-x-journal", "verify")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Release()
	read := func() (kinds []string) {
		t.Helper()
		j, err := e.readJournal(t.Context(), l.id)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range j.Faults {
			kinds = append(kinds, string(n.Action.Kind))
		}
		return kinds
	}
	if got := read(); len(got) != 0 {
		t.Errorf("before the first fault: %v", got)
	}
	for _, kind := range []check.ActionKind{check.ActPause, check.ActStop, check.ActKill} {
		if err := l.note(t.Context(), noted{Container: "c", Action: check.Action{Kind: kind}}); err != nil {
			t.Fatal(err)
		}
	}
	if got := strings.Join(read(), " "); got != "pause stop kill" {
		t.Errorf("read back %q", got)
	}
	l.undone("c", check.ActStop)
	l.once() // a beat writes down what was undone
	if got := strings.Join(read(), " "); got != "pause kill" {
		t.Errorf("after an undo: %q", got)
	}
	next := journalFiles[(l.journal.Version+1)%2]
	if err := e.writeFile(t.Context(), l.id, file{Path: next, Content: []byte(`{"version": 99, "fau`), Mode: 0o600}); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(read(), " "); got != "pause kill" {
		t.Errorf("with the newest torn: %q", got)
	}
	if err := (*Lock)(nil).note(t.Context(), noted{}); !errors.Is(err, ErrNoLock) {
		t.Errorf("without a lock: %v", err)
	}
}
