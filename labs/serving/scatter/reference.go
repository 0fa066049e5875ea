package scatter

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"sync"
	"unicode"

	"distlab/lab/check"
)

// doc is a document as the reference knows it.
type doc struct {
	id    string
	shard int
	words map[string]int // how often each is in it
	size  int            // in words
	extra bool           // it came with a reload
}

// reference is one index over all documents, as plain as can be: what the root's answers are compared with.
type reference struct {
	docs []doc
	in   map[string][]int // the documents in which a word is
}

// cut is how a text becomes words.
func cut(text string) []string {
	return strings.FieldsFunc(strings.ToLower(text), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
}

// shardOf is the shard whose a document is, as search-leaf's README has it.
func shardOf(id string) int {
	h := uint64(14695981039346656037)
	for _, c := range []byte(id) {
		h = (h ^ uint64(c)) * 1099511628211
	}
	return int((h ^ h>>32) % shards)
}

func (r *reference) add(id, text string, extra bool) {
	d := doc{id: id, shard: shardOf(id), words: map[string]int{}, extra: extra}
	for _, w := range cut(text) {
		if d.words[w] == 0 {
			r.in[w] = append(r.in[w], len(r.docs))
		}
		d.words[w]++
		d.size++
	}
	r.docs = append(r.docs, d)
}

// with is a copy that has more documents.
func (r *reference) with(more map[string]string) *reference {
	c := &reference{docs: slices.Clip(r.docs), in: make(map[string][]int, len(r.in))}
	for w, list := range r.in {
		c.in[w] = slices.Clip(list)
	}
	for id, text := range more {
		c.add(id, text, true)
	}
	return c
}

var (
	readOnce sync.Mutex
	whole    *reference
)

// documents is how many there are: the verses of the King James Version.
const documents = 31102

// all is the reference over the lab's documents, which a leaf's file has.
func all(m *check.M) *reference {
	readOnce.Lock()
	defer readOnce.Unlock()
	if whole != nil {
		return whole
	}
	zipped, err := gzip.NewReader(bytes.NewReader(m.ReadFile(leaf(0), "/documents/kjv.tsv.gz")))
	check.Must(err)
	text, err := io.ReadAll(zipped)
	check.Must(err)
	r := &reference{in: map[string][]int{}}
	for scan := bufio.NewScanner(bytes.NewReader(text)); scan.Scan(); {
		id, text, ok := strings.Cut(scan.Text(), "\t")
		m.Need(ok, "a line without a tab: %.80q", scan.Text())
		r.add(id, text, false)
	}
	m.Need(len(r.docs) == documents, "%d documents, not %d", len(r.docs), documents)
	whole = r
	return r
}

// rank is everything that has all of the words, or any of them, the best first. Of the documents that came with a
// reload those of some shards take part.
func (r *reference) rank(words []string, all bool, extra func(shard int) bool) []hit {
	n, size, in := 0, 0, map[string]int{}
	takes := func(d *doc) bool { return !d.extra || extra != nil && extra(d.shard) }
	for i := range r.docs {
		if d := &r.docs[i]; takes(d) {
			n++
			size += d.size
		}
	}
	found := map[int]int{}
	for _, w := range words {
		for _, i := range r.in[w] {
			if takes(&r.docs[i]) {
				in[w]++
				found[i]++
			}
		}
	}
	average := float64(size) / float64(n)
	var hits []hit
	for i, has := range found {
		if all && has < len(words) {
			continue
		}
		d, score := &r.docs[i], 0.0
		for _, w := range words {
			if times := float64(d.words[w]); times > 0 {
				idf := math.Log(1 + (float64(n)-float64(in[w])+0.5)/(float64(in[w])+0.5))
				score += idf * 2.2 * times / (times + 1.2*(0.25+0.75*float64(d.size)/average))
			}
		}
		hits = append(hits, hit{ID: d.id, Score: score, Shard: d.shard})
	}
	slices.SortFunc(hits, func(a, b hit) int {
		switch {
		case a.Score > b.Score:
			return -1
		case a.Score < b.Score:
			return 1
		}
		return strings.Compare(a.ID, b.ID)
	})
	return hits
}

// rounding is how much two scores may differ, as a part: sums of the same numbers.
const rounding = 1e-9

// same says what is wrong with hits that should be the first of these. Documents whose scores differ by rounding alone
// may change places; those of the very same score are in the order of their IDs.
func same(got, want []hit, k int) error {
	if n := min(k, len(want)); len(got) != n {
		return fmt.Errorf("%d hits, want %d", len(got), n)
	}
	score := make(map[string]float64, len(want))
	for _, h := range want {
		score[h.ID] = h.Score
	}
	seen := map[string]bool{}
	for i, h := range got {
		near := func(x float64) bool { return math.Abs(h.Score-x) <= rounding*x }
		s, there := score[h.ID]
		switch {
		case !there || seen[h.ID]:
			return fmt.Errorf("hit %d is %s, which should not be found, or not twice", i+1, h.ID)
		case !near(s) || !near(want[i].Score):
			return fmt.Errorf("hit %d is %s with %.9f, want %s with %.9f", i+1, h.ID, h.Score, want[i].ID, want[i].Score)
		case h.Shard != shardOf(h.ID):
			return fmt.Errorf("hit %d, %s, is said to be of shard %d", i+1, h.ID, h.Shard)
		case i > 0 && got[i-1].Score == h.Score && got[i-1].ID > h.ID:
			return fmt.Errorf("%s stands before %s", got[i-1].ID, h.ID)
		}
		seen[h.ID] = true
	}
	return nil
}
