package stats

import (
	"math"
	"testing"
)

func TestPairedRatio(t *testing.T) {
	exp := math.Exp
	for _, c := range []struct {
		name             string
		d                []float64 // logarithms of the ratios
		ratio, low, high float64
	}{
		// Six pairs: only the extremes will do for 0.95, since P(T ≤ 0) = 1/64 and P(T ≤ 1) = 2/64 > 0.025.
		{"six", []float64{0.1, 0.2, 0.3, 0.4, 0.5, 0.6}, exp(0.35), exp(0.1), exp(0.6)},
		// Seven: P(T ≤ 2) = 3/128 ≤ 0.025 < 5/128 = P(T ≤ 3), so the third of the averages from either end:
		// 1, 2, 3, 3, 4, 4, … 10, 10, 11, 11, 12, 13.
		{"seven", []float64{13, 3, 5, 1, 9, 11, 7}, exp(7), exp(3), exp(11)},
		{"all alike", []float64{0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5}, exp(0.5), exp(0.5), exp(0.5)},
		// One wild value moves the estimate little.
		{"outlier", []float64{0, 0, 0, 0, 0, 0, 0, 100}, 1, 1, exp(50)},
	} {
		x, y := make([]float64, len(c.d)), make([]float64, len(c.d))
		for i, d := range c.d {
			y[i] = float64(i + 1) // the level of each pair does not matter
			x[i] = y[i] * exp(d)
		}
		ratio, low, high, err := PairedRatio(x, y, 0.95)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		near := func(a, b float64) bool { return math.Abs(a-b) < 1e-9*max(1, math.Abs(b)) }
		if !near(ratio, c.ratio) || !near(low, c.low) || !near(high, c.high) {
			t.Errorf("%s: %v (%v to %v), want %v (%v to %v)", c.name, ratio, low, high, c.ratio, c.low, c.high)
		}
	}
}

// TestPairedRatioCovers tries all signs of given distances: where both sides are equally likely, the interval holds the
// true ratio, 1, as often as it claims, and not much more often.
func TestPairedRatioCovers(t *testing.T) {
	for _, confidence := range []float64{0.9, 0.95, 0.99} {
		for n := 8; n <= 12; n++ {
			held := 0
			for signs := range 1 << n {
				x, y := make([]float64, n), make([]float64, n)
				for i := range n {
					d := 0.01 + 0.1*math.Sqrt(float64(i)) // no two sums alike
					if signs>>i&1 == 1 {
						d = -d
					}
					x[i], y[i] = math.Exp(d), 1
				}
				if _, low, high, err := PairedRatio(x, y, confidence); err != nil {
					t.Fatal(err)
				} else if low <= 1 && high >= 1 {
					held++
				}
			}
			if share := float64(held) / float64(int(1)<<n); share < confidence || share > confidence+(1-confidence)*0.75 {
				t.Errorf("%d pairs: the interval of %v holds 1 in %v of all cases", n, confidence, share)
			}
		}
	}
}

func TestPairedRatioRefuses(t *testing.T) {
	six := []float64{1, 2, 3, 4, 5, 6}
	if r, _, _, err := PairedRatio(six[:5], six[:5], 0.95); err == nil || r != 1 {
		t.Errorf("five pairs: %v, %v; want an estimate and an error", r, err)
	}
	for _, bad := range [][]float64{{1, 2, 3, 4, 5, 0}, {1, 2, 3, 4, 5, math.NaN()}, {1, 2, 3, 4, 5, math.Inf(1)}, {1, 2, 3, 4, 5, -1}, {1}, nil} {
		if _, _, _, err := PairedRatio(six, bad, 0.95); err == nil {
			t.Errorf("%v: no error", bad)
		}
		if _, _, _, err := PairedRatio(bad, six, 0.95); err == nil {
			t.Errorf("%v: no error", bad)
		}
	}
	if _, _, _, err := PairedRatio(nil, nil, 0.95); err == nil {
		t.Error("no pairs: no error")
	}
}
