package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestFollows(t *testing.T) {
	f := newForge(t)
	s := follower(t, f)
	first := f.push(map[string]string{"index.html": "one", "deep/er/page": "1", "Case": "a", "case": "b"})
	round(t, s)
	serves(t, f, s, first)

	os.WriteFile(filepath.Join(f.clone, "run"), []byte("#!/bin/sh\n"), 0o755)
	os.Symlink("deep/er", filepath.Join(f.clone, "way"))
	os.Symlink("nowhere", filepath.Join(f.clone, "lost"))
	second := f.push(map[string]string{"index.html": "two", "deep/er/page": ""})
	round(t, s)
	serves(t, f, s, second)
	if text, err := os.ReadFile(filepath.Join(s.Site.Worktree(first), "index.html")); err != nil || string(text) != "one" {
		t.Errorf("a reader of the old checkout finds %q (%v)", text, err)
	}
	if _, err := os.Lstat(filepath.Join(s.Site.Root, "live", ".git")); err == nil {
		t.Error("there is a .git to be served by accident")
	}
	before := f.asked.Load()
	if err := s.Sync(t.Context()); !errors.Is(err, errNoop) {
		t.Errorf("nothing new: %v", err)
	}
	if n := f.asked.Load() - before; n != 1 {
		t.Errorf("nothing new took %d requests, want 1", n)
	}
}

// The modes of what readers of other users read do not depend on the umask.
func TestReadable(t *testing.T) {
	f := newForge(t)
	s := follower(t, f)
	f.push(map[string]string{"a/b": "text"})
	round(t, s)
	for path, want := range map[string]os.FileMode{"live/.": 0o755, "live/a": 0o755, "live/a/b": 0o644} {
		if st, err := os.Stat(filepath.Join(s.Site.Root, path)); err != nil || st.Mode().Perm() != want {
			t.Errorf("%s: %v (%v), want %v", path, st.Mode(), err, want)
		}
	}
}

func TestRefs(t *testing.T) {
	f := newForge(t)
	old := f.push(map[string]string{"a": "1"})
	f.git(f.clone, "tag", "light")
	middle := f.push(map[string]string{"a": "2"})
	f.git(f.clone, "tag", "-a", "-m", "x", "v1")
	f.git(f.clone, "tag", "-a", "-m", "x", "nested", "v1")
	tip := f.push(map[string]string{"a": "3"})
	f.git(f.clone, "tag", "both", old)
	f.git(f.clone, "push", "-q", "--tags", "origin", "HEAD:refs/heads/both", "HEAD:refs/heads/feature/x")
	f.git(f.bare, "tag", "blob", f.blob("x"))
	lost := strings.Repeat("12", 20)
	for _, c := range []struct {
		ref   string
		depth int
		want  string
		err   string
	}{
		{"HEAD", 1, tip, ""},
		{"main", 1, tip, ""},
		{"refs/heads/main", 1, tip, ""},
		{"feature/x", 1, tip, ""},
		{"light", 1, old, ""},
		{"refs/tags/light", 0, old, ""},
		{"v1", 1, middle, ""},
		{"nested", 1, middle, ""},
		{tip, 1, tip, ""},
		{middle, 1, middle, ""}, // a tag has it
		{"both", 1, "", `"both" is a branch and a tag: say refs/heads/both or refs/tags/both`},
		{"refs/tags/both", 1, old, ""},
		{"absent", 1, "", `no branch or tag "absent"`},
		{tip[:8], 1, "", "all 40 digits"},
		{lost, 0, "", "no branch has the commit"},
		{"blob", 1, "", "is a blob, not a commit"},
	} {
		t.Run(c.ref, func(t *testing.T) {
			s := follower(t, f, func(s *Syncer) { s.Ref, s.Depth = c.ref, c.depth })
			if c.err != "" {
				fails(t, s, c.err)
				return
			}
			round(t, s)
			serves(t, f, s, c.want)
			round(t, s)
		})
	}
}

// A commit that no ref points at is looked for as deep as DEPTH lets it.
func TestHashInHistory(t *testing.T) {
	f := newForge(t)
	var hashes []string
	for i := range 5 {
		hashes = append(hashes, f.push(map[string]string{"a": fmt.Sprint(i)}))
	}
	for depth, found := range map[int]bool{0: true, 1: false, 2: true, 3: true} {
		s := follower(t, f, func(s *Syncer) { s.Ref, s.Depth = hashes[3], depth })
		if !found {
			fails(t, s, "within DEPTH=1")
			continue
		}
		round(t, s)
		serves(t, f, s, hashes[3])
		before := f.asked.Load()
		if round(t, s); f.asked.Load() != before {
			t.Error("a hash never moves, and the remote was asked again")
		}
	}
}

func TestRefsThatMove(t *testing.T) {
	f := newForge(t)
	s := follower(t, f)
	first := f.push(map[string]string{"a": "1", "b": "1"})
	round(t, s)
	second := f.push(map[string]string{"a": "2"})
	round(t, s)
	// Back: nothing needs to be fetched.
	f.git(f.clone, "reset", "-q", "--hard", first)
	f.git(f.clone, "push", "-q", "--force", "origin", "HEAD:main")
	round(t, s)
	serves(t, f, s, first)
	// Rewritten.
	amended := f.push(map[string]string{"a": "3"}, "--amend")
	round(t, s)
	serves(t, f, s, amended)
	// A history that has nothing in common with the old one.
	f.git(f.clone, "checkout", "-q", "--orphan", "fresh")
	orphan := f.push(map[string]string{"a": "", "b": "", "c": "new"})
	round(t, s)
	serves(t, f, s, orphan)
	// The branch is gone: what is live stays, and the reason is told. Then it is there again.
	f.git(f.bare, "update-ref", "-d", "refs/heads/main")
	fails(t, s, `no branch or tag "main"`)
	serves(t, f, s, orphan)
	f.git(f.bare, "update-ref", "refs/heads/main", second)
	round(t, s)
	serves(t, f, s, second)
}

func TestTagMoves(t *testing.T) {
	f := newForge(t)
	s := follower(t, f, func(s *Syncer) { s.Ref = "release" })
	for i := range 3 {
		hash := f.push(map[string]string{"a": fmt.Sprint(i)})
		f.git(f.clone, "tag", "-f", "-a", "-m", "x", "release")
		f.git(f.clone, "push", "-q", "-f", "origin", "release")
		round(t, s)
		serves(t, f, s, hash)
	}
}

func TestRemoteThatIsEmpty(t *testing.T) {
	f := newForge(t)
	s := follower(t, f, func(s *Syncer) { s.Ref = "HEAD" })
	fails(t, s, "HEAD names no branch")
	// What was pushed is not what HEAD names.
	hash := f.commit(map[string]string{"a": "1"})
	f.git(f.clone, "push", "-q", "origin", "HEAD:other")
	fails(t, s, "HEAD names no branch")
	f.git(f.bare, "symbolic-ref", "HEAD", "refs/heads/other")
	round(t, s)
	serves(t, f, s, hash)
}

// A fetch brings what is new where there is history to know it by; and the store does not grow for ever.
func TestFetchesWhatIsNew(t *testing.T) {
	for _, depth := range []int{0, 2, 1} {
		t.Run(fmt.Sprint("depth ", depth), func(t *testing.T) {
			f := newForge(t)
			s := follower(t, f, func(s *Syncer) { s.Depth = depth })
			random := make([]byte, 300_000)
			for i := range random {
				random[i] = byte(i * i >> 3 * 7919 >> (i % 5))
			}
			f.push(map[string]string{"large": string(random), "a": "0"})
			round(t, s)
			whole := f.sent.Swap(0)
			most := int64(0)
			rounds := 4
			if depth == 0 {
				rounds += maxPacks
			}
			for i := range rounds {
				hash := f.push(map[string]string{"a": fmt.Sprint(i + 1)})
				round(t, s)
				if i%8 == 0 {
					serves(t, f, s, hash)
				}
				if n := f.sent.Swap(0); n < whole/4 {
					most = max(most, n)
				} else if depth != 1 && i != maxPacks-1 {
					t.Fatalf("fetch %d brought %d bytes, all is %d", i, n, whole)
				}
			}
			if packs, _ := filepath.Glob(s.Store.Dir + "/objects/pack/*.pack"); len(packs) > maxPacks {
				t.Errorf("%d packs", len(packs))
			}
			t.Logf("all: %d bytes, a change: at most %d", whole, most)
		})
	}
}

// Whatever happens to the store, the next rounds put it right.
func TestStoreDamaged(t *testing.T) {
	pack := func(s *Syncer) string {
		packs, _ := filepath.Glob(s.Store.Dir + "/objects/pack/*.pack")
		return packs[0]
	}
	for name, damage := range map[string]func(s *Syncer){
		"gone":             func(s *Syncer) { os.RemoveAll(s.Store.Dir) },
		"pack gone":        func(s *Syncer) { os.Remove(pack(s)) },
		"pack empty":       func(s *Syncer) { os.WriteFile(pack(s), nil, 0o644) },
		"index gone":       func(s *Syncer) { os.Remove(strings.TrimSuffix(pack(s), "pack") + "idx") },
		"index garbage":    func(s *Syncer) { os.WriteFile(strings.TrimSuffix(pack(s), "pack")+"idx", []byte("x"), 0o644) },
		"held garbage":     func(s *Syncer) { os.WriteFile(s.Store.Dir+"/held", []byte("x y\nz"), 0o644) },
		"held of another":  func(s *Syncer) { os.WriteFile(s.Store.Dir+"/held", []byte(strings.Repeat("ab", 20)+"\n"), 0o644) },
		"a killed fetch's": func(s *Syncer) { os.WriteFile(s.Store.Dir+"/objects/pack/.new-pack-1", []byte("x"), 0o644) },
	} {
		t.Run(name, func(t *testing.T) {
			f := newForge(t)
			s := follower(t, f)
			first := f.push(map[string]string{"a": "1", "b": "1"})
			round(t, s)
			damage(s)
			second := f.push(map[string]string{"a": "2"})
			for range 3 {
				if err := s.Sync(t.Context()); err == nil {
					break
				}
				serves(t, f, s, first)
			}
			serves(t, f, s, second)
			left, _ := filepath.Glob(s.Store.Dir + "/objects/pack/.new-*")
			if len(left) > 0 {
				t.Errorf("left: %q", left)
			}
		})
	}
}

// What nobody uses goes; the live checkout, the one to go back to and what readers may have begun with stay.
func TestPrune(t *testing.T) {
	f := newForge(t)
	s := follower(t, f)
	var hashes []string
	for i := range 4 {
		hashes = append(hashes, f.push(map[string]string{"a": fmt.Sprint(i)}))
		round(t, s)
	}
	if n := len(s.Site.Worktrees()); n != 4 {
		t.Fatalf("within KEEP_FOR %d of 4 checkouts are there", n)
	}
	past := time.Now().Add(-2 * time.Hour)
	for _, hash := range hashes {
		if err := os.Chtimes(s.Site.Worktree(hash), past, past); err != nil {
			t.Fatal(err)
		}
	}
	round(t, s)
	if got, want := fmt.Sprint(len(s.Site.Worktrees())), "2"; got != want {
		t.Errorf("%s checkouts are left, want %s", got, want)
	}
	for _, hash := range hashes[2:] {
		if _, err := os.Stat(s.Site.Worktree(hash)); err != nil {
			t.Error(err)
		}
	}
}
