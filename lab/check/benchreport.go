package check

import (
	"slices"
	"time"

	"distlab/lab/stats"
)

// BenchReport is what `lab bench` measured of one lab. The JSON names are stable: other programs read them.
type BenchReport struct {
	Lab       string           `json:"lab"`
	Says      string           `json:"says"`
	Quick     bool             `json:"quick"` // too short to compare: no intervals, no verdicts
	Rounds    int              `json:"rounds"`
	Date      time.Time        `json:"date"`
	Seconds   float64          `json:"seconds"`
	Machine   Machine          `json:"machine"`
	Engine    string           `json:"engine"`
	Revision  string           `json:"revision"` // of the clone, "" if it is none
	Subjects  []SubjectReport  `json:"subjects"`
	Workloads []WorkloadReport `json:"workloads"`
}

// Machine is what the engine runs on.
type Machine struct {
	CPU    string `json:"cpu"` // model, "" where the engine is elsewhere
	Cores  int    `json:"cores"`
	Memory int64  `json:"memory"` // bytes
	Kernel string `json:"kernel"`
	System string `json:"system"`
}

// SubjectReport is what ran as a subject.
type SubjectReport struct {
	Name        string  `json:"name"`
	Role        Role    `json:"role"`
	Says        string  `json:"says"`
	Image       string  `json:"image"`
	Size        int64   `json:"image_bytes"`
	CPUs        float64 `json:"cpus"`         // the limit
	MemoryLimit int64   `json:"memory_limit"` // bytes
}

// WorkloadReport is one workload: its rows, and the comparisons of its pairs.
type WorkloadReport struct {
	ID          string       `json:"id"`
	Says        string       `json:"says"`
	Unit        string       `json:"unit"`
	Connections int          `json:"connections,omitempty"` // that were left open, where that is the load
	Rows        []BenchRow   `json:"rows"`
	Ratios      []BenchRatio `json:"ratios"`
}

// BenchRow is what was measured of one subject. A run with errors makes it invalid: what fails fast is not fast.
type BenchRow struct {
	Subject string `json:"subject"`
	Role    Role   `json:"role"`
	Invalid string `json:"invalid,omitempty"` // why
	Rate    Spread `json:"rate"`              // units a second
	P50     Spread `json:"p50_seconds"`
	P99     Spread `json:"p99_seconds"`
	CPU     Spread `json:"cpu_seconds_per_thousand"` // of the subject alone; of a million bytes where bytes are counted
	Memory  Spread `json:"memory_peak_bytes"`
	After   Spread `json:"memory_after_bytes"`
	// Cores are the CPUs that were busy meanwhile: with the subject, with the backends, with the load generator.
	Cores        Spread `json:"cores_subject"`
	BackendCores Spread `json:"cores_backend"`
	LoadCores    Spread `json:"cores_load"`
	// OtherCores were busy with what has no part in the comparison; without values where that is not known.
	OtherCores Spread `json:"cores_other"`
}

// Spread is a measurement that was made once a round.
type Spread struct {
	Median float64   `json:"median"`
	Min    float64   `json:"min"`
	Max    float64   `json:"max"`
	Values []float64 `json:"values"` // by round
}

// Disturbed is the most CPUs, over the rows, that were busy with other things: the median of a row.
func (r BenchReport) Disturbed() (cores float64) {
	for _, w := range r.Workloads {
		for _, row := range w.Rows {
			cores = max(cores, row.OtherCores.Median)
		}
	}
	return cores
}

// SpreadOf sums values up.
func SpreadOf(values []float64) Spread {
	s := Spread{Values: values}
	if len(values) == 0 {
		s.Values = []float64{}
		return s
	}
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	s.Min, s.Max, s.Median = sorted[0], sorted[n-1], (sorted[(n-1)/2]+sorted[n/2])/2
	return s
}

// Outcome is what a comparison comes to.
type Outcome string

// The outcomes. Those of goals say whether the whole interval keeps the bound; those without a goal say on which side
// of 1 it lies.
const (
	Met     Outcome = "met"
	NotMet  Outcome = "not met"
	Unclear Outcome = "unclear" // the interval has the bound in it, or there is none
	Better  Outcome = "better"
	Worse   Outcome = "worse"
)

// BenchRatio is one metric of a pair: the subject's value divided by the counterpart's, from the pairs of runs of each
// round, with an interval that covers the true ratio with at least the confidence.
type BenchRatio struct {
	Subject    string  `json:"subject"`
	Against    string  `json:"against"`
	Metric     Metric  `json:"metric"`
	Ratio      float64 `json:"ratio"`
	Low        float64 `json:"low"` // both 0: too few rounds for an interval
	High       float64 `json:"high"`
	Confidence float64 `json:"confidence"`
	Goal       string  `json:"goal"` // ≥ 0.9, or ""
	Outcome    Outcome `json:"outcome"`
}

// Confidence is that of the intervals of ratios.
const Confidence = 0.95

// Compare is the ratio of one metric of two rows, measured in the same rounds, against a goal or, if it is nil, against 1.
func Compare(subject, against BenchRow, metric Metric, goal *Goal) BenchRatio {
	r := BenchRatio{
		Subject: subject.Subject, Against: against.Subject, Metric: metric, Confidence: Confidence, Outcome: Unclear,
	}
	if goal != nil {
		r.Goal = goal.String()
	}
	if subject.Invalid != "" || against.Invalid != "" {
		return r
	}
	var err error
	r.Ratio, r.Low, r.High, err = stats.PairedRatio(subject.of(metric).Values, against.of(metric).Values, Confidence)
	if err != nil {
		return r
	}
	switch {
	case goal != nil:
		r.Outcome = goal.judge(r.Low, r.High)
	case r.Low > 1 == (metric == Rate) && (r.Low > 1 || r.High < 1):
		r.Outcome = Better
	case r.Low > 1 || r.High < 1:
		r.Outcome = Worse
	}
	return r
}

func (g Goal) judge(low, high float64) Outcome {
	switch {
	case g.AtLeast > 0 && low >= g.AtLeast, g.AtMost > 0 && high <= g.AtMost:
		return Met
	case g.AtLeast > 0 && high < g.AtLeast, g.AtMost > 0 && low > g.AtMost:
		return NotMet
	}
	return Unclear
}

func (r BenchRow) of(m Metric) Spread {
	switch m {
	case Rate:
		return r.Rate
	case P50:
		return r.P50
	case P99:
		return r.P99
	case CPU:
		return r.CPU
	case Memory:
		return r.Memory
	}
	return Spread{}
}

// Has says whether a metric was measured in this row.
func (r BenchRow) Has(m Metric) bool { return len(r.of(m).Values) > 0 && r.of(m).Median > 0 }
