package balance

import "time"

// Budget bounds retries to a share of the requests, so that an outage is not
// made worse by those who try twice: each request earns Ratio of a retry, kept
// for ten seconds at most, and PerSecond come on top. It is not safe for concurrent use.
//
// Source: Finagle's RetryBudget (ttl 10 s, minRetriesPerSec 10, percentCanRetry 20 %).
type Budget struct {
	Ratio     float64
	PerSecond float64

	earned float64 // by requests, in the current and fading windows
	bonus  float64 // by time
	last   time.Duration
}

const budgetKeeps = 10 * time.Second

func (b *Budget) advance(now time.Duration) {
	if b.last == 0 {
		b.bonus = b.PerSecond
	} else {
		passed := (now - b.last).Seconds()
		b.bonus = min(b.PerSecond*budgetKeeps.Seconds(), b.bonus+passed*b.PerSecond)
		// What was earned fades, so that a quiet night does not pay for a
		// storm in the morning.
		b.earned *= max(0, 1-passed/budgetKeeps.Seconds())
	}
	b.last = now
}

// Deposit is told of a request: not of a retry.
func (b *Budget) Deposit(now time.Duration) {
	b.advance(now)
	b.earned += b.Ratio
}

// Withdraw takes a retry, or is false if there is none left.
func (b *Budget) Withdraw(now time.Duration) bool {
	b.advance(now)
	switch {
	case b.earned >= 1:
		b.earned--
	case b.bonus >= 1:
		b.bonus--
	default:
		return false
	}
	return true
}
