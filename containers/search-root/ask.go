package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"distlab/containers/internal/dial"
)

// Attempt is one request to one replica, as /explain tells it.
type Attempt struct {
	Round   int     `json:"round"`
	Shard   int     `json:"shard"`
	Replica string  `json:"replica"`
	Kind    string  `json:"kind"`    // first, hedge (beside one that is late) or failover (after one that failed)
	Outcome string  `json:"outcome"` // won, lost (another was quicker), failed, late (no time was left)
	Begin   float64 `json:"begin_ms"`
	End     float64 `json:"end_ms"`
	Hits    int     `json:"hits"`
	Slowed  bool    `json:"slowed,omitempty"` // the leaf says that it was made slow, for an experiment
	Error   string  `json:"error,omitempty"`

	begun time.Time
}

// The kinds and outcomes of attempts.
const (
	first, hedge, failover  = "first", "hedge", "failover"
	won, lost, failed, late = "won", "lost", "failed", "late"
)

// asked is what came of asking a shard.
type asked struct {
	shard    int
	answer   *LeafAnswer
	replica  *replica // whose answer it is
	err      error
	late     bool
	attempts []Attempt
}

// question is what a shard is asked.
type question struct {
	shard int
	body  []byte
	k     int
	hedge bool
	round int
	begun time.Time // of the search
	stick *replica  // whom to ask first
}

// candidate is a replica that may be asked.
type candidate struct {
	*replica
	avoided bool // its leaf has failed lately
	trial   bool // so it had, and this search finds out whether it is well again
}

// order are a shard's replicas in the order in which to ask them: in turns, those whose leaf has failed lately last.
func (r *Root) order(shard int, stick *replica) []candidate {
	list := r.shards[shard]
	turn := int(r.turns[shard].Add(1) % uint64(len(list)))
	now := time.Now()
	ordered := make([]candidate, 0, len(list))
	for i := range list {
		c := candidate{replica: list[(turn+i)%len(list)]}
		if until := c.leaf.avoid.Load(); until != 0 {
			// One search tries it when its time is over, the one whose turn it is; the others wait for what that finds.
			c.trial = i == 0 && until <= now.UnixNano() &&
				c.leaf.avoid.CompareAndSwap(until, now.Add(r.Avoid).UnixNano())
			c.avoided = !c.trial
		}
		ordered = append(ordered, c)
	}
	rank := func(c candidate) int {
		switch {
		case c.replica == stick:
			return 0
		case c.avoided:
			return 2
		}
		return 1
	}
	slices.SortStableFunc(ordered, func(a, b candidate) int { return rank(a) - rank(b) })
	return ordered
}

// ask asks a shard's replicas until one has answered: the next one when one has failed, or, within the budget, when it
// is late. The first success is heard; the others are cancelled. A trial needs no budget: there is one in a while.
func (r *Root) ask(ctx context.Context, q question) (out asked) {
	out = asked{shard: q.shard}
	type result struct {
		n      int
		answer *LeafAnswer
		err    error
		took   time.Duration
	}
	queue := r.order(q.shard, q.stick)
	results := make(chan result, len(queue))
	base, cancel := context.WithCancel(ctx)
	defer cancel()
	asked := make([]*replica, 0, len(queue))
	open := 0
	start := func(kind string) {
		rep := queue[0].replica
		queue = queue[1:]
		n := len(asked)
		asked = append(asked, rep)
		now := time.Now()
		out.attempts = append(out.attempts, Attempt{
			Round: q.round, Shard: q.shard, Replica: rep.addr, Kind: kind, Begin: ms(now.Sub(q.begun)), begun: now,
		})
		open++
		r.Metrics.asks.WithLabelValues(kind).Inc()
		go func() {
			ctx := base
			if !r.Propagate {
				// What a root does that knows nothing of deadlines: it turns away, and the leaf works on.
				long, done := context.WithTimeout(context.WithoutCancel(base), r.MaxTimeout)
				defer done()
				ctx = long
			}
			a, err := rep.search(ctx, r.client, q.shard, q.body, q.k, r.Propagate)
			results <- result{n, a, err, time.Since(now)}
		}()
	}
	end := func(n int, outcome string, err error) {
		a := &out.attempts[n]
		a.Outcome, a.End = outcome, ms(time.Since(q.begun))
		if err != nil {
			a.Error = fmt.Sprintf("%.200v", err)
		}
	}
	trial := queue[0].trial
	start(first)
	var timer <-chan time.Time
	if q.hedge {
		r.Hedge.Budget.Deposit()
		if len(queue) > 0 {
			t := time.NewTimer(r.Hedge.delay(&asked[0].times))
			defer t.Stop()
			timer = t.C
		}
	}
	for {
		select {
		case <-timer:
			timer = nil
			if len(queue) == 0 || queue[0].avoided {
				continue // nobody is there who would be quicker
			}
			if !trial && !r.Hedge.Budget.Withdraw() {
				r.Metrics.denied.Inc()
				continue
			}
			start(hedge)
		case res := <-results:
			open--
			rep := asked[res.n]
			switch {
			case res.err == nil:
				rep.well(res.took)
				end(res.n, won, nil)
				out.answer, out.replica = res.answer, rep
				out.attempts[res.n].Hits, out.attempts[res.n].Slowed = len(res.answer.Hits), res.answer.Slowed
				if out.attempts[res.n].Kind == hedge {
					r.Metrics.hedgesWon.Inc()
				}
				for i := range out.attempts {
					if out.attempts[i].Outcome == "" {
						end(i, lost, nil)
						asked[i].slower(time.Since(out.attempts[i].begun), r.Avoid)
					}
				}
				return out
			case ctx.Err() != nil || errors.Is(res.err, errLate):
				end(res.n, late, res.err)
				out.err, out.late = res.err, true
			default:
				end(res.n, failed, res.err)
				out.err = res.err
				if dial.Local(res.err) { // no fault of the leaf's; the next one may have a connection that is open
					r.Metrics.local.Inc()
				} else {
					rep.failed(r.Avoid)
				}
				r.Log.Debug("leaf failed", "shard", q.shard, "replica", rep.addr, "error", res.err)
				if len(queue) > 0 && ctx.Err() == nil {
					start(failover)
					continue
				}
			}
			if open == 0 {
				return out
			}
		case <-ctx.Done():
			for i := range out.attempts {
				if out.attempts[i].Outcome == "" {
					end(i, late, ctx.Err())
					asked[i].slower(time.Since(out.attempts[i].begun), r.Avoid)
				}
			}
			out.err, out.late = ctx.Err(), true
			return out
		}
	}
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// well is told of an answer.
func (r *replica) well(took time.Duration) {
	r.times.add(took)
	r.leaf.lost.Store(0)
	r.leaf.avoid.Store(0)
}

// slower is told that a replica was waited for, for so long and in vain.
func (r *replica) slower(waited, avoid time.Duration) {
	r.times.add(waited)
	if r.leaf.lost.Add(1) >= lostMost {
		r.failed(avoid)
	}
}

func (r *replica) failed(avoid time.Duration) { r.leaf.avoid.Store(time.Now().Add(avoid).UnixNano()) }
