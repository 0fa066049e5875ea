package report

import (
	"bytes"
	"encoding/xml"
	"strings"
	"testing"
	"unicode/utf8"

	"distlab/lab/check"
)

// FuzzJUnit: whatever a claim says, the XML is well formed, and what XML can hold of it comes back.
func FuzzJUnit(f *testing.F) {
	for _, s := range []string{"", "plain", "<a href=\"x\">&amp;]]>", "\x00\x01\x1b[31m", "\xff\xfe", "\ufffe\uffff", "a\r\nb\tc", "😀 →", "\xed\xa0\x80"} {
		f.Add(s, s)
	}
	f.Fuzz(func(t *testing.T, text, attr string) {
		r := check.Report{Lab: attr, Variant: attr, Engine: attr, Claims: []check.ClaimReport{
			{ID: attr, Says: text, Verdict: check.Fail, Measured: attr, Detail: text},
			{ID: attr, Says: text, Verdict: check.Inconclusive, Measured: attr, Faults: []check.Receipt{{Fault: text, Before: text}}},
			{ID: attr, Says: text, Verdict: check.Pass, Measured: attr},
		}}
		var out bytes.Buffer
		if err := TestJUnit(&out, Test{Report: r, Variants: []VariantOutcome{{Variant: attr, Must: []string{attr, "other"}, Why: text, Report: r}}}); err != nil {
			t.Fatal(err)
		}
		if !utf8.Valid(out.Bytes()) {
			t.Error("not UTF-8")
		}
		var all struct {
			Suites []struct {
				Cases []struct {
					Name    string `xml:"name,attr"`
					Failure string `xml:"failure"`
				} `xml:"testcase"`
			} `xml:"testsuite"`
		}
		if err := xml.Unmarshal(out.Bytes(), &all); err != nil {
			t.Fatalf("%v in\n%s", err, out.String())
		}
		if len(all.Suites) != 2 || len(all.Suites[0].Cases) != 3 || len(all.Suites[1].Cases) != 2 {
			t.Fatalf("cases are missing:\n%s", out.String())
		}
		first := all.Suites[0].Cases[0]
		want := text // the sentence, and the detail if there is one
		if text != "" {
			want += "\n" + text
		}
		if got := first.Failure; got != expected(want) || first.Name != expected(attr) {
			t.Errorf("text %q is %q; want %q; name %q", text, got, expected(want), first.Name)
		}
	})
}

// expected is what XML can hold of a text: written apart from clean, from the definition of Char in XML 1.0.
func expected(s string) string {
	var b strings.Builder
	for _, r := range s {
		if r == 0x9 || r == 0xA || r == 0xD || 0x20 <= r && r <= 0xD7FF || 0xE000 <= r && r <= 0xFFFD || 0x10000 <= r && r <= 0x10FFFF {
			b.WriteRune(r)
		} else {
			b.WriteRune(utf8.RuneError)
		}
	}
	return b.String()
}
