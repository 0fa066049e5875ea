package trial

import (
	"math"
	"math/rand/v2"
	"testing"
)

func near(t *testing.T, what string, got, want, within float64) {
	t.Helper()
	if math.IsNaN(got) || math.Abs(got-want) > within {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

func TestErrors(t *testing.T) {
	var e Errors
	near(t, "nothing known", e.P(), 1, 0)
	// Fisher's tea: 3 of 4 against 1 of 4 has p = 17/70.
	e.Add(Count{3, 4}, Count{1, 4})
	near(t, "the lady tasting tea", e.P(), 17.0/70, 1e-12)
	// All 5 of 5 against none of 5: 1/252.
	e = Errors{}
	e.Add(Count{5, 5}, Count{0, 5})
	near(t, "5 of 5", e.P(), 1.0/252, 1e-12)
	// Two such strata are independent.
	e.Add(Count{5, 5}, Count{0, 5})
	near(t, "twice", e.P(), 1.0/252/252, 1e-15)
	// A stratum without failures, or without one of the arms, says nothing.
	before := e.P()
	e.Add(Count{0, 100}, Count{0, 100})
	e.Add(Count{50, 100}, Count{0, 0})
	near(t, "empty strata", e.P(), before, 1e-15)
	e = Errors{}
	e.Add(Count{0, 1000}, Count{900, 1000})
	near(t, "better", e.P(), 1, 1e-9)
	// Many failures: as the normal approximation has it, and no overflow.
	e = Errors{}
	for range 10 {
		e.Add(Count{5000, 10000}, Count{5000, 10000})
	}
	near(t, "200,000 requests", e.P(), 0.5, 0.01)
}

// All are bad in the bad hour, when the experiment has most of its traffic:
// taken together its rate is higher, but not in any hour.
func TestSimpson(t *testing.T) {
	var e Errors
	e.Add(Count{1, 100}, Count{100, 10000})
	e.Add(Count{500, 5000}, Count{500, 5000})
	if p := e.P(); p < 0.3 {
		t.Errorf("p = %v", p)
	}
	var pooled Errors
	pooled.Add(Count{501, 5100}, Count{600, 15000})
	if p := pooled.P(); p > 1e-6 {
		t.Errorf("the example is none: pooled p = %v", p)
	}
}

func TestRankSum(t *testing.T) {
	w, expected, variance := rankSum([]float64{1, 2, 3}, []float64{4, 5})
	near(t, "sum", w, 6, 0)
	near(t, "expected", expected, 9, 0)
	near(t, "variance", variance, 3, 1e-12)
	w, expected, variance = rankSum([]float64{1, 2, 2}, []float64{2, 3})
	near(t, "sum with ties", w, 1+3+3, 0)
	near(t, "expected with ties", expected, 9, 0)
	near(t, "variance with ties", variance, 3.0*2/12*(6-24.0/20), 1e-12)
	_, _, variance = rankSum([]float64{1, 1}, []float64{1, 1})
	near(t, "all alike", variance, 0, 1e-12)
}

func TestLatency(t *testing.T) {
	var l Latency
	near(t, "nothing known", l.P(), 1, 0)
	r := rand.New(rand.NewPCG(1, 1))
	sample := func(n int, shift float64) []float64 {
		list := make([]float64, n)
		for i := range list {
			list[i] = shift * math.Exp(r.NormFloat64())
		}
		return list
	}
	l.Add(sample(5, 100), sample(1000, 1))
	near(t, "too few", l.P(), 1, 0)
	for range 5 {
		l.Add(sample(5, 100), sample(100, 1))
	}
	if p := l.P(); p > 1e-6 {
		t.Errorf("carried over, hundred times slower: p = %v", p)
	}
	l = Latency{}
	l.Add(sample(200, 0.5), sample(200, 1))
	if p := l.P(); p < 0.9 {
		t.Errorf("faster: p = %v", p)
	}
}
