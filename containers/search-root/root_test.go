package main

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// behaviour is what a fake does with a search; true: it has answered.
type behaviour func(w http.ResponseWriter, r *http.Request, q Query) bool

// fake is a leaf with one replica of one shard, which answers as a test has it.
type fake struct {
	shard   int
	version atomic.Pointer[string]
	hits    []Hit
	words   map[string]int
	search  atomic.Pointer[behaviour]
	fickle  atomic.Bool // each answer has a version of its own
	asked   atomic.Int64
	gone    chan struct{} // one for each request that was cancelled
	srv     *httptest.Server
}

func newFake(t *testing.T, shard int, hits ...Hit) *fake {
	t.Helper()
	f := &fake{shard: shard, hits: hits, words: map[string]int{"light": len(hits)}, gone: make(chan struct{}, 100)}
	f.is("v1")
	f.srv = httptest.NewServer(f)
	t.Cleanup(f.srv.Close)
	return f
}

func (f *fake) is(version string) { f.version.Store(&version) }

func (f *fake) set(do behaviour) { f.search.Store(&do) }

func (f *fake) addr() string { return strings.TrimPrefix(f.srv.URL, "http://") }

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	version := *f.version.Load()
	if f.fickle.Load() {
		version = fmt.Sprint(version, f.asked.Add(1))
	}
	if strings.HasSuffix(r.URL.Path, "/statistics") {
		if r.Header.Get("If-None-Match") == `"`+version+`"` {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		json.NewEncoder(w).Encode(Statistics{Shard: f.shard, Version: version, Documents: 10, Length: 100, Words: f.words})
		return
	}
	f.asked.Add(1)
	text, _ := io.ReadAll(r.Body)
	var q Query
	if err := json.Unmarshal(text, &q); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if do := f.search.Load(); do != nil && *do != nil && (*do)(w, r, q) {
		return
	}
	json.NewEncoder(w).Encode(LeafAnswer{
		Shard: f.shard, Version: version, Documents: 10, Matched: len(f.hits), Hits: f.hits[:min(q.K, len(f.hits))],
	})
}

// hang waits until who asked has gone.
func (f *fake) hang(_ http.ResponseWriter, r *http.Request, _ Query) bool {
	select {
	case <-r.Context().Done():
		f.gone <- struct{}{}
	case <-time.After(20 * time.Second):
	}
	return true
}

func newRoot(t *testing.T, shards ...[]*fake) *Root {
	t.Helper()
	r := &Root{
		Margin: time.Millisecond, MaxTimeout: 10 * time.Second, Propagate: true, Avoid: time.Second, Connect: time.Second,
		Hedge:   Hedging{Quantile: 0.95, Least: time.Millisecond, Most: 20 * time.Millisecond, Budget: &Budget{Ratio: 1}},
		Log:     slog.New(slog.DiscardHandler),
		Metrics: newMetrics(prometheus.NewRegistry()),
	}
	for _, replicas := range shards {
		var addrs []string
		for _, f := range replicas {
			addrs = append(addrs, f.addr())
		}
		r.Topology = append(r.Topology, addrs)
	}
	r.Open()
	for shard := range shards {
		r.refresh(t.Context(), shard)
	}
	return r
}

func search(r *Root) *Search {
	s := &Search{Words: []string{"light"}, K: 3, Timeout: 5 * time.Second, Hedge: true}
	for i := range r.shards {
		s.Shards = append(s.Shards, i)
	}
	return s
}

func hit(id string, score float64) Hit { return Hit{ID: id, Score: score, Text: "text of " + id} }

func ids(res *Result) (list []string) {
	for _, h := range res.Hits {
		list = append(list, h.ID)
	}
	return list
}

func outcomes(res *Result) (list []string) {
	for _, a := range res.Attempts {
		list = append(list, a.Kind+" "+a.Outcome)
	}
	return list
}

// value is a counter's.
func value(t *testing.T, c prometheus.Counter) float64 {
	t.Helper()
	var m dto.Metric
	if err := c.Write(&m); err != nil {
		t.Fatal(err)
	}
	return m.GetCounter().GetValue()
}

func TestMergeIsExact(t *testing.T) {
	a := newFake(t, 0, hit("a", 9), hit("c", 7), hit("d", 7), hit("e", 1))
	b := newFake(t, 1, hit("b", 7), hit("f", 0.5))
	r := newRoot(t, []*fake{a}, []*fake{b})
	s := search(r)
	res := r.Do(t.Context(), s)
	// Of equal scores the lesser ID comes first, whichever shard it is of.
	if diff := cmp.Diff([]string{"a", "b", "c"}, ids(res)); diff != "" {
		t.Error(diff)
	}
	if res.Partial || res.Matched != 6 || res.Documents != 20 || res.Rounds != 1 || res.Words[0].Documents != 6 {
		t.Errorf("%+v", res)
	}
	s.From = 2
	if diff := cmp.Diff([]string{"c", "d", "e"}, ids(r.Do(t.Context(), s))); diff != "" {
		t.Error(diff)
	}
	s.From = 50
	if res := r.Do(t.Context(), s); len(res.Hits) != 0 {
		t.Errorf("behind the last page: %v", res.Hits)
	}
	// A share of the hits from each shard is not enough.
	r.Share, s.From = true, 0
	if diff := cmp.Diff([]string{"a", "b", "c"}, ids(r.Do(t.Context(), s))); diff != "" {
		t.Error(diff)
	}
	a.hits = []Hit{hit("a", 9), hit("b", 8), hit("c", 7.5)}
	if slices.Equal(ids(r.Do(t.Context(), s)), []string{"a", "b", "c"}) {
		t.Error("a share was enough")
	}
}

func TestGlobalStatistics(t *testing.T) {
	a, b := newFake(t, 0, hit("a", 1)), newFake(t, 1, hit("b", 1), hit("c", 0.5))
	got := make(chan Query, 4)
	for _, f := range []*fake{a, b} {
		f.set(func(_ http.ResponseWriter, _ *http.Request, q Query) bool { got <- q; return false })
	}
	r := newRoot(t, []*fake{a}, []*fake{b})
	want := Query{Words: []string{"light"}, K: 3, Documents: 20, Length: 200, In: []int{3}}
	r.Do(t.Context(), search(r))
	for range 2 {
		if diff := cmp.Diff(want, <-got); diff != "" {
			t.Error(diff)
		}
	}
	// The statistics are the whole collection's also where some of the shards are asked.
	s := search(r)
	s.Shards = []int{1}
	r.Do(t.Context(), s)
	if diff := cmp.Diff(want, <-got); diff != "" {
		t.Error(diff)
	}
	r.Local = true
	r.Do(t.Context(), s)
	if q := <-got; q.Documents != 0 || q.In != nil {
		t.Errorf("local: %+v", q)
	}
}

func TestHedge(t *testing.T) {
	slow, quick := newFake(t, 0, hit("a", 1)), newFake(t, 0, hit("a", 1))
	slow.set(slow.hang)
	r := newRoot(t, []*fake{slow, quick})
	hedged := 0
	for range 4 { // they begin in turns
		res := r.Do(t.Context(), search(r))
		if res.Partial || len(res.Hits) != 1 {
			t.Fatalf("%+v", res)
		}
		if slices.Equal(outcomes(res), []string{"first lost", "hedge won"}) {
			hedged++
			<-slow.gone // the loser is cancelled
		}
	}
	if hedged == 0 || value(t, r.Metrics.asks.WithLabelValues(hedge)) != float64(hedged) {
		t.Errorf("%d hedges", hedged)
	}
	// The one that has lost three times is asked last, and without a hedge nobody waits for it.
	for range 20 {
		r.Do(t.Context(), search(r))
	}
	if n := slow.asked.Load(); n > 6 {
		t.Errorf("the slow one was asked %d times", n)
	}
	r.shards[0][0].leaf.avoid.Store(0)
	r.shards[0][1].avoid.Store(time.Now().Add(time.Hour).UnixNano())
	s := search(r)
	s.Hedge, s.Timeout = false, 100*time.Millisecond
	if res := r.Do(t.Context(), s); !res.Partial || res.Shards.Missing[0].Why != "deadline" {
		t.Errorf("without a hedge: %v", outcomes(res))
	}
}

func TestBudget(t *testing.T) {
	b := &Budget{Ratio: 0.05, Burst: 2}
	took := 0
	for range 1000 {
		b.Deposit()
		if b.Withdraw() {
			took++
		}
	}
	if took < 48 || took > 50 {
		t.Errorf("%d of 1000, want a twentieth", took)
	}
	for range 1000 {
		b.Deposit()
	}
	for took = 0; b.Withdraw(); took++ {
	}
	if took != 2 {
		t.Errorf("%d were saved up, want the burst", took)
	}
	if none := (&Budget{}); none.Withdraw() {
		t.Error("a budget of nothing gives one")
	}
	// Where all are slow, no more than the budget's share is asked twice.
	f, g := newFake(t, 0, hit("a", 1)), newFake(t, 0, hit("a", 1))
	for _, x := range []*fake{f, g} {
		x.set(func(http.ResponseWriter, *http.Request, Query) bool { time.Sleep(30 * time.Millisecond); return false })
	}
	r := newRoot(t, []*fake{f, g})
	r.Hedge.Budget = &Budget{Ratio: 0.05, Burst: 10}
	r.Hedge.Most = 5 * time.Millisecond
	for range 40 {
		r.Do(t.Context(), search(r))
	}
	if n := f.asked.Load() + g.asked.Load(); n > 42 {
		t.Errorf("%d requests for 40 searches", n)
	}
	if value(t, r.Metrics.denied) < 38 {
		t.Errorf("%v denied", value(t, r.Metrics.denied))
	}
}

func TestQuantile(t *testing.T) {
	var l latencies
	if _, ok := l.quantile(0.95); ok {
		t.Error("nothing has been measured")
	}
	for i := range 1000 {
		l.add(time.Duration(i%100) * time.Millisecond)
	}
	if q, ok := l.quantile(0.95); !ok || q < 93*time.Millisecond || q > 97*time.Millisecond {
		t.Errorf("p95 of 0 to 99 ms is %v", q)
	}
	h := Hedging{Quantile: 0.95, Least: time.Millisecond, Most: 50 * time.Millisecond}
	if d := h.delay(&l); d != 50*time.Millisecond {
		t.Errorf("delay %v is above its bound", d)
	}
}

func TestFailover(t *testing.T) {
	tests := []struct {
		name string
		bad  func(w http.ResponseWriter, r *http.Request, q Query) bool
	}{
		{"500", func(w http.ResponseWriter, _ *http.Request, _ Query) bool {
			http.Error(w, "no", http.StatusInternalServerError)
			return true
		}},
		{"overloaded", func(w http.ResponseWriter, _ *http.Request, _ Query) bool {
			http.Error(w, "busy", http.StatusServiceUnavailable)
			return true
		}},
		{"cut", func(http.ResponseWriter, *http.Request, Query) bool { panic(http.ErrAbortHandler) }},
		{"no JSON", func(w http.ResponseWriter, _ *http.Request, _ Query) bool { io.WriteString(w, "<html>"); return true }},
		{"another shard's", func(w http.ResponseWriter, _ *http.Request, _ Query) bool {
			io.WriteString(w, `{"shard":7,"version":"v1"}`)
			return true
		}},
		{"a redirect", func(w http.ResponseWriter, r *http.Request, _ Query) bool {
			http.Redirect(w, r, "http://127.0.0.1:9/", http.StatusFound)
			return true
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bad, good := newFake(t, 0, hit("a", 1)), newFake(t, 0, hit("a", 1))
			bad.set(tt.bad)
			r := newRoot(t, []*fake{bad, good})
			s := search(r)
			s.Hedge = false
			over := 0
			for range 4 {
				res := r.Do(t.Context(), s)
				if res.Partial || len(res.Hits) != 1 {
					t.Fatalf("%+v", res)
				}
				if slices.Equal(outcomes(res), []string{"first failed", "failover won"}) {
					over++
				}
			}
			if over != 1 {
				t.Errorf("%d of 4 met it: once it has failed it is asked last", over)
			}
		})
	}
}

func TestPartial(t *testing.T) {
	a, b, c := newFake(t, 0, hit("a", 1)), newFake(t, 1, hit("b", 2)), newFake(t, 2, hit("c", 3))
	r := newRoot(t, []*fake{a}, []*fake{b}, []*fake{c})
	b.set(b.hang)
	c.srv.Close()
	s := search(r)
	s.Timeout = 200 * time.Millisecond
	res := r.Do(t.Context(), s)
	if diff := cmp.Diff([]string{"a"}, ids(res)); diff != "" {
		t.Error(diff)
	}
	var why []string
	for _, m := range res.Shards.Missing {
		why = append(why, fmt.Sprintf("%d %s %d", m.Shard, m.Why, m.Documents))
	}
	if diff := cmp.Diff([]string{"1 deadline 10", "2 unreachable 10"}, why); diff != "" {
		t.Error(diff)
	}
	if !res.Partial || res.Documents != 30 || res.MissingDocs != 20 || res.Share < 0.66 || res.Share > 0.67 {
		t.Errorf("%+v", res)
	}
	<-b.gone // it stops when the deadline is over
}

// TestOwnFault: that this machine has no descriptor left is no fault of a leaf, and is said.
func TestOwnFault(t *testing.T) {
	a, b := newFake(t, 0, hit("a", 1)), newFake(t, 0, hit("a", 1))
	r := newRoot(t, []*fake{a, b})
	var short atomic.Bool
	r.client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		if short.Load() {
			return nil, &net.OpError{Op: "dial", Err: os.NewSyscallError("socket", syscall.EMFILE)}
		}
		return (&net.Dialer{}).DialContext(ctx, network, addr)
	}}}
	short.Store(true)
	res := r.Do(t.Context(), search(r))
	if len(res.Shards.Missing) != 1 || res.Shards.Missing[0].Why != "local" || value(t, r.Metrics.local) != 2 {
		t.Errorf("%+v, %v of its own", res.Shards.Missing, value(t, r.Metrics.local))
	}
	for _, rep := range r.shards[0] {
		if rep.leaf.avoid.Load() != 0 {
			t.Errorf("%s is blamed", rep.addr)
		}
	}
	short.Store(false)
	if res := r.Do(t.Context(), search(r)); res.Partial {
		t.Errorf("%+v", res.Shards.Missing)
	}
}

// The leaf is told what is left, less than the client's time; a root that does not propagate tells nothing and lets it
// work.
func TestPropagation(t *testing.T) {
	f := newFake(t, 0, hit("a", 1))
	told := make(chan string, 1)
	f.set(func(w http.ResponseWriter, r *http.Request, q Query) bool {
		told <- r.Header.Get(timeoutHeader)
		return f.hang(w, r, q)
	})
	r := newRoot(t, []*fake{f})
	s := search(r)
	s.Timeout = 300 * time.Millisecond
	r.Do(t.Context(), s)
	if ms, err := strconv.Atoi(<-told); err != nil || ms > 299 || ms < 1 {
		t.Errorf("told %d ms, %v", ms, err)
	}
	<-f.gone
	// So when the client goes.
	ctx, cancel := context.WithCancel(t.Context())
	s.Timeout = 8 * time.Second
	go func() { <-told; cancel() }()
	r.Do(ctx, s)
	<-f.gone
	r.Propagate, r.MaxTimeout = false, time.Second
	s.Timeout = 50 * time.Millisecond
	res := r.Do(t.Context(), s)
	if !res.Partial || <-told != "" {
		t.Error("it was told")
	}
	select {
	case <-f.gone:
		t.Error("it was cancelled with the deadline")
	case <-time.After(200 * time.Millisecond):
	}
	<-f.gone
}

// A leaf that has other documents is asked anew, by the statistics of these; replicas that differ do no harm.
func TestVersions(t *testing.T) {
	a, old, young := newFake(t, 0, hit("a", 1)), newFake(t, 1, hit("b", 1)), newFake(t, 1, hit("b", 1), hit("c", 0.5))
	young.is("v2")
	r := newRoot(t, []*fake{a}, []*fake{old, young})
	var in atomic.Int64
	a.set(func(_ http.ResponseWriter, _ *http.Request, q Query) bool { in.Store(int64(q.In[0])); return false })
	for i := range 8 {
		res := r.Do(t.Context(), search(r))
		want := int64(2)
		if res.Versions[1] == "v2" {
			want = 3
		}
		if res.Partial || res.Stale || in.Load() != want || res.Words[0].Documents != int(want) {
			t.Errorf("search %d: version %s scored by %d documents, in %d rounds", i, res.Versions[1], in.Load(), res.Rounds)
		}
	}
	// One that has other documents with each answer cannot be compared with, and the answer says so.
	young.fickle.Store(true)
	old.srv.Close()
	if res := r.Do(t.Context(), search(r)); !res.Stale || !res.Partial || res.Rounds != mostRounds {
		t.Errorf("%+v", res)
	}
}

func newAPI(t *testing.T, r *Root) (*API, string) {
	t.Helper()
	a := &API{Root: r, Timeout: time.Second, Partial: Answer, MaxInFlight: 2, Experiments: true, Log: r.Log, Metrics: r.Metrics}
	srv := httptest.NewServer(a.Server().Handler)
	t.Cleanup(srv.Close)
	return a, srv.URL
}

func get(t *testing.T, url string) (*http.Response, []byte) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, text
}

func TestHTTP(t *testing.T) {
	a, b := newFake(t, 0, Hit{ID: "<a>", Score: 1, Text: "</svg>"}), newFake(t, 1, hit("b", 1))
	r := newRoot(t, []*fake{a}, []*fake{b})
	_, base := newAPI(t, r)
	tests := []struct {
		path string
		code int
		has  string
	}{
		{"/search?q=light", 200, `"partial": false`},
		{"/search?q=Light%2C+LIGHT!&mode=all&k=1", 200, `"matched": 2`},
		{"/search?q=light&shards=1", 200, `"total": 1`},
		{"/search", 400, "no word"},
		{"/search?q=%21%3F", 400, "no word"},
		{"/search?q=light&q=dark", 400, "2 times"},
		{"/search?q=light&kk=3", 400, "no such parameter"},
		{"/search?q=light&k=0", 400, "1 to 1000"},
		{"/search?q=light&k=999&from=2", 400, "each shard would have to send as many"},
		{"/search?q=light&timeout=1h", 400, "not a time"},
		{"/search?q=light&timeout=5", 400, "not a time"},
		{"/search?q=light&shards=2", 400, "shards of 0 to 1"},
		{"/search?q=light&shards=1,1", 400, "each once"},
		{"/search?q=light&mode=most", 400, "any, all"},
		{"/search?q=light&drag=1s", 400, "not a time"},
		{"/search?q=" + strings.Repeat("a", longestQuery+1), 400, "longer than"},
		{"/search?q=light;x=1", 400, "semicolon"},
		{"/explain?q=light", 200, `"outcome": "won"`},
		{"/other", 404, "not found"},
	}
	for _, tt := range tests {
		resp, text := get(t, base+tt.path)
		if resp.StatusCode != tt.code || !bytes.Contains(text, []byte(tt.has)) {
			t.Errorf("%.80s: %d %.300s, want %d with %q", tt.path, resp.StatusCode, text, tt.code, tt.has)
		}
	}
	if _, text := get(t, base+"/search?q=light"); bytes.Contains(text, []byte("attempts")) {
		t.Errorf("a search tells what /explain is for: %s", text)
	}
	// What leaves send stands in the picture as text, whatever it is.
	a.set(func(w http.ResponseWriter, _ *http.Request, _ Query) bool {
		http.Error(w, "</svg><script>", http.StatusInternalServerError)
		return true
	})
	resp, text := get(t, base+"/explain?q=light&format=svg")
	if resp.Header.Get("Content-Type") != "image/svg+xml" || bytes.Contains(text, []byte("<script")) {
		t.Errorf("%s", text)
	}
	for dec := xml.NewDecoder(bytes.NewReader(text)); ; {
		if _, err := dec.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
	}
	resp, text = get(t, base+"/search?q=light")
	if resp.StatusCode != 200 || resp.Header.Get("Search-Partial") != "1 of 2 shards missing" {
		t.Errorf("partial: %d %q %s", resp.StatusCode, resp.Header.Get("Search-Partial"), text)
	}
	resp, text = get(t, base+"/search?q=light&partial=refuse")
	if resp.StatusCode != 503 || !bytes.Contains(text, []byte(`"hits": []`)) {
		t.Errorf("refused: %d %s", resp.StatusCode, text)
	}
	b.set(b.hang)
	if resp, _ = get(t, base+"/search?q=light&timeout=50ms"); resp.StatusCode != 504 {
		t.Errorf("nobody in time: %d", resp.StatusCode)
	}
}

func TestBackpressure(t *testing.T) {
	f := newFake(t, 0, hit("a", 1))
	f.set(f.hang)
	r := newRoot(t, []*fake{f})
	_, base := newAPI(t, r)
	done := make(chan int, 2)
	for range 2 {
		go func() {
			resp, err := http.Get(base + "/search?q=light&timeout=700ms")
			if err != nil {
				done <- 0
				return
			}
			resp.Body.Close()
			done <- resp.StatusCode
		}()
	}
	for f.asked.Load() < 2 {
		time.Sleep(time.Millisecond)
	}
	if resp, _ := get(t, base+"/search?q=light"); resp.StatusCode != 503 || resp.Header.Get("Retry-After") == "" {
		t.Errorf("the third of two: %d", resp.StatusCode)
	}
	for range 2 {
		if code := <-done; code != 504 {
			t.Errorf("one of the two: %d", code)
		}
	}
	f.set(nil)
	if resp, _ := get(t, base+"/search?q=light"); resp.StatusCode != 200 {
		t.Errorf("afterwards: %d", resp.StatusCode)
	}
}

func TestTopology(t *testing.T) {
	var got Topology
	if err := got.UnmarshalText([]byte(" a:1,b:2  c:3\n")); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Topology{{"a:1", "b:2"}, {"c:3"}}, got); diff != "" {
		t.Error(diff)
	}
	for _, bad := range []string{"", "a", "a:x", "a:0", ":80", "a:1,a:1", "a:1,,b:2", "a/b:1", "u@h:1"} {
		if err := new(Topology).UnmarshalText([]byte(bad)); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

func FuzzAnswer(f *testing.F) {
	f.Add(`{"shard":0,"version":"v","documents":3,"matched":2,"hits":[{"id":"a","score":2},{"id":"b","score":1}]}`)
	f.Add(`{"shard":0,"version":"v","documents":3,"matched":2,"hits":[{"id":"b","score":1},{"id":"a","score":1}]}`)
	f.Add(`{"shard":0,"version":"v","documents":-1,"matched":1e9,"hits":null}`)
	f.Fuzz(func(t *testing.T, text string) {
		if a, err := parseAnswer([]byte(text), 0, 5); err == nil {
			if len(a.Hits) > 5 || !slices.IsSortedFunc(a.Hits, better) || a.Matched > a.Documents {
				t.Errorf("%+v", a)
			}
		}
		if s, err := parseStatistics([]byte(text), 0); err == nil && (s.Documents < 0 || s.Length < 0) {
			t.Errorf("%+v", s)
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add("q=let+there+be+light&k=3&mode=all&timeout=1s")
	f.Add("q=a&shards=0,1&hedge=off&partial=refuse&format=svg&from=9")
	f.Add("q=%ff%fe\x00;&k=-1")
	a := &API{Root: &Root{shards: make([][]*replica, 3), MaxTimeout: time.Minute}, Timeout: time.Second}
	f.Fuzz(func(t *testing.T, raw string) {
		s, _, _, err := a.parse(raw)
		if err != nil {
			return
		}
		if len(s.Words) == 0 || len(s.Words) > mostWords || s.K+s.From > mostHits || s.K < 1 || s.From < 0 || s.Drag != 0 || len(s.Shards) > 3 {
			t.Errorf("%q: %+v", raw, s)
		}
		for _, w := range s.Words {
			if w == "" || len(w) > longestWord {
				t.Errorf("%q: word %q", raw, w)
			}
		}
		if _, err := url.ParseQuery(raw); err != nil {
			t.Error(err)
		}
	})
}
