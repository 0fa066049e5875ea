package report

import (
	"encoding/xml"
	"fmt"
	"io"
	"slices"
	"strings"

	"distlab/lab/check"
)

type suites struct {
	XMLName  xml.Name `xml:"testsuites"`
	Tests    int      `xml:"tests,attr"`
	Failures int      `xml:"failures,attr"`
	Errors   int      `xml:"errors,attr"`
	Suites   []suite
}

type suite struct {
	XMLName    xml.Name   `xml:"testsuite"`
	Name       string     `xml:"name,attr"`
	Tests      int        `xml:"tests,attr"`
	Failures   int        `xml:"failures,attr"`
	Errors     int        `xml:"errors,attr"`
	Time       string     `xml:"time,attr"`
	Properties []property `xml:"properties>property"`
	Cases      []testcase
}

type property struct {
	Name  string `xml:"name,attr"`
	Value string `xml:"value,attr"`
}

type testcase struct {
	XMLName xml.Name `xml:"testcase"`
	Class   string   `xml:"classname,attr"`
	Name    string   `xml:"name,attr"`
	Time    string   `xml:"time,attr"`
	Failure *trouble `xml:"failure"`
	Error   *trouble `xml:"error"`
	Output  string   `xml:"system-out,omitempty"`
}

type trouble struct {
	Message string `xml:"message,attr"`
	Text    string `xml:",chardata"`
}

// JUnit writes a suite for each report.
func JUnit(w io.Writer, reports ...check.Report) error {
	var all suites
	for _, r := range reports {
		all.Suites = append(all.Suites, suiteOf(r))
	}
	return all.write(w)
}

// TestJUnit writes a suite for each lab and one for each of its variants; the cases of a variant pass when the claim
// fails that must, or passes that must.
func TestJUnit(w io.Writer, tests ...Test) error {
	var all suites
	for _, t := range tests {
		all.Suites = append(all.Suites, suiteOf(t.Report))
		for _, v := range t.Variants {
			all.Suites = append(all.Suites, variantSuite(t.Lab, v))
		}
	}
	return all.write(w)
}

// write encodes the suites. The encoder puts U+FFFD in the place of what XML 1.0 cannot hold, a control character or a
// broken byte (section 2.2), so any text may stand in them.
func (s suites) write(w io.Writer) error {
	for _, one := range s.Suites {
		s.Tests += one.Tests
		s.Failures += one.Failures
		s.Errors += one.Errors
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	enc := xml.NewEncoder(w)
	enc.Indent("", "  ")
	if err := enc.Encode(s); err != nil {
		return fmt.Errorf("write junit: %w", err)
	}
	_, err := io.WriteString(w, "\n")
	return err
}

func suiteOf(r check.Report) suite {
	s := newSuite(r, className(r.Lab, r.Variant))
	for _, c := range r.Claims {
		t := newCase(s.Name, c)
		switch c.Verdict {
		case check.Pass:
		case check.Fail:
			t.Failure = &trouble{Message: measured(c), Text: reasons(c)}
		default:
			t.Error = &trouble{Message: measured(c), Text: reasons(c)}
		}
		s.add(t)
	}
	if len(r.Claims) == 0 { // no case at all would be taken for a success
		s.add(testcase{Class: s.Name, Name: "claims", Time: "0.000", Error: &trouble{Message: "no claim was decided"}})
	}
	return s
}

// variantSuite has a case for each claim that the variant must break or keep, measured or not.
func variantSuite(lab string, v VariantOutcome) suite {
	s := newSuite(v.Report, className(lab, v.Variant))
	cases := func(verb string, ids []string, wanted, unwanted check.Verdict, unlike string) {
		for _, id := range ids {
			i := slices.IndexFunc(v.Report.Claims, func(c check.ClaimReport) bool { return c.ID == id })
			if i < 0 {
				s.add(testcase{
					Class: s.Name, Name: verb + " " + id, Time: "0.000",
					Error: &trouble{Message: "the claim was not decided", Text: v.Why},
				})
				continue
			}
			c := v.Report.Claims[i]
			t := newCase(s.Name, c)
			t.Name = verb + " " + id
			switch c.Verdict {
			case wanted:
			case unwanted:
				t.Failure = &trouble{Message: unlike + measured(c), Text: v.Why}
			default:
				t.Error = &trouble{Message: "the claim is inconclusive: " + measured(c), Text: v.Why + "\n" + reasons(c)}
			}
			s.add(t)
		}
	}
	cases("breaks", v.Must, check.Fail, check.Pass, "the claim still passes: ")
	cases("keeps", v.Keep, check.Pass, check.Fail, "the claim fails: ")
	return s
}

// reasons are the claim's sentence, its detail, and the receipts of its faults.
func reasons(c check.ClaimReport) string {
	lines := []string{c.Says}
	if c.Detail != "" {
		lines = append(lines, c.Detail)
	}
	for _, f := range c.Faults {
		lines = append(lines, "fault: "+proof(f))
	}
	return strings.Join(lines, "\n")
}

func newSuite(r check.Report, name string) suite {
	return suite{
		Name: name, Time: fmt.Sprintf("%.3f", r.Seconds),
		Properties: []property{{"seed", fmt.Sprint(r.Seed)}, {"engine", r.Engine}, {"instance", r.Instance}},
	}
}

func newCase(class string, c check.ClaimReport) testcase {
	return testcase{
		Class: class, Name: c.ID, Time: fmt.Sprintf("%.3f", c.Seconds),
		Output: fmt.Sprintf("%s: %s, %d samples", c.Says, measured(c), c.Samples),
	}
}

func (s *suite) add(t testcase) {
	s.Cases = append(s.Cases, t)
	s.Tests++
	if t.Failure != nil {
		s.Failures++
	}
	if t.Error != nil {
		s.Errors++
	}
}

func className(lab, variant string) string {
	if variant == "" {
		return lab
	}
	return lab + "+" + variant
}

func measured(c check.ClaimReport) string {
	text := c.Measured
	if c.Verdict != check.Inconclusive { // whose text is a sentence of its own: "not measured"
		text = "measured " + text
	}
	if c.Want != "" {
		text += ", want " + c.Want
	}
	return text
}
