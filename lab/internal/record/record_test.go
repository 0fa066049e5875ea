package record

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestRun(t *testing.T) {
	root := t.TempDir()
	r, err := New(root, "sidecar/tls")
	if err != nil {
		t.Fatal(err)
	}
	if want := filepath.Join(root, ".lab", "runs", "sidecar-tls"); filepath.Dir(r.Dir) != want {
		t.Errorf("it lies in %s, want %s", r.Dir, want)
	}
	if err := r.Write("report.txt", func(w Writer) error { _, err := w.Write([]byte("x")); return err }); err != nil {
		t.Fatal(err)
	}
	full := errors.New("disk full")
	if err := r.Write("torn", func(Writer) error { return full }); !errors.Is(err, full) || !strings.Contains(err.Error(), "torn") {
		t.Errorf("a file that could not be filled: %v", err)
	}
	if err := r.Finish(); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(Parent(root, "sidecar/tls"), "latest", "report.txt"))
	if err != nil || string(data) != "x" {
		t.Errorf("latest: %q, %v", data, err)
	}
}

// TestManyRuns: runs that begin at the same moment have folders of their own, latest is the last that finished, and
// old ones go.
func TestManyRuns(t *testing.T) {
	root := t.TempDir()
	seen := map[string]bool{}
	var last *Run
	for range Kept + 5 {
		r, err := New(root, "a/b")
		if err != nil {
			t.Fatal(err)
		}
		if seen[r.Dir] {
			t.Fatalf("%s is given twice", r.Dir)
		}
		seen[r.Dir] = true
		last = r
	}
	if err := last.Finish(); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(Parent(root, "a/b"))
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != Kept+1 { // and the link
		t.Errorf("%d entries are left, want %d", len(entries), Kept+1)
	}
	link, err := os.Readlink(filepath.Join(Parent(root, "a/b"), "latest"))
	if err != nil || link != filepath.Base(last.Dir) {
		t.Errorf("latest leads to %s, want %s (%v)", link, filepath.Base(last.Dir), err)
	}
}
