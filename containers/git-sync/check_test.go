package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// app is an unmodified server of the site: the staged commit under /staged/, the live one under /live/.
type app struct {
	url    string
	asked  atomic.Int64
	before atomic.Pointer[func(w http.ResponseWriter, r *http.Request) bool]
}

func newApp(t *testing.T, root func() string) *app {
	a := &app{}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.asked.Add(1)
		if b := a.before.Load(); b != nil && (*b)(w, r) {
			return
		}
		text, err := os.ReadFile(filepath.Join(root(), r.URL.Path))
		if err != nil {
			http.Error(w, "there is no such page", http.StatusNotFound)
			return
		}
		w.Write(text)
	}))
	t.Cleanup(srv.Close)
	a.url = srv.URL
	return a
}

func gated(t *testing.T, f *forge, change ...func(s *Syncer)) (*Syncer, *app) {
	var s *Syncer
	a := newApp(t, func() string { return s.Site.Root })
	s = follower(t, f, append([]func(s *Syncer){func(s *Syncer) {
		s.Check = Check{URL: a.url + "/staged/health", Timeout: 150 * time.Millisecond}
	}}, change...)...)
	return s, a
}

func TestCheckGates(t *testing.T) {
	f := newForge(t)
	s, a := gated(t, f)
	good := f.push(map[string]string{"index": "1", "health": "ok"})
	round(t, s)
	serves(t, f, s, good)

	broken := f.push(map[string]string{"index": "2", "health": ""})
	fails(t, s, "404 Not Found: there is no such page")
	serves(t, f, s, good)
	if b := s.Status().Bad; b == nil || b.Commit != broken || b.Stage != "check" || !strings.Contains(b.Reason, "404") {
		t.Errorf("the status says %+v", b)
	}
	if _, err := os.Lstat(filepath.Join(s.Site.Root, "staged")); err == nil {
		t.Error("what is not being checked is staged")
	}
	// It is known: not asked about again, by this run or the next.
	before := a.asked.Load()
	round(t, s)
	s.Close()
	again := newFollower(t, f, s.Site.Root, func(n *Syncer) { n.Check = s.Check })
	if err := again.Open(); err != nil {
		t.Fatal(err)
	}
	round(t, again)
	if a.asked.Load() != before {
		t.Error("a commit that is known as bad was tried again")
	}
	if b := again.Status().Bad; b == nil || b.Commit != broken {
		t.Errorf("after a restart the status says %+v", b)
	}
	// The ref moves away and comes back: then it is tried again.
	f.git(f.clone, "push", "-q", "--force", "origin", good+":refs/heads/main")
	round(t, again)
	if b := again.Status().Bad; b != nil {
		t.Errorf("the ref has moved, and the status says %+v", b)
	}
	f.git(f.clone, "push", "-q", "--force", "origin", broken+":refs/heads/main")
	fails(t, again, "404")
	// Told to, it tries once more.
	again.forgive()
	fails(t, again, "404")
	fixed := f.push(map[string]string{"health": "ok again"})
	round(t, again)
	serves(t, f, again, fixed)
	again.Close()
}

// Who cannot be asked has decided nothing.
func TestCheckUndecided(t *testing.T) {
	f := newForge(t)
	s, a := gated(t, f)
	first := f.push(map[string]string{"health": "ok"})
	url := s.Check.URL
	s.Check.URL = "http://127.0.0.1:1/"
	fails(t, s, "CHECK_URL: nobody to ask")
	if b := s.Status().Bad; b != nil {
		t.Errorf("held to be bad: %+v", b)
	}
	s.Check.URL = url
	round(t, s)
	serves(t, f, s, first)
	// A commit that makes the app hang is bad.
	hang := func(w http.ResponseWriter, r *http.Request) bool { <-r.Context().Done(); return true }
	a.before.Store(&hang)
	f.push(map[string]string{"health": "hang"})
	fails(t, s, "no answer within")
	if s.Status().Bad == nil {
		t.Error("not held to be bad")
	}
	serves(t, f, s, first)
	// One that is slow to take it up is not.
	var n atomic.Int64
	slow := func(w http.ResponseWriter, r *http.Request) bool {
		if n.Add(1) < 3 {
			http.Error(w, "not yet", http.StatusServiceUnavailable)
			return true
		}
		return false
	}
	a.before.Store(&slow)
	s.Check.Timeout = 20 * time.Second
	late := f.push(map[string]string{"health": "slow"})
	round(t, s)
	serves(t, f, s, late)
}

// script is an executable for tests.
func script(t *testing.T, text string) string {
	path := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestCheckCommand(t *testing.T) {
	mark := filepath.Join(t.TempDir(), "left")
	// Orphans come to this process, as in a container.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		script string // empty: the command is ./check
		check  string // the commit's file
		bad    string // the reason; empty: good
		err    string // nobody decided
	}{
		"good":              {script: `test "$(cat index)" = good && test ${#GITSYNC_HASH} = 40`},
		"bad":               {script: "echo the index is missing; exit 3", bad: "exit status 3: the index is missing"},
		"hangs":             {script: "echo waiting; sleep 600", bad: "not done within 1s: waiting"},
		"forks":             {script: "sleep 600 & echo $! >" + mark + "; exit 0"},
		"forks and hangs":   {script: "sleep 600 & sleep 600 & wait", bad: "not done within"},
		"floods":            {script: "yes flood | head -c 10000000; echo the end; exit 1", bad: "the end"},
		"says nothing":      {script: "exit 1", bad: "exit status 1"},
		"control":           {script: `printf 'a\033[31m\nb\000c'; exit 1`, bad: "a [31m b c"},
		"killed":            {script: "kill -9 $$", bad: "signal: killed"},
		"of the commit":     {check: "#!/bin/sh\nexit 0\n"},
		"not in the commit": {bad: "no such file"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newForge(t)
			f.push(map[string]string{"index": "good"})
			s := follower(t, f, func(s *Syncer) {
				s.Check = Check{Command: "./check", Timeout: time.Second}
				if c.script != "" {
					s.Check.Command = script(t, c.script)
				}
				if !strings.Contains(c.bad, "not done within") {
					s.Check.Timeout = time.Minute
				}
			})
			hash := f.commit(map[string]string{"check": c.check})
			if c.check != "" {
				os.Chmod(filepath.Join(f.clone, "check"), 0o755)
				hash = f.commit(nil, "--amend")
			}
			f.git(f.clone, "push", "-q", "origin", "HEAD:main")
			if c.bad == "" {
				round(t, s)
				serves(t, f, s, hash)
				return
			}
			fails(t, s, c.bad)
			if b := s.Status().Bad; b == nil || b.Commit != hash || len(b.Reason) > 2000 {
				t.Errorf("the status says %+v", b)
			}
		})
	}
	pid, err := os.ReadFile(mark)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat("/proc/" + strings.TrimSpace(string(pid))); err == nil {
		t.Error("what the check left behind is there still")
	}
	f := newForge(t)
	f.push(map[string]string{"index": "good"})
	s := follower(t, f, func(s *Syncer) { s.Check = Check{Command: "/absent/check", Timeout: time.Second} })
	fails(t, s, "CHECK_COMMAND")
	if s.Status().Bad != nil {
		t.Error("a check that is not there has found a commit bad")
	}
}

func watched(t *testing.T, f *forge) (*Syncer, *app) {
	var s *Syncer
	a := newApp(t, func() string { return s.Site.Root })
	s = follower(t, f, func(s *Syncer) {
		s.Health = Health{URL: a.url + "/live/health", For: 200 * time.Millisecond, Timeout: 20 * time.Second, Failures: 3}
	})
	return s, a
}

func TestHealthGoesBack(t *testing.T) {
	f := newForge(t)
	s, _ := watched(t, f)
	good := f.push(map[string]string{"index": "1", "health": "ok"})
	round(t, s)
	sick := f.push(map[string]string{"index": "2", "health": ""})
	fails(t, s, "404")
	serves(t, f, s, good)
	if b := s.Status().Bad; b == nil || b.Commit != sick || b.Stage != "health" {
		t.Errorf("the status says %+v", b)
	}
	round(t, s)
	serves(t, f, s, good)
	cured := f.push(map[string]string{"health": "ok"})
	round(t, s)
	serves(t, f, s, cured)
	if b := s.Status().Bad; b != nil {
		t.Errorf("the status says %+v", b)
	}
}

// A commit cannot be blamed for what was wrong before; and it may be the cure.
func TestHealthWasBadBefore(t *testing.T) {
	f := newForge(t)
	s, _ := watched(t, f)
	f.push(map[string]string{"index": "1"}) // the first: nothing to go back to
	round(t, s)
	second := f.push(map[string]string{"index": "2"})
	round(t, s)
	serves(t, f, s, second)
	cure := f.push(map[string]string{"health": "ok"})
	round(t, s)
	serves(t, f, s, cure)
}

// Fewer bad answers in a row than it takes are not a reason.
func TestHealthStumbles(t *testing.T) {
	f := newForge(t)
	s, a := watched(t, f)
	f.push(map[string]string{"health": "1"})
	round(t, s)
	var n atomic.Int64
	stumble := func(w http.ResponseWriter, _ *http.Request) bool {
		if n.Add(1)%3 == 1 {
			return false
		}
		http.Error(w, "busy", http.StatusServiceUnavailable)
		return true
	}
	a.before.Store(&stumble)
	next := f.push(map[string]string{"health": "2"})
	round(t, s)
	serves(t, f, s, next)
	if n.Load() < 4 {
		t.Errorf("asked only %d times", n.Load())
	}
}

// Killed while a commit is watched, the next run watches it; while the remote is away, too.
func TestTrialGoesOn(t *testing.T) {
	f := newForge(t)
	s, a := watched(t, f)
	good := f.push(map[string]string{"index": "1", "health": "ok"})
	round(t, s)
	ctx, cancel := context.WithCancel(t.Context())
	stop := func(w http.ResponseWriter, r *http.Request) bool {
		if live := s.Site.Live(); live != good {
			cancel() // published: the run ends here
			<-r.Context().Done()
			return true
		}
		return false
	}
	a.before.Store(&stop)
	sick := f.push(map[string]string{"health": ""})
	if err := s.Sync(ctx); !errors.Is(err, context.Canceled) {
		t.Fatalf("sync: %v", err)
	}
	serves(t, f, s, sick)
	s.Close()
	a.before.Store(nil)
	f.instead(func(w http.ResponseWriter, _ *http.Request) bool {
		http.Error(w, "away", http.StatusServiceUnavailable)
		return true
	})
	again := newFollower(t, f, s.Site.Root, func(n *Syncer) { n.Health = s.Health })
	if err := again.Open(); err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	again.takeOver(t.Context())
	serves(t, f, again, good)
	if b := again.Status().Bad; b == nil || b.Commit != sick {
		t.Errorf("the status says %+v", b)
	}
}

func TestHooks(t *testing.T) {
	f := newForge(t)
	var mu sync.Mutex
	var told []string
	refuse := 2
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if told = append(told, r.Method+" "+r.Header.Get("Gitsync-Hash")); refuse > 0 {
			refuse--
			http.Error(w, "later", http.StatusServiceUnavailable)
		}
	}))
	defer srv.Close()
	out := filepath.Join(t.TempDir(), "out")
	s := follower(t, f, func(s *Syncer) {
		s.Hooks = []*Hook{
			{Name: "webhook", Call: post(srv.URL, 20*time.Second), Backoff: 10 * time.Millisecond},
			{Name: "exechook", Call: command(script(t, "cat index >>"+out+"; echo $GITSYNC_HASH >>"+out), 20*time.Second), Backoff: time.Second},
		}
	})
	first := f.push(map[string]string{"index": "one "})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx, nil) }()
	last := func() string {
		mu.Lock()
		defer mu.Unlock()
		return fmt.Sprint(told[max(0, len(told)-1):], " ", len(told) > 2)
	}
	eventually(t, "the third call", func() bool { return last() == "[POST "+first+"] true" })
	second := f.push(map[string]string{"index": "two "})
	eventually(t, "the second commit", func() bool { return last() == "[POST "+second+"] true" })
	eventually(t, "the command", func() bool {
		text, _ := os.ReadFile(out)
		return strings.HasSuffix(string(text), "one "+first+"\ntwo "+second+"\n")
	})
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// A newer commit takes the place of one that a hook was not told of yet.
func TestHookSupersedes(t *testing.T) {
	calls := make(chan string, 10)
	h := &Hook{Name: "x", Backoff: time.Hour, Ran: func(string, error) {}, Call: func(_ context.Context, hash, _ string) error {
		calls <- hash
		if hash == "1" {
			return errors.New("no")
		}
		return nil
	}}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go h.Run(ctx)
	h.Tell("1", "")
	if got := <-calls; got != "1" {
		t.Fatal(got)
	}
	h.Tell("2", "") // it waits an hour to say 1 again
	if got := <-calls; got != "2" {
		t.Fatal(got)
	}
}
