package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"sync/atomic"
	"time"
)

// Leaf serves its shards over HTTP.
//
//	GET  /shards                         which it has, in which version
//	GET  /shards/N/statistics            in how many of the shard's documents each word is; with an ETag
//	POST /shards/N/search                a Query, and an Answer
//	GET  /shards/N/documents/ID          one document's text
type Leaf struct {
	Source      Source
	MaxInFlight int
	Workers     int
	MaxTime     time.Duration
	SlowShare   float64
	SlowTime    time.Duration
	Experiments bool
	Log         *slog.Logger
	Metrics     *metrics

	indexes  atomic.Pointer[map[int]*Index] // changed whole
	inFlight atomic.Int64
	slots    chan struct{}
}

// timeoutHeader says how many milliseconds who asks will wait: relative, for the clocks of two machines differ.
const timeoutHeader = "Search-Timeout"

// What a query may be.
const (
	largestQuery = 64 << 10
	mostWords    = 64
	mostHits     = 1000
	mostDrag     = 100 * time.Millisecond
	mostDelay    = 10 * time.Second
)

// Load reads the documents and takes their indexes in the place of those before. If anything is wrong with them, those
// before stay.
func (l *Leaf) Load() error {
	begun := time.Now()
	indexes, err := l.Source.Read()
	if err != nil {
		l.Metrics.reloads.WithLabelValues("refused").Inc()
		return err
	}
	l.indexes.Store(&indexes)
	l.Metrics.reloads.WithLabelValues("ok").Inc()
	l.Metrics.documents.Reset()
	for shard, x := range indexes {
		l.Metrics.documents.WithLabelValues(strconv.Itoa(shard)).Set(float64(len(x.docs)))
		l.Log.Info("index made", "shard", shard, "version", x.Version, "documents", len(x.docs), "words", len(x.postings),
			"seconds", time.Since(begun).Seconds())
		if len(x.docs) == 0 {
			l.Log.Warn("shard has no documents", "shard", shard, "documents", l.Source.Patterns)
		}
	}
	return nil
}

// held is a shard in the list of them.
type held struct {
	Shard     int    `json:"shard"`
	Version   string `json:"version"`
	Documents int    `json:"documents"`
	Words     int    `json:"words"`
}

// Status is what the leaf has.
func (l *Leaf) Status() any {
	list := []held{}
	for _, x := range *l.indexes.Load() {
		list = append(list, held{x.Shard, x.Version, len(x.docs), len(x.postings)})
	}
	slices.SortFunc(list, func(a, b held) int { return a.Shard - b.Shard })
	return map[string]any{"shards": list, "shard_count": l.Source.Count, "in_flight": l.inFlight.Load()}
}

// Server is the whole of it.
func (l *Leaf) Server() *http.Server {
	l.slots = make(chan struct{}, l.Workers)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /shards", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, l.Status()) })
	mux.HandleFunc("GET /shards/{shard}/statistics", l.statistics)
	mux.HandleFunc("POST /shards/{shard}/search", l.search)
	mux.HandleFunc("GET /shards/{shard}/documents/{id...}", l.document)
	return &http.Server{
		Handler:           mux,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      l.MaxTime + 10*time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(l.Log.Handler(), slog.LevelDebug),
	}
}

func answer(w http.ResponseWriter, code int, v any) {
	text, err := json.Marshal(v)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(text)+1))
	w.WriteHeader(code)
	w.Write(append(text, '\n'))
}

func refuse(w http.ResponseWriter, code int, format string, args ...any) {
	if code == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "1")
	}
	answer(w, code, map[string]string{"error": fmt.Sprintf(format, args...)})
}

// index is the shard that a request is for; nil where it has been answered.
func (l *Leaf) index(w http.ResponseWriter, r *http.Request) *Index {
	n, err := strconv.Atoi(r.PathValue("shard"))
	if x := (*l.indexes.Load())[n]; err == nil && x != nil {
		return x
	}
	refuse(w, http.StatusNotFound, "this leaf does not have shard %.20q", r.PathValue("shard"))
	return nil
}

func (l *Leaf) statistics(w http.ResponseWriter, r *http.Request) {
	x := l.index(w, r)
	if x == nil {
		return
	}
	tag := `"` + x.Version + `"`
	w.Header().Set("ETag", tag)
	w.Header().Set("Cache-Control", "no-cache")
	if r.Header.Get("If-None-Match") == tag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	answer(w, http.StatusOK, x.Statistics())
}

func (l *Leaf) document(w http.ResponseWriter, r *http.Request) {
	x := l.index(w, r)
	if x == nil {
		return
	}
	i, ok := slices.BinarySearchFunc(x.docs, r.PathValue("id"), func(d document, id string) int {
		switch {
		case d.id < id:
			return -1
		case d.id > id:
			return 1
		}
		return 0
	})
	if !ok {
		refuse(w, http.StatusNotFound, "shard %d has no document %.80q", x.Shard, r.PathValue("id"))
		return
	}
	answer(w, http.StatusOK, Hit{ID: x.docs[i].id, Text: x.docs[i].text})
}

// parseQuery reads what is asked, and holds it to its bounds.
func parseQuery(text []byte, experiments bool) (*Query, error) {
	q := &Query{}
	if err := json.Unmarshal(text, q); err != nil {
		return nil, err
	}
	seen := map[string]bool{}
	for _, w := range q.Words {
		if w == "" || seen[w] {
			return nil, fmt.Errorf("word %.40q is empty or there twice", w)
		}
		seen[w] = true
	}
	switch {
	case len(q.Words) == 0 || len(q.Words) > mostWords:
		return nil, fmt.Errorf("%d words: 1 to %d are searched for", len(q.Words), mostWords)
	case q.K < 0 || q.K > mostHits:
		return nil, fmt.Errorf("k is %d: 0 to %d hits are sent", q.K, mostHits)
	case q.Documents < 0 || q.Length < 0 || q.Documents > 0 && len(q.In) != len(q.Words):
		return nil, errors.New("statistics need documents, length, and in how many documents each of the words is")
	case (q.DragMicros != 0 || q.DelayMillis != 0) && !experiments:
		return nil, errors.New("drag_us and delay_ms are for experiments, which are off (EXPERIMENTS)")
	case q.DragMicros < 0 || q.DragMicros > int(mostDrag/time.Microsecond),
		q.DelayMillis < 0 || q.DelayMillis > int(mostDelay/time.Millisecond):
		return nil, fmt.Errorf("drag_us or delay_ms is out of bounds: at most %v and %v", mostDrag, mostDelay)
	}
	for _, n := range q.In {
		if n < 0 || n > q.Documents {
			return nil, fmt.Errorf("a word in %d of %d documents", n, q.Documents)
		}
	}
	return q, nil
}

// deadline is the time that who asks will wait.
func (l *Leaf) deadline(r *http.Request) (time.Duration, error) {
	text := r.Header.Get(timeoutHeader)
	if text == "" {
		return l.MaxTime, nil
	}
	ms, err := strconv.ParseInt(text, 10, 32)
	if err != nil {
		return 0, fmt.Errorf("%s: %.20q is not a number of milliseconds", timeoutHeader, text)
	}
	return min(time.Duration(ms)*time.Millisecond, l.MaxTime), nil
}

func (l *Leaf) search(w http.ResponseWriter, r *http.Request) {
	result := l.searching(w, r)
	l.Metrics.searches.WithLabelValues(result).Inc()
}

// searching answers, and says what came of it.
func (l *Leaf) searching(w http.ResponseWriter, r *http.Request) string {
	x := l.index(w, r)
	if x == nil {
		return "bad"
	}
	// The body is read to its end in any case: only then does the server see that who asked has gone.
	text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, largestQuery))
	var q *Query
	if err == nil {
		q, err = parseQuery(text, l.Experiments)
	}
	var wait time.Duration
	if err == nil {
		wait, err = l.deadline(r)
	}
	if err != nil {
		refuse(w, http.StatusBadRequest, "%v", err)
		return "bad"
	}
	defer l.inFlight.Add(-1)
	if l.inFlight.Add(1) > int64(l.MaxInFlight) {
		refuse(w, http.StatusServiceUnavailable, "%d searches are under way", l.MaxInFlight)
		return "refused"
	}
	if wait <= 0 {
		refuse(w, http.StatusGatewayTimeout, "no time is left")
		return "deadline"
	}
	l.Metrics.working.Inc()
	defer l.Metrics.working.Dec()
	ctx, cancel := context.WithTimeout(r.Context(), wait)
	defer cancel()
	begun := time.Now()
	a, err := l.work(ctx, x, q)
	l.Metrics.seconds.Observe(time.Since(begun).Seconds())
	switch {
	case err == nil:
		answer(w, http.StatusOK, a)
		return "done"
	case r.Context().Err() != nil:
		return "gone"
	}
	refuse(w, http.StatusGatewayTimeout, "not done in %v", wait)
	return "deadline"
}

// work waits for its turn and searches. Whoever waits, here or for an experiment, holds no slot.
func (l *Leaf) work(ctx context.Context, x *Index, q *Query) (a Answer, err error) {
	slowed := l.SlowTime > 0 && rand.Float64() < l.SlowShare
	delay := time.Duration(q.DelayMillis) * time.Millisecond
	if slowed {
		l.Metrics.slowed.Inc()
		delay += l.SlowTime
	}
	if err := pause(ctx, delay); err != nil {
		return a, err
	}
	select {
	case l.slots <- struct{}{}:
		defer func() { <-l.slots }()
	case <-ctx.Done():
		return a, ctx.Err()
	}
	a, err = x.Search(ctx, q, func(postings int) { l.Metrics.scanned.Add(float64(postings)) })
	a.Slowed = slowed
	return a, err
}

func pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
