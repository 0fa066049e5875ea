package bench

import (
	"math"
	"testing"
	"time"

	"distlab/lab/check"
)

func TestRowOf(t *testing.T) {
	sub := check.Subject{Name: "it", Role: check.Ours}
	one := func(units float64, invalid string) sample {
		return sample{
			work:  work{units: units, seconds: 2, p50: 0.001, p99: 0.01, invalid: invalid},
			spent: time.Second, backend: time.Second / 2, loader: 2 * time.Second, peak: 300, after: 200,
		}
	}
	row := rowOf(sub, []sample{one(1000, ""), one(3000, ""), one(2000, "")})
	near := func(got, want float64) bool { return math.Abs(got-want) < 1e-9 }
	if !near(row.Rate.Median, 1000) || !near(row.Rate.Min, 500) || !near(row.CPU.Median, 0.5) || !near(row.Cores.Median, 0.5) ||
		!near(row.BackendCores.Median, 0.25) || !near(row.LoadCores.Median, 1) || row.Memory.Median != 300 || row.After.Median != 200 {
		t.Errorf("%+v", row)
	}
	// One run with errors makes the row no measurement, however fast the others were.
	if row := rowOf(sub, []sample{one(1000, ""), one(9000, "errors")}); row.Invalid != "round 2: errors" || row.Has(check.Rate) || row.Has(check.Memory) {
		t.Errorf("with errors: %+v", row)
	}
	// A load for the memory alone has no rate.
	if row := rowOf(sub, []sample{{peak: 5, after: 4}}); row.Has(check.Rate) || row.Has(check.CPU) || row.Memory.Median != 5 {
		t.Errorf("idle: %+v", row)
	}
}

// TestSum: every pair is compared by every metric that both have, with its goals.
func TestSum(t *testing.T) {
	w := check.Workload{
		ID: "w", Says: "work", Load: check.Wrk{Connections: 1},
		Targets: []check.Target{{Subject: "a", At: "http://a:1/"}, {Subject: "b", At: "http://b:1/"}},
		Pairs:   []check.Pair{{Subject: "a", Against: "b", Goals: []check.Goal{{Metric: check.Rate, AtLeast: 1}, {Metric: check.Rate, AtLeast: 3}}}},
	}
	s := &session{bench: check.Bench{Subjects: []check.Subject{{Name: "a", Role: check.Ours}, {Name: "b", Role: check.Counterpart}}}}
	taken := map[string][]sample{}
	for range 6 {
		taken["a"] = append(taken["a"], sample{work: work{units: 200, seconds: 1}, spent: time.Second, peak: 10})
		taken["b"] = append(taken["b"], sample{work: work{units: 100, seconds: 1}, spent: time.Second, peak: 10})
	}
	rep := s.sum(w, taken)
	var got []string
	for _, r := range rep.Ratios {
		got = append(got, string(r.Metric)+" "+r.Goal+" "+string(r.Outcome))
	}
	want := []string{"rate ≥ 1 met", "rate ≥ 3 not met", "cpu  better", "memory  unclear"}
	if len(got) != len(want) {
		t.Fatalf("%q, want %q", got, want)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("%q, want %q", got[i], want[i])
		}
	}
}
