package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// What a run leaves that is killed between any two of its steps, the next one puts right.
func TestKilledBetweenSteps(t *testing.T) {
	for name, leave := range map[string]func(t *testing.T, f *forge, s *Syncer, next string){
		"in the fetch": func(t *testing.T, f *forge, s *Syncer, _ string) {
			os.WriteFile(filepath.Join(s.Store.Dir, "objects/pack/.new-pack-77"), []byte("PACK"), 0o644)
		},
		"in the checkout": func(t *testing.T, f *forge, s *Syncer, _ string) {
			dir := filepath.Join(s.Site.Root, worktrees, half+"123")
			os.MkdirAll(filepath.Join(dir, "a"), 0o755)
			os.WriteFile(filepath.Join(dir, "a", "half"), []byte("x"), 0o644)
		},
		"after the checkout": func(t *testing.T, f *forge, s *Syncer, next string) {
			if _, err := s.bring(t.Context()); err != nil {
				t.Fatal(err)
			}
		},
		"in the check": func(t *testing.T, f *forge, s *Syncer, next string) {
			s.bring(t.Context())
			s.Site.Stage(next)
		},
		"before the rename": func(t *testing.T, f *forge, s *Syncer, next string) {
			s.bring(t.Context())
			os.Symlink(filepath.Join(worktrees, next), s.Site.temporary(s.Site.link("live")))
		},
		"after the trial was noted": func(t *testing.T, f *forge, s *Syncer, next string) {
			s.bring(t.Context())
			s.keep(state{Previous: s.Site.Live(), Trial: next})
		},
		"after the rename": func(t *testing.T, f *forge, s *Syncer, next string) {
			s.bring(t.Context())
			s.Site.Publish(next)
		},
		"in the removal of an old one": func(t *testing.T, f *forge, s *Syncer, _ string) {
			os.Remove(filepath.Join(s.Site.Worktree(s.Site.Live()), "a/1"))
		},
		"in writing its state": func(t *testing.T, f *forge, s *Syncer, _ string) {
			os.WriteFile(filepath.Join(s.Site.Root, private, ".new-state.json.1"), []byte("{"), 0o644)
			os.WriteFile(s.Site.statePath(), []byte("{"), 0o644)
		},
		"and a person has removed the live checkout": func(t *testing.T, f *forge, s *Syncer, _ string) {
			os.RemoveAll(s.Site.Worktree(s.Site.Live()))
		},
		"and the link is gone": func(t *testing.T, f *forge, s *Syncer, _ string) {
			os.Remove(s.Site.link("live"))
		},
		"and all is gone but the link": func(t *testing.T, f *forge, s *Syncer, _ string) {
			os.RemoveAll(filepath.Join(s.Site.Root, worktrees))
			os.RemoveAll(filepath.Join(s.Site.Root, private))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newForge(t)
			s := follower(t, f)
			f.push(map[string]string{"a/1": "1", "b": "1"})
			round(t, s)
			next := f.push(map[string]string{"b": "2"})
			leave(t, f, s, next)
			s.Close()
			again := newFollower(t, f, s.Site.Root)
			if err := again.Open(); err != nil {
				t.Fatal(err)
			}
			defer again.Close()
			again.takeOver(t.Context())
			for range 2 {
				round(t, again)
			}
			serves(t, f, again, next)
			filepath.WalkDir(s.Site.Root, func(path string, _ os.DirEntry, _ error) error {
				if strings.HasPrefix(filepath.Base(path), half) {
					t.Errorf("left: %s", path)
				}
				return nil
			})
		})
	}
}

// A live checkout that was damaged is made again from the store: the remote is away.
func TestRepairsAlone(t *testing.T) {
	for name, damage := range map[string]func(dir string){
		"gone":      func(dir string) { os.RemoveAll(dir) },
		"cut":       func(dir string) { os.Truncate(filepath.Join(dir, "a/1"), 1) },
		"flipped":   func(dir string) { os.WriteFile(filepath.Join(dir, "a/1"), []byte("ene"), 0o644) },
		"not run":   func(dir string) { os.Chmod(filepath.Join(dir, "a/1"), 0o755) },
		"less":      func(dir string) { os.Remove(filepath.Join(dir, "a/1")) },
		"more":      func(dir string) { os.WriteFile(filepath.Join(dir, "a/2"), nil, 0o644) },
		"link gone": func(dir string) { os.Remove(filepath.Join(dir, "way")) },
		"led away": func(dir string) {
			os.Remove(filepath.Join(dir, "way"))
			os.Symlink("/etc", filepath.Join(dir, "way"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newForge(t)
			s := follower(t, f)
			os.Symlink("a", filepath.Join(f.clone, "way"))
			hash := f.push(map[string]string{"a/1": "one", "b": "1"})
			round(t, s)
			damage(s.Site.Worktree(hash))
			s.Close()
			at := *s.Remote.URL
			at.Host = "127.0.0.1:1"
			again := newFollower(t, f, s.Site.Root, func(s *Syncer) { s.Remote.URL = &at })
			if err := again.Open(); err != nil {
				t.Fatal(err)
			}
			defer again.Close()
			again.takeOver(t.Context())
			fails(t, again, "refused")
			serves(t, f, again, hash)
		})
	}
}

// program is the program itself.
func program(t *testing.T) string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "git-sync")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", bin, ".").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return bin
}

type process struct {
	*exec.Cmd
	log  bytes.Buffer
	done chan struct{}
}

func start(t *testing.T, bin string, f *forge, root string, vars ...string) *process {
	t.Helper()
	p := &process{Cmd: exec.Command(bin), done: make(chan struct{})}
	p.Env = append([]string{
		"REPO=" + f.url, "REF=main", "ROOT=" + root, "PERIOD=20ms", "LISTEN_ADDR=127.0.0.1:0", "ADMIN_ADDR=127.0.0.1:0",
		"PATH=" + os.Getenv("PATH"),
	}, vars...)
	p.Stderr = &p.log
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		p.Wait()
		close(p.done)
	}()
	t.Cleanup(func() {
		p.Process.Kill()
		<-p.done
	})
	return p
}

// kill -9 at any moment, while commits come: a reader finds a whole commit at all times, and the last run ends at
// the newest.
func TestKilledAtAnyTime(t *testing.T) {
	f := newForge(t)
	bin, root := program(t), t.TempDir()
	s := newFollower(t, f, root)
	pages := func(n int) map[string]string {
		files := map[string]string{}
		for i := range 40 {
			files[fmt.Sprintf("d%d/page%d", i%5, i)] = fmt.Sprint("commit ", n, strings.Repeat(" text", 400))
		}
		return files
	}
	known := map[string]bool{}
	for n := range 8 {
		known[f.push(pages(n))] = true
		p := start(t, bin, f, root, "KEEP_FOR=0s")
		select {
		case <-p.done:
			t.Fatalf("ended: %s", p.log.String())
		case <-time.After(time.Duration(rand.IntN(250)) * time.Millisecond): // the moment is what is drawn
		}
		p.Process.Kill()
		<-p.done
		if live := s.Site.Live(); live != "" {
			if !known[live] {
				t.Fatalf("the link leads to %q, which was never pushed", live)
			}
			serves(t, f, s, live)
		}
	}
	last := f.push(pages(100))
	start(t, bin, f, root, "KEEP_FOR=0s")
	eventually(t, "the newest commit", func() bool { return s.Site.Live() == last })
	serves(t, f, s, last)
	eventually(t, "only the two that are used", func() bool { return len(s.Site.Worktrees()) <= 2 })
}

// A disk that takes no more: the served tree stays whole, the reason is told, and nothing is left that would fill it.
func TestDiskFull(t *testing.T) {
	f := newForge(t)
	s := follower(t, f)
	good := f.push(map[string]string{"index": "good"})
	round(t, s)
	noise := make([]byte, 300_000)
	for i := range noise {
		noise[i] = byte(rand.IntN(256))
	}
	large := f.push(map[string]string{"large": string(noise)})
	s.Close()
	bin := program(t)
	p := &exec.Cmd{Path: "/bin/sh", Args: []string{"sh", "-c", "ulimit -f 100; exec " + bin}}
	p.Env = []string{
		"REPO=" + f.url, "REF=main", "ROOT=" + s.Site.Root, "ONCE=true", "LISTEN_ADDR=127.0.0.1:0", "ADMIN_ADDR=127.0.0.1:0",
	}
	out, err := p.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "file too large") {
		t.Fatalf("%v: %s", err, out)
	}
	serves(t, f, s, good)
	filepath.WalkDir(s.Site.Root, func(path string, _ os.DirEntry, _ error) error {
		if strings.HasPrefix(filepath.Base(path), half) {
			t.Errorf("left: %s", path)
		}
		return nil
	})
	again := newFollower(t, f, s.Site.Root)
	if err := again.Open(); err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	round(t, again)
	serves(t, f, again, large)
}

func TestProcess(t *testing.T) {
	f := newForge(t)
	bin, root := program(t), t.TempDir()
	hash := f.push(map[string]string{"a": "1"})
	once := func(root string, vars ...string) (string, int) {
		p := start(t, bin, f, root, append(vars, "ONCE=true")...)
		<-p.done
		return p.log.String(), p.ProcessState.ExitCode()
	}
	if log, code := once(root); code != 0 {
		t.Errorf("once: exit code %d\n%s", code, log)
	}
	serves(t, f, newFollower(t, f, root), hash)
	if log, code := once(root, "REF=absent"); code != 1 || !strings.Contains(log, "absent") {
		t.Errorf("once, absent ref: exit code %d\n%s", code, log)
	}
	if log, code := once(root, "REF="+hash, "HOOK_COMMAND=false"); code != 1 || !strings.Contains(log, "exechook") {
		t.Errorf("once, a hook that fails: exit code %d\n%s", code, log)
	}
	// The folder is one run's at a time.
	p := start(t, bin, f, root)
	eventually(t, "it holds the lock", func() bool {
		f, err := os.Open(filepath.Join(root, private, "lock"))
		if err != nil {
			return false
		}
		defer f.Close()
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		return err != nil
	})
	if log, code := once(root); code != 1 || !strings.Contains(log, "another git-sync works here") {
		t.Errorf("a second one: exit code %d\n%s", code, log)
	}
	// SIGTERM in the middle of a hang ends it at once, and in order.
	f.instead(nil)
	p.Process.Signal(syscall.SIGTERM)
	<-p.done
	if code := p.ProcessState.ExitCode(); code != 0 {
		t.Errorf("after SIGTERM: exit code %d\n%s", code, p.log.String())
	}
	// What is in the link's place is not overwritten.
	taken := t.TempDir()
	os.Mkdir(filepath.Join(taken, "live"), 0o755)
	if log, code := once(taken); code != 1 || !strings.Contains(log, "is not a symbolic link") {
		t.Errorf("a folder in the link's place: exit code %d\n%s", code, log)
	}
	// What else lies in the folder is left alone.
	other := t.TempDir()
	os.WriteFile(filepath.Join(other, "mine"), []byte("x"), 0o644)
	if log, code := once(other); code != 0 {
		t.Errorf("a folder that is not empty: exit code %d\n%s", code, log)
	}
	if _, err := os.Stat(filepath.Join(other, "mine")); err != nil {
		t.Error(err)
	}
	// No port: it says so.
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	q := start(t, bin, f, t.TempDir(), "LISTEN_ADDR="+ln.Addr().String())
	<-q.done
	if q.ProcessState.ExitCode() != 1 {
		t.Errorf("a port that is taken: exit code %d", q.ProcessState.ExitCode())
	}
}
