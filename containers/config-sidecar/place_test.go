package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

func writeAll(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func put(t *testing.T, p *Place, files Files) (folder string) {
	t.Helper()
	folder, err := p.Stage(files)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Apply(folder); err != nil {
		t.Fatal(err)
	}
	return folder
}

// visible is what lies in a folder for an app: what does not begin with a dot.
func visible(t *testing.T, dir string) string {
	t.Helper()
	var list []string
	filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err != nil {
			t.Fatal(err)
		}
		name, _ := filepath.Rel(dir, path)
		if strings.HasPrefix(name, ".") && name != "." {
			if info.IsDir() {
				return filepath.SkipDir
			}
			return nil
		}
		if real, err := os.Stat(path); err == nil && real.IsDir() {
			if info.Mode()&os.ModeSymlink != 0 {
				list = append(list, name+"/")
			}
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			text = []byte(err.Error())
		}
		list = append(list, name+"="+string(text))
		return nil
	})
	return strings.Join(list, " ")
}

// TestLayouts: a version follows another in each way: files come, go, become folders, and stay when somebody else's.
func TestLayouts(t *testing.T) {
	for _, way := range []string{byFolder, byFile, byWriting} {
		t.Run(way, func(t *testing.T) {
			p := &Place{Dir: t.TempDir(), Switch: way, Mode: 0o640, Limits: limits}
			writeAll(t, p.Dir, map[string]string{"theirs.txt": "stays", "a": "was there"})
			for _, step := range []struct {
				files         Files
				links, files_ string
			}{
				{Files{"a": "1", "b": "1"}, "a=1 b=1 theirs.txt=stays", ""},
				{Files{"a": "2", "d/c": "2"}, "a=2 d/ theirs.txt=stays", "a=2 d/c=2 theirs.txt=stays"},
				{Files{"a": "3"}, "a=3 theirs.txt=stays", ""},
				{Files{"a": "", "z": "3"}, "a= theirs.txt=stays z=3", ""},
			} {
				put(t, p, step.files)
				want := step.links
				if way != byFolder && step.files_ != "" {
					want = step.files_
				}
				if got := visible(t, p.Dir); got != want {
					t.Errorf("%v: %s, want %s", step.files, got, want)
				}
				if got, err := p.Read(p.Current()); err != nil || got.Digest() != step.files.Digest() {
					t.Errorf("%v %v", got, err)
				}
				if err := p.Show(); err != nil { // once more changes nothing
					t.Error(err)
				}
				if got := visible(t, p.Dir); got != want {
					t.Errorf("shown again: %s", got)
				}
			}
			// Its own leftovers are cleaned, and what it does not know is not.
			writeAll(t, p.Dir, map[string]string{"..2026-half/a": "x", ".new-a": "x", ".keep": "x", "..other": "x"})
			if err := p.Clean(); err != nil {
				t.Error(err)
			}
			entries, _ := filepath.Glob(filepath.Join(p.Dir, ".*"))
			var names []string
			for _, e := range entries {
				names = append(names, filepath.Base(e))
			}
			if got, want := fmt.Sprint(names), "["+p.Current()+" ..data ..other .keep]"; got != want {
				t.Errorf("%s, want %s", got, want)
			}
		})
	}
}

// TestWays: a place may change from one way to another, and the app's files go with it.
func TestWays(t *testing.T) {
	p := &Place{Dir: t.TempDir(), Mode: 0o644, Limits: limits}
	for i, way := range []string{byFolder, byWriting, byFolder, byFile, byFolder} {
		p.Switch = way
		put(t, p, Files{"a": fmt.Sprint(i), "d/b": fmt.Sprint(i)})
		if i == 0 {
			continue
		}
		if way == byFolder { // d is a folder by then, and would be a link
			if _, err := os.ReadFile(filepath.Join(p.Dir, "a")); err != nil {
				t.Error(err)
			}
		}
	}
}

// TestMode: a file that is replaced keeps its rights; a new one has those that were asked for, whatever the umask.
func TestMode(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0o077))
	for _, way := range []string{byFolder, byFile} {
		p := &Place{Dir: t.TempDir(), Switch: way, Mode: 0o644, Limits: limits}
		writeAll(t, p.Dir, map[string]string{"secret": "was there"})
		if err := os.Chmod(filepath.Join(p.Dir, "secret"), 0o600); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			put(t, p, Files{"secret": "x", "new": "x"})
			for name, want := range map[string]os.FileMode{"secret": 0o600, "new": 0o644} {
				if info, err := os.Stat(filepath.Join(p.Dir, name)); err != nil || info.Mode() != want {
					t.Errorf("%s %s: %v %v", way, name, info.Mode(), err)
				}
			}
		}
	}
}

// TestNeverTorn reads while versions follow each other: each read is of one version, whole.
func TestNeverTorn(t *testing.T) {
	p := &Place{Dir: t.TempDir(), Switch: byFolder, Mode: 0o644, Limits: limits}
	version := func(i int) Files {
		return Files{"a": strings.Repeat(fmt.Sprintf("%09d\n", i), 1000), "b": strings.Repeat(fmt.Sprintf("%09d\n", i), 1000)}
	}
	all := map[string]bool{}
	publish := func(i int) Files {
		f := version(i)
		all[fmt.Sprint([]string{sum(f["a"]), sum(f["b"])})] = true
		return f
	}
	old := put(t, p, publish(0))
	ctx, cancel := context.WithCancel(t.Context())
	var seen []*Seen
	absent := 0
	var wg sync.WaitGroup
	wg.Go(func() { seen, absent, _ = reading(ctx, p.Dir, []string{"a", "b"}, "") })
	for i, begun := 1, time.Now(); i < 40 || time.Since(begun) < 2*time.Second; i++ { // on a busy machine a reader is slow
		before := p.Current()
		put(t, p, publish(i))
		if err := p.Clean(before); err != nil {
			t.Fatal(err)
		}
	}
	cancel()
	wg.Wait()
	if absent > 0 {
		t.Errorf("%d times there was nothing", absent)
	}
	if len(seen) < 3 || p.Current() == old {
		t.Errorf("only %d sets were seen", len(seen))
	}
	for _, s := range seen {
		if !all[fmt.Sprint(s.Files)] {
			t.Errorf("nobody has written %v (%d times)", s.Files, s.Count)
		}
	}
}

// TestCrash: whatever a version's way was cut at, what is found is one version, whole, and nothing is left over.
func TestCrash(t *testing.T) {
	for _, tt := range []struct {
		name  string
		crash func(t *testing.T, s *Sidecar)
		want  string
		told  bool
	}{
		{"while it was staged", func(t *testing.T, s *Sidecar) {
			writeAll(t, s.Place.Dir, map[string]string{"..2099-1/site.conf": "ha"})
		}, "old", true},
		{"staged, and recorded", func(t *testing.T, s *Sidecar) {
			folder, err := s.Place.Stage(Files{"site.conf": "new"})
			if err != nil {
				t.Fatal(err)
			}
			next := record{Applied: &entry{Version: "2", Folder: folder, Digest: Files{"site.conf": "new"}.Digest()}, Before: []entry{*s.rec.Applied}}
			if err := s.Place.Save(next); err != nil {
				t.Fatal(err)
			}
		}, "old", true},
		{"the link made, and not renamed", func(t *testing.T, s *Sidecar) {
			if err := os.Symlink("..2099-2", filepath.Join(s.Place.Dir, linkNew)); err != nil {
				t.Fatal(err)
			}
		}, "old", true},
		{"switched, and nobody told", func(t *testing.T, s *Sidecar) {
			folder, err := s.Place.Stage(Files{"site.conf": "new", "more.conf": "x"})
			if err != nil {
				t.Fatal(err)
			}
			next := record{
				Applied: &entry{Version: "2", Folder: folder, Digest: Files{"site.conf": "new", "more.conf": "x"}.Digest()}, Before: []entry{*s.rec.Applied},
			}
			if err := s.Place.Save(next); err != nil {
				t.Fatal(err)
			}
			if err := os.Remove(filepath.Join(s.Place.Dir, link)); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(folder, filepath.Join(s.Place.Dir, link)); err != nil {
				t.Fatal(err)
			}
		}, "new", false},
		{"the record is gone", func(t *testing.T, s *Sidecar) {
			if err := os.Remove(filepath.Join(s.Place.Dir, stateFile)); err != nil {
				t.Fatal(err)
			}
		}, "old", false},
		{"the record is rubbish", func(t *testing.T, s *Sidecar) {
			writeAll(t, s.Place.Dir, map[string]string{stateFile: "{"})
		}, "old", false},
		{"somebody has changed a file", func(t *testing.T, s *Sidecar) {
			writeAll(t, s.Place.Dir, map[string]string{s.Place.Current() + "/site.conf": "edited"})
		}, "edited", false},
	} {
		for _, way := range []string{byFolder, byFile} {
			t.Run(tt.name+" "+way, func(t *testing.T) {
				s, app := newSidecar(t)
				s.Place.Switch = way
				stop := start(t, s)
				s.Offer(Set{Files: Files{"site.conf": "old", "gone.conf": "x"}, Version: "0"})
				settled(t, s, "0")
				s.Offer(Set{Files: Files{"site.conf": "old"}, Version: "1"})
				settled(t, s, "1")
				stop()
				tt.crash(t, s)
				was := app.count()

				again, _ := newSidecar(t)
				again.Place.Dir, again.Place.Switch, again.Teller.Table = s.Place.Dir, way, app
				start(t, again)
				waitFor(t, "a sidecar in sync", func() bool { return again.Status().InSync })
				if got := read(t, again, "site.conf"); got != tt.want || (app.count() == was) != tt.told {
					t.Errorf("%s in place, told %d times more; want %s, told before: %t", got, app.count()-was, tt.want, tt.told)
				}
				if tt.want == "new" && read(t, again, "more.conf") != "x" {
					t.Error("what the app opens does not follow")
				}
				left, _ := filepath.Glob(filepath.Join(again.Place.Dir, "..2*"))
				known := map[string]bool{again.Place.Current(): true}
				for _, e := range again.rec.Before {
					known[e.Folder] = true
				}
				for _, path := range left {
					if !known[filepath.Base(path)] {
						t.Errorf("left over: %s", path)
					}
				}
				// The source says the same as before the crash, and then something new.
				again.Offer(Set{Files: Files{"site.conf": "newest"}, Version: "3"})
				settled(t, again, "3")
				if read(t, again, "site.conf") != "newest" {
					t.Error("it does not go on")
				}
			})
		}
	}
}

// TestNoRoom: a folder that may not be written to, or has no room, keeps what it has, and says why; with room again it goes on.
func TestNoRoom(t *testing.T) {
	for mode, reason := range map[string]string{"read-only": "permission denied", "full": "file too large"} {
		t.Run(mode, func(t *testing.T) {
			dir := t.TempDir()
			cmd := exec.Command("/proc/self/exe", "-test.run", "^TestNoRoomInside$", "-test.v")
			cmd.Env = append(os.Environ(), "CONFIG_SIDECAR_ROOM="+mode, "CONFIG_SIDECAR_DIR="+filepath.Join(dir, "config"), "CONFIG_SIDECAR_WANT="+reason)
			if os.Getuid() == 0 { // to root a folder is never read-only
				for path := dir; path != "/" && path != os.TempDir(); path = filepath.Dir(path) {
					if err := os.Chmod(path, 0o777); err != nil {
						t.Fatal(err)
					}
				}
				cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
			}
			if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS: TestNoRoomInside") {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// TestNoRoomInside is run by TestNoRoom in a process of its own.
func TestNoRoomInside(t *testing.T) {
	mode, dir := os.Getenv("CONFIG_SIDECAR_ROOM"), os.Getenv("CONFIG_SIDECAR_DIR")
	if mode == "" {
		return
	}
	s, app := newSidecar(t)
	reg := prometheus.NewRegistry()
	s.Place.Dir, s.Metrics = dir, newMetrics(reg)
	start(t, s)
	s.Offer(set("1", "old"))
	settled(t, s, "1")
	var give func()
	switch mode {
	case "read-only":
		if err := os.Chmod(dir, 0o555); err != nil {
			t.Fatal(err)
		}
		give = func() { os.Chmod(dir, 0o755) }
	case "full":
		signal.Ignore(syscall.SIGXFSZ)
		var was syscall.Rlimit
		if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &was); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 10000, Max: was.Max}); err != nil {
			t.Fatal(err)
		}
		give = func() { syscall.Setrlimit(syscall.RLIMIT_FSIZE, &was) }
	}
	s.Offer(set("2", strings.Repeat("n", 20000)))
	waitFor(t, "a reason", func() bool {
		return strings.Contains(s.Status().Reason, "version 2 refused: write") && strings.Contains(s.Status().Reason, os.Getenv("CONFIG_SIDECAR_WANT"))
	})
	failed := func() float64 {
		families, err := reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			if f.GetName() == "config_sidecar_config_apply_operations_failed_total" {
				return f.GetMetric()[0].GetCounter().GetValue()
			}
		}
		return -1
	}
	tries := failed()
	waitFor(t, "more tries", func() bool { return failed() >= tries+4 }) // none of which may leave anything
	if read(t, s, "site.conf") != "old" || app.count() != 1 {
		t.Errorf("%s in place, told %d times", read(t, s, "site.conf"), app.count())
	}
	if folders, _ := filepath.Glob(filepath.Join(dir, "..2*")); len(folders) > 2 {
		t.Errorf("left over: %v", folders)
	}
	give()
	settled(t, s, "2")
	if app.count() != 2 || len(read(t, s, "site.conf")) != 20000 {
		t.Errorf("told %d times", app.count())
	}
}
