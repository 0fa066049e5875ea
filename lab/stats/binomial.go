// Package stats has the statistical tests that claims and comparisons decide by, each with its source.
package stats

import (
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/gonum/stat/distuv"
)

// Alpha is the level of a claim's statistical test: the chance with which it rejects what is true.
//
// A claim that is true shall fail by chance less than once in 1,000 runs. Half of that is spent here; the other half
// is left for what a test assumes and does not get exactly: draws that are not quite independent, the chi-square and
// normal distributions that stand for discrete ones. A claim that makes several tests, any of which can fail it,
// shares the one budget between them: see [AlphaOf].
//
// A small Alpha costs samples, not truth: [BinomialSampleSize] says how many requests it takes for a broken variant
// to be caught all the same.
const Alpha = 0.0005

// Power is the chance with which a broken variant must be caught: it is missed less than once in 10,000 runs.
const Power = 0.9999

// AlphaOf is the level for each of several tests in one claim, so that all together reject what is true with a
// chance of at most [Alpha], however they depend on each other (Bonferroni's inequality).
func AlphaOf(tests int) float64 { return Alpha / float64(max(tests, 1)) }

// BinomialTest is the exact two-sided test of whether k successes in n independent trials are compatible with a
// chance of p each. The result is the p-value: the chance, if p is true, of an outcome at most as likely as k. The
// claim fails where it is below [Alpha].
//
// It panics unless 0 ≤ k ≤ n and 0 ≤ p ≤ 1: a claim makes such a call by mistake only, and is inconclusive then.
//
// Source: the minimum-likelihood method, as R's binom.test; Conover, Practical Nonparametric Statistics (1971), p. 97.
func BinomialTest(k, n int, p float64) float64 {
	mustCount(k, n)
	mustChance("p", p)
	return binomialPValues(n, p)[k]
}

// slack makes outcomes equally likely that differ by rounding alone; the value is R's.
const slack = 1 + 1e-7

// binomialPValues are the p-values of all outcomes 0 to n.
func binomialPValues(n int, p float64) []float64 {
	like := likelihoods(n, p)
	order := make([]int, n+1)
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int {
		if like[a] < like[b] {
			return -1
		}
		return 1
	})
	values := make([]float64, n+1)
	var sum float64
	next := 0
	for _, k := range order {
		for next <= n && like[order[next]] <= like[k]*slack {
			sum += like[order[next]]
			next++
		}
		values[k] = min(sum, 1)
	}
	return values
}

// likelihoods are the chances of the outcomes 0 to n.
func likelihoods(n int, p float64) []float64 {
	like := make([]float64, n+1)
	switch {
	case p == 0:
		like[0] = 1
	case p == 1:
		like[n] = 1
	default:
		d := distuv.Binomial{N: float64(n), P: p}
		for k := range like {
			like[k] = d.Prob(float64(k))
		}
	}
	return like
}

// ClopperPearson is the exact interval for a chance of which k successes in n independent trials were seen: it covers
// the true one with at least the given confidence, 0.999 say.
//
// Source: Clopper and Pearson, Biometrika 26 (1934), p. 404.
func ClopperPearson(k, n int, confidence float64) (low, high float64) {
	mustCount(k, n)
	mustLevel("confidence", confidence)
	tail := (1 - confidence) / 2
	return lowerBound(k, n, tail), upperBound(k, n, tail)
}

// RateAtMost is the upper bound for the rate of a failure that was seen k times in n independent trials: the true
// rate is higher with a chance of at most alpha. None in n means at most about 7.6/n at [Alpha], which for a
// confidence of 95 % is the "rule of three".
//
// Source: the one-sided Clopper-Pearson bound; Hanley and Lippman-Hand, JAMA 249 (1983), p. 1743.
func RateAtMost(k, n int, alpha float64) float64 {
	mustCount(k, n)
	mustLevel("alpha", alpha)
	return upperBound(k, n, alpha)
}

func lowerBound(k, n int, tail float64) float64 {
	if k == 0 {
		return 0
	}
	return distuv.Beta{Alpha: float64(k), Beta: float64(n - k + 1)}.Quantile(tail)
}

func upperBound(k, n int, tail float64) float64 {
	if k == n {
		return 1
	}
	return distuv.Beta{Alpha: float64(k + 1), Beta: float64(n - k)}.Quantile(1 - tail)
}

// BinomialPower is the chance with which [BinomialTest] of n trials rejects p at level alpha when actual is true.
func BinomialPower(n int, p, actual, alpha float64) float64 {
	mustCount(0, n)
	mustChance("p", p)
	mustChance("actual", actual)
	mustLevel("alpha", alpha)
	var power float64
	like := likelihoods(n, actual)
	for k, value := range binomialPValues(n, p) {
		if value < alpha {
			power += like[k]
		}
	}
	return min(power, 1)
}

// BinomialSampleSize is how many trials it takes for [BinomialTest] at level alpha to tell actual, the chance in the
// broken variant, from p, the claimed one, with the given power:
//
//	n := stats.BinomialSampleSize(0.10, 0.20, stats.Alpha, stats.Power)
//
// The power of an exact test is not quite monotonous in n; this n has it, and so have the next few. The search ends
// at a million trials, which tells chances apart that differ by less than a claim should need; beyond that it panics.
func BinomialSampleSize(p, actual, alpha, power float64) int {
	mustLevel("power", power)
	const most = 1 << 20
	enough := func(n int) bool {
		for m := n; m < n+5; m++ {
			if BinomialPower(m, p, actual, alpha) < power {
				return false
			}
		}
		return true
	}
	high := 1
	for !enough(high) {
		if high *= 2; high > most {
			panic(fmt.Sprintf("binomial sample size: %v and %v are too close to be told apart", p, actual))
		}
	}
	low := high / 2 // not enough
	for high-low > 1 {
		if mid := (low + high) / 2; enough(mid) {
			high = mid
		} else {
			low = mid
		}
	}
	return high
}

func mustCount(k, n int) {
	if k < 0 || n < 1 || k > n {
		panic(fmt.Sprintf("statistics: %d of %d", k, n))
	}
}

func mustChance(what string, p float64) {
	if !(p >= 0 && p <= 1) {
		panic(fmt.Sprintf("statistics: %s %v is not a chance", what, p))
	}
}

func mustLevel(what string, p float64) {
	if !(p > 0 && p < 1) {
		panic(fmt.Sprintf("statistics: %s %v is not between 0 and 1", what, p))
	}
}

func mustNumbers(what string, xs []float64) {
	if len(xs) == 0 || slices.ContainsFunc(xs, math.IsNaN) {
		panic(fmt.Sprintf("statistics: %s: %d values, or one that is no number", what, len(xs)))
	}
}
