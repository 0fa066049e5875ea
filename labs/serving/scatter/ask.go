package scatter

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"distlab/lab/check"
)

// hit is a document that was found.
type hit struct {
	ID    string
	Score float64
	Shard int
}

// answer is the root's.
type answer struct {
	Partial bool
	Shards  struct {
		Total, Answered int
		Missing         []struct {
			Shard     int
			Why       string
			Documents int
		}
	}
	Documents   int
	MissingDocs int     `json:"documents_missing"`
	Share       float64 `json:"missing_share"`
	Versions    map[int]string
	Matched     int
	Hits        []hit
	Attempts    []struct {
		Shard         int
		Kind, Outcome string
		Hits          int
		Slowed        bool
	}

	status int
	took   time.Duration
}

// missing are the shards that are.
func (a answer) missing() (list []int) {
	for _, s := range a.Shards.Missing {
		list = append(list, s.Shard)
	}
	slices.Sort(list)
	return list
}

// slowed is how many of the leaves that were heard had been made slow.
func (a answer) slowed() (n int) {
	for _, t := range a.Attempts {
		if t.Outcome == "won" && t.Slowed {
			n++
		}
	}
	return n
}

// query is one search.
type query struct {
	words []string
	all   bool
}

func (q query) String() string {
	if q.all {
		return strings.Join(q.words, " & ")
	}
	return strings.Join(q.words, " | ")
}

// path is what to ask for; more are further parameters.
func (q query) path(verb string, more ...string) string {
	v := url.Values{"q": {strings.Join(q.words, " ")}}
	if q.all {
		v.Set("mode", "all")
	}
	for i := 0; i+1 < len(more); i += 2 {
		v.Set(more[i], more[i+1])
	}
	return "/" + verb + "?" + v.Encode()
}

// ask asks the root, whatever status it answers.
func ask(m *check.M, path string) answer {
	p := m.Get(root, webPort, path)
	a := answer{status: p.Status, took: p.Took}
	if err := json.Unmarshal(p.Body, &a); err != nil {
		check.Must(fmt.Errorf("%s: %d %.200q: %w", path, p.Status, p.Body, err))
	}
	return a
}

// draw makes a query of words of a document, so that something is found.
func draw(m *check.M, r *reference) query {
	d := r.docs[m.Rand().IntN(len(r.docs))]
	words := make([]string, 0, len(d.words))
	for w := range d.words {
		words = append(words, w)
	}
	slices.Sort(words) // a map has no order, and the seed decides
	m.Rand().Shuffle(len(words), func(i, j int) { words[i], words[j] = words[j], words[i] })
	return query{words: words[:min(1+m.Rand().IntN(4), len(words))], all: m.Rand().IntN(2) == 0}
}

// well waits until a search is answered whole: what an earlier claim did is over.
func well(m *check.M) {
	m.Await(patience, "a whole answer", func(m *check.M) error {
		a := ask(m, "/search?q=light&k=1")
		if a.status != http.StatusOK || a.Partial || a.Documents != documents {
			return fmt.Errorf("%d, %d documents, %v missing", a.status, a.Documents, a.missing())
		}
		return nil
	})
}

// leaves is the sum of a metric over all leaves.
func leaves(m *check.M, name string, labels ...string) (sum float64) {
	for i := range shards {
		sum += m.Counter(leaf(i), adminPort, name, labels...)
	}
	return sum
}

// idle waits until no leaf has anything to do, and says how long that took.
func idle(m *check.M) check.Took {
	took, last := m.Until(2*patience, func(m *check.M) error {
		for i := range shards {
			if n := m.Metric(leaf(i), adminPort, "search_leaf_working"); n != 0 {
				return fmt.Errorf("%s has %v searches under way", leaf(i), n)
			}
		}
		return nil
	})
	if took == check.Never {
		check.Must(errors.Join(errors.New("leaves work on"), last))
	}
	return took
}
