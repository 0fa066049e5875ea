package check

import "fmt"

// Verdict is what a measurement says of a claim.
type Verdict string

const (
	// Pass: measured, and as claimed.
	Pass Verdict = "pass"
	// Fail: measured, and not as claimed.
	Fail Verdict = "fail"
	// Inconclusive: not measured, because of an error, a timeout, a broken precondition, or a fault that had no
	// effect. It says nothing about the claim, and is never counted as a pass.
	Inconclusive Verdict = "inconclusive"
)

// Result is one measurement against what was wanted.
type Result struct {
	Verdict  Verdict
	Measured string // the number, with its unit
	Wanted   string // the threshold, with its unit
	Samples  int    // how many observations the number rests on
	Detail   string // more, for a reader who asks why; may have several lines
}

// Decide makes a result from a comparison: ok says whether what was measured is as claimed.
func Decide(ok bool, format string, args ...any) Result {
	v := Fail
	if ok {
		v = Pass
	}
	return Result{Verdict: v, Measured: fmt.Sprintf(format, args...)}
}

// Unknown makes an inconclusive result: the reason stands where a number would.
func Unknown(format string, args ...any) Result {
	return Result{Verdict: Inconclusive, Measured: "not measured", Detail: fmt.Sprintf(format, args...)}
}

// Want says what the measurement was compared with.
func (r Result) Want(format string, args ...any) Result {
	r.Wanted = fmt.Sprintf(format, args...)
	return r
}

// Of says how many observations the measurement rests on.
func (r Result) Of(samples int) Result {
	r.Samples = samples
	return r
}

// Because adds detail for a reader who asks why. Nothing to say adds nothing.
func (r Result) Because(format string, args ...any) Result {
	line := fmt.Sprintf(format, args...)
	if line == "" {
		return r
	}
	if r.Detail != "" {
		line = r.Detail + "\n" + line
	}
	r.Detail = line
	return r
}

// Worst is the verdict over several: fail before inconclusive before pass. None at all is inconclusive.
func Worst(verdicts ...Verdict) Verdict {
	if len(verdicts) == 0 {
		return Inconclusive
	}
	worst := Pass
	for _, v := range verdicts {
		switch {
		case v == Fail:
			return Fail
		case v != Pass:
			worst = Inconclusive
		}
	}
	return worst
}
