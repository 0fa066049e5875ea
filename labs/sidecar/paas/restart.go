package paas

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"distlab/lab/check"
)

// left are the names in the folder of checkouts, as the app's container sees them.
func left(m *check.M) []string {
	return strings.Fields(m.Exec(app, "ls", "-A", "/site/.worktrees"))
}

// restart kills the sidecar at moments that the seed draws, and with a checkout damaged and half of one lying about.
func restart(m *check.M) check.Result {
	defer begin(m)()
	var ways check.Ways
	last := deployed(m)
	for range 3 {
		next := push(m, small, "main", "")
		nudge(m)
		// The moment is what is drawn: somewhere in the look, the fetch, the checkout, the check or the watch.
		moment := time.Now().Add(time.Duration(m.Rand().IntN(900)) * time.Millisecond)
		m.Await(patience, "a moment", func(*check.M) error {
			if time.Now().Before(moment) {
				return errors.New("not yet")
			}
			return nil
		})
		m.Heal(m.Kill(sidecar))
		took, said := m.Until(patience, func(m *check.M) error {
			err := served(httpPort, next)(m)
			if older := served(httpPort, last)(m); err != nil && older != nil && served(httpPort, next)(m) != nil {
				m.Unknown("neither the commit before nor the next is served: %v", older)
			}
			return err
		})
		ways.Way("killed while it deploys").Note(took != check.Never, "%v", said)
		whole(m, ways.Way("killed while it deploys"), httpPort, next)
		last = next
	}
	settled(m)

	// A file of the live checkout is cut, half a checkout lies about, and it is killed.
	damaged := "/site/.worktrees/" + last.hash + "/page-7"
	half := m.Write(sidecar, map[string][]byte{"/site/.worktrees/.new-half": []byte("half")})
	cut := m.Write(sidecar, map[string][]byte{damaged: []byte("cut")})
	m.Need(string(m.Get(pod, httpPort, "/page-7").Body) == "cut", "the damage is not served")
	m.Heal(m.Kill(sidecar))
	mended, said := m.Until(patience, func(m *check.M) error {
		if got := string(m.Get(pod, httpPort, "/page-7").Body); got != last.label+" page 7\n" {
			return fmt.Errorf("page 7 is %.60q", got)
		}
		return nil
	})
	ways.Way("damaged").Note(mended != check.Never, "%v", said)
	whole(m, ways.Way("damaged"), httpPort, last)
	names := left(m)
	ways.Way("half a checkout").Note(!slices.ContainsFunc(names, func(n string) bool { return strings.HasPrefix(n, ".") }), "left: %q", names)
	m.Heal(cut)
	m.Heal(half)

	// What nobody uses goes, once KEEP_FOR is over; what is live and the one before stay.
	clean, said := m.Until(patience, func(m *check.M) error {
		nudge(m)
		if names := left(m); len(names) > 2 || !slices.Contains(names, last.hash) {
			return fmt.Errorf("%d checkouts are there", len(names))
		}
		return nil
	})
	ways.Way("unused checkouts").Note(clean != check.Never, "%v", said)
	held := m.Hold(time.Second, served(httpPort, last))
	ways.Way("unused checkouts").Note(held.Broke == nil, "%v", held)
	return ways.Decide()
}

// saysHash compares what the link, the status, the metric and the site say, and what the repository has.
func saysHash(m *check.M) check.Result {
	defer begin(m)()
	var ways check.Ways
	agree := func(way string, live, remote commit) {
		t := ways.Way(way)
		took, last := m.Until(patience, func(m *check.M) error {
			s := tells(m, adminPort)
			switch {
			case linked(m) != live.hash:
				return fmt.Errorf("the link names %s, not %s", linked(m), live.hash)
			case s.live() != live.hash:
				return fmt.Errorf("the status names %s, not %s", s.live(), live.hash)
			case s.Remote == nil || s.Remote.Commit != remote.hash || s.Remote.Ref != "refs/heads/main":
				return fmt.Errorf("of the remote the status says %+v, not %s", s.Remote, remote.hash)
			case m.Metric(pod, adminPort, "git_sync_live_info", `commit="`+live.hash+`"`) != 1:
				return fmt.Errorf("the metric does not name %s", live.hash)
			case m.Metric(pod, adminPort, "git_sync_live_info") != 1:
				return errors.New("the metric names several commits")
			case (m.Metric(pod, adminPort, "git_sync_current") == 1) != (live == remote):
				return errors.New("the metric says wrongly whether that is what the remote has")
			case git(m, "rev-parse", "main") != remote.hash:
				return errors.New("the repository has another commit")
			}
			return served(httpPort, live)(m)
		})
		t.Note(took != check.Never, "%v", last)
		whole(m, t, httpPort, live)
	}
	first := deployed(m)
	agree("published", first, first)
	second := deployed(m)
	agree("published again", second, second)
	bad := push(m, small, "main", noPage)
	refused(m, bad)
	agree("refused", second, bad)
	ill := push(m, small, "main", noHealth)
	refused(m, ill)
	agree("taken back", second, ill)
	m.Heal(m.Kill(sidecar))
	agree("after a restart", second, ill)
	git(m, "update-ref", "refs/heads/main", first.hash)
	nudge(m)
	agree("rewound", first, first)
	return ways.Decide()
}
