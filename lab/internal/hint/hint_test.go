package hint_test

import (
	"errors"
	"fmt"
	"io/fs"
	"testing"

	"distlab/lab/internal/hint"
)

func TestHint(t *testing.T) {
	inner := hint.Wrap(fs.ErrNotExist, "make %s", "it")
	outer := hint.Wrap(fmt.Errorf("read settings: %w", inner), "run the setup")
	for _, test := range []struct {
		name, text, hint string
		err              error
	}{
		{"plain", "file does not exist", "", fs.ErrNotExist},
		{"hinted", "file does not exist", "make it", inner},
		{"through a wrap", "x: file does not exist", "make it", fmt.Errorf("x: %w", inner)},
		{"joined", "a\nfile does not exist", "make it", errors.Join(errors.New("a"), inner)},
		{"outermost wins", "read settings: file does not exist", "run the setup", outer},
		{"new", "no go here", "install go", hint.New("no go here", "install go")},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := test.err.Error(); got != test.text {
				t.Errorf("text %q, want %q", got, test.text)
			}
			if got := hint.Of(test.err); got != test.hint {
				t.Errorf("hint %q, want %q", got, test.hint)
			}
		})
	}
	if !errors.Is(outer, fs.ErrNotExist) {
		t.Error("the cause is lost")
	}
	if hint.Wrap(nil, "x") != nil || hint.Of(nil) != "" {
		t.Error("a hint without an error is an error")
	}
}
