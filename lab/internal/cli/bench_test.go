package cli

import (
	"testing"

	"distlab/lab/check"
)

// TestBenchExit: the exit code says whether it could be measured; how it came out counts with --strict alone.
func TestBenchExit(t *testing.T) {
	report := func(invalid string, outcomes ...check.Outcome) check.BenchReport {
		w := check.WorkloadReport{Rows: []check.BenchRow{{Invalid: invalid}}}
		for _, o := range outcomes {
			w.Ratios = append(w.Ratios, check.BenchRatio{Goal: "≥ 1", Outcome: o})
		}
		// Without a goal nothing is asked for.
		w.Ratios = append(w.Ratios, check.BenchRatio{Outcome: check.Unclear}, check.BenchRatio{Outcome: check.Worse})
		return check.BenchReport{Workloads: []check.WorkloadReport{w}}
	}
	for _, c := range []struct {
		name           string
		report         check.BenchReport
		normal, strict int
	}{
		{"all met", report("", check.Met, check.Met), exitOK, exitOK},
		{"one unclear", report("", check.Met, check.Unclear), exitOK, exitInconclusive},
		{"one not met", report("", check.NotMet, check.Unclear), exitOK, exitFail},
		{"errors", report("3 errors", check.Met), exitInconclusive, exitInconclusive},
		{"errors, and one not met", report("3 errors", check.NotMet), exitInconclusive, exitFail},
	} {
		for strict, want := range map[bool]int{false: c.normal, true: c.strict} {
			var a app
			if got := a.report(t.Context(), benchExit([]check.BenchReport{c.report}, strict)); got != want {
				t.Errorf("%s, strict %v: %d, want %d", c.name, strict, got, want)
			}
		}
	}
}
