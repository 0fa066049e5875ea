package stats

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestChiSquare(t *testing.T) {
	for _, c := range []struct {
		counts          []int
		weights         []float64
		statistic, want float64
		source          string
	}{
		{[]int{20, 15, 25}, []float64{1, 1, 1}, 2.5, 0.2865, "R, example(chisq.test)"},
		{[]int{89, 37, 30, 28, 2}, []float64{40, 20, 20, 15, 5}, 9.9901, 0.04059, "R, example(chisq.test), rescale.p"},
		{[]int{315, 101, 108, 32}, []float64{9, 3, 3, 1}, 0.47002, 0.9254, "Mendel's peas; Pearson (1900) and many since"},
		{[]int{10, 10}, []float64{1, 1}, 0, 1, "as expected"},
		{[]int{0, 20}, []float64{1, 1}, 20, 7.744e-6, "by hand: 10 + 10; the normal beyond √20"},
	} {
		statistic, p, err := ChiSquare(c.counts, c.weights)
		if err != nil || !near(statistic, c.statistic, 5) || !near(p, c.want, 4) {
			t.Errorf("%v: statistic %v, p-value %v, error %v; want %v and %v (%s)", c.counts, statistic, p, err, c.statistic, c.want, c.source)
		}
	}
	for _, c := range []struct {
		name    string
		counts  []int
		weights []float64
	}{
		{"too few", []int{4, 4}, []float64{1, 1}},
		{"lengths", []int{10, 10}, []float64{1, 1, 1}},
		{"one class", []int{10}, []float64{1}},
		{"negative count", []int{-1, 40}, []float64{1, 1}},
		{"no weight", []int{20, 20}, []float64{1, 0}},
		{"weight is no number", []int{20, 20}, []float64{1, math.NaN()}},
		{"endless weight", []int{20, 20}, []float64{1, math.Inf(1)}},
	} {
		if _, _, err := ChiSquare(c.counts, c.weights); err == nil {
			t.Errorf("%s: no error", c.name)
		}
	}
}

func TestFisherTest(t *testing.T) {
	for _, c := range []struct {
		k1, n1, k2, n2 int
		want           float64
		digits         int
		source         string
	}{
		{3, 4, 1, 4, 0.4857, 4, "Fisher's tea tasting; R, example(fisher.test)"},
		{2, 12, 15, 18, 0.0005367, 4, "Fisher's convicted twins; R, example(fisher.test)"},
		{0, 5, 5, 5, 2.0 / 252, 9, "by hand: two of C(10,5)"},
		{0, 7, 0, 9, 1, 9, "nothing to tell"},
		{7, 7, 9, 9, 1, 9, "nothing to tell"},
		{500, 1000, 500, 1000, 1, 6, "the same"},
	} {
		if got := FisherTest(c.k1, c.n1, c.k2, c.n2); !near(got, c.want, c.digits) {
			t.Errorf("%d/%d and %d/%d: p-value %v, want %v (%s)", c.k1, c.n1, c.k2, c.n2, got, c.want, c.source)
		}
		if a, b := FisherTest(c.k1, c.n1, c.k2, c.n2), FisherTest(c.k2, c.n2, c.k1, c.n1); !near(a, b, 9) {
			t.Errorf("%d/%d and %d/%d: %v one way, %v the other", c.k1, c.n1, c.k2, c.n2, a, b)
		}
	}
}

func TestMannWhitney(t *testing.T) {
	// Ozone in May and August, New York 1973: R's data set airquality.
	may := []float64{41, 36, 12, 18, 28, 23, 19, 8, 7, 16, 11, 14, 18, 14, 34, 6, 30, 11, 1, 11, 4, 32, 23, 45, 115, 37}
	august := []float64{39, 9, 16, 78, 35, 66, 122, 89, 110, 44, 28, 65, 22, 59, 23, 31, 44, 21, 9, 45, 168, 73, 76, 118, 84, 85}
	for _, c := range []struct {
		x, y    []float64
		u, want float64
		digits  int
		source  string
	}{
		{
			[]float64{0.80, 0.83, 1.89, 1.04, 1.45, 1.38, 1.91, 1.64, 0.73, 1.46},
			[]float64{1.15, 0.88, 0.90, 0.74, 1.21},
			35, 2 * 0.1272, 4, "Hollander and Wolfe (1973), p. 69; R, example(wilcox.test): one-sided 0.1272",
		},
		{may, august, 127.5, 0.0001208, 4, "R, example(wilcox.test): ozone, with ties"},
		{[]float64{1, 2, 3}, []float64{4, 5, 6}, 0, 0.1, 9, "by hand: two of C(6,3)"},
		{[]float64{4, 5, 6}, []float64{1, 2, 3}, 9, 0.1, 9, "the other way round"},
		{[]float64{1, 4}, []float64{2, 3}, 2, 1, 9, "in the middle"},
		{[]float64{7, 7}, []float64{7, 7, 7}, 3, 1, 9, "all the same"},
	} {
		u, p := MannWhitney(c.x, c.y)
		if u != c.u || !near(p, c.want, c.digits) {
			t.Errorf("U %v, p-value %v; want %v and %v (%s)", u, p, c.u, c.want, c.source)
		}
	}
}

// TestExactU compares with all arrangements, counted one by one.
func TestExactU(t *testing.T) {
	const m, n = 4, 5
	counts := make([]float64, m*n+1)
	var all float64
	for set := range 1 << (m + n) {
		u, below, ones := 0, 0, 0
		for i := range m + n {
			if set>>i&1 == 1 {
				u += below
				ones++
			} else {
				below++
			}
		}
		if ones == m {
			counts[u]++
			all++
		}
	}
	for u := range counts {
		var low, high float64
		for j, c := range counts {
			if j <= u {
				low += c
			}
			if j >= u {
				high += c
			}
		}
		if got, want := exactU(m, n, u), min(2*min(low, high)/all, 1); !near(got, want, 9) {
			t.Errorf("U %d: %v, want %v", u, got, want)
		}
	}
	// The exact test and its approximation must not part where one takes over from the other.
	for _, u := range []int{900, 1000, 1100, 1200} {
		z := (math.Abs(float64(u)-1200.5) - 0.5) / math.Sqrt(49*49*99/12.0)
		if exact, normal := exactU(49, 49, u), math.Erfc(max(z, 0)/math.Sqrt2); math.Abs(exact/normal-1) > 0.05 {
			t.Errorf("49 and 49, U %d: exact %v, normal %v", u, exact, normal)
		}
	}
}

func TestQuantile(t *testing.T) {
	upTo := func(n int) (xs []float64) {
		for i := range n {
			xs = append(xs, float64(n-i))
		}
		return xs
	}
	for _, c := range []struct {
		n                   int
		q, confidence       float64
		estimate, low, high float64
		source              string
	}{
		{10, 0.5, 0.95, 5, 2, 9, "David and Nagaraja (2003): ranks 2 and 9 of 10, 0.979"},
		{20, 0.5, 0.95, 10, 6, 15, "the sign test's tables: ranks 6 and 15 of 20, 0.959"},
		{6, 0.5, 0.95, 3, 1, 6, "ranks 1 and 6 of 6, 0.969"},
		{757, 0.99, 0.999, 750, 739, 757, "0.99⁷⁵⁷ is below 0.0005"},
	} {
		estimate, low, high, err := Quantile(upTo(c.n), c.q, c.confidence)
		if err != nil || estimate != c.estimate || high != c.high || low != c.low {
			t.Errorf("%v of %d: %v in %v to %v, %v; want %v in %v to %v (%s)",
				c.q, c.n, estimate, low, high, err, c.estimate, c.low, c.high, c.source)
		}
	}
	for _, c := range []struct {
		n             int
		q, confidence float64
	}{{5, 0.5, 0.95}, {756, 0.99, 0.999}, {756, 0.01, 0.999}} {
		if _, _, _, err := Quantile(upTo(c.n), c.q, c.confidence); err == nil {
			t.Errorf("%v of %d with %v: no error", c.q, c.n, c.confidence)
		}
	}
}

func TestComparisonsSimulated(t *testing.T) {
	exponential := func(r *rand.Rand, n int, mean float64) (xs []float64) {
		for range n {
			xs = append(xs, mean*r.ExpFloat64())
		}
		return xs
	}
	for _, alpha := range []float64{Alpha, 0.05} {
		for _, n := range []int{12, 80} {
			rate(t, fmt.Sprintf("Mann-Whitney, n=%d", n), true, alpha, func(r *rand.Rand) bool {
				_, p := MannWhitney(exponential(r, n, 3), exponential(r, n+1, 3))
				return p < alpha
			})
		}
		rate(t, "Mann-Whitney with ties", true, alpha, func(r *rand.Rand) bool {
			x, y := exponential(r, 60, 3), exponential(r, 70, 3)
			for i := range x {
				x[i] = math.Round(x[i])
			}
			for i := range y {
				y[i] = math.Round(y[i])
			}
			_, p := MannWhitney(x, y)
			return p < alpha
		})
		rate(t, "Fisher", true, alpha, func(r *rand.Rand) bool {
			return FisherTest(binomial(r, 100, 0.1), 100, binomial(r, 80, 0.1), 80) < alpha
		})
		// The chi-square is an approximation; within a tenth of the level it is taken as good.
		rate(t, "chi-square", true, alpha*1.1, func(r *rand.Rand) bool { return chiSquareOf(r, 300, 1, 1, 2) < alpha })
	}
	rate(t, "Mann-Whitney sees twice the latency", false, Power, func(r *rand.Rand) bool {
		_, p := MannWhitney(exponential(r, 300, 1), exponential(r, 300, 2))
		return p < Alpha
	})
	rate(t, "Fisher sees 2 % for 20 %", false, Power, func(r *rand.Rand) bool {
		return FisherTest(binomial(r, 300, 0.02), 300, binomial(r, 300, 0.2), 300) < Alpha
	})
	rate(t, "chi-square sees a shard with half the keys", false, Power, func(r *rand.Rand) bool {
		counts := []int{0, 0, 0}
		for range 600 {
			counts[[]int{0, 1, 2, 2}[r.IntN(4)]]++
		}
		_, p, _ := ChiSquare(counts, []float64{1, 1, 1})
		return p < Alpha
	})
	for _, q := range []float64{0.5, 0.9} {
		rate(t, fmt.Sprintf("%v-quantile covered", q), false, 0.9, func(r *rand.Rand) bool {
			_, low, high, err := Quantile(exponential(r, 100, 1), q, 0.9)
			actual := -math.Log(1 - q)
			return err == nil && low <= actual && actual <= high
		})
	}
}

// chiSquareOf draws n from the weights and tests them against the same.
func chiSquareOf(r *rand.Rand, n int, weights ...float64) float64 {
	var sum float64
	for _, w := range weights {
		sum += w
	}
	counts := make([]int, len(weights))
	for range n {
		x, i := r.Float64()*sum, 0
		for ; i < len(weights)-1 && x >= weights[i]; i++ {
			x -= weights[i]
		}
		counts[i]++
	}
	_, p, err := ChiSquare(counts, slices.Clone(weights))
	if err != nil {
		return 0
	}
	return p
}
