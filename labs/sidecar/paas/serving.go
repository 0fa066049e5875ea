package paas

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"distlab/lab/check"
)

// deploys pushes and waits, in the ways in which a push can come to be known.
func deploys(m *check.M) check.Result {
	defer begin(m)()
	// What fetch, checkout and check may take. The push is the control, git's own work on the same way: a machine on
	// which that takes long gets three times as much.
	work := func(c commit) time.Duration { return max(2*time.Second, 3*c.took) }
	var ways check.Ways
	var took []string
	note := func(way string, t check.Took, limit time.Duration, port int, c commit) {
		took = append(took, fmt.Sprintf("%s: %v of %.1f s, the push %.2f s", way, t, limit.Seconds(), c.took.Seconds()))
		ways.Way(way).Note(t.Within(limit), "%s was served after %v", c.label, t)
		if t != check.Never {
			whole(m, ways.Way("every file"), port, c)
		}
	}
	// By period: nobody calls the one that follows the tag.
	var c commit
	tagged := push(m, small, "main", "")
	m.Exec(server, "git", "-C", "/tmp/claims.git", "push", "-q", "--force", "http://127.0.0.1/git/site.git", tagged.hash+":refs/tags/release")
	t, _ := m.Until(patience, served(releasePort, tagged))
	note("period", t, releasePeriod+work(tagged), releasePort, tagged)

	// By webhook. It has been called just before, for nothing, so that the sidecar's period cannot be what finds the
	// push.
	looks := func() float64 { return m.Metric(pod, adminPort, "git_sync_count_total") }
	for tries := 0; ; tries++ {
		m.Need(tries < 5, "a push takes as long as a period")
		settled(m)
		before := looks()
		nudge(m)
		m.Await(patience, "a look", func(m *check.M) error {
			if looks() == before {
				return errors.New("none")
			}
			return nil
		})
		settled(m)
		before = looks()
		begun := time.Now()
		if c = push(m, small, "main", ""); looks() == before && time.Since(begun) < period/2 {
			break // else it looks again at any moment, by itself
		}
	}
	ways.Way("a wrong token").Note(call(m.Context(), m, "guess") == 401, "it was let in")
	ways.Way("the token").Note(call(m.Context(), m, token) == 202, "it was not let in")
	t, _ = m.Until(patience, served(httpPort, c))
	note("webhook", t, min(work(c), period/2), httpPort, c)

	// Several in a row: the last one, and it stays.
	for range 3 {
		c = push(m, small, "main", "")
		nudge(m)
	}
	t, _ = m.Until(patience, served(httpPort, c))
	ways.Way("the last of several").Note(t != check.Never, "%s was not served", c.label)
	held := m.Hold(time.Second, served(httpPort, c))
	ways.Way("the last of several").Note(held.Broke == nil, "%v", held)
	return ways.Decide().Because("%s", strings.Join(took, "\n"))
}

// commits is how many are published while readers look.
const commits = 6

// atomic reads while commits come. A reader that finds the same commit before and after in one file must find it in
// another one in between: whatever else it finds was mixed.
func atomic(m *check.M) check.Result {
	defer begin(m)()
	var ways check.Ways
	over, volume, large := ways.Way("two files over HTTP"), ways.Way("two files on the volume"), ways.Way("a large file")
	seen := map[string]bool{}
	first := deployedOf(m, big)
	done := make(chan struct{})
	m.Together(
		func(m *check.M) {
			defer close(done)
			for range commits {
				c := push(m, big, "main", "")
				nudge(m)
				m.Await(patience, "the commit "+c.label, served(httpPort, c))
			}
		},
		func(m *check.M) {
			for open(done) {
				sandwich(m, over, seen, "/z-last", "/a-first")
				sandwich(m, over, seen, "/a-first", "/z-last")
			}
		},
		func(m *check.M) {
			for open(done) {
				page, err := m.Asked(pod, httpPort, "/large")
				label, _, _ := strings.Cut(string(page.Body), "\n")
				large.Note(page.Status == 200 && label != "" && string(page.Body) == strings.Repeat(label+"\n", big.lines),
					"status %d, %d bytes of %q, %v", page.Status, len(page.Body), label, err)
			}
		},
		func(m *check.M) {
			// Who opens the folder once reads one commit, however often the link is turned meanwhile. No process is begun
			// for a look: there are thousands in the time that a checkout takes.
			for open(done) {
				out := m.Exec(app, "sh", "-c", `
i=0
while [ $i -lt 1000 ]; do
  i=$((i+1)) a= b= c=
  cd -P /site/live && read a <z-last && read b <a-first && read c <z-last
  echo "$a $b $c"
done 2>&1`)
				for line := range strings.Lines(out) {
					words := strings.Fields(line)
					volume.Note(len(words) == 3 && words[0] == words[1] && words[1] == words[2], "%.200s", line)
				}
			}
		},
	)
	m.Need(len(seen) > commits/2, "the readers met only %d of %d commits", len(seen), commits+1)
	return ways.Decide().Because("%d commits were met, the first %s", len(seen), first.label)
}

func open(done chan struct{}) bool {
	select {
	case <-done:
		return false
	default:
		return true
	}
}

// sandwich reads one file, another, and the first again. What comes of it is counted where the first has not changed.
func sandwich(m *check.M, t *check.Tally, seen map[string]bool, bread, filling string) {
	read := func(name string) (int, string) {
		page := m.Get(pod, httpPort, name)
		return page.Status, strings.TrimSpace(string(page.Body))
	}
	s1, before := read(bread)
	s2, between := read(filling)
	s3, after := read(bread)
	if s1 != 200 || s2 != 200 || s3 != 200 {
		t.Note(false, "%s %d, %s %d, %s %d", bread, s1, filling, s2, bread, s3)
		return
	}
	seen[before] = true
	if before == after {
		t.Note(between == before, "%s of %q between two reads of %s of %q", filling, between, bread, before)
	}
}

// noDowntime loads the site while it is changed in every way in which it can be. The control is a page of the same
// server that comes from no folder.
func noDowntime(m *check.M) check.Result {
	defer begin(m)()
	deployed(m)
	flows := []check.Flow{
		{Name: "kept", Rate: 60, URL: site + "/index.html"},
		{Name: "anew", Rate: 40, Args: []string{"-header", "Connection: close"}, URL: site + "/page-7"},
		{Name: "large", Rate: 10, URL: site + "/large"},
		{Name: "control", Rate: 40, URL: site + "/-/up", Control: true},
	}
	published, wrong := 0, 0
	traffic := m.Beside(time.Second, flows, func() {
		for range 2 {
			deployed(m)
			published++
		}
		took, _ := refused(m, push(m, small, "main", noPage))
		if took == check.Never {
			wrong++
		}
		took, _ = refused(m, push(m, small, "main", noHealth))
		if took == check.Never {
			wrong++
		}
		deployed(m)
		published++
	})
	m.Need(wrong == 0, "%d bad commits were not refused", wrong)
	res := check.Decide(traffic.Failed() == 0, "%d of %d requests failed; %d commits published, 1 refused, 1 taken back",
		traffic.Failed(), traffic.Requests(), published)
	return traffic.Fair(res.Want("none").Of(traffic.Requests()))
}
