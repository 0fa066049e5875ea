package check

import (
	"strings"
	"testing"
)

func TestValidate(t *testing.T) {
	good := func() Lab {
		return Lab{
			Name:     "family/lab-1",
			Claims:   []Claim{{ID: "https", Says: "it is encrypted", Measure: pass}, {ID: "app-down", Says: "502", Measure: pass}},
			Variants: []Variant{{Name: "exposed-app", Says: "the app listens everywhere", Breaks: []string{"https", "app-down"}}},
		}
	}
	for _, c := range []struct {
		name   string
		change func(*Lab)
		want   string
	}{
		{"good", func(*Lab) {}, ""},
		{"no variants", func(l *Lab) { l.Variants = nil }, ""},
		{"no family", func(l *Lab) { l.Name = "lab" }, `lab "lab": the name is not family/name`},
		{"upper case", func(l *Lab) { l.Name = "Family/lab" }, "the name is not"},
		{"three parts", func(l *Lab) { l.Name = "a/b/c" }, "the name is not"},
		{"no claims", func(l *Lab) { l.Claims = nil }, "lab family/lab-1: no claims"},
		{"claim without ID", func(l *Lab) { l.Claims[0].ID = "" }, `claim "": the ID is not`},
		{"claim ID", func(l *Lab) { l.Claims[0].ID = "App Down" }, `claim "App Down": the ID is not`},
		{"claim twice", func(l *Lab) { l.Claims[1].ID = "https" }, "claim https is declared twice"},
		{"nothing said", func(l *Lab) { l.Claims[0].Says = "" }, "claim https: needs a sentence and a measurement"},
		{"nothing measured", func(l *Lab) { l.Claims[1].Measure = nil }, "claim app-down: needs a sentence and a measurement"},
		{"variant name", func(l *Lab) { l.Variants[0].Name = "../x" }, `variant "../x": the name is not`},
		{"variant twice", func(l *Lab) { l.Variants = append(l.Variants, l.Variants[0]) }, "variant exposed-app is declared twice"},
		{"variant breaks nothing", func(l *Lab) { l.Variants[0].Breaks = nil }, "variant exposed-app breaks no claim and keeps none"},
		{"stand-in", func(l *Lab) { l.Variants[0].Breaks, l.Variants[0].Keeps = nil, []string{"https"} }, ""},
		{"variant breaks one and keeps one", func(l *Lab) { l.Variants[0].Breaks, l.Variants[0].Keeps = []string{"https"}, []string{"app-down"} }, ""},
		{"variant breaks what it keeps", func(l *Lab) { l.Variants[0].Keeps = []string{"https"} }, "variant exposed-app names claim https twice"},
		{"stand-in keeps a stranger", func(l *Lab) { l.Variants[0].Breaks, l.Variants[0].Keeps = nil, []string{"http"} }, "names http, which is not a claim of the lab"},
		{"variant breaks a stranger", func(l *Lab) { l.Variants[0].Breaks[1] = "http" }, "names http, which is not a claim of the lab"},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := good()
			c.change(&l)
			err := l.Validate()
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
}

func TestLookUp(t *testing.T) {
	l := Lab{Claims: []Claim{{ID: "a"}, {ID: "b", Says: "it"}}, Variants: []Variant{{Name: "v", Says: "them"}}}
	if c, ok := l.Claim("b"); !ok || c.Says != "it" {
		t.Errorf("claim: %+v, %v", c, ok)
	}
	if v, ok := l.Variant("v"); !ok || v.Says != "them" {
		t.Errorf("variant: %+v, %v", v, ok)
	}
	if _, ok := l.Claim("v"); ok {
		t.Error("a claim named as the variant")
	}
	if _, ok := l.Variant("b"); ok {
		t.Error("a variant named as the claim")
	}
}
