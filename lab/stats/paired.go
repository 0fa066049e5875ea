package stats

import (
	"fmt"
	"math"
	"slices"
)

// PairedRatio compares two things that were measured in turn, x[i] and y[i] one after the other: it returns the ratio
// of x to y and an interval that covers the true one with at least the given confidence. What changes slowly, a machine
// that grows warm or busy, meets both of a pair and cancels out.
//
// The estimate is that of Hodges and Lehmann on the logarithms, the interval the one that belongs to Wilcoxon's
// signed-rank test, exact for any number of pairs. It assumes that the logarithm of the ratio scatters evenly to
// both sides, as it does when neither of the two has its turn at better times, and not that it is normal. Values must
// be above zero. Six pairs at least are needed for a confidence of 0.95; with fewer there is an estimate and an error.
//
// Source: Hodges and Lehmann, Annals of Mathematical Statistics 34 (1963), p. 598; Hollander, Wolfe, Chicken,
// Nonparametric Statistical Methods (2014), sections 3.2 and 3.3; as R's wilcox.test(log(x)-log(y), conf.int=TRUE).
func PairedRatio(x, y []float64, confidence float64) (ratio, low, high float64, err error) {
	mustLevel("confidence", confidence)
	if len(x) != len(y) || len(x) == 0 {
		return 0, 0, 0, fmt.Errorf("paired ratio: %d values and %d", len(x), len(y))
	}
	d := make([]float64, len(x))
	for i := range x {
		if !(x[i] > 0) || !(y[i] > 0) || math.IsInf(x[i], 1) || math.IsInf(y[i], 1) {
			return 0, 0, 0, fmt.Errorf("paired ratio: pair %d is %v and %v", i, x[i], y[i])
		}
		d[i] = math.Log(x[i]) - math.Log(y[i])
	}
	// Walsh averages: the mean of every two, and of each with itself.
	var means []float64
	for i := range d {
		for j := i; j < len(d); j++ {
			means = append(means, (d[i]+d[j])/2)
		}
	}
	slices.Sort(means)
	m := len(means)
	ratio = math.Exp((means[(m-1)/2] + means[m/2]) / 2)
	c := signedRankCut(len(d), (1-confidence)/2)
	if c < 0 {
		return ratio, 0, 0, fmt.Errorf("paired ratio: %d pairs are too few for a confidence of %v", len(d), confidence)
	}
	return ratio, math.Exp(means[c]), math.Exp(means[m-1-c]), nil
}

// signedRankCut is the largest k for which Wilcoxon's signed-rank statistic of n values is k or less with a chance of
// at most tail; -1 if there is none.
func signedRankCut(n int, tail float64) int {
	// ways[s] counts the subsets of the ranks 1 to n whose sum is s.
	ways := make([]float64, n*(n+1)/2+1)
	ways[0] = 1
	for rank := 1; rank <= n; rank++ {
		for s := len(ways) - 1; s >= rank; s-- {
			ways[s] += ways[s-rank]
		}
	}
	all, sum := math.Pow(2, float64(n)), 0.0
	for k, w := range ways {
		if sum += w; sum/all > tail*slack {
			return k - 1
		}
	}
	return len(ways) - 1
}
