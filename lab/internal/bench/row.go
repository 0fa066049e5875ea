package bench

import (
	"fmt"
	"os"
	"strings"

	"distlab/lab/check"
)

// rowOf sums up the samples of one subject.
func rowOf(sub check.Subject, samples []sample) check.BenchRow {
	row := check.BenchRow{Subject: sub.Name, Role: sub.Role, OtherCores: check.SpreadOf(nil)}
	for i, s := range samples {
		if s.invalid != "" {
			row.Invalid = fmt.Sprintf("round %d: %s", i+1, s.invalid)
			break
		}
	}
	each := func(value func(sample) float64) check.Spread {
		var all []float64
		for _, s := range samples {
			all = append(all, value(s))
		}
		return check.SpreadOf(all)
	}
	if row.Invalid != "" {
		samples = nil
	}
	row.Memory = each(func(s sample) float64 { return float64(s.peak) })
	row.After = each(func(s sample) float64 { return float64(s.after) })
	if len(samples) > 0 && samples[0].units == 0 {
		samples = nil // a load that is for the memory alone
	}
	row.Rate = each(func(s sample) float64 { return s.units / s.seconds })
	row.P50 = each(func(s sample) float64 { return s.p50 })
	row.P99 = each(func(s sample) float64 { return s.p99 })
	row.CPU = each(func(s sample) float64 { return s.spent.Seconds() / s.units * 1000 })
	row.Cores = each(func(s sample) float64 { return s.spent.Seconds() / s.seconds })
	row.BackendCores = each(func(s sample) float64 { return s.backend.Seconds() / s.seconds })
	row.LoadCores = each(func(s sample) float64 { return s.loader.Seconds() / s.seconds })
	if len(samples) > 0 && samples[0].others > 0 {
		row.OtherCores = each(func(s sample) float64 { return s.others.Seconds() / s.seconds })
	}
	return row
}

// processor is the CPU's model, where the engine is on this machine.
func processor(host string) string {
	if !strings.HasPrefix(host, "unix:") {
		return ""
	}
	text, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(text)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
