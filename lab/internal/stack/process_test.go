package stack

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"distlab/lab/check"
)

func TestOwner(t *testing.T) {
	alive := func(o Owner) bool {
		runs, known := o.runs(here())
		if !known {
			t.Errorf("%s: nobody knows", o)
		}
		return runs
	}
	if !alive(Self()) || Self().PID() != os.Getpid() {
		t.Errorf("%s: this process is not alive, or not this one", Self())
	}
	child := exec.Command("sleep", "60")
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	o := ownerOf(int32(child.Process.Pid))
	if !alive(o) {
		t.Errorf("%s runs, and is said to be dead", o)
	}
	_ = child.Process.Kill()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := check.Wait(ctx, "its death", func(context.Context) error { // a zombie: nobody has waited for it yet
		if alive(o) {
			return errors.New("it is said to be alive")
		}
		return nil
	}); err != nil {
		t.Errorf("%s was killed: %v", o, err)
	}
	_ = child.Wait()
	if alive(o) {
		t.Errorf("%s was killed, and is said to be alive", o)
	}
	for name, o := range map[string]Owner{
		"no such process":           ownerOf(1 << 30),
		"the number was given anew": Owner(strings.Replace(string(Self()), strings.Split(string(Self()), "/")[2], "7", 1)),
	} {
		if alive(o) {
			t.Errorf("%s: %s is said to be alive", name, o)
		}
	}
	for _, o := range []Owner{"", "x", "a/b/c"} {
		if _, known := o.runs(here()); known {
			t.Errorf("%q: known, and it is no process", o)
		}
	}
	// The same number is another process there, or none: whatever it does here says nothing.
	for _, place := range []string{"", "another boot pid:[4026531836]", strings.Split(here(), " ")[0] + " pid:[1]"} {
		if _, known := Self().runs(place); known {
			t.Errorf("a process of %q is taken for one of %q", place, here())
		}
	}
}
