package whole

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func names(t *testing.T, folder string) []string {
	t.Helper()
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

func TestWriteMakesAndReplaces(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	for _, c := range []struct {
		text string
		mode os.FileMode
	}{{"one", 0o600}, {"", 0o644}, {"three", 0o666}} {
		if err := Write(path, []byte(c.text), c.mode); err != nil {
			t.Fatal(err)
		}
		st, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := read(t, path); got != c.text || st.Mode().Perm() != c.mode {
			t.Errorf("got %q with mode %v, want %q with %v", got, st.Mode().Perm(), c.text, c.mode)
		}
	}
	if got := names(t, filepath.Dir(path)); len(got) != 1 {
		t.Errorf("left beside it: %q", got)
	}
}

func TestWriteKeepsTheLink(t *testing.T) {
	dir := t.TempDir()
	file, link := filepath.Join(dir, "file"), filepath.Join(dir, "link")
	if err := os.WriteFile(file, []byte("old"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("file", link); err != nil {
		t.Fatal(err)
	}
	if err := Write(link, []byte("new"), 0o644); err != nil {
		t.Fatal(err)
	}
	if to, err := os.Readlink(link); err != nil || to != "file" || read(t, file) != "new" {
		t.Errorf("link to %q (%v), file %q; want the link kept and the file new", to, err, read(t, file))
	}
}

func TestWriteLeavesTheOldOnAnError(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "folder") // a folder is in the way: the rename fails, after all else went well
	if err := os.MkdirAll(filepath.Join(path, "in"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := Write(path, []byte("new"), 0o644); err == nil {
		t.Error("a folder was replaced by a file")
	}
	if got := names(t, dir); len(got) != 1 || got[0] != "folder" {
		t.Errorf("left: %q", got)
	}
	if err := Write(filepath.Join(dir, "absent", "file"), nil, 0o644); err == nil {
		t.Error("a file was written into a folder that is not there")
	}
}

func TestReadersSeeOneContent(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	content := func(n int) []byte { return bytes.Repeat([]byte{byte('a' + n%26)}, 100_000+n) }
	if err := Write(path, content(0), 0o644); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	done := make(chan struct{})
	wrong := make(chan error, 1)
	wg.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			data, err := os.ReadFile(path)
			if err == nil && (len(data) < 100_000 || !bytes.Equal(data, content(len(data)-100_000))) {
				err = fmt.Errorf("%d bytes that nobody wrote", len(data))
			}
			if err != nil {
				select {
				case wrong <- err:
				default:
				}
			}
		}
	})
	for n := range 100 {
		if err := Write(path, content(n), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	close(done)
	wg.Wait()
	select {
	case err := <-wrong:
		t.Error(err)
	default:
	}
}

func TestClean(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{Prefix + "file.123", "file", ".hidden"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := Clean(dir); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(names(t, dir)); got != "[.hidden file]" {
		t.Errorf("left %s, want the two that are nobody's half", got)
	}
	if err := Clean(filepath.Join(dir, "absent")); err == nil {
		t.Error("a folder that is not there was cleaned")
	}
}
