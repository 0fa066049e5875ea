package scatter

import (
	"net/http"
	"strconv"

	"distlab/lab/check"
)

// rightAnswer compares searches with one index over everything: drawn ones, one for a word that nearly all documents
// have, for one that none has, and for one that is in a single document.
func rightAnswer(m *check.M) check.Result {
	const drawn, k = 100, "10"
	r := all(m)
	well(m)
	queries := []query{
		{words: []string{"the"}},
		{words: []string{"the", "and"}, all: true},
		{words: []string{"zyzzyva"}},
		{words: []string{"zyzzyva", "light"}},
		{words: []string{"zyzzyva", "light"}, all: true},
		{words: []string{"mahershalalhashbaz"}},
	}
	for range drawn {
		queries = append(queries, draw(m, r))
	}
	var ways check.Ways
	m.Each(len(queries), 4, func(m *check.M, i int) {
		q := queries[i]
		way := "any of the words"
		if q.all {
			way = "all of the words"
		}
		want := r.rank(q.words, q.all, nil)
		a := ask(m, q.path("search", "k", k))
		m.Need(a.status == http.StatusOK && !a.Partial, "%v: %d, %v missing", q, a.status, a.missing())
		err := same(a.Hits, want, 10)
		ways.Way(way).Note(err == nil, "%v: %v", q, err)
		ways.Way("how many match").Note(a.Matched == len(want) && a.Documents == documents, "%v: %d of %d, want %d", q, a.Matched, a.Documents, len(want))
	})
	return ways.Decide()
}

// topK asks for k from one to a hundred, and for later pages, and counts what each shard has sent. Where the best are
// unevenly spread, as they are nearly always, less than k from each shard would not do.
func topK(m *check.M) check.Result {
	r := all(m)
	well(m)
	var ways check.Ways
	uneven, hits := 0, 0
	for _, page := range []struct{ k, from int }{{1, 0}, {3, 0}, {10, 0}, {100, 0}, {10, 10}, {7, 93}} {
		way := ways.Way("k " + strconv.Itoa(page.k) + " from " + strconv.Itoa(page.from))
		for range 12 {
			q := draw(m, r)
			q.all = false // so that there are enough
			want := r.rank(q.words, false, nil)
			want = want[min(page.from, len(want)):]
			a := ask(m, q.path("explain", "k", strconv.Itoa(page.k), "from", strconv.Itoa(page.from)))
			m.Need(a.status == http.StatusOK && !a.Partial, "%v: %d, %v missing", q, a.status, a.missing())
			err := same(a.Hits, want, page.k)
			most := 0
			for _, t := range a.Attempts {
				most = max(most, t.Hits)
			}
			way.Note(err == nil && most <= page.k+page.from, "%v: a shard sent %d; %v", q, most, err)
			hits++
			per := map[int]int{}
			for _, h := range want[:min(page.k, len(want))] {
				if per[h.Shard]++; per[h.Shard] == (page.k+shards-1)/shards+1 {
					uneven++
					break
				}
			}
		}
	}
	m.Need(uneven >= hits/4, "the best of %d searches are so evenly spread that nothing is tried: %d are not", hits, uneven)
	return ways.Decide().Because("in %d of %d searches one shard had more than its share of the best", uneven, hits)
}
