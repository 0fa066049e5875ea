package main

import (
	"maps"
	"slices"
	"strconv"
	"time"
)

// bounds are the histogram's upper bounds in seconds; the last bucket has none and counts all.
var bounds = []float64{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10}

// firstErrors is how many errors are kept as text, firstFailed how many failed requests with their time.
const (
	firstErrors = 5
	firstFailed = 100
)

// tenth is the length of a slice of a load.
const tenth = 100 * time.Millisecond

// tally sums shots up. Only one goroutine at a time may add.
type tally struct {
	answer loadAnswer
	taken  []time.Duration
	began  time.Time // when the first request was due
	slices map[int]*moment
	failed []late
}

// moment is what happened to the requests that were due in a tenth of a second.
type moment struct {
	taken  []time.Duration
	failed int
}

// late is a failed request, before it is known when the first one was due.
type late struct {
	due  time.Time
	what string
}

func newTally() *tally {
	return &tally{answer: loadAnswer{
		Event: "result", Status: map[string]int{}, Errors: map[errorKind]int{}, First: []string{},
		Failed: []missed{}, Series: []slice{},
	}, slices: map[int]*moment{}}
}

func (t *tally) add(s *shot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := &t.answer
	a.Requests++
	t.taken = append(t.taken, s.taken)
	t.place(s)
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

// place notes a shot at its time.
func (t *tally) place(s *shot) {
	if t.began.IsZero() {
		t.began = s.due
	}
	// The first to be answered may not be the first that was due: places before it are negative until they are told.
	n := int(s.due.Sub(t.began).Truncate(tenth) / tenth)
	if s.due.Before(t.began) {
		n--
	}
	at := t.slices[n]
	if at == nil {
		at = &moment{}
		t.slices[n] = at
	}
	at.taken = append(at.taken, s.taken)
	if s.whole && s.status < 400 {
		return
	}
	at.failed++
	if len(t.failed) < firstFailed {
		t.failed = append(t.failed, late{s.due, s.what()})
	}
}

// what came of a shot that was not OK.
func (s *shot) what() string {
	if s.whole {
		return strconv.Itoa(s.status)
	}
	if s.err == nil {
		return "no answer"
	}
	return string(kindOf(s.err)) + ": " + plain(s.err)
}

// series is what was noted, in order.
func (t *tally) series() {
	a := &t.answer
	a.Began = t.began.UTC()
	order := slices.Sorted(maps.Keys(t.slices))
	for _, n := range order {
		taken := slices.Sorted(slices.Values(t.slices[n].taken))
		a.Series = append(a.Series, slice{
			At: (time.Duration(n) * tenth).Seconds(), Requests: len(taken), Failed: t.slices[n].failed,
			P50: quantile(taken, 50), P99: quantile(taken, 99), Max: taken[len(taken)-1].Seconds(),
		})
	}
	for _, f := range t.failed {
		a.Failed = append(a.Failed, missed{At: f.due.Sub(t.began).Seconds(), What: f.what})
	}
}

// sum is the answer: took is from the first request's due time to the last answer, sending the part of it in which
// requests left.
func (t *tally) sum(took, sending time.Duration) loadAnswer {
	t.series()
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
