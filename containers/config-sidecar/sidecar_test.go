package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"distlab/containers/internal/procs"
)

// noX refuses files with an x in them.
var noX = []string{"sh", "-c", "if grep -q x site.conf; then echo site.conf has an x; exit 3; fi"}

// settled waits until nothing is left to do.
func settled(t *testing.T, s *Sidecar, version string) Status {
	t.Helper()
	waitFor(t, "version "+version+" in sync", func() bool {
		now := s.Status()
		return now.InSync && now.Applied != nil && now.Applied.Version == version
	})
	return s.Status()
}

// TestBadAndBack: a bad version is refused, with the reason; its exact revert is no change, for what is applied is what
// counts; and a version that was refused is applied when it is good (prometheus-operator 4708).
func TestBadAndBack(t *testing.T) {
	s, app := newSidecar(t)
	s.Check.Command = noX
	start(t, s)
	s.Offer(set("1", "good"))
	settled(t, s, "1")
	folder := s.Place.Current()
	s.Offer(set("2", "x"))
	waitFor(t, "a reason", func() bool {
		return strings.Contains(s.Status().Reason, "refused: check: exit status 3: site.conf has an x")
	})
	now := s.Status()
	if now.InSync || now.Served.Version != "2" || now.Applied.Version != "1" || read(t, s, "site.conf") != "good" {
		t.Errorf("%+v", now)
	}
	waitFor(t, "its age", func() bool { return s.Status().Age > 0.01 })
	s.Offer(set("3", "good"))
	now = settled(t, s, "3")
	if app.count() != 1 || s.Place.Current() != folder || now.Reason != "" || now.Age != 0 {
		t.Errorf("told %d times, %s became %s, %+v", app.count(), folder, s.Place.Current(), now)
	}
	s.Offer(set("4", "better"))
	settled(t, s, "4")
	if app.count() != 2 || read(t, s, "site.conf") != "better" || read(t, s, "more/texts.conf") != "of better" {
		t.Errorf("told %d times, %s", app.count(), read(t, s, "site.conf"))
	}
}

// TestRevertOfBad: with the bad one in place, the revert is a change, and the app is told.
func TestRevertOfBad(t *testing.T) {
	s, app := newSidecar(t) // it has no check
	start(t, s)
	for i, text := range []string{"good", "x", "good"} {
		s.Offer(set(fmt.Sprint(i), text))
		settled(t, s, fmt.Sprint(i))
	}
	if app.count() != 3 || read(t, s, "site.conf") != "good" {
		t.Errorf("told %d times, %s", app.count(), read(t, s, "site.conf"))
	}
}

// TestCheckAgain: a check may depend on more than the files: what was refused is tried again without a new version.
func TestCheckAgain(t *testing.T) {
	s, _ := newSidecar(t)
	flag := filepath.Join(t.TempDir(), "flag")
	s.Check.Command = []string{"test", "-e", flag}
	start(t, s)
	s.Offer(set("1", "a"))
	waitFor(t, "a refusal", func() bool { return s.Status().Reason != "" && s.Status().Applied == nil })
	if err := os.WriteFile(flag, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	settled(t, s, "1")
}

// TestLateApp: an app that is not there is told when it is, once; so is one that was not there at a restart.
func TestLateApp(t *testing.T) {
	for _, tt := range []struct {
		name  string
		away  func(*people)
		there func(*people)
	}{
		{"absent", func(p *people) { p.list = nil }, func(p *people) { p.list = []procs.Process{{PID: 7}} }},
		{"two of the name", func(p *people) { p.list = []procs.Process{{PID: 7}, {PID: 8}} }, func(p *people) { p.list = p.list[:1] }},
		{"deaf yet", func(p *people) { p.deaf = true }, func(p *people) { p.deaf = false }},
		{"too young", func(p *people) { p.age = 0 }, func(p *people) { p.age = time.Hour }},
		{"error", func(p *people) { p.err = errors.New("no /proc") }, func(p *people) { p.err = nil }},
	} {
		for _, restarted := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s restarted=%t", tt.name, restarted), func(t *testing.T) {
				s, app := newSidecar(t)
				app.set(tt.away)
				stop := start(t, s)
				s.Offer(set("1", "a"))
				waitFor(t, "a reason", func() bool { return strings.Contains(s.Status().Reason, "the app not told") })
				if read(t, s, "site.conf") != "a" || s.Status().InSync || s.Status().Applied.Told || app.count() > 0 {
					t.Errorf("%+v, told %d", s.Status(), app.count())
				}
				if restarted {
					stop()
					dir := s.Place.Dir
					s, _ = newSidecar(t)
					s.Place.Dir, s.Teller.Table = dir, app
					start(t, s)
				}
				app.set(tt.there)
				settled(t, s, "1")
				s.Offer(set("1", "a"))
				s.Offer(set("2", "a")) // the same files
				settled(t, s, "2")
				if app.count() != 1 {
					t.Errorf("told %d times", app.count())
				}
			})
		}
	}
}

// TestCoalesced: many changes are few, the last one wins, and one that goes on does not wait for ever.
func TestCoalesced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, app := newSidecar(t)
		var at []string
		begun := time.Now()
		app.onTold = func() {
			text, _ := os.ReadFile(filepath.Join(s.Place.Dir, "site.conf"))
			at = append(at, fmt.Sprintf("%s at %v", text, time.Since(begun).Round(10*time.Millisecond)))
		}
		stop := start(t, s)
		s.Offer(set("0", "first"))
		synctest.Wait()
		for i := range 130 { // for 1.3 s
			time.Sleep(10 * time.Millisecond)
			s.Offer(set(fmt.Sprint(i), fmt.Sprint(i)))
		}
		time.Sleep(time.Minute)
		stop()
		want := "[first at 0s 99 at 1.01s 129 at 1.5s]"
		if got := fmt.Sprint(at); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	})
}

// TestRollback: a person goes back, one version after the other; what was left is held until the source moves on.
func TestRollback(t *testing.T) {
	s, app := newSidecar(t)
	back, release := make(chan struct{}), make(chan struct{})
	s.Back, s.Release = back, release
	stop := start(t, s)
	back <- struct{}{} // there is nothing to go back to
	for _, v := range []string{"1", "2", "3", "4"} {
		s.Offer(set(v, "text "+v))
		settled(t, s, v)
	}
	told := app.count()
	back <- struct{}{}
	waitFor(t, "version 3", func() bool { return read(t, s, "site.conf") == "text 3" && app.count() == told+1 })
	s.Offer(set("4", "text 4")) // as the source says it again and again
	waitFor(t, "the reason", func() bool { return strings.Contains(s.Status().Reason, "held: rolled back by a person") })
	if now := s.Status(); now.InSync || now.Applied.Version != "3" || now.Held == "" || fmt.Sprint(now.Before) != "[2]" {
		t.Errorf("%+v", now)
	}
	// It holds over a restart.
	stop()
	dir := s.Place.Dir
	s, _ = newSidecar(t)
	s.Place.Dir, s.Teller.Table, s.Back, s.Release = dir, app, back, release
	start(t, s)
	s.Offer(set("4", "text 4"))
	waitFor(t, "the reason", func() bool { return strings.Contains(s.Status().Reason, "held") })
	if read(t, s, "site.conf") != "text 3" {
		t.Error("a restart has forgotten it")
	}
	release <- struct{}{}
	settled(t, s, "4")
	back <- struct{}{}
	waitFor(t, "version 3", func() bool { return read(t, s, "site.conf") == "text 3" })
	s.Offer(set("5", "text 5"))
	settled(t, s, "5")
	s.Offer(set("6", "text 4")) // what was held is a version like any other by now
	settled(t, s, "6")
	if folders, _ := filepath.Glob(filepath.Join(dir, "..2*")); len(folders) != 1+s.Keep {
		t.Errorf("%d folders: %v", len(folders), folders)
	}
}

// TestConfirm: an app that does not show the new version is told again, and after so many times counts as having refused.
func TestConfirm(t *testing.T) {
	for _, tt := range []struct {
		name     string
		needs    int // times that the app must be told before it loads
		rollback bool
		want     string // text in place at the end
		told     int
	}{
		{"at once", 1, false, "new", 1},
		{"at the second time", 2, false, "new", 2},
		{"never: back", 99, true, "old", 4}, // three times of the new one, and once of the old
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, app := newSidecar(t)
			var told atomic.Int64
			shows := &atomic.Value{}
			shows.Store("old")
			srv := serve(t, func() string { return "config: " + shows.Load().(string) + "\n" })
			s.Teller.ConfirmURL, s.ConfirmText, s.Teller.Confirm, s.RollBack = srv, `: {{ file "site.conf" }}`, 200*time.Millisecond, tt.rollback
			s.Teller.Client = client
			start(t, s)
			s.Offer(set("1", "old"))
			settled(t, s, "1")
			app.set(func(p *people) {
				p.told = nil
				p.onTold = func() {
					text, _ := os.ReadFile(filepath.Join(s.Place.Dir, "site.conf"))
					if n := told.Add(1); string(text) == "old" || int(n) >= tt.needs {
						shows.Store(string(text))
					}
				}
			})
			s.Offer(set("2", "new"))
			if tt.rollback {
				waitFor(t, "the version before", func() bool {
					now := s.Status()
					return now.Applied.Version == "1" && now.Applied.Told && strings.Contains(now.Reason, "the app refused it")
				})
			} else {
				settled(t, s, "2")
			}
			if app.count() != tt.told || read(t, s, "site.conf") != tt.want {
				t.Errorf("told %d times, %s in place; want %d, %s", app.count(), read(t, s, "site.conf"), tt.told, tt.want)
			}
		})
	}
}

// TestOffer: of several sets that nobody has looked at the last one is left.
func TestOffer(t *testing.T) {
	s, _ := newSidecar(t)
	if err := s.Open(); err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		s.Offer(set(fmt.Sprint(i), fmt.Sprint(i)))
	}
	if got := <-s.mail; got.Version != "4" || s.Status().Served.Version != "4" || len(s.mail) > 0 {
		t.Errorf("%s is left, and %d more", got.Version, len(s.mail))
	}
}

// TestReady: without a configuration it is not ready, and says why; with one it is, however the source does.
func TestReady(t *testing.T) {
	s, _ := newSidecar(t)
	var ready atomic.Value
	s.Ready = func(ok bool, reason string) { ready.Store(fmt.Sprint(ok, " ", reason)) }
	start(t, s)
	s.Contact(errors.New("nobody there"))
	if got := ready.Load(); got != "false no configuration yet: nobody there" || s.Status().Source.Failures != 1 {
		t.Errorf("%v, %+v", got, s.Status().Source)
	}
	s.Offer(set("1", "a"))
	settled(t, s, "1")
	for range 3 {
		s.Contact(errors.New("gone again"))
	}
	if got := ready.Load(); got != "true " || s.Status().Source.Up || s.Status().Source.Error != "gone again" {
		t.Errorf("%v, %+v", got, s.Status().Source)
	}
	s.Contact(nil)
	if src := s.Status().Source; !src.Up || src.Error != "" || src.Failures != 0 {
		t.Errorf("%+v", src)
	}
}
