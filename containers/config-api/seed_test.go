package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestSeed: what lies in the folder is made once, and neither replaces nor brings back.
func TestSeed(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("README", "not a configuration")
	write("shop/site.conf", "a")
	write("shop/more/b.conf", "b")
	write("gone/site.conf", "c")
	store := filepath.Join(t.TempDir(), "configs.json")
	open := func() *Store {
		t.Helper()
		s := newStore(store)
		if err := s.Open(); err != nil {
			t.Fatal(err)
		}
		if err := s.Seed(dir); err != nil {
			t.Fatal(err)
		}
		return s
	}
	s := open()
	if v, _, err := s.Get("shop", 0); err != nil || v.Files["site.conf"] != "a" || v.Files["more/b.conf"] != "b" || v.Number != 1 {
		t.Errorf("%+v %v", v, err)
	}
	if _, _, err := s.Change("shop", "", anyway, text("changed")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Change("gone", "", anyway, func(*Version) (Files, error) { return nil, nil }); err != nil {
		t.Fatal(err)
	}
	s = open()
	if v, _, err := s.Get("shop", 0); err != nil || v.Files["a"] != "changed" {
		t.Errorf("a seed has replaced a version: %+v %v", v, err)
	}
	if v, _, err := s.Get("gone", 0); err != nil || !v.Deleted {
		t.Errorf("a seed has brought one back: %+v %v", v, err)
	}
	write("large/site.conf", strings.Repeat("x", 5000))
	if err := s.Seed(dir); err == nil || !strings.Contains(err.Error(), "large") {
		t.Errorf("a file that is too large: %v", err)
	}
	if err := s.Seed(filepath.Join(dir, "nowhere")); err == nil {
		t.Error("a folder that is not there is no error")
	}
}
