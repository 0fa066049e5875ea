package cli

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

func writing(text string, err error) func(io.Writer) error {
	return func(w io.Writer) error {
		_, _ = io.WriteString(w, text)
		return err
	}
}

// TestWriteWhole leaves a file that is complete, or what was there before.
func TestWriteWhole(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "all.tar")
	if _, err := writeWhole(file, nil, writing("half", errors.New("engine gone"))); err == nil {
		t.Error("no error")
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("after a failure there is %v", left)
	}
	for _, text := range []string{"first", "another"} {
		n, err := writeWhole(file, nil, writing(text, nil))
		if err != nil || n != int64(len(text)) {
			t.Errorf("%d bytes, %v", n, err)
		}
		if got, err := os.ReadFile(file); err != nil || string(got) != text {
			t.Errorf("%q, %v", got, err)
		}
	}
	if _, err := writeWhole(file, nil, writing("half", errors.New("engine gone"))); err == nil {
		t.Error("no error")
	}
	if got, err := os.ReadFile(file); err != nil || string(got) != "another" {
		t.Errorf("after a failure: %q, %v", got, err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 1 {
		t.Errorf("there is %v", left)
	}
	var out bytes.Buffer
	if n, err := writeWhole("-", &out, writing("stream", nil)); err != nil || n != 6 || out.String() != "stream" {
		t.Errorf("standard output: %q, %d, %v", out.String(), n, err)
	}
	if n, err := writeWhole(os.DevNull, nil, writing("gone", nil)); err != nil || n != 4 {
		t.Errorf("a device: %d, %v", n, err)
	}
}

func TestMayWrite(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "all.tar")
	a := &app{stdout: &bytes.Buffer{}}
	if err := a.mayWrite(file, false); err != nil {
		t.Errorf("a new file: %v", err)
	}
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := a.mayWrite(file, false); err == nil {
		t.Error("a file that is there: no error")
	}
	for _, name := range []string{"-", os.DevNull} {
		if err := a.mayWrite(name, false); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := a.mayWrite(file, true); err != nil {
		t.Errorf("with --force: %v", err)
	}
	if err := a.mayWrite(dir, true); err == nil {
		t.Error("a folder: no error")
	}
	if err := a.mayWrite(filepath.Join(file, "x"), false); err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("below a file: %v", err)
	}
	text := onTerminal(t, 80, 24, func(f *os.File) {
		if err := (&app{stdout: f}).mayWrite("-", false); err == nil {
			t.Error("a terminal: no error")
		}
	})
	if text != "" {
		t.Errorf("printed %q", text)
	}
}
