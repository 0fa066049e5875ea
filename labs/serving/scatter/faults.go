package scatter

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"distlab/lab/check"
)

// costly is a search for words that most documents have. With 75 µs a posting it takes each leaf well over a second,
// and all of them together some ten seconds of the processor.
var costly = query{words: []string{"and", "the", "of", "to", "that", "in", "he", "shall", "unto", "for", "i", "his"}}

// deadline asks for more than can be done in half a second, and counts what the leaves have scored: it must be far from
// all of it. The second time it is the client that goes.
func deadline(m *check.M) check.Result {
	const limit, most = 500 * time.Millisecond, 0.7
	r := all(m)
	well(m)
	work := 0
	for _, w := range costly.words {
		work += len(r.in[w])
	}
	path := costly.path("search", "hedge", "off", "drag", "75us")
	done := func(act func()) float64 {
		idle(m)
		before := leaves(m, "search_leaf_scanned_total")
		act()
		idle(m)
		return (leaves(m, "search_leaf_scanned_total") - before) / float64(work)
	}
	var a answer
	var control time.Duration
	late := done(func() {
		var over atomic.Bool
		m.Together(func(m *check.M) {
			defer over.Store(true)
			a = ask(m, path+"&timeout="+limit.String())
		}, func(m *check.M) {
			for !over.Load() {
				control = max(control, m.Get(root, adminPort, "/livez").Took)
			}
		})
	})
	gone := done(func() {
		ctx, cancel := context.WithTimeout(m.Context(), limit)
		defer cancel()
		req := check.Got(http.NewRequestWithContext(ctx, http.MethodGet, "http://"+m.Address(root, webPort)+path+"&timeout=60s", nil))
		res, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
		if err == nil {
			res.Body.Close()
			m.Unknown("the client was answered %d before it could go", res.StatusCode)
		}
	})
	inTime := a.took <= 2*limit
	if !inTime && control > limit/4 {
		return check.Unknown("answered after %v; so was what asks no leaf, after %v: the machine is too busy", a.took, control)
	}
	why := 0
	for _, s := range a.Shards.Missing {
		if s.Why == "deadline" {
			why++
		}
	}
	ok := inTime && why == shards && late > 0 && late <= most && gone > 0 && gone <= most
	return check.Decide(ok, "answered after %.2f s that %d of %d shards are late; of the work %.0f %% was done, and %.0f %% when the client went",
		a.took.Seconds(), why, shards, 100*late, 100*gone).
		Want("within %v, all; some, at most %.0f %%", 2*limit, 100*most).Of(work)
}

// partial kills one leaf, then its neighbour, and has both frozen in the end. What is found is compared with the
// reference without the shard that only these two have; its statistics still count, so that no score changes.
func partial(m *check.M) check.Result {
	const lost = 3 // on leaf-3 and on leaf-2
	r := all(m)
	well(m)
	has := 0
	for _, d := range r.docs {
		if d.shard == lost {
			has++
		}
	}
	queries := make([]query, 30)
	for i := range queries {
		queries[i] = draw(m, r)
	}
	var ways check.Ways
	look := func(way string, n int, without []int, why string, more ...string) {
		m.Each(n, 3, func(m *check.M, i int) {
			q := queries[i]
			a := ask(m, q.path("search", append(slices.Clone(more), "k", "10")...))
			for range 4 { // where time decides, a busy machine may be late with more; nobody is late with less
				if why != "deadline" || len(a.missing()) <= len(without) {
					break
				}
				a = ask(m, q.path("search", append(slices.Clone(more), "k", "10")...))
			}
			want := slices.DeleteFunc(r.rank(q.words, q.all, nil), func(h hit) bool { return slices.Contains(without, h.Shard) })
			err := same(a.Hits, want, 10)
			said := a.status == http.StatusOK && a.Partial == (len(without) > 0) && slices.Equal(a.missing(), without) && a.Documents == documents
			if len(without) > 0 {
				said = said && a.MissingDocs == has && a.Share > 0.1 && a.Share < 0.15
			}
			for _, s := range a.Shards.Missing {
				said = said && (why == "" || s.Why == why)
			}
			ways.Way(way).Note(err == nil && said, "%v: %d, %v missing, %d of %d documents; %v", q, a.status, a.missing(), a.MissingDocs, a.Documents, err)
		})
	}
	one := m.Kill(leaf(lost - 1))
	look("one leaf dead", 30, nil, "")
	two := m.Kill(leaf(lost))
	look("both leaves of a shard dead", 20, []int{lost}, "unreachable")
	refused := ask(m, queries[0].path("search", "partial", "refuse"))
	ways.Way("a client that wants all or nothing").Note(refused.status == http.StatusServiceUnavailable && len(refused.Hits) == 0,
		"%d with %d hits", refused.status, len(refused.Hits))
	m.Together(func(m *check.M) { m.Heal(one) }, func(m *check.M) { m.Heal(two) })
	well(m)
	look("both back", 10, nil, "")
	m.Together(func(m *check.M) { m.Pause(leaf(lost - 1)) }, func(m *check.M) { m.Pause(leaf(lost)) })
	// The root has to find out first that the other shards of these leaves are better asked elsewhere.
	m.Until(patience, func(m *check.M) error {
		if a := ask(m, queries[0].path("search", "timeout", "2s")); !slices.Equal(a.missing(), []int{lost}) {
			return fmt.Errorf("%v are missing", a.missing())
		}
		return nil
	})
	look("both frozen", 6, []int{lost}, "deadline", "timeout", "2s")
	return ways.Decide()
}

// reload brings a hundred documents more, one leaf after the other, while searches go on. An answer names the version
// of each shard's documents; so it is known what is right, also in between.
func reload(m *check.M) check.Result {
	const file, extras, lead = "/more/more.tsv", 100, time.Second
	r := all(m)
	well(m)
	fresh := strings.ReplaceAll(m.Fresh(), "-", "")
	more := map[string]string{}
	var text strings.Builder
	for i := range extras {
		id := fmt.Sprintf("More %s:%d", fresh, i)
		more[id] = fresh + " let there be light and more light in the firmament of heaven" + strings.Repeat(" verily", i%5)
		fmt.Fprintf(&text, "%s\t%s\n", id, more[id])
	}
	after := r.with(more)
	queries := []query{
		{words: []string{fresh}},
		{words: []string{"light", "firmament"}},
		{words: []string{"heaven", "light"}, all: true},
		{words: []string{"verily", "heaven"}},
	}
	old := ask(m, "/search?q=light&k=1").Versions
	type seen struct {
		q query
		a answer
	}
	var answers []seen
	loads := func(i int) func(m *check.M) string {
		return func(m *check.M) string {
			return fmt.Sprintf("%v loads", m.Counter(leaf(i), adminPort, "search_leaf_loads_total", `result="ok"`))
		}
	}
	around := func(m *check.M, atOnce int) {
		m.Each(shards, atOnce, func(m *check.M, i int) { m.Signal(leaf(i), "SIGHUP", loads(i)) })
	}
	// No engine can remove a file: there is one without documents before, and again afterwards.
	if _, err := m.Stack.ReadFile(m.Context(), leaf(0), file); err != nil {
		m.Write(leaf(0), map[string][]byte{file: nil})
	}
	var written *check.Fault
	t := m.Beside(lead, []check.Flow{
		{Name: "searches", Rate: 20, URL: door + queries[1].path("search")},
		{Name: "control", Rate: 20, URL: control, Control: true},
	}, func() {
		written = m.Write(leaf(0), map[string][]byte{file: []byte(text.String())})
		var over atomic.Bool
		m.Together(func(m *check.M) {
			defer over.Store(true)
			around(m, 1)
		}, func(m *check.M) {
			for last := false; !last; {
				last = over.Load() // once more when all have them
				for _, q := range queries {
					answers = append(answers, seen{q, ask(m, q.path("search", "k", "150"))})
				}
			}
		})
	})
	now := answers[len(answers)-1].a.Versions
	var ways check.Ways
	mixed := 0
	for _, s := range answers {
		was, is := 0, 0
		known := len(s.a.Versions) == shards
		for shard, v := range s.a.Versions {
			switch v {
			case now[shard]:
				is++
			case old[shard]:
				was++
			default:
				known = false
			}
		}
		way := ways.Way("in between")
		switch {
		case was == 0:
			way = ways.Way("all have them")
		case is > 0:
			mixed++
		}
		want := after.rank(s.q.words, s.q.all, func(shard int) bool { return s.a.Versions[shard] == now[shard] })
		err := same(s.a.Hits, want, 150)
		way.Note(s.a.status == http.StatusOK && !s.a.Partial && known && err == nil && s.a.Matched == len(want),
			"%v: %d, partial %v, %d new shards and %d old ones: %v", s.q, s.a.status, s.a.Partial, is, was, err)
	}
	ways.Way("all found in the end").Note(len(after.rank(queries[0].words, false, func(shard int) bool { return now[shard] != old[shard] })) == extras,
		"a shard has its old version")
	m.Heal(written)
	around(m, 4)
	ways.Way("taken away").Note(len(ask(m, queries[0].path("search")).Hits) == 0, "they are still found")
	ways.Way("under load").Note(t.Failed() == 0, "%d of %d failed", t.Failed(), t.Requests())
	res := ways.Decide()
	m.Need(res.Verdict != check.Pass || mixed > 0, "no answer was given while some shards were new and others old")
	return t.Fair(res)
}
