package paas

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"distlab/lab/check"
)

// watcher reads the site all the time, and keeps which labels it met, and how often there was no page.
type watcher struct {
	mu    sync.Mutex
	met   map[string]int
	wrong check.Tally
}

// beside runs act while a watcher reads.
func (w *watcher) beside(m *check.M, act func(m *check.M)) {
	w.met = map[string]int{}
	done := make(chan struct{})
	m.Together(
		func(m *check.M) {
			defer close(done)
			act(m)
		},
		func(m *check.M) {
			for open(done) {
				page, err := m.Asked(pod, httpPort, "/label")
				w.wrong.Note(page.Status == 200, "status %d, %v", page.Status, err)
				if err != nil {
					continue
				}
				label := strings.TrimSpace(string(page.Body))
				w.mu.Lock()
				w.met[label]++
				w.mu.Unlock()
			}
		},
	)
}

func (w *watcher) times(c commit) int { w.mu.Lock(); defer w.mu.Unlock(); return w.met[c.label] }

// What is wrong with a commit, as git fast-import's commands.
const (
	noPage   = "D index.html"
	noHealth = "D health.txt"
)

// badPush pushes commits that are wrong in four ways, looks at what readers get meanwhile, and has the sidecar killed
// before it looks again.
func badPush(m *check.M) check.Result {
	defer begin(m)()
	var ways check.Ways
	var w watcher
	good := deployed(m)
	var ill, next commit
	refusals := func() float64 {
		return m.Metric(pod, adminPort, "git_sync_refused_total") // of both kinds
	}
	w.beside(m, func(m *check.M) {
		for _, c := range []struct{ way, change, stage, reason string }{
			{"no first page", noPage, "check", "404"},
			{"a first page that is a folder", noPage + "\nM 100644 inline index.html/x\ndata 2\nx\n", "check", "301"},
		} {
			bad := push(m, small, "main", c.change)
			refused := tellsBad(m, ways.Way(c.way), bad, c.stage, c.reason)
			ways.Way(c.way).Note(w.times(bad) == 0, "it was served %d times", w.times(bad))
			if !refused {
				return // nothing that follows could be told apart
			}
			back(m, ways.Way(c.way), good)
		}
		// One that passes the check, and makes the site ill.
		ill = push(m, small, "main", noHealth)
		if !tellsBad(m, ways.Way("ill"), ill, "health", "404") {
			return
		}
		back(m, ways.Way("ill"), good)

		// Neither this run nor the next tries it again, while the ref stays.
		before := refusals()
		nudge(m)
		held := m.Hold(time.Second, served(httpPort, good))
		ways.Way("not again").Note(held.Broke == nil && refusals() == before, "%v, %v refusals more", held, refusals()-before)
		m.Heal(m.Kill(sidecar))
		m.Await(patience, "a look after the restart", func(m *check.M) error {
			if m.Metric(pod, adminPort, "git_sync_count_total") == 0 {
				return fmt.Errorf("none yet")
			}
			return nil
		})
		s := tells(m, adminPort)
		ways.Way("not again after a restart").Note(s.bad() == ill.hash && refusals() == 0 && w.times(ill) > 0, "bad is %q, %v refusals", s.bad(), refusals())
		back(m, ways.Way("not again after a restart"), good)

		// What cannot be checked out is an error, and told.
		escape := push(m, small, "main", "M 120000 inline way\ndata 22\n../../../../etc/passwd")
		nudge(m)
		took, last := m.Until(patience, func(m *check.M) error {
			if s := tells(m, adminPort); s.Error == nil || !strings.Contains(s.Error.Message, "leads out of it") {
				return fmt.Errorf("the status says %+v", s.Error)
			}
			return nil
		})
		ways.Way("a link that leads out").Note(took != check.Never && w.times(escape) == 0, "%v, served %d times", last, w.times(escape))

		// And then a good one goes live, without anybody's help.
		next = deployed(m)
	})
	ways.Way("readers").Note(w.wrong.Whole(), "%v had a page: %s", &w.wrong, w.wrong.Odd())
	if next.hash == "" {
		return ways.Decide()
	}
	s := tells(m, adminPort)
	ways.Way("a good one after it").Note(w.times(next) > 0 || linked(m) == next.hash, "it is not live")
	ways.Way("a good one after it").Note(s.Bad == nil && s.Error == nil && s.live() == next.hash, "the status says %+v, %+v", s.Bad, s.Error)
	return ways.Decide().Because("the ill commit was served %d times before it was taken back", w.times(ill))
}

// tellsBad waits until the status names a commit as bad, and compares what it says of it. It is false where it does
// not.
func tellsBad(m *check.M, t *check.Tally, c commit, stage, reason string) bool {
	took, s := refused(m, c)
	if took == check.Never {
		t.Note(false, "the status does not hold %s to be bad", c.label)
		return false
	}
	t.Note(s.Bad.Stage == stage && strings.Contains(s.Bad.Reason, reason), "the status says %+v", *s.Bad)
	return true
}

// back looks whether a commit is live again, and stays.
func back(m *check.M, t *check.Tally, c commit) {
	took, last := m.Until(patience, served(httpPort, c))
	t.Note(took != check.Never, "%v", last)
	held := m.Hold(500*time.Millisecond, served(httpPort, c))
	t.Note(held.Broke == nil, "%v", held)
}

// remoteDown takes the remote away in three ways, and restarts the sidecar while it is.
func remoteDown(m *check.M) check.Result {
	defer begin(m)()
	var ways check.Ways
	good := push(m, small, "main", "")
	arrives(m, good)
	for _, c := range []struct {
		way  string
		harm func() *check.Fault
	}{
		{"stopped", func() *check.Fault { return m.Stop(server, check.Grace(time.Second)) }},
		{"hanging", func() *check.Fault { return m.Pause(server) }},
		{"cut off", func() *check.Fault { return m.Disconnect(server, "default") }},
	} {
		t := ways.Way(c.way)
		fault := c.harm()
		nudge(m)
		// Longer than a look may take, and than a variant's.
		held := m.Hold(4*time.Second, served(httpPort, good))
		t.Note(held.Broke == nil, "%v", held)
		if c.way == "stopped" && held.Broke == nil && told(m) {
			// It says so, and since when.
			took, last := m.Until(patience, func(m *check.M) error {
				if s := tells(m, adminPort); s.Error == nil || s.live() != good.hash {
					return fmt.Errorf("live is %q, error %+v", s.live(), s.Error)
				}
				return nil
			})
			t.Note(took != check.Never, "the status: %v", last)
			m.Heal(m.Kill(sidecar))
			held = m.Hold(time.Second, served(httpPort, good))
			t.Note(held.Broke == nil, "after a restart of the sidecar: %v", held)
			m.Await(patience, "the sidecar again", func(m *check.M) error { return m.Get(pod, adminPort, "/readyz").Is(200) })
			t.Note(tells(m, adminPort).live() == good.hash, "after a restart it takes another commit for the live one")
		}
		m.Heal(fault)
		if held.Broke != nil {
			break // nothing more to learn, and a variant takes its time
		}
		good = push(m, small, "main", "")
		nudge(m)
		took, last := m.Until(patience, served(httpPort, good))
		t.Note(took != check.Never, "a push after it: %v (%v)", took, last)
	}
	return ways.Decide()
}

// told says whether there is a sidecar that has a status.
func told(m *check.M) bool {
	took, _ := m.Until(time.Second, func(m *check.M) error { return m.Get(pod, adminPort, "/livez").Is(200) })
	return took != check.Never
}
