package scatter

import (
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"distlab/lab/check"
	"distlab/lab/stats"
)

// kind is one of the ways in which straggler asks, all of them in turns: what the machine does to one it does to all.
type kind struct {
	name   string
	leaves int // that are asked; 0: one leaf itself, without the root
	hedge  bool

	mu     sync.Mutex
	took   []float64 // seconds
	slow   int       // took slowTime or longer
	noise  int       // of these, without a leaf that was made slow
	hurry  int       // quicker than slowTime, though a leaf that was heard had been made slow
	twice  int       // with two leaves or more that were made slow
	serial int       // of these, as slow as one after the other
	firsts int
	hedges int
}

// note counts one answer.
func (k *kind) note(took time.Duration, slowed, firsts, hedges int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.took = append(k.took, took.Seconds())
	k.firsts += firsts
	k.hedges += hedges
	if took >= slowTime {
		k.slow++
		if slowed == 0 {
			k.noise++
		}
	} else if slowed > 0 {
		k.hurry++
	}
	if slowed > 1 {
		k.twice++
		if took >= 2*slowTime {
			k.serial++
		}
	}
}

// straggler asks a leaf itself, and the root for 1, 2, 4 and 8 shards without a second request, and for 8 with, and
// counts the slow answers. How likely a leaf is slow is known, and half a second is far from everything else. So counts
// decide, and no latency does.
func straggler(m *check.M) check.Result {
	const each = 500
	well(m)
	kinds := []*kind{
		{name: "a leaf"},
		{name: "1 of 8", leaves: 1},
		{name: "2 of 8", leaves: 2},
		{name: "4 of 8", leaves: 4},
		{name: "all 8", leaves: 8},
		{name: "all 8, hedged", leaves: 8, hedge: true},
	}
	type job struct {
		k    *kind
		path string
	}
	var jobs []job
	for _, k := range kinds {
		for range each {
			var list []string
			for _, s := range m.Rand().Perm(shards)[:k.leaves] {
				list = append(list, strconv.Itoa(s))
			}
			path := "/explain?q=firmament&k=1&shards=" + strings.Join(list, ",")
			if !k.hedge {
				path += "&hedge=off"
			}
			jobs = append(jobs, job{k, path})
		}
	}
	m.Rand().Shuffle(len(jobs), func(i, j int) { jobs[i], jobs[j] = jobs[j], jobs[i] })
	m.Each(len(jobs), 12, func(m *check.M, i int) {
		k := jobs[i].k
		if k.leaves == 0 {
			p := m.Do(http.MethodPost, leaf(0), webPort, "/shards/0/search", []byte(`{"words":["firmament"],"k":1}`))
			check.Must(p.Is(http.StatusOK))
			slowed := 0
			if strings.Contains(string(p.Body), `"slowed":true`) {
				slowed = 1
			}
			k.note(p.Took, slowed, 1, 0)
			return
		}
		a := ask(m, jobs[i].path)
		m.Need(a.status == http.StatusOK && !a.Partial, "%d, %v missing", a.status, a.missing())
		firsts, hedges := 0, 0
		for _, t := range a.Attempts {
			switch t.Kind {
			case "first":
				firsts++
			case "hedge":
				hedges++
			}
		}
		k.note(a.took, a.slowed(), firsts, hedges)
	})
	return judge(kinds, each)
}

// judge holds what was counted against the law, and the hedged ones against the others.
func judge(kinds []*kind, each int) check.Result {
	plain, unhedged, hedged := kinds[:5], kinds[4], kinds[5]
	alpha, least := stats.AlphaOf(len(plain)), 1.0
	var said, tails []string
	noise, hurry, twice, serial := 0, 0, 0, 0
	for _, k := range kinds {
		noise, hurry, twice, serial = max(noise, k.noise), hurry+k.hurry, twice+k.twice, serial+k.serial
		p99, low, high, err := stats.Quantile(k.took, 0.99, 0.95)
		check.Must(err)
		tails = append(tails, fmt.Sprintf("%s: p99 %.0f ms (%.0f to %.0f), %d without a slow leaf", k.name, 1000*p99, 1000*low, 1000*high, k.noise))
	}
	for _, k := range plain {
		law := 1 - math.Pow(1-slowShare, float64(max(k.leaves, 1)))
		least = min(least, stats.BinomialTest(k.slow, each, law))
		said = append(said, fmt.Sprintf("%s %.1f %% (law %.1f)", k.name, 100*float64(k.slow)/float64(each), 100*law))
	}
	extra := float64(hedged.hedges) / float64(max(hedged.firsts, 1))
	// Answers that are late without any leaf that was made slow are the machine's. The leaf that was asked itself is
	// the control.
	if busy := each / 100; noise > busy && kinds[0].noise+kinds[1].noise > 0 {
		return check.Unknown("%d of %d answers were late though no leaf was made slow: the machine is too busy", noise, each).Because("%s", strings.Join(tails, "\n"))
	}
	quick := 4*hedged.slow <= unhedged.slow
	ok := least >= alpha && hurry == 0 && 2*serial <= twice && quick && hedged.hedges > 0 &&
		float64(hedged.hedges) <= hedgeShare*float64(hedged.firsts)+hedgeBurst
	return check.Decide(ok, "slow: %s, least p = %.2g; hedged %.1f %% for %.1f %% more requests",
		strings.Join(said, ", "), least, 100*float64(hedged.slow)/float64(each), 100*extra).
		Want("the law, p ≥ %.2g; hedged a quarter of it, for %.0f %% more and %d", alpha, 100*hedgeShare, hedgeBurst).
		Of(len(kinds)*each).Because("%s\nwith two slow leaves or more: %d of %d as slow as one after the other; %d answers before their slow leaf",
		strings.Join(tails, "\n"), serial, twice, hurry)
}

// budget has all leaves take a third of a second, and counts at the leaves how many requests they had.
func budget(m *check.M) check.Result {
	const searches = 60
	well(m)
	idle(m)
	counted := func() (had, failovers float64) {
		return leaves(m, "search_leaf_searches_total"), m.Counter(root, adminPort, "search_root_asks_total", `kind="failover"`)
	}
	had, failovers := counted()
	m.Each(searches, 6, func(m *check.M, _ int) {
		a := ask(m, "/search?q=firmament&k=1&delay=300ms")
		m.Need(a.status == http.StatusOK && !a.Partial, "%d, %v missing", a.status, a.missing())
	})
	idle(m)
	now, over := counted()
	firsts := float64(searches * shards)
	more := now - had - firsts - (over - failovers)
	most := hedgeShare*firsts + hedgeBurst
	return check.Decide(more >= 1 && more <= most, "the leaves had %.0f requests more than the %.0f that %d searches are", more, firsts, searches).
		Want("some, and at most %.0f", most).Of(searches)
}
