package stats

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// near compares to a number of significant digits, as published tables give them.
func near(got, want float64, digits int) bool {
	if want == 0 {
		return got == 0
	}
	return math.Abs(got-want) <= 0.5*math.Pow(10, math.Floor(math.Log10(math.Abs(want)))+1-float64(digits))*1.0001
}

func TestBinomialTest(t *testing.T) {
	for _, c := range []struct {
		k, n   int
		p      float64
		want   float64
		digits int
		source string
	}{
		{682, 925, 0.75, 0.3825, 4, "R, example(binom.test); Conover (1971), p. 97"},
		{0, 10, 0.5, 2.0 / 1024, 12, "by hand"},
		{10, 10, 0.5, 2.0 / 1024, 12, "by hand"},
		{1, 10, 0.5, 22.0 / 1024, 12, "by hand"},
		{5, 10, 0.5, 1, 12, "by hand"},
		{3, 3, 0.2, 0.008, 12, "by hand: nothing is as unlikely"},
		{0, 5, 0, 1, 12, "impossible, and not seen"},
		{1, 5, 0, 0, 12, "impossible, and seen"},
		{5, 5, 1, 1, 12, "certain, and seen"},
		{4, 5, 1, 0, 12, "certain, and not seen"},
		{0, 3, 0.2, 1, 12, "by hand: 0.512 and 0.384 and 0.096 and 0.008 are all at most 0.512"},
		{2, 3, 0.2, 0.104, 12, "by hand: 0.096 and 0.008"},
	} {
		if got := BinomialTest(c.k, c.n, c.p); !near(got, c.want, c.digits) {
			t.Errorf("%d of %d at %v: p-value %v, want %v (%s)", c.k, c.n, c.p, got, c.want, c.source)
		}
	}
}

func TestClopperPearson(t *testing.T) {
	for _, c := range []struct {
		k, n       int
		confidence float64
		low, high  float64
		digits     int
		source     string
	}{
		{682, 925, 0.95, 0.7076683, 0.7654066, 7, "R, example(binom.test)"},
		{0, 10, 0.95, 0, 1 - math.Pow(0.025, 0.1), 9, "closed form"},
		{10, 10, 0.95, math.Pow(0.025, 0.1), 1, 9, "closed form"},
		{1, 10, 0.95, 0.002528579, 0.4450161, 6, "R, binom.test(1, 10); Geigy tables"},
		{5, 10, 0.95, 0.187086, 0.812914, 6, "R, binom.test(5, 10); Geigy tables"},
	} {
		low, high := ClopperPearson(c.k, c.n, c.confidence)
		if !near(low, c.low, c.digits) || !near(high, c.high, c.digits) {
			t.Errorf("%d of %d: %v to %v, want %v to %v (%s)", c.k, c.n, low, high, c.low, c.high, c.source)
		}
	}
}

func TestRateAtMost(t *testing.T) {
	for _, c := range []struct {
		k, n   int
		alpha  float64
		want   float64
		digits int
		source string
	}{
		{0, 300, 0.05, 0.009936, 4, "the rule of three: 3/300"},
		{0, 1000, Alpha, 1 - math.Pow(Alpha, 0.001), 9, "closed form"},
		{0, 14, 0.05, 0.193, 3, "Hanley and Lippman-Hand (1983): 19 % for 0 of 14"},
		{1, 10, 0.05, 0.394163, 6, "R, binom.test(1, 10, alternative=\"less\")"},
		{7, 7, 0.05, 1, 9, "nothing is higher"},
	} {
		if got := RateAtMost(c.k, c.n, c.alpha); !near(got, c.want, c.digits) {
			t.Errorf("%d of %d at %v: %v, want %v (%s)", c.k, c.n, c.alpha, got, c.want, c.source)
		}
	}
}

func TestBinomialPower(t *testing.T) {
	// By hand: 5 trials of a fair coin reject at 0.1 when all are equal (p-value 2/32), which a coin of 0.9 does with
	// 0.9⁵ + 0.1⁵.
	if got, want := BinomialPower(5, 0.5, 0.9, 0.1), math.Pow(0.9, 5)+math.Pow(0.1, 5); !near(got, want, 12) {
		t.Errorf("power %v, want %v", got, want)
	}
	for _, c := range []struct{ p, actual, alpha, power float64 }{
		{0.1, 0, Alpha, Power}, {0.1, 1, Alpha, Power}, {0.1, 0.2, Alpha, Power}, {0.5, 0.45, 0.01, 0.9}, {0, 0.01, Alpha, Power},
	} {
		n := BinomialSampleSize(c.p, c.actual, c.alpha, c.power)
		for m := n; m < n+5; m++ {
			if got := BinomialPower(m, c.p, c.actual, c.alpha); got < c.power {
				t.Errorf("%v from %v: %d samples have the power %v, not %v", c.actual, c.p, m, got, c.power)
			}
		}
		if n > 1 && BinomialPower(n-1, c.p, c.actual, c.alpha) >= c.power {
			t.Errorf("%v from %v: %d samples were enough", c.actual, c.p, n-1)
		}
	}
	// A splitter that sends nothing where a tenth is claimed: 0.9ⁿ, and as unlikely ones on the other side, below Alpha.
	if n := BinomialSampleSize(0.1, 0, Alpha, Power); n < 73 || n > 95 {
		t.Errorf("a tenth or nothing: %d samples", n)
	}
}

// runs is how often a simulation is repeated. Its seed is fixed: the tests below do not fail by chance.
const runs = 2000

// rate requires that a share of at most (or at least) want of the runs is so, within what chance allows in so many
// runs: one in a million.
func rate(t *testing.T, what string, most bool, want float64, happens func(*rand.Rand) bool) {
	t.Helper()
	r := rand.New(rand.NewPCG(1, 2))
	n := 0
	for range runs {
		if happens(r) {
			n++
		}
	}
	low, high := ClopperPearson(n, runs, 1-2e-6)
	if most && low > want || !most && high < want {
		t.Errorf("%s: %d of %d runs; should be %v", what, n, runs, want)
	}
}

func binomial(r *rand.Rand, n int, p float64) (k int) {
	for range n {
		if r.Float64() < p {
			k++
		}
	}
	return k
}

func TestBinomialSimulated(t *testing.T) {
	for _, p := range []float64{0.5, 0.1, 0.01} {
		for _, n := range []int{7, 200} {
			name := fmt.Sprintf("n=%d p=%v", n, p)
			values := binomialPValues(n, p)
			for _, alpha := range []float64{Alpha, 0.05} {
				rate(t, name+" false alarms", true, alpha, func(r *rand.Rand) bool { return values[binomial(r, n, p)] < alpha })
			}
			rate(t, name+" interval covers", false, 0.9, func(r *rand.Rand) bool {
				low, high := ClopperPearson(binomial(r, n, p), n, 0.9)
				return low <= p && p <= high
			})
			rate(t, name+" bound is too low", true, 0.05, func(r *rand.Rand) bool { return RateAtMost(binomial(r, n, p), n, 0.05) < p })
		}
	}
	n := BinomialSampleSize(0.1, 0.3, Alpha, 0.9)
	rate(t, "power", false, 0.9, func(r *rand.Rand) bool { return BinomialTest(binomial(r, n, 0.3), n, 0.1) < Alpha })
	n = BinomialSampleSize(0.1, 0, Alpha, Power)
	rate(t, "a broken splitter is caught", false, 1, func(r *rand.Rand) bool { return BinomialTest(binomial(r, n, 0), n, 0.1) < Alpha })
}

// TestAlphaOf: several tests in a claim fail it no more often than one.
func TestAlphaOf(t *testing.T) {
	if AlphaOf(1) != Alpha || AlphaOf(4) != Alpha/4 || AlphaOf(0) != Alpha {
		t.Errorf("AlphaOf: %v %v %v", AlphaOf(0), AlphaOf(1), AlphaOf(4))
	}
}

// TestStatisticsRefuse: nonsense is never a p-value. A claim that panics is inconclusive.
func TestStatisticsRefuse(t *testing.T) {
	nan := math.NaN()
	for name, call := range map[string]func(){
		"no trials":           func() { BinomialTest(0, 0, 0.5) },
		"more than all":       func() { BinomialTest(3, 2, 0.5) },
		"less than none":      func() { BinomialTest(-1, 2, 0.5) },
		"no chance":           func() { BinomialTest(1, 2, 1.5) },
		"chance is no number": func() { BinomialTest(1, 2, nan) },
		"confidence":          func() { ClopperPearson(1, 2, 1) },
		"alpha":               func() { RateAtMost(1, 2, 0) },
		"power":               func() { BinomialSampleSize(0.1, 0.2, 0.1, 1) },
		"too close":           func() { BinomialSampleSize(0.1, 0.1, 0.1, 0.9) },
		"fisher":              func() { FisherTest(1, 2, 3, 2) },
		"no values":           func() { MannWhitney(nil, []float64{1}) },
		"value is no number":  func() { MannWhitney([]float64{1}, []float64{nan}) },
		"quantile of nothing": func() { Quantile(nil, 0.5, 0.9) },
		"quantile":            func() { Quantile([]float64{1}, 1, 0.9) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			call()
		})
	}
}
