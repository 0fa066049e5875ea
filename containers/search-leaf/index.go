package main

import (
	"container/heap"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"math"
	"slices"
	"time"
)

// Index is an inverted index over one shard's documents. It never changes: a reload makes another one.
type Index struct {
	Shard   int
	Version string // of the documents: who has the same has the same version

	docs     []document // by ID
	lengths  []int32    // in words
	length   int64      // of all
	postings map[string][]posting
}

// posting is one document in which a word is, and how often.
type posting struct{ doc, times int32 }

// newIndex makes the index of documents that are in order.
func newIndex(shard int, docs []document) *Index {
	x := &Index{Shard: shard, docs: docs, lengths: make([]int32, len(docs)), postings: map[string][]posting{}}
	sum := sha256.New()
	for i, d := range docs {
		sum.Write([]byte(d.id + "\t" + d.text + "\n"))
		words(d.text, func(w string) {
			x.lengths[i]++
			list := x.postings[w]
			if n := len(list); n > 0 && list[n-1].doc == int32(i) {
				list[n-1].times++
				return
			}
			x.postings[w] = append(list, posting{int32(i), 1})
		})
		x.length += int64(x.lengths[i])
	}
	for w, list := range x.postings {
		x.postings[w] = slices.Clip(list)
	}
	x.Version = hex.EncodeToString(sum.Sum(nil)[:8])
	return x
}

// Statistics are what BM25 needs to know of a collection. Those of shards add up to those of the whole.
type Statistics struct {
	Shard     int            `json:"shard"`
	Version   string         `json:"version"`
	Documents int            `json:"documents"`
	Length    int64          `json:"length"` // in words
	Words     map[string]int `json:"words"`  // in how many documents each is
}

// Statistics are the shard's own.
func (x *Index) Statistics() Statistics {
	s := Statistics{
		Shard: x.Shard, Version: x.Version, Documents: len(x.docs), Length: x.length,
		Words: make(map[string]int, len(x.postings)),
	}
	for w, list := range x.postings {
		s.Words[w] = len(list)
	}
	return s
}

// Query is what a leaf is asked.
type Query struct {
	Words []string `json:"words"`         // folded; each once
	All   bool     `json:"all,omitempty"` // documents that have all words, and not any of them
	K     int      `json:"k"`             // how many of the best are wanted

	// Of the whole collection: documents, words in them, and in how many documents each of Words is. Without them a
	// leaf scores by its own shard's, and scores of two leaves cannot be compared.
	Documents int   `json:"documents,omitempty"`
	Length    int64 `json:"length,omitempty"`
	In        []int `json:"in,omitempty"`

	// For experiments: how long it takes to score a document, and how long to wait before the first.
	DragMicros  int `json:"drag_us,omitempty"`
	DelayMillis int `json:"delay_ms,omitempty"`
}

// Hit is a document that was found.
type Hit struct {
	ID    string  `json:"id"`
	Score float64 `json:"score"`
	Text  string  `json:"text"`
}

// Answer is a leaf's.
type Answer struct {
	Shard     int    `json:"shard"`
	Version   string `json:"version"`
	Documents int    `json:"documents"` // of the shard
	Matched   int    `json:"matched"`
	Hits      []Hit  `json:"hits"`
	Scanned   int    `json:"scanned"` // postings that were looked at
	Slowed    bool   `json:"slowed,omitempty"`
}

// BM25's constants are Lucene's. The factor k1+1 is left in, as in Robertson's paper: it changes no order.
const (
	k1 = 1.2
	b  = 0.75
)

// idf is how much a word says that n of all documents have. It is never negative (Lucene's form).
func idf(all, n int) float64 {
	return math.Log(1 + (float64(all)-float64(n)+0.5)/(float64(n)+0.5))
}

// lookEvery is how many postings are scored between two looks at whether anybody still waits.
const lookEvery = 256

// Search scores the documents that have the query's words. It ends early with ctx's error, and count is told of what
// was looked at in either case.
//
// Source: Robertson and Zaragoza, The Probabilistic Relevance Framework: BM25 and Beyond (2009).
func (x *Index) Search(ctx context.Context, q *Query, count func(postings int)) (Answer, error) {
	a := Answer{Shard: x.Shard, Version: x.Version, Documents: len(x.docs), Hits: []Hit{}}
	all, length := len(x.docs), x.length
	if q.Documents > 0 {
		all, length = q.Documents, q.Length
	}
	average := float64(max(length, 1)) / float64(max(all, 1))
	scores, has := make([]float64, len(x.docs)), make([]uint16, len(x.docs))
	drag := time.Duration(q.DragMicros) * time.Microsecond
	every := lookEvery
	if drag > 0 {
		every = 1
	}
	since := 0
	defer func() { count(since) }()
	for i, w := range q.Words {
		list := x.postings[w]
		n := len(list)
		if q.Documents > 0 {
			n = q.In[i]
		}
		weight := idf(all, n) * (k1 + 1)
		for _, p := range list {
			if since >= every {
				count(since)
				since = 0
				if err := ctx.Err(); err != nil {
					return a, err
				}
			}
			since++
			a.Scanned++
			burn(drag)
			times := float64(p.times)
			scores[p.doc] += weight * times / (times + k1*(1-b+b*float64(x.lengths[p.doc])/average))
			has[p.doc]++
		}
	}
	need := uint16(1)
	if q.All {
		need = uint16(len(q.Words))
	}
	var best worstFirst
	for doc, n := range has {
		if n < max(need, 1) {
			continue
		}
		a.Matched++
		h := Hit{ID: x.docs[doc].id, Score: scores[doc]}
		switch {
		case len(best) < q.K:
			h.Text = x.docs[doc].text
			heap.Push(&best, h)
		case q.K > 0 && better(h, best[0]) < 0:
			h.Text = x.docs[doc].text
			best[0] = h
			heap.Fix(&best, 0)
		}
	}
	a.Hits = append(a.Hits, best...)
	slices.SortFunc(a.Hits, better)
	return a, ctx.Err()
}

// burn uses the processor for so long.
func burn(d time.Duration) {
	if d <= 0 {
		return
	}
	for begun := time.Now(); time.Since(begun) < d; {
	}
}

// worstFirst is a heap of hits.
type worstFirst []Hit

func (h worstFirst) Len() int           { return len(h) }
func (h worstFirst) Less(i, j int) bool { return better(h[i], h[j]) > 0 }
func (h worstFirst) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *worstFirst) Push(v any)        { *h = append(*h, v.(Hit)) }
func (h *worstFirst) Pop() any          { v := (*h)[len(*h)-1]; *h = (*h)[:len(*h)-1]; return v }
