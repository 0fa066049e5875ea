// Package trial asks whether an experiment does worse than production, while
// its share of the traffic changes. Both tests are stratified by time: what is
// compared is always the two arms in the same stretch of it, so that neither a
// bad hour for everybody nor the changing share can look like a difference
// between the arms (Simpson's paradox).
//
//	var t trial.Errors
//	t.Add(trial.Count{Bad: 3, All: 50}, trial.Count{Bad: 10, All: 950})
//	if t.P() < alpha { … }
//
// Who looks k times must divide what false alarms it bears by k: a p-value is
// for one look. Nothing here is safe for concurrent use.
package trial

import "math"

// Count is how many of an arm's requests failed.
type Count struct{ Bad, All int }

// Errors is the exact test of error rates: Fisher's in each stratum, and the
// experiment's failures of all strata together against the sum of their
// hypergeometric distributions. Exact, because in a good experiment errors are
// few, where a two-proportion z-test is wrong.
//
// Source: R. A. Fisher, Statistical Methods for Research Workers (1934); M.
// Zelen, The analysis of several 2×2 contingency tables, Biometrika 58 (1971).
type Errors struct {
	observed int       // the experiment's failures
	low      int       // the sum that dist[0] is for
	dist     []float64 // of the sum, under equal rates
}

// negligible is where tails are cut: far below any level of a test.
const negligible = 1e-18

// Add is one more stratum.
func (t *Errors) Add(experiment, production Count) {
	t.observed += experiment.Bad
	low, next := trim(hypergeometric(experiment.All, production.All, experiment.Bad+production.Bad))
	if t.dist == nil {
		t.dist = []float64{1}
	}
	sum := make([]float64, len(t.dist)+len(next)-1)
	for i, p := range t.dist {
		for j, q := range next {
			sum[i+j] += p * q
		}
	}
	t.low, t.dist = trim(t.low+low, sum)
}

// trim cuts negligible tails.
func trim(low int, p []float64) (int, []float64) {
	first, last := 0, len(p)
	for tail := 0.0; first < last-1 && tail+p[first] < negligible; first++ {
		tail += p[first]
	}
	for tail := 0.0; last > first+1 && tail+p[last-1] < negligible; last-- {
		tail += p[last-1]
	}
	return low + first, p[first:last]
}

// P is the chance of as many failures of the experiment, or more, if its rate
// is production's.
func (t *Errors) P() float64 {
	if t.dist == nil || t.observed <= t.low {
		return 1
	}
	p := 0.0
	for i := len(t.dist) - 1; i >= 0 && t.low+i >= t.observed; i-- {
		p += t.dist[i] // the smallest first, for precision
	}
	return math.Min(1, p)
}

// hypergeometric is how many of bad failures fall to the first of two groups:
// the least possible number, and the chances from there.
func hypergeometric(first, second, bad int) (low int, p []float64) {
	low = max(0, bad-second)
	p = make([]float64, min(bad, first)-low+1)
	total := logChoose(first+second, bad)
	for i := range p {
		p[i] = math.Exp(logChoose(first, low+i) + logChoose(second, bad-low-i) - total)
	}
	return low, p
}

func logChoose(n, k int) float64 {
	a, _ := math.Lgamma(float64(n + 1))
	b, _ := math.Lgamma(float64(k + 1))
	c, _ := math.Lgamma(float64(n - k + 1))
	return a - b - c
}
