// Package check is what labs are written in.
//
// A lab is a compose file and a list of claims. A [Claim] is one sentence about the running lab that a
// measurement decides: [Pass], [Fail], or, when the measurement itself could not be made, [Inconclusive].
// A [Variant] is the lab with a vital part taken away; it names the claims that must then fail. Or it has the program
// that people know in the place of ours, a stand-in, and names the claims that must still pass.
//
//	var Lab = check.Lab{
//		Name: "sidecar/tls",
//		Claims: []check.Claim{{
//			ID:      "https",
//			Says:    "the same bytes come back over HTTPS as the app gives on loopback",
//			Measure: https,
//		}},
//		Variants: []check.Variant{{Name: "exposed-app", Breaks: []string{"plaintext-closed"}}},
//	}
//
//	func https(ctx context.Context, s *check.Stack) (check.Result, error) {
//		…
//		return check.Decide(same, "%d of %d pages equal", equal, n).Want("all equal").Of(n), nil
//	}
//
// A claim touches the lab only through [Stack], and knows neither Docker nor the testing package; so the same
// claims run under `lab verify` and under `go test`.
package check

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"time"
)

// DefaultTimeout bounds a claim that sets none. A claim that runs into its timeout is inconclusive.
const DefaultTimeout = 60 * time.Second

// Lab is one scenario of a pattern: what its folder's compose file starts, and what is claimed about it.
type Lab struct {
	Name     string // family/name, the folder under labs/
	Claims   []Claim
	Variants []Variant
	Bench    *Bench // what `lab bench` compares; nil for a lab that has nothing to compare with
}

// Claim is one sentence about the running lab, decided by a measurement.
type Claim struct {
	ID      string // short, lower case, stable: it is what people type
	Says    string // the sentence, naming the observable
	Timeout time.Duration
	// Measure decides the claim. An error means that nothing could be measured, which is inconclusive and
	// never a pass; a claim that is false is a Result, not an error.
	Measure func(ctx context.Context, s *Stack) (Result, error)
}

// Variant is the lab with one override file, variants/<Name>.yaml. One that breaks nothing is a stand-in: the unmodified
// program that people know in our container's place.
type Variant struct {
	Name   string
	Says   string   // what it takes away, or puts in its place
	Breaks []string // IDs of the claims that must fail
	Keeps  []string // IDs of the claims that must still pass
}

// StandIn says that the variant breaks nothing.
func (v Variant) StandIn() bool { return len(v.Breaks) == 0 }

// Decides are the claims that the variant says something of.
func (v Variant) Decides() []string { return slices.Concat(v.Breaks, v.Keeps) }

// Claim returns the lab's claim of that ID.
func (l Lab) Claim(id string) (Claim, bool) {
	for _, c := range l.Claims {
		if c.ID == id {
			return c, true
		}
	}
	return Claim{}, false
}

// Variant returns the lab's variant of that name.
func (l Lab) Variant(name string) (Variant, bool) {
	for _, v := range l.Variants {
		if v.Name == name {
			return v, true
		}
	}
	return Variant{}, false
}

var (
	labName = regexp.MustCompile(`^[a-z][a-z0-9-]*/[a-z][a-z0-9-]*$`)
	word    = regexp.MustCompile(`^[a-z][a-z0-9-]*$`)
)

// Validate reports what is wrong with a lab's declaration: a lab without claims, a variant that breaks nothing,
// a claim that no measurement decides.
func (l Lab) Validate() error {
	if !labName.MatchString(l.Name) {
		return fmt.Errorf("lab %q: the name is not family/name in lower case", l.Name)
	}
	if len(l.Claims) == 0 {
		return fmt.Errorf("lab %s: no claims", l.Name)
	}
	if l.Bench != nil {
		if err := l.Bench.Validate(); err != nil {
			return fmt.Errorf("lab %s: %w", l.Name, err)
		}
	}
	seen := map[string]bool{}
	for _, c := range l.Claims {
		switch {
		case !word.MatchString(c.ID):
			return fmt.Errorf("lab %s: claim %q: the ID is not lower case words with dashes", l.Name, c.ID)
		case seen[c.ID]:
			return fmt.Errorf("lab %s: claim %s is declared twice", l.Name, c.ID)
		case c.Says == "" || c.Measure == nil:
			return fmt.Errorf("lab %s: claim %s: needs a sentence and a measurement", l.Name, c.ID)
		}
		seen[c.ID] = true
	}
	names := map[string]bool{}
	for _, v := range l.Variants {
		switch {
		case !word.MatchString(v.Name):
			return fmt.Errorf("lab %s: variant %q: the name is not lower case words with dashes", l.Name, v.Name)
		case names[v.Name]:
			return fmt.Errorf("lab %s: variant %s is declared twice", l.Name, v.Name)
		case len(v.Decides()) == 0:
			return fmt.Errorf("lab %s: variant %s breaks no claim and keeps none", l.Name, v.Name)
		}
		names[v.Name] = true
		named := map[string]bool{}
		for _, id := range v.Decides() {
			switch {
			case !seen[id]:
				return fmt.Errorf("lab %s: variant %s names %s, which is not a claim of the lab", l.Name, v.Name, id)
			case named[id]:
				return fmt.Errorf("lab %s: variant %s names claim %s twice", l.Name, v.Name, id)
			}
			named[id] = true
		}
	}
	return nil
}
