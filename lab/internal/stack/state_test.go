package stack

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"distlab/lab/check"
	"distlab/lab/internal/hint"
)

func TestOwner(t *testing.T) {
	if !Self().Alive() || Self().PID() != os.Getpid() {
		t.Errorf("%s: this process is not alive, or not this one", Self())
	}
	child := exec.Command("sleep", "60")
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	o := ownerOf(int32(child.Process.Pid))
	if !o.Alive() {
		t.Errorf("%s runs, and is said to be dead", o)
	}
	_ = child.Process.Kill()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := check.Wait(ctx, "its death", func(context.Context) error { // a zombie: nobody has waited for it yet
		if o.Alive() {
			return errors.New("it is said to be alive")
		}
		return nil
	}); err != nil {
		t.Errorf("%s was killed: %v", o, err)
	}
	_ = child.Wait()
	if o.Alive() {
		t.Errorf("%s was killed, and is said to be alive", o)
	}
	host, _, ms, _ := Self().parts()
	for name, dead := range map[Owner]bool{
		"": true, "x": true, "a/b/c": true,
		ownerOf(1 << 30): true, // no such process
		Owner(strings.Replace(string(Self()), host+"/", "elsewhere/", 1)):                     false, // only its expiry can tell
		Owner(strings.Replace(string(Self()), strings.Split(string(Self()), "/")[2], "7", 1)): true,  // the number was given anew
	} {
		if name.Alive() == dead {
			t.Errorf("owner %q: dead %v, want %v (this one started at %d)", name, !dead, dead, ms)
		}
	}
}

func TestLock(t *testing.T) {
	t.Setenv("XDG_STATE_HOME", t.TempDir())
	l, err := Acquire("distlab-x", "up")
	if err != nil {
		t.Fatal(err)
	}
	_, err = Acquire("distlab-x", "down")
	if !errors.Is(err, ErrBusy) || !strings.Contains(err.Error(), "lab up") || hint.Of(err) == "" {
		t.Errorf("the second got %v (hint %q), want ErrBusy, who holds it, and a hint", err, hint.Of(err))
	}
	other, err := Acquire("distlab-y", "up")
	if err != nil {
		t.Errorf("another stack is locked too: %v", err)
	}
	other.Release()
	l.Release()
	l.Release() // a second time does nothing
	l, err = Acquire("distlab-x", "down")
	if err != nil {
		t.Errorf("let go of, and still locked: %v", err)
	}
	l.Release()
}

func TestJournal(t *testing.T) {
	t.Setenv("XDG_STATE_HOME", t.TempDir())
	if left, err := journals(); err != nil || len(left) != 0 {
		t.Fatalf("before the first: %v, %v", left, err)
	}
	j := journal{Project: "distlab-x", Owner: Self(), Faults: []noted{{Container: "c", Action: check.Action{Kind: check.ActPause}, WasUp: true}}}
	if err := j.save(); err != nil {
		t.Fatal(err)
	}
	left, err := journals()
	if err != nil || len(left) != 1 || left[0].Faults[0].Action.Kind != check.ActPause || left[0].Owner != Self() {
		t.Fatalf("read back %+v, %v", left, err)
	}
	j.Faults = nil
	if err := j.save(); err != nil {
		t.Fatal(err)
	}
	if left, err := journals(); err != nil || len(left) != 0 {
		t.Errorf("a journal without faults stays: %v, %v", left, err)
	}
	if err := os.WriteFile(journalPath("distlab-x"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := journals(); err == nil || !strings.Contains(hint.Of(err), filepath.Base(journalPath("distlab-x"))) {
		t.Errorf("a torn journal: %v, hint %q", err, hint.Of(err))
	}
}

func TestOverviewState(t *testing.T) {
	for _, c := range []struct {
		want    string
		members []Member
	}{
		{"up", []Member{{Status: "running"}, {Status: "running", Health: "healthy"}}},
		{"starting", []Member{{Status: "running"}, {Status: "running", Health: "starting"}}},
		{"partial", []Member{{Status: "running"}, {Status: "exited"}}},
		{"partial", []Member{{Status: "running"}, {Status: "running", Health: "unhealthy"}}},
		{"partial", []Member{{Status: "running"}, {Status: "paused"}}},
		{"down", []Member{{Status: "exited"}, {Status: "created"}}},
	} {
		if got := (Overview{Members: c.members}).State(); got != c.want {
			t.Errorf("%+v: %s, want %s", c.members, got, c.want)
		}
	}
}
