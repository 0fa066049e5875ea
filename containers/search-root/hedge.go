package main

import (
	"slices"
	"sync"
	"time"
)

// Hedging says when a second replica is asked.
//
// Source: Dean and Barroso, The Tail at Scale, CACM 56 (2013).
type Hedging struct {
	Quantile    float64
	Least, Most time.Duration
	Budget      *Budget
}

// delay is how long the first replica has for itself.
func (h *Hedging) delay(of *latencies) time.Duration {
	p, ok := of.quantile(h.Quantile)
	if !ok {
		return h.Most
	}
	return min(max(p, h.Least), h.Most)
}

// burst is what a budget can save up: a clump of slow answers is hedged, a whole slow fleet is not.
const burst = 10

// Budget bounds second requests to a part of the first ones, so that a fleet that is slow altogether does not get twice
// the work just then. It counts, and knows no time. It may be used by several goroutines.
type Budget struct {
	Ratio float64 // for each first request; 1 is no bound
	Burst float64

	mu     sync.Mutex
	tokens float64
}

// Deposit is told of a first request.
func (b *Budget) Deposit() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.tokens = min(b.tokens+b.Ratio, b.Burst)
}

// Withdraw takes a second request, or is false if there is none left.
func (b *Budget) Withdraw() bool {
	if b.Ratio >= 1 {
		return true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}

func (b *Budget) left() float64 { b.mu.Lock(); defer b.mu.Unlock(); return b.tokens }

// latencies are the last times that a replica took. It may be used by several goroutines.
type latencies struct {
	mu     sync.Mutex
	last   [256]time.Duration
	n      int // that there have been
	sorted []time.Duration
	at     int // n when sorted was made
}

const (
	enough    = 20 // times before a quantile says anything
	sortEvery = 16 // times between two looks: sorting costs more than a few late answers
)

func (l *latencies) add(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last[l.n%len(l.last)] = d
	l.n++
}

func (l *latencies) quantile(q float64) (time.Duration, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.n < enough {
		return 0, false
	}
	if l.sorted == nil || l.n-l.at >= sortEvery {
		l.sorted = append(l.sorted[:0], l.last[:min(l.n, len(l.last))]...)
		slices.Sort(l.sorted)
		l.at = l.n
	}
	return l.sorted[min(int(q*float64(len(l.sorted))), len(l.sorted)-1)], true
}
