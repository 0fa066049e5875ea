package trial

import (
	"cmp"
	"math"
	"slices"
)

// Latency is the rank test of latencies: Mann and Whitney's in each stratum,
// and van Elteren's sum of all. Ranks, because latencies have no shape to rely
// on, and one that took a minute must not outweigh all others. It sees answers
// that are slower as a rule; a few that are much slower only in so far as they
// are enough to count.
//
// Source: H. B. Mann and D. R. Whitney, Annals of Mathematical Statistics 18
// (1947); P. H. van Elteren, Bulletin of the International Statistical
// Institute 37 (1960).
type Latency struct {
	sum      float64 // of the weighted rank sums, less what is expected
	variance float64
	carried  [2][]float64 // strata that were too small by themselves
}

// enough is the least sample of each arm for a stratum: below it, the normal
// approximation of the rank sum's tail is not to be trusted.
const enough = 20

// Add is one more stratum. It keeps the slices if the stratum is too small,
// and then adds it to the next.
func (t *Latency) Add(experiment, production []float64) {
	t.carried[0] = append(t.carried[0], experiment...)
	t.carried[1] = append(t.carried[1], production...)
	x, y := t.carried[0], t.carried[1]
	if len(x) < enough || len(y) < enough {
		return
	}
	t.carried = [2][]float64{}
	w, expected, variance := rankSum(x, y)
	weight := 1 / float64(len(x)+len(y)+1)
	t.sum += weight * (w - expected)
	t.variance += weight * weight * variance
}

// P is the chance of ranks of the experiment as high, or higher, if its
// latencies are production's.
func (t *Latency) P() float64 {
	if t.variance == 0 {
		return 1
	}
	return math.Erfc(t.sum/math.Sqrt(t.variance)/math.Sqrt2) / 2
}

// rankSum is the sum of the ranks of x among all, with its mean and variance
// if x and y are alike. Equal values share their ranks.
func rankSum(x, y []float64) (w, expected, variance float64) {
	type value struct {
		v float64
		x bool
	}
	all := make([]value, 0, len(x)+len(y))
	for _, v := range x {
		all = append(all, value{v, true})
	}
	for _, v := range y {
		all = append(all, value{v, false})
	}
	slices.SortFunc(all, func(a, b value) int { return cmp.Compare(a.v, b.v) })
	n, m := float64(len(x)), float64(len(y))
	ties := 0.0
	for i := 0; i < len(all); {
		j := i
		for j < len(all) && all[j].v == all[i].v {
			j++
		}
		rank := float64(i+j+1) / 2
		for _, v := range all[i:j] {
			if v.x {
				w += rank
			}
		}
		k := float64(j - i)
		ties += k*k*k - k
		i = j
	}
	total := n + m
	return w, n * (total + 1) / 2, n * m / 12 * (total + 1 - ties/(total*(total-1)))
}
