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

// VariantOutcome says whether a variant broke what it must.
type VariantOutcome struct {
	Variant string       `json:"variant"`
	Must    []string     `json:"must_break"`
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

// JSON writes one report as an object, several as an array.
func JSON(w io.Writer, reports ...check.Report) error { return encode(w, reports) }

// TestJSON writes one test as an object, several as an array.
func TestJSON(w io.Writer, tests ...Test) error { return encode(w, tests) }

func encode[T any](w io.Writer, list []T) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	if len(list) == 1 {
		return enc.Encode(list[0])
	}
	return enc.Encode(list)
}
