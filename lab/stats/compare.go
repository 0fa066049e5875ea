package stats

import (
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/gonum/stat/combin"
	"gonum.org/v1/gonum/stat/distuv"
)

// ChiSquare tests whether counts are compatible with the weights that were expected, which need not add up to
// anything: equal ones for "spread evenly". It returns Pearson's statistic and the p-value.
//
// The p-value is an approximation that needs at least five expected in each class, which is required, and is good at
// the level of [Alpha] from about twenty. Counts must be of independent trials: of keys or users, not of requests
// that stick to a place.
//
// Source: Pearson, Philosophical Magazine 50 (1900), p. 157; as R's chisq.test for given probabilities. Cochran,
// Biometrics 10 (1954), p. 417, on the five.
func ChiSquare(counts []int, weights []float64) (statistic, pValue float64, err error) {
	if len(counts) != len(weights) || len(counts) < 2 {
		return 0, 0, fmt.Errorf("chi-square: %d counts for %d weights", len(counts), len(weights))
	}
	var total, sum float64
	for i := range counts {
		if counts[i] < 0 || !(weights[i] > 0) || math.IsInf(weights[i], 1) {
			return 0, 0, fmt.Errorf("chi-square: class %d has count %d and weight %v", i, counts[i], weights[i])
		}
		total += float64(counts[i])
		sum += weights[i]
	}
	observed, expected := make([]float64, len(counts)), make([]float64, len(counts))
	for i := range counts {
		observed[i], expected[i] = float64(counts[i]), total*weights[i]/sum
		if expected[i] < 5 {
			return 0, 0, fmt.Errorf("chi-square: class %d would have %.2g of %v: take more samples", i, expected[i], total)
		}
	}
	statistic = stat.ChiSquare(observed, expected)
	return statistic, distuv.ChiSquared{K: float64(len(counts) - 1)}.Survival(statistic), nil
}

// FisherTest is the exact two-sided test of whether k1 of n1 and k2 of n2 come from the same chance, whatever that
// is. The result is the p-value: the chance, given the totals, of a table at most as likely.
//
// Source: Fisher, Journal of the Royal Statistical Society 98 (1935), p. 39; as R's fisher.test for two by two.
func FisherTest(k1, n1, k2, n2 int) float64 {
	mustCount(k1, n1)
	mustCount(k2, n2)
	k, n := k1+k2, n1+n2
	all := combin.LogGeneralizedBinomial(float64(n), float64(k))
	like := func(i int) float64 {
		return math.Exp(combin.LogGeneralizedBinomial(float64(n1), float64(i)) +
			combin.LogGeneralizedBinomial(float64(n2), float64(k-i)) - all)
	}
	seen := like(k1)
	var p float64
	for i := max(0, k-n2); i <= min(k, n1); i++ {
		if l := like(i); l <= seen*slack {
			p += l
		}
	}
	return min(p, 1)
}

// MannWhitney tests whether values of x tend to be larger or smaller than those of y, whatever their distribution:
// for latencies, which are never normal. U counts the pairs in which x is larger, ties for a half, so that
// U/(len(x)·len(y)) is the chance that x is the larger; the p-value is two-sided.
//
// It is exact for less than 50 values each without ties, and else the normal approximation with corrections for ties
// and continuity. Values must be independent: not the latencies of one stall.
//
// Source: Mann and Whitney, Annals of Mathematical Statistics 18 (1947), p. 50; as R's wilcox.test.
func MannWhitney(x, y []float64) (u, pValue float64) {
	mustNumbers("Mann-Whitney", x)
	mustNumbers("Mann-Whitney", y)
	u, ties := rankSum(x, y)
	if len(x) < 50 && len(y) < 50 && ties == 0 {
		return u, exactU(len(x), len(y), int(u))
	}
	m, n := float64(len(x)), float64(len(y))
	size := m + n
	sigma := math.Sqrt(m * n / 12 * (size + 1 - ties/(size*(size-1))))
	if sigma == 0 {
		return u, 1 // all values are the same
	}
	z := max(math.Abs(u-m*n/2)-0.5, 0) / sigma
	return u, min(2*distuv.UnitNormal.Survival(z), 1)
}

// rankSum is U, and the sum of t³-t over the groups of t tied values.
func rankSum(x, y []float64) (u, ties float64) {
	type value struct {
		v   float64
		ofX bool
	}
	all := make([]value, 0, len(x)+len(y))
	for _, v := range x {
		all = append(all, value{v, true})
	}
	for _, v := range y {
		all = append(all, value{v, false})
	}
	slices.SortFunc(all, func(a, b value) int {
		switch {
		case a.v < b.v:
			return -1
		case a.v > b.v:
			return 1
		}
		return 0
	})
	var ranks float64
	for i := 0; i < len(all); {
		j, mine := i, 0
		for ; j < len(all) && all[j].v == all[i].v; j++ {
			if all[j].ofX {
				mine++
			}
		}
		ranks += float64(mine) * float64(i+1+j) / 2 // ranks i+1 to j, their mean for each
		if t := float64(j - i); t > 1 {
			ties += t*t*t - t
		}
		i = j
	}
	m := float64(len(x))
	return ranks - m*(m+1)/2, ties
}

// exactU is the two-sided p-value of U without ties: twice the smaller tail.
func exactU(m, n, u int) float64 {
	// ways[j] counts the arrangements of the values so far with U = j. One more x above b values of y adds b; so
	// the generating function is the Gaussian binomial coefficient, whose factors are applied one by one.
	ways := make([]float64, m*n+1)
	ways[0] = 1
	for i := 1; i <= m; i++ {
		for j := len(ways) - 1; j >= n+i; j-- {
			ways[j] -= ways[j-n-i]
		}
		for j := i; j < len(ways); j++ {
			ways[j] += ways[j-i]
		}
	}
	var below, all float64
	u = min(u, m*n-u) // the distribution is symmetric
	for j, w := range ways {
		all += w
		if j <= u {
			below += w
		}
	}
	return min(2*below/all, 1)
}

// Quantile is the q-quantile of values, the smallest that at least a share of q of them does not exceed, with an
// interval that covers the true one with at least the given confidence, whatever the distribution. The error says
// when there are too few values for that: a 99th percentile with a confidence of 0.999 needs 757 at least.
//
// Source: order statistics; David and Nagaraja, Order Statistics (2003), section 7.1.
func Quantile(values []float64, q, confidence float64) (estimate, low, high float64, err error) {
	mustNumbers("quantile", values)
	mustLevel("quantile", q)
	mustLevel("confidence", confidence)
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	estimate = sorted[max(int(math.Ceil(q*float64(n)-1e-9)), 1)-1]
	// The number of values below the true quantile is binomial. Each tail gets half of what the confidence leaves.
	tail := (1 - confidence) / 2
	like := likelihoods(n, q)
	l, u := 0, n+1 // ranks from 1; the interval is from the l-th value to the u-th
	for sum := like[0]; sum <= tail; sum += like[l] {
		l++ // fewer than l values are below with a chance of sum
	}
	for sum := like[n]; sum <= tail; sum += like[u-1] {
		u--
	}
	if l < 1 || u > n {
		return estimate, 0, 0, fmt.Errorf("quantile: %d values are too few for the %v-quantile with confidence %v", n, q, confidence)
	}
	return estimate, sorted[l-1], sorted[u-1], nil
}
