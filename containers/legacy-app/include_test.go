package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func writeFiles(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// TestInclude: a second file is read after the first, from the folder that the first was found in.
func TestInclude(t *testing.T) {
	dir := t.TempDir()
	writeFiles(t, filepath.Join(dir, "v1"), map[string]string{"site.conf": "title = one\ninclude = texts.conf\n", "texts.conf": "greeting = hello one\n"})
	writeFiles(t, dir, map[string]string{"texts.conf": "greeting = not this one\n"})
	if err := os.Symlink("v1", filepath.Join(dir, "now")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("now/site.conf", filepath.Join(dir, "site.conf")); err != nil {
		t.Fatal(err)
	}
	got, sum, err := ReadSettings(filepath.Join(dir, "site.conf"))
	if err != nil || got.Title != "one" || got.Greeting != "hello one" {
		t.Errorf("%+v %v", got, err)
	}
	both := sha256.Sum256([]byte("title = one\ninclude = texts.conf\ngreeting = hello one\n"))
	if sum != hex.EncodeToString(both[:]) {
		t.Errorf("the sum %s is not that of both", sum)
	}
	writeFiles(t, filepath.Join(dir, "v1"), map[string]string{"texts.conf": "greeting = hello two\n"})
	if _, again, err := ReadSettings(filepath.Join(dir, "site.conf")); err != nil || again == sum {
		t.Errorf("%s %v", again, err)
	}
	for text, reason := range map[string]string{
		"include = gone.conf":           "gone.conf",
		"include = ../texts.conf":       "not the name of a file",
		"include = /etc/passwd":         "not the name of a file",
		"include = bad.conf":            "bad.conf:2: no setting",
		"include = more.conf":           "includes none",
		"include =":                     "not the name of a file",
		"include = x.conf\ninclude = y": "was set in line 1",
	} {
		writeFiles(t, dir, map[string]string{"main.conf": text, "bad.conf": "\nx = y\n", "more.conf": "include = bad.conf\n"})
		if _, _, err := ReadSettings(filepath.Join(dir, "main.conf")); err == nil || !strings.Contains(err.Error(), reason) {
			t.Errorf("%q: %v, want %q", text, err, reason)
		}
	}
}

// TestCommands: check says what is wrong by its exit code, and install makes a program of the program.
func TestCommands(t *testing.T) {
	dir := t.TempDir()
	writeFiles(t, dir, map[string]string{"good.conf": "title = x\n", "bad.conf": "title = x\nslow = soon\n"})
	for _, tt := range []struct {
		name string
		args []string
		code int
		says string
	}{
		{"check", []string{filepath.Join(dir, "good.conf")}, 0, "good"},
		{"check", []string{filepath.Join(dir, "bad.conf")}, 1, "bad.conf:2: slow"},
		{"check", []string{filepath.Join(dir, "gone.conf")}, 1, "gone.conf"},
		{"check", nil, 2, "check FILE"},
		{"install", []string{dir}, 0, "legacy-app"},
		{"install", []string{filepath.Join(dir, "gone")}, 1, "gone"},
		{"install", nil, 2, "install FOLDER"},
	} {
		var out, errs bytes.Buffer
		f := check
		if tt.name == "install" {
			f = install
		}
		if code := f(t.Context(), tt.args, &out, &errs); code != tt.code || !strings.Contains(out.String()+errs.String(), tt.says) {
			t.Errorf("%s %v: %d %s%s", tt.name, tt.args, code, out.String(), errs.String())
		}
	}
	if info, err := os.Stat(filepath.Join(dir, "legacy-app")); err != nil || info.Mode().Perm() != 0o755 || info.Size() < 1<<20 {
		t.Errorf("%v %v", info, err)
	}
}
