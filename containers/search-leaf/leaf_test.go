package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
)

func wordsOf(text string) (list []string) {
	words(text, func(w string) { list = append(list, w) })
	return list
}

func TestWords(t *testing.T) {
	tests := []struct {
		text string
		want []string
	}{
		{"", nil},
		{"  ,;", nil},
		{"Let there be light: and there was light.", []string{"let", "there", "be", "light", "and", "there", "was", "light"}},
		{"Abram's 318 servants", []string{"abram", "s", "318", "servants"}},
		{"ÉTÉ-straße", []string{"été", "straße"}},
		{"a\xffb", []string{"a", "b"}},
		{strings.Repeat("é", 40), []string{strings.Repeat("é", 32)}},
	}
	for _, tt := range tests {
		if diff := cmp.Diff(tt.want, wordsOf(tt.text)); diff != "" {
			t.Errorf("%q: %s", tt.text, diff)
		}
	}
}

// The values are Elasticsearch's (elasticsearch#90949), and those of a calculation by hand.
func TestScores(t *testing.T) {
	if got := idf(27512, 324); math.Abs(got-4.4401283) > 1e-7 {
		t.Errorf("idf is %v", got)
	}
	// Two shards of 500 documents; a word is in 9 of the one and in 1 of the other. By the whole collection's
	// statistics the document that has it twice is the better one, by its shard's the worse.
	shard := func(n, with int, times int) *Index {
		var docs []document
		for i := range n {
			text := "x y"
			if i < with {
				text = "w x"
			}
			if i == 0 {
				text = strings.TrimSpace(strings.Repeat("w ", times) + strings.Repeat("x ", 2-times))
			}
			docs = append(docs, document{fmt.Sprintf("%03d", i), text})
		}
		return newIndex(0, docs)
	}
	best := func(x *Index, q Query) float64 {
		a, err := x.Search(t.Context(), &q, func(int) {})
		if err != nil || len(a.Hits) != 1 || a.Hits[0].ID != "000" {
			t.Fatalf("%+v, %v", a, err)
		}
		return a.Hits[0].Score
	}
	a, b := shard(500, 9, 2), shard(500, 1, 1)
	local := Query{Words: []string{"w"}, K: 1}
	global := Query{Words: []string{"w"}, K: 1, Documents: 1000, Length: 2000, In: []int{10}}
	for _, tt := range []struct {
		name string
		got  float64
		want float64
	}{
		{"a, global", best(a, global), 6.266},
		{"b, global", best(b, global), 4.557},
		{"a, local", best(a, local), 5.452},
		{"b, local", best(b, local), 5.811},
	} {
		if math.Abs(tt.got-tt.want) > 0.001 {
			t.Errorf("%s: %v, want %v", tt.name, tt.got, tt.want)
		}
	}
}

// collection is one of random documents, in which ties are many.
func collection(r *rand.Rand, n int) []document {
	var docs []document
	for i := range n {
		var text []string
		for range 1 + r.IntN(8) {
			text = append(text, string(rune('a'+min(r.IntN(12), r.IntN(12)))))
		}
		docs = append(docs, document{fmt.Sprintf("d%04d", i), strings.Join(text, " ")})
	}
	return docs
}

// The best k are those of a sort of all, whatever k is; shards' best k have all of the best k of the whole among them.
func TestTopK(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		docs := collection(r, 300)
		whole := newIndex(0, docs)
		parts := make([][]document, 4)
		for _, d := range docs {
			s := ShardOf(d.id, len(parts))
			parts[s] = append(parts[s], d)
		}
		q := Query{Words: []string{"a", "e", "k"}[:1+r.IntN(3)], All: r.IntN(2) == 0, Documents: len(docs), Length: whole.length}
		for _, w := range q.Words {
			q.In = append(q.In, len(whole.postings[w]))
		}
		q.K = len(docs)
		all, err := whole.Search(t.Context(), &q, func(int) {})
		if err != nil {
			t.Fatal(err)
		}
		for _, q.K = range []int{0, 1, 7, 50} {
			want := all.Hits[:min(q.K, len(all.Hits))]
			got, _ := whole.Search(t.Context(), &q, func(int) {})
			if diff := cmp.Diff(want, got.Hits); diff != "" || got.Matched != all.Matched {
				t.Fatalf("k %d: %s", q.K, diff)
			}
			merged := []Hit{}
			for s, part := range parts {
				a, _ := newIndex(s, part).Search(t.Context(), &q, func(int) {})
				merged = append(merged, a.Hits...)
			}
			slices.SortFunc(merged, better)
			if diff := cmp.Diff(want, merged[:min(q.K, len(merged))]); diff != "" {
				t.Fatalf("merged, k %d: %s", q.K, diff)
			}
		}
	}
}

func TestSearchStops(t *testing.T) {
	x := newIndex(0, collection(rand.New(rand.NewPCG(1, 2)), 5000))
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	scanned := 0
	q := Query{Words: []string{"a", "b", "c", "d"}, K: 1, DragMicros: 1000}
	_, err := x.Search(ctx, &q, func(n int) { scanned += n })
	if !errors.Is(err, context.DeadlineExceeded) || scanned == 0 || scanned > 1000 {
		t.Errorf("%d scanned at a millisecond each in 20: %v", scanned, err)
	}
}

func TestShardOf(t *testing.T) {
	counts := make([]int, 8)
	for i := range 8000 {
		counts[ShardOf(fmt.Sprintf("Genesis %d:%d", i/30, i%30), 8)]++
	}
	for _, n := range counts {
		if n < 850 || n > 1150 {
			t.Fatalf("%v: not an eighth each", counts)
		}
	}
}

func write(t *testing.T, name, text string) {
	t.Helper()
	b := []byte(text)
	if strings.HasSuffix(name, ".gz") {
		var z bytes.Buffer
		w := gzip.NewWriter(&z)
		w.Write(b)
		w.Close()
		b = z.Bytes()
	}
	if err := os.WriteFile(name, b, 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestRead(t *testing.T) {
	tests := []struct {
		name, text, err string
	}{
		{"a.tsv", "x\tone\n\ny\ttwo", ""},
		{"a.tsv.gz", "x\tone\ny\ttwo\n", ""},
		{"a.tsv", "x one", "a.tsv:1: not ID, tab, text"},
		{"a.tsv", "x\tone\n\ttwo", "a.tsv:2: not ID, tab, text"},
		{"a.tsv", "x\tone\nx\ttwo", `"x" is there twice`},
		{"a.tsv", "x\tone\ny\t\xff", "not UTF-8"},
		{"a.tsv", strings.Repeat("x", 300) + "\tone", "more than 256 bytes"},
		{"a.tsv", "1\ta\n2\tb\n3\tc\n4\td\n", "more than 3 documents"},
		{"a.tsv", "x\t" + strings.Repeat("a ", 3000), "larger than MAX_BYTES"},
		{"a.tsv.gz", "x\t" + strings.Repeat("a ", 300000), "larger than MAX_BYTES"},
	}
	for _, tt := range tests {
		dir := t.TempDir()
		write(t, filepath.Join(dir, tt.name), tt.text)
		s := Source{Patterns: []string{dir + "/*.tsv", dir + "/*.gz"}, Shards: []int{0}, Count: 1, MaxDocs: 3, MaxBytes: 5000}
		indexes, err := s.Read()
		if tt.err == "" {
			if err != nil || len(indexes[0].docs) != 2 {
				t.Errorf("%q: %v", tt.text, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%.40q: %v, want %q", tt.text, err, tt.err)
		}
	}
	write(t, filepath.Join(t.TempDir(), "a.gz"), "")
	dir := t.TempDir()
	os.WriteFile(dir+"/a.tsv.gz", []byte("not packed"), 0o644)
	if _, err := (&Source{Patterns: []string{dir + "/*"}, Shards: []int{0}, Count: 1, MaxDocs: 3, MaxBytes: 5000}).Read(); err == nil {
		t.Error("a file that is not packed is taken")
	}
}

func newLeaf(t *testing.T, text string) (*Leaf, string, string) {
	t.Helper()
	dir := t.TempDir()
	write(t, dir+"/a.tsv", text)
	l := &Leaf{
		Source:      Source{Patterns: []string{dir + "/*.tsv"}, Shards: []int{0}, Count: 1, MaxDocs: 1000, MaxBytes: 1 << 20},
		MaxInFlight: 4, Workers: 1, MaxTime: 5 * time.Second, Experiments: true,
		Log: slog.New(slog.DiscardHandler), Metrics: newMetrics(prometheus.NewRegistry()),
	}
	if err := l.Load(); err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(l.Server().Handler)
	t.Cleanup(srv.Close)
	return l, srv.URL, dir
}

func post(t *testing.T, url, body string, header ...string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(text)
}

func TestHTTP(t *testing.T) {
	_, base, _ := newLeaf(t, "a\tlet there be light\nb\tlight and light\nc\tdarkness\n")
	tests := []struct {
		path, body, header string
		code               int
		has                string
	}{
		{"/shards/0/search", `{"words":["light"],"k":1}`, "", 200, `"matched":2,"hits":[{"id":"b"`},
		{"/shards/0/search", `{"words":["light","let"],"k":5,"all":true}`, "1000", 200, `"matched":1,"hits":[{"id":"a"`},
		{"/shards/0/search", `{"words":["nothing"],"k":5}`, "", 200, `"matched":0,"hits":[]`},
		{"/shards/0/search", `{"words":["light"],"k":0}`, "", 200, `"matched":2,"hits":[]`},
		{"/shards/0/search", `{"words":[],"k":5}`, "", 400, "1 to 64"},
		{"/shards/0/search", `{"words":["a","a"],"k":5}`, "", 400, "twice"},
		{"/shards/0/search", `{"words":["a"],"k":1001}`, "", 400, "0 to 1000"},
		{"/shards/0/search", `{"words":["a"],"k":1,"documents":5}`, "", 400, "statistics need"},
		{"/shards/0/search", `{"words":["a"],"k":1,"documents":5,"in":[6]}`, "", 400, "6 of 5"},
		{"/shards/0/search", `{"words":["a"],"k":1,"documents":5,"in":[-1]}`, "", 400, "-1 of 5"},
		{"/shards/0/search", `{"words":["a"],"k":1,"delay_ms":60000}`, "", 400, "out of bounds"},
		{"/shards/0/search", `{"words":"a"}`, "", 400, "cannot unmarshal"},
		{"/shards/0/search", strings.Repeat(" ", largestQuery+1), "", 400, "too large"},
		{"/shards/0/search", `{"words":["light"],"k":1}`, "soon", 400, "milliseconds"},
		{"/shards/0/search", `{"words":["light"],"k":1}`, "0", 504, "no time"},
		{"/shards/0/search", `{"words":["light"],"k":1}`, "-5", 504, "no time"},
		{"/shards/0/search", `{"words":["light"],"k":1,"delay_ms":2000}`, "20", 504, "not done"},
		{"/shards/1/search", `{"words":["light"],"k":1}`, "", 404, "does not have"},
		{"/shards/x/search", `{"words":["light"],"k":1}`, "", 404, "does not have"},
	}
	for _, tt := range tests {
		var header []string
		if tt.header != "" {
			header = []string{timeoutHeader, tt.header}
		}
		if code, text := post(t, base+tt.path, tt.body, header...); code != tt.code || !strings.Contains(text, tt.has) {
			t.Errorf("%.60s: %d %s, want %d with %s", tt.body, code, text, tt.code, tt.has)
		}
	}
	for path, has := range map[string]string{
		"/shards":                `"documents":3,"words":6`,
		"/shards/0/statistics":   `"documents":3,"length":8,"words":{"and":1,"be":1,"darkness":1,"let":1,"light":2,"there":1}`,
		"/shards/0/documents/c":  `"text":"darkness"`,
		"/shards/0/documents/zz": "has no document",
	} {
		resp, err := http.Get(base + path)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if !strings.Contains(string(text), has) {
			t.Errorf("%s: %s, want %s", path, text, has)
		}
		if tag := resp.Header.Get("ETag"); tag != "" {
			req, _ := http.NewRequest(http.MethodGet, base+path, nil)
			req.Header.Set("If-None-Match", tag)
			again, err := http.DefaultClient.Do(req)
			if err != nil || again.StatusCode != http.StatusNotModified {
				t.Errorf("the same version: %v %v", again, err)
			}
			again.Body.Close()
		}
	}
}

// A search of a client that has gone ends; one too many is refused, and then they are served again.
func TestGoneAndRefused(t *testing.T) {
	l, base, _ := newLeaf(t, "a\tlight\n")
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			req, _ := http.NewRequestWithContext(ctx, http.MethodPost, base+"/shards/0/search", strings.NewReader(`{"words":["light"],"k":1,"delay_ms":4000}`))
			if resp, err := http.DefaultClient.Do(req); err == nil {
				resp.Body.Close()
				t.Error("answered")
			}
		})
	}
	for l.inFlight.Load() < 4 {
		time.Sleep(time.Millisecond)
	}
	if code, _ := post(t, base+"/shards/0/search", `{"words":["light"],"k":1}`); code != 503 {
		t.Errorf("the fifth of four: %d", code)
	}
	begun := time.Now()
	cancel()
	wg.Wait()
	for l.inFlight.Load() > 0 {
		time.Sleep(time.Millisecond)
	}
	if took := time.Since(begun); took > 3*time.Second {
		t.Errorf("they ended after %v", took)
	}
	if code, _ := post(t, base+"/shards/0/search", `{"words":["light"],"k":1}`); code != 200 {
		t.Errorf("afterwards: %d", code)
	}
}

func TestReload(t *testing.T) {
	l, base, dir := newLeaf(t, "a\tlight\n")
	version := (*l.indexes.Load())[0].Version
	matched := func() string {
		_, text := post(t, base+"/shards/0/search", `{"words":["light"],"k":5}`)
		var a Answer
		json.Unmarshal([]byte(text), &a)
		return fmt.Sprint(a.Matched, a.Version == version)
	}
	write(t, dir+"/b.tsv", "b\tlight\nb\tlight\n")
	if err := l.Load(); err == nil {
		t.Error("a collection with a document twice is taken")
	}
	if got := matched(); got != "1 true" {
		t.Errorf("after a refused reload: %s", got)
	}
	write(t, dir+"/b.tsv", "b\tlight\n")
	if err := l.Load(); err != nil {
		t.Fatal(err)
	}
	if got := matched(); got != "2 false" {
		t.Errorf("after a reload: %s", got)
	}
	// The same documents are the same version, in whatever files they are.
	write(t, dir+"/b.tsv", "")
	l.Load()
	if got := matched(); got != "1 true" {
		t.Errorf("back again: %s", got)
	}
}

func TestSlowShare(t *testing.T) {
	l, base, _ := newLeaf(t, "a\tlight\n")
	l.SlowShare, l.SlowTime = 0.5, time.Microsecond
	n := 0
	for range 400 {
		if _, text := post(t, base+"/shards/0/search", `{"words":["light"],"k":1}`); strings.Contains(text, `"slowed":true`) {
			n++
		}
	}
	if n < 130 || n > 270 { // seven deviations
		t.Errorf("%d of 400, want a half", n)
	}
}

func TestCheck(t *testing.T) {
	for _, tt := range []struct {
		shards []int
		count  int
		bad    bool
	}{
		{[]int{0}, 1, false},
		{[]int{7, 0}, 8, false},
		{nil, 1, true},
		{[]int{8}, 8, true},
		{[]int{-1}, 8, true},
		{[]int{1, 1}, 8, true},
	} {
		if err := (config{Shards: tt.shards, ShardCount: tt.count}).Check(); (err != nil) != tt.bad {
			t.Errorf("%v of %d: %v", tt.shards, tt.count, err)
		}
	}
}

func FuzzQuery(f *testing.F) {
	f.Add(`{"words":["light","dark"],"k":3,"all":true}`)
	f.Add(`{"words":["light"],"k":3,"documents":9,"length":90,"in":[4]}`)
	f.Add(`{"words":["light"],"k":-3,"documents":-9,"in":[1e9]}`)
	x := newIndex(0, []document{{"a", "let there be light"}, {"b", "light and dark"}})
	f.Fuzz(func(t *testing.T, text string) {
		q, err := parseQuery([]byte(text), false)
		if err != nil {
			return
		}
		a, err := x.Search(t.Context(), q, func(int) {})
		if err != nil || len(a.Hits) > q.K || a.Matched > 2 || !slices.IsSortedFunc(a.Hits, better) {
			t.Errorf("%s: %+v, %v", text, a, err)
		}
		if _, err := json.Marshal(a); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	})
}

func FuzzWords(f *testing.F) {
	f.Add("Let there be light: été, Abram's 318")
	f.Add("\xff\xfe İ")
	f.Fuzz(func(t *testing.T, text string) {
		words(text, func(w string) {
			if w == "" || len(w) > longestWord || utf8.ValidString(text) && !utf8.ValidString(w) {
				t.Errorf("%q has %q", text, w)
			}
		})
	})
}
