package paas

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"distlab/lab/check"
)

// forcePush has the branch go where a merge cannot follow.
func forcePush(m *check.M) check.Result {
	defer begin(m)()
	var ways check.Ways
	follows := func(way string, c commit) {
		nudge(m)
		took, last := m.Until(patience, served(httpPort, c))
		ways.Way(way).Note(took != check.Never, "%v after %v", last, took)
		if took != check.Never {
			whole(m, ways.Way(way), httpPort, c)
			held := m.Hold(500*time.Millisecond, served(httpPort, c))
			ways.Way(way).Note(held.Broke == nil && linked(m) == c.hash, "%v, the link names %s", held, linked(m))
		}
	}
	first, second := deployed(m), deployed(m)
	git(m, "update-ref", "refs/heads/main", first.hash)
	follows("rewound", first)
	git(m, "update-ref", "refs/heads/main", second.hash)
	follows("forth again", second)
	follows("rewritten", push(m, small, "main~1", ""))
	last := push(m, small, "", "")
	follows("replaced by another history", last)

	git(m, "update-ref", "-d", "refs/heads/main")
	nudge(m)
	held := m.Hold(2*time.Second, served(httpPort, last))
	ways.Way("deleted").Note(held.Broke == nil, "%v", held)
	if told(m) {
		took, said := m.Until(patience, func(m *check.M) error { return errs(tells(m, adminPort), `no branch or tag "main"`) })
		ways.Way("deleted, and told").Note(took != check.Never, "%v", said)
	}
	git(m, "update-ref", "refs/heads/main", second.hash)
	follows("made again", second)
	return ways.Decide()
}

// errs is an error unless the status has one with those words.
func errs(s status, words string) error {
	if s.Error == nil {
		return errors.New("the status tells of no error")
	}
	if !strings.Contains(s.Error.Message, words) {
		return errors.New(s.Error.Message)
	}
	return nil
}

// tag moves the tag release, which a sidecar of its own follows.
func tag(m *check.M) check.Result {
	defer begin(m)()
	var ways check.Ways
	commits := []commit{deployed(m), deployed(m), deployed(m)}
	id := []string{"-c", "user.name=claim", "-c", "user.email=claim@example.org"}
	follows := func(way string, c commit) {
		took, last := m.Until(patience, served(releasePort, c))
		ways.Way(way).Note(took != check.Never, "%v after %v", last, took)
		if took == check.Never {
			return
		}
		held := m.Hold(500*time.Millisecond, served(releasePort, c))
		ways.Way(way).Note(held.Broke == nil, "%v", held)
		m.Await(patience, "a status of the release", func(m *check.M) error {
			if s := tells(m, releaseAdminPort); s.live() != c.hash || s.Remote == nil || s.Remote.Ref != "refs/tags/release" {
				return fmt.Errorf("live is %q", s.live())
			}
			return nil
		})
	}
	git(m, "tag", "-f", "release", commits[0].hash)
	follows("a tag", commits[0])
	git(m, append(id, "tag", "-f", "-a", "-m", "x", "release", commits[1].hash)...)
	follows("an annotated tag", commits[1])
	git(m, append(id, "tag", "-f", "-a", "-m", "x", "inner", commits[2].hash)...)
	git(m, append(id, "tag", "-f", "-a", "-m", "x", "release", "inner")...)
	follows("a tag of a tag", commits[2])
	git(m, "tag", "-d", "inner")
	git(m, "tag", "-f", "release", commits[0].hash)
	follows("back", commits[0])

	// The branch goes on; the release does not.
	main := deployed(m)
	held := m.Hold(2*time.Second, served(releasePort, commits[0]))
	ways.Way("only the tag").Note(held.Broke == nil, "%v while %s was pushed", held, main.label)

	git(m, "tag", "-d", "release")
	took, said := m.Until(patience, func(m *check.M) error { return errs(tells(m, releaseAdminPort), `no branch or tag "release"`) })
	ways.Way("deleted").Note(took != check.Never, "%v", said)
	held = m.Hold(time.Second, served(releasePort, commits[0]))
	ways.Way("deleted").Note(held.Broke == nil, "%v", held)
	git(m, "tag", "release", commits[2].hash)
	follows("made again", commits[2])
	return ways.Decide()
}
