// Package report writes what a run found: as text for a person, as JSON for a program, as JUnit for CI.
//
//	p := report.NewPrinter(os.Stdout, report.Options{Color: true}, lab.Name, variant, lab.Claims)
//	p.Claim(decided) // as each is decided
//	p.Summary(rep)
//	report.JSON(os.Stdout, rep)
//
// The JSON names are those of [check.Report] and stable. JUnit follows the schema that CI servers share
// (https://github.com/testmoapp/junitxml): a suite per lab, a case per claim; a failed claim is a failure, an
// inconclusive one an error.
package report

import (
	"encoding/json"
	"io"

	"distlab/lab/check"
)

// VariantOutcome says whether a variant broke what it must, and kept what it must.
type VariantOutcome struct {
	Variant string       `json:"variant"`
	Must    []string     `json:"must_break"`
	Keep    []string     `json:"must_keep"`
	OK      bool         `json:"ok"`
	Why     string       `json:"why,omitempty"` // when not OK
	Report  check.Report `json:"report"`
}

// Test is the outcome of `lab test`: the lab unbroken, and each of its variants. Verdict is over both: a variant
// that is broken as it must be counts as a pass.
type Test struct {
	Lab      string           `json:"lab"`
	Verdict  check.Verdict    `json:"verdict"`
	Seconds  float64          `json:"seconds"`
	Report   check.Report     `json:"report"`
	Variants []VariantOutcome `json:"variants"`
}

// JSON writes one report as an object, several as an array, none as an empty one.
func JSON(w io.Writer, reports ...check.Report) error {
	if len(reports) == 1 {
		return encode(w, filled(reports[0]))
	}
	return JSONArray(w, reports...)
}

// JSONArray writes reports as an array even if there is one only: where a list was asked for, `--all` say.
func JSONArray(w io.Writer, reports ...check.Report) error {
	list := make([]check.Report, 0, len(reports))
	for _, r := range reports {
		list = append(list, filled(r))
	}
	return encode(w, list)
}

// TestJSON writes one test as an object, several as an array, none as an empty one.
func TestJSON(w io.Writer, tests ...Test) error {
	if len(tests) == 1 {
		return encode(w, tests[0].filled())
	}
	return TestJSONArray(w, tests...)
}

// TestJSONArray writes tests as an array even if there is one only.
func TestJSONArray(w io.Writer, tests ...Test) error {
	list := make([]Test, 0, len(tests))
	for _, t := range tests {
		list = append(list, t.filled())
	}
	return encode(w, list)
}

// filled has an empty list where there is none: a program that reads it shall not meet null.
func filled(r check.Report) check.Report {
	if r.Claims == nil {
		r.Claims = []check.ClaimReport{}
	}
	return r
}

func (t Test) filled() Test {
	t.Report = filled(t.Report)
	variants := make([]VariantOutcome, 0, len(t.Variants))
	for _, v := range t.Variants {
		v.Report = filled(v.Report)
		if v.Keep == nil {
			v.Keep = []string{}
		}
		if v.Must == nil {
			v.Must = []string{}
		}
		variants = append(variants, v)
	}
	t.Variants = variants
	return t
}

func encode(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}
