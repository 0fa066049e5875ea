package runner

import (
	"strings"
	"testing"

	"distlab/lab/check"
)

// TestOutcome: a variant passes when, and only when, every claim fails that it must break, and passes that it must keep.
func TestOutcome(t *testing.T) {
	claim := func(id string, v check.Verdict) check.ClaimReport { return check.ClaimReport{ID: id, Verdict: v} }
	for _, c := range []struct {
		name   string
		breaks []string
		keeps  []string
		claims []check.ClaimReport
		ok     bool
		judged check.Verdict
		why    string
	}{
		{"broken", []string{"a"}, nil, []check.ClaimReport{claim("a", check.Fail)}, true, check.Pass, ""},
		{"both broken", []string{"a", "b"}, nil, []check.ClaimReport{claim("a", check.Fail), claim("b", check.Fail)}, true, check.Pass, ""},
		{"not broken", []string{"a"}, nil, []check.ClaimReport{claim("a", check.Pass)}, false, check.Fail, "a still passes"},
		{"half broken", []string{"a", "b"}, nil, []check.ClaimReport{claim("a", check.Fail), claim("b", check.Pass)}, false, check.Fail, "b still passes"},
		{"unsure", []string{"a"}, nil, []check.ClaimReport{claim("a", check.Inconclusive)}, false, check.Inconclusive, "a is inconclusive"},
		{"not measured", []string{"a", "b"}, nil, []check.ClaimReport{claim("a", check.Fail)}, false, check.Inconclusive, "not every claim"},
		{"kept", nil, []string{"a"}, []check.ClaimReport{claim("a", check.Pass)}, true, check.Pass, ""},
		{"not kept", nil, []string{"a"}, []check.ClaimReport{claim("a", check.Fail)}, false, check.Fail, "a fails"},
		{"not known to be kept", nil, []string{"a"}, []check.ClaimReport{claim("a", check.Inconclusive)}, false, check.Inconclusive, "nothing was seen to be kept"},
		{"broken and kept", []string{"b"}, []string{"a"}, []check.ClaimReport{claim("a", check.Pass), claim("b", check.Fail)}, true, check.Pass, ""},
		{"the wrong way round", []string{"b"}, []string{"a"}, []check.ClaimReport{claim("a", check.Fail), claim("b", check.Pass)}, false, check.Fail, "a fails: the claim asks for more than the pattern, or the program lacks it; b still passes"},
		{"the kept one was not measured", []string{"b"}, []string{"a"}, []check.ClaimReport{claim("b", check.Fail)}, false, check.Inconclusive, "not every claim"},
		{"nothing measured", []string{"a"}, nil, nil, false, check.Inconclusive, "not every claim"},
	} {
		t.Run(c.name, func(t *testing.T) {
			out := Outcome(check.Variant{Name: "v", Breaks: c.breaks, Keeps: c.keeps}, check.Report{Claims: c.claims})
			if out.OK != c.ok || Judge(out) != c.judged || !strings.Contains(out.Why, c.why) {
				t.Errorf("ok %v, verdict %s, why %q; want %v, %s, %q", out.OK, Judge(out), out.Why, c.ok, c.judged, c.why)
			}
		})
	}
}
