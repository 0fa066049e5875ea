package main

import (
	"cmp"
	"context"
	"encoding/json"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"distlab/containers/internal/dial"
)

// Root asks leaves. Open comes before everything else.
type Root struct {
	Topology   Topology
	Margin     time.Duration // of a search's time, kept for the merging
	MaxTimeout time.Duration
	Propagate  bool // leaves are told the time that is left, and cancelled
	Local      bool // leaves score by their own statistics
	TakeStale  bool // answers by statistics that are no longer right are taken as they are
	Share      bool // each shard is asked for its share of the hits alone
	Hedge      Hedging
	Avoid      time.Duration
	Connect    time.Duration // to a leaf, at most
	Log        *slog.Logger
	Metrics    *metrics

	client *http.Client
	shards [][]*replica
	turns  []atomic.Uint64
	known  []known
}

// Open makes what the root needs of its settings.
func (r *Root) Open() {
	d := &dial.Dialer{Names: &dial.Names{Keep: 5 * time.Second, Stale: time.Hour}, Net: net.Dialer{Timeout: r.Connect}}
	r.client = &http.Client{Transport: &http.Transport{
		DialContext:         d.DialContext,
		MaxIdleConnsPerHost: 64,
		IdleConnTimeout:     30 * time.Second, // a leaf keeps them for longer
		DisableCompression:  true,
	}, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	r.turns = make([]atomic.Uint64, len(r.Topology))
	r.known = make([]known, len(r.Topology))
	leaves := map[string]*leaf{}
	for _, addrs := range r.Topology {
		var list []*replica
		for _, a := range addrs {
			if leaves[a] == nil {
				leaves[a] = &leaf{addr: a}
			}
			list = append(list, &replica{leaf: leaves[a]})
		}
		r.shards = append(r.shards, list)
	}
}

// Search is what a client asks.
type Search struct {
	Words   []string
	All     bool // documents that have all of the words
	K, From int
	Timeout time.Duration
	Shards  []int // those to be asked
	Hedge   bool
	Drag    time.Duration
	Delay   time.Duration
}

// Missing is a shard that is not in an answer.
type Missing struct {
	Shard     int    `json:"shard"`
	Why       string `json:"why"` // deadline, unreachable, or local: this machine has no descriptor left, say
	Documents int    `json:"documents"`
	Error     string `json:"error,omitempty"`
}

// Word is one of a search's, and in how many documents of the collection it is.
type Word struct {
	Word      string `json:"word"`
	Documents int    `json:"documents"`
}

// Result is what a client is told.
type Result struct {
	Words   []Word  `json:"words"`
	Mode    string  `json:"mode"`
	Millis  float64 `json:"took_ms"`
	Partial bool    `json:"partial"` // something is missing: a shard, or scores that can be compared
	Shards  struct {
		Total    int       `json:"total"`
		Answered int       `json:"answered"`
		Missing  []Missing `json:"missing"`
	} `json:"shards"`
	Documents   int            `json:"documents"` // in the shards that were asked
	MissingDocs int            `json:"documents_missing"`
	Share       float64        `json:"missing_share"`
	Versions    map[int]string `json:"versions"` // of the shards that answered
	Stale       bool           `json:"stale_statistics,omitempty"`
	Rounds      int            `json:"rounds"`
	Matched     int            `json:"matched"`
	Hits        []Hit          `json:"hits"`
	Attempts    []Attempt      `json:"attempts,omitempty"`
}

// mostRounds bounds how often leaves are asked anew because they have other documents than their statistics are of.
const mostRounds = 4

// Do asks all shards of a search at a time and merges what they answer by the deadline.
func (r *Root) Do(ctx context.Context, s *Search) *Result {
	begun := time.Now()
	margin := min(r.Margin, s.Timeout/4)
	ctx, cancel := context.WithDeadline(ctx, begun.Add(s.Timeout-margin))
	defer cancel()
	v := r.view()
	stick := make([]*replica, len(r.shards))
	var attempts []Attempt
	var outs []asked
	rounds, stale := 0, false
	for {
		rounds++
		outs = r.round(ctx, s, v, stick, rounds, begun)
		for _, o := range outs {
			attempts = append(attempts, o.attempts...)
		}
		if r.Local || r.TakeStale || !r.relearn(ctx, v, stick, outs) {
			break
		}
		// Their scores are by statistics of documents that they no longer have: asked again, with the right ones.
		if rounds == mostRounds || ctx.Err() != nil {
			stale = true
			break
		}
		r.Metrics.rounds.Inc()
	}
	res := merge(s, v, outs)
	res.Rounds, res.Stale, res.Attempts = rounds, stale, attempts
	res.Partial = res.Partial || stale
	res.Millis = ms(time.Since(begun))
	return res
}

// round asks each shard once.
func (r *Root) round(ctx context.Context, s *Search, v view, stick []*replica, n int, begun time.Time) []asked {
	q := Query{
		Words: s.Words, All: s.All, K: s.K + s.From,
		DragMicros: int(s.Drag.Microseconds()), DelayMillis: int(s.Delay.Milliseconds()),
	}
	if r.Share {
		q.K = (q.K + len(s.Shards) - 1) / len(s.Shards)
	}
	if !r.Local {
		q.Documents, q.Length, q.In = v.sum(s.Words)
	}
	body, err := json.Marshal(q)
	if err != nil {
		panic(err) // of texts and numbers
	}
	outs := make([]asked, len(s.Shards))
	var wg sync.WaitGroup
	for i, shard := range s.Shards {
		wg.Go(func() {
			outs[i] = r.ask(ctx, question{
				shard: shard, body: body, k: q.K, hedge: s.Hedge, round: n, begun: begun, stick: stick[shard],
			})
		})
	}
	wg.Wait()
	return outs
}

// relearn says whether leaves have answered with other versions than the search went by. It then knows their
// statistics, and whom to ask for them again: replicas of a shard do not change at the same time.
func (r *Root) relearn(ctx context.Context, v view, stick []*replica, outs []asked) bool {
	changed := false
	var wg sync.WaitGroup
	for _, o := range outs {
		if o.answer == nil {
			continue
		}
		stick[o.shard] = o.replica
		if s := v[o.shard]; s != nil && s.Version == o.answer.Version {
			continue
		}
		changed = true
		if s := r.known[o.shard].version(o.answer.Version); s != nil {
			v[o.shard] = s
			continue
		}
		wg.Go(func() {
			s, err := o.replica.statistics(ctx, r.client, o.shard, "")
			if err != nil {
				r.Log.Debug("no statistics", "shard", o.shard, "replica", o.replica.addr, "error", err)
				return
			}
			r.learned(s)
			v[o.shard] = s
		})
	}
	wg.Wait()
	return changed
}

// merge makes one answer of those of the shards. Each has sent as many hits as are wanted of all, so the best of these
// are the best of all, even where one shard has every one of them.
func merge(s *Search, v view, outs []asked) *Result {
	res := &Result{Mode: "any", Versions: map[int]string{}, Hits: []Hit{}}
	if s.All {
		res.Mode = "all"
	}
	res.Shards.Total = len(outs)
	res.Shards.Missing = []Missing{}
	for _, o := range outs {
		if o.answer == nil {
			m := Missing{Shard: o.shard, Why: "unreachable"}
			switch {
			case o.late:
				m.Why = "deadline"
			case o.err != nil && dial.Local(o.err):
				m.Why = "local"
			}
			if o.err != nil {
				m.Error = o.err.Error()[:min(len(o.err.Error()), 200)]
			}
			if s := v[o.shard]; s != nil {
				m.Documents = s.Documents
			}
			res.Shards.Missing = append(res.Shards.Missing, m)
			res.MissingDocs += m.Documents
			res.Documents += m.Documents
			continue
		}
		res.Shards.Answered++
		res.Versions[o.shard] = o.answer.Version
		res.Documents += o.answer.Documents
		res.Matched += o.answer.Matched
		res.Hits = append(res.Hits, o.answer.Hits...)
	}
	res.Partial = len(res.Shards.Missing) > 0
	if res.Documents > 0 {
		res.Share = float64(res.MissingDocs) / float64(res.Documents)
	}
	slices.SortFunc(res.Hits, better)
	res.Hits = res.Hits[min(s.From, len(res.Hits)):]
	res.Hits = res.Hits[:min(s.K, len(res.Hits))]
	_, _, in := v.sum(s.Words)
	for i, w := range s.Words {
		res.Words = append(res.Words, Word{w, in[i]})
	}
	return res
}

// better orders hits as leaves do.
func better(a, b Hit) int {
	if c := cmp.Compare(b.Score, a.Score); c != 0 {
		return c
	}
	return strings.Compare(a.ID, b.ID)
}

// Status is what the root knows of its leaves.
func (r *Root) Status() any {
	type rep struct {
		Address string  `json:"address"`
		Avoided bool    `json:"avoided"`
		HedgeMs float64 `json:"hedge_after_ms"`
	}
	type sh struct {
		Shard     int    `json:"shard"`
		Version   string `json:"version"`
		Documents int    `json:"documents"`
		Replicas  []rep  `json:"replicas"`
	}
	list := []sh{}
	for i, replicas := range r.shards {
		one := sh{Shard: i}
		if s := r.known[i].newest(); s != nil {
			one.Version, one.Documents = s.Version, s.Documents
		}
		for _, p := range replicas {
			one.Replicas = append(one.Replicas, rep{p.addr, p.avoid.Load() > time.Now().UnixNano(), ms(r.Hedge.delay(&p.times))})
		}
		list = append(list, one)
	}
	return map[string]any{"shards": list, "hedges_left": r.Hedge.Budget.left()}
}
