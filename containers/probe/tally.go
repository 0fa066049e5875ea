package main

import (
	"slices"
	"strconv"
	"time"
)

// bounds are the histogram's upper bounds in seconds; the last bucket has none and counts all.
var bounds = []float64{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10}

// firstErrors is how many errors are kept as text.
const firstErrors = 5

// tally sums shots up. Only one goroutine at a time may add.
type tally struct {
	answer loadAnswer
	taken  []time.Duration
}

func newTally() *tally {
	return &tally{answer: loadAnswer{
		Event: "result", Status: map[string]int{}, Errors: map[errorKind]int{}, First: []string{},
	}}
}

func (t *tally) add(s *shot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := &t.answer
	a.Requests++
	t.taken = append(t.taken, s.taken)
	if s.writes > 1 {
		a.Retried++
	}
	if s.whole {
		a.Status[strconv.Itoa(s.status)]++
		if s.status < 400 {
			a.OK++
		}
		return
	}
	a.Errors[kindOf(s.err)]++
	if s.acted {
		a.Lost++
	}
	if s.err != nil && len(a.First) < firstErrors {
		a.First = append(a.First, plain(s.err))
	}
}

// sum is the answer: took is from the first request's due time to the last answer, sending the part of it in which
// requests left.
func (t *tally) sum(took, sending time.Duration) loadAnswer {
	a := t.answer
	a.Seconds = took.Seconds()
	if sending > 0 {
		a.Rate = float64(a.Requests) / sending.Seconds()
	}
	a.Latency = distribution(t.taken)
	return a
}

func distribution(taken []time.Duration) latency {
	taken = slices.Sorted(slices.Values(taken))
	l := latency{Buckets: []bucket{}}
	var sum time.Duration
	for _, d := range taken {
		sum += d
	}
	if n := len(taken); n > 0 {
		l.Mean = (sum / time.Duration(n)).Seconds()
		l.P50, l.P90, l.P99 = quantile(taken, 50), quantile(taken, 90), quantile(taken, 99)
		l.Max = taken[n-1].Seconds()
	}
	for _, le := range bounds {
		limit := time.Duration(le * float64(time.Second))
		n, _ := slices.BinarySearchFunc(taken, limit, func(d, limit time.Duration) int {
			if d <= limit {
				return -1
			}
			return 1
		})
		l.Buckets = append(l.Buckets, bucket{LE: le, Count: n})
	}
	l.Buckets = append(l.Buckets, bucket{Count: len(taken)})
	return l
}

// quantile is the smallest value that at least so many percent of the values do not exceed (the nearest rank).
func quantile(sorted []time.Duration, percent int) float64 {
	rank := (len(sorted)*percent + 99) / 100
	return sorted[max(rank, 1)-1].Seconds()
}
