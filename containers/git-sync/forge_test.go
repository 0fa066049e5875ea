package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// forge is a remote: a bare repository behind git's own HTTP backend, and a clone to push from.
type forge struct {
	t     *testing.T
	bare  string
	clone string
	url   string
	sent  atomic.Int64 // bytes of answers
	asked atomic.Int64 // requests
	// Before lets a test answer in the backend's place: true if it has.
	before atomic.Pointer[func(w http.ResponseWriter, r *http.Request) bool]
}

func newForge(t *testing.T) *forge {
	t.Helper()
	dir := t.TempDir()
	f := &forge{t: t, bare: filepath.Join(dir, "site.git"), clone: filepath.Join(dir, "clone")}
	f.git(dir, "init", "-q", "--bare", "-b", "main", f.bare)
	f.git(dir, "init", "-q", "-b", "main", f.clone)
	f.git(f.clone, "remote", "add", "origin", f.bare)
	core := strings.TrimSpace(f.git(dir, "--exec-path"))
	backend := &cgi.Handler{
		Path: filepath.Join(core, "git-http-backend"), Dir: dir,
		Env:    []string{"GIT_PROJECT_ROOT=" + dir, "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_GLOBAL=/dev/null", "HOME=" + dir},
		Stderr: io.Discard, Logger: nil,
	}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.asked.Add(1)
		if b := f.before.Load(); b != nil && (*b)(w, r) {
			return
		}
		backend.ServeHTTP(&counted{w, &f.sent}, r)
	}))
	t.Cleanup(func() {
		srv.CloseClientConnections()
		srv.Close()
	})
	f.url = srv.URL + "/site.git"
	return f
}

type counted struct {
	http.ResponseWriter
	n *atomic.Int64
}

func (c *counted) Write(p []byte) (int, error) {
	c.n.Add(int64(len(p)))
	return c.ResponseWriter.Write(p)
}

// instead answers requests in the backend's place; nil gives it back.
func (f *forge) instead(h func(w http.ResponseWriter, r *http.Request) bool) {
	if h == nil {
		f.before.Store(nil)
		return
	}
	f.before.Store(&h)
}

func (f *forge) git(dir string, args ...string) string {
	f.t.Helper()
	return f.gitIn(dir, "", args...)
}

func (f *forge) gitIn(dir, stdin string, args ...string) string {
	f.t.Helper()
	cmd := exec.CommandContext(f.t.Context(), "git", args...)
	cmd.Dir, cmd.Stdin = dir, strings.NewReader(stdin)
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null",
		"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.org", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.org")
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		f.t.Fatalf("git %q: %v\n%s%s", args, err, out, errs.String())
	}
	return strings.TrimSpace(string(out))
}

// write changes the clone: "" removes a file.
func (f *forge) write(files map[string]string) {
	f.t.Helper()
	for name, text := range files {
		path := filepath.Join(f.clone, name)
		if text == "" {
			os.Remove(path)
			continue
		}
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
			f.t.Fatal(err)
		}
	}
}

// push commits the clone as it is, with changes, and pushes it to main. It returns the commit.
func (f *forge) push(files map[string]string, args ...string) string {
	f.t.Helper()
	hash := f.commit(files, args...)
	f.git(f.clone, "push", "-q", "--force", "origin", "HEAD:refs/heads/main")
	return hash
}

func (f *forge) commit(files map[string]string, args ...string) string {
	f.t.Helper()
	f.write(files)
	f.git(f.clone, "add", "-A")
	f.git(f.clone, append([]string{"commit", "-q", "--allow-empty", "-m", "change"}, args...)...)
	return f.git(f.clone, "rev-parse", "HEAD")
}

// pushTree pushes a commit of a tree that git itself would not make: mode, name and hash of each entry.
func (f *forge) pushTree(entries ...[3]string) string {
	f.t.Helper()
	commit := f.git(f.bare, "commit-tree", "-m", "hostile", f.tree(entries...))
	f.git(f.bare, "update-ref", "refs/heads/main", commit)
	return commit
}

func (f *forge) tree(entries ...[3]string) string {
	f.t.Helper()
	var raw strings.Builder
	for _, e := range entries {
		var hash []byte
		if _, err := fmt.Sscanf(e[2], "%x", &hash); err != nil {
			f.t.Fatal(err)
		}
		fmt.Fprintf(&raw, "%s %s\x00%s", e[0], e[1], hash)
	}
	return f.gitIn(f.bare, raw.String(), "hash-object", "-w", "-t", "tree", "--literally", "--stdin")
}

func (f *forge) blob(text string) string {
	f.t.Helper()
	return f.gitIn(f.bare, text, "hash-object", "-w", "--stdin")
}

// limits are those of the tests.
var limits = Limits{Fetch: 64 << 20, File: 1 << 20, Tree: 8 << 20, Files: 1000}

// follower is a syncer of main into a folder of its own.
func follower(t *testing.T, f *forge, change ...func(s *Syncer)) *Syncer {
	t.Helper()
	s := newFollower(t, f, t.TempDir(), change...)
	if err := s.Open(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func newFollower(t *testing.T, f *forge, root string, change ...func(s *Syncer)) *Syncer {
	t.Helper()
	at, err := url.Parse(f.url)
	if err != nil {
		t.Fatal(err)
	}
	m := newMetrics(prometheus.NewRegistry())
	s := &Syncer{
		Remote: &Remote{URL: at, Limits: limits},
		Store:  &Store{Dir: filepath.Join(root, private, "store"), Limits: limits, Fetched: m.fetched},
		Site:   &Site{Root: root, Link: "live", Staged: "staged", KeepFor: time.Hour},
		Tree:   Tree{Limits: limits},
		Ref:    "main", Depth: 1, Timeout: 20 * time.Second, Period: 20 * time.Millisecond,
		Log: slog.New(slog.NewTextHandler(t.Output(), nil)), Metrics: m, Ready: func(bool, string) {},
	}
	for _, c := range change {
		c(s)
	}
	return s
}

// round is one sync that must be good: published, or nothing to do.
func round(t *testing.T, s *Syncer) {
	t.Helper()
	if err := s.Sync(t.Context()); err != nil && !errors.Is(err, errNoop) {
		t.Fatalf("sync: %v", err)
	}
}

// fails is one sync that must not be good, for that reason.
func fails(t *testing.T, s *Syncer, reason string) {
	t.Helper()
	err := s.Sync(t.Context())
	if err == nil || errors.Is(err, errNoop) || !strings.Contains(err.Error(), reason) {
		t.Fatalf("sync: %v; want an error with %q", err, reason)
	}
}

// serves compares what the link leads to with a commit, as git itself has it.
func serves(t *testing.T, f *forge, s *Syncer, hash string) {
	t.Helper()
	to, err := os.Readlink(filepath.Join(s.Site.Root, "live"))
	if err != nil || to != filepath.Join(worktrees, hash) {
		t.Fatalf("the link says %q (%v), want %s", to, err, hash)
	}
	dir := filepath.Join(s.Site.Root, "live")
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	filepath.WalkDir(real, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			t.Fatal(err)
		}
		name, _ := filepath.Rel(real, path)
		if d.IsDir() {
			return nil
		}
		kind := "100644"
		st, _ := os.Lstat(path)
		switch {
		case st.Mode()&os.ModeSymlink != 0:
			kind = "120000"
		case st.Mode().Perm()&0o111 != 0:
			kind = "100755"
		}
		got[name] = kind
		return nil
	})
	want := map[string]string{}
	for _, entry := range strings.Split(f.git(f.bare, "ls-tree", "-r", "-z", hash), "\x00") {
		if head, name, ok := strings.Cut(entry, "\t"); ok {
			mode, rest, _ := strings.Cut(head, " ")
			want[name] = mode
			if text, err := os.ReadFile(filepath.Join(real, name)); mode != "120000" {
				if sum := f.gitIn(f.bare, string(text), "hash-object", "--stdin"); err != nil || !strings.HasSuffix(rest, sum) {
					t.Errorf("%s differs from the commit (%v)", name, err)
				}
			}
		}
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("served: %v\nwant:   %v", got, want)
	}
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for !ok() {
		select {
		case <-ctx.Done():
			t.Fatalf("%s: not within 30 s", what)
		case <-time.After(5 * time.Millisecond):
		}
	}
}
