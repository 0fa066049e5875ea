package report

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"distlab/lab/check"
)

var update = flag.Bool("update", false, "write the golden files anew")

// good is a run in which all is well.
func good() check.Report {
	return check.Report{
		Lab: "sidecar/tls", Instance: "mine", Verdict: check.Pass, Seed: 7, Seconds: 3.456, Engine: "docker 20.10.24",
		Claims: []check.ClaimReport{
			{
				ID: "https", Says: "the same bytes come back over HTTPS as the app gives on loopback", Verdict: check.Pass,
				Measured: "312 of 312 pages equal", Want: "all equal", Samples: 312, Seconds: 1.234,
			},
			{
				ID: "plaintext-closed", Says: "from another container the app's port refuses", Verdict: check.Pass,
				Measured: "20 of 20 refused", Want: "all refused", Samples: 20, Seconds: 0.04,
			},
		},
	}
}

// bad is a run with one of each verdict, and all that can stand in a claim.
func bad() check.Report {
	r := good()
	r.Variant, r.Verdict, r.Instance = "exposed-app", check.Fail, ""
	r.Claims[1].Verdict, r.Claims[1].Measured = check.Fail, "0 of 20 refused, 20 connected, and this is rather a long way to say that none was"
	r.Claims[1].Detail = "first answer: 200 <html>&\n\n  second answer:\tit is open to everyone who asks for it, and nobody minds\r\n\x1b[31mred\x00\xff"
	r.Claims = append(r.Claims, check.ClaimReport{
		ID: "app-down", Says: "502 and unready within 2 s, ready again after", Verdict: check.Inconclusive,
		Measured: "not measured", Detail: "stop lab-app-1: the fault had no effect", Seconds: 10,
		Faults: []check.Receipt{
			{Fault: "stop lab-app-1", Before: "running", During: "running", After: "running"},
			{Fault: "signal lab-app-1 SIGHUP", Before: "serial 1"},
		},
	})
	return r
}

// tested is a test with a variant of each outcome.
func tested() Test {
	broken := bad()
	broken.Claims = broken.Claims[1:2]
	unseen := good()
	unseen.Variant, unseen.Claims = "trusting", unseen.Claims[:1]
	unsure := bad()
	unsure.Variant, unsure.Verdict, unsure.Claims = "restart-to-rotate", check.Inconclusive, unsure.Claims[2:]
	return Test{
		Lab: "sidecar/tls", Verdict: check.Fail, Seconds: 61.25, Report: good(),
		Variants: []VariantOutcome{
			{Variant: "exposed-app", Must: []string{"plaintext-closed"}, OK: true, Report: broken},
			{Variant: "trusting", Must: []string{"https"}, Why: "https still passes: the claim does not see what the variant takes away", Report: unseen},
			{
				Variant: "restart-to-rotate", Must: []string{"app-down", "https"},
				Why: "app-down is inconclusive, so nothing was seen to break; not every claim was measured", Report: unsure,
			},
		},
	}
}

func TestGolden(t *testing.T) {
	for _, c := range []struct {
		file  string
		write func(io.Writer) error
	}{
		{"pass.txt", func(w io.Writer) error { return Text(w, Options{}, good()) }},
		{"fail.txt", func(w io.Writer) error { return Text(w, Options{}, bad()) }},
		{"fail-60.txt", func(w io.Writer) error { return Text(w, Options{Width: 60}, bad()) }},
		{"fail-color.txt", func(w io.Writer) error { return Text(w, Options{Color: true}, bad()) }},
		{"several.txt", func(w io.Writer) error { return Text(w, Options{}, good(), bad()) }},
		{"none.txt", func(w io.Writer) error { return Text(w, Options{}, check.Report{Lab: "family/lab"}) }},
		{"test.txt", func(w io.Writer) error { return TestText(w, Options{}, tested()) }},
		{"test-60.txt", func(w io.Writer) error { return TestText(w, Options{Width: 60, Color: true}, tested()) }},
		{"verify.json", func(w io.Writer) error { return JSON(w, bad()) }},
		{"several.json", func(w io.Writer) error { return JSON(w, good(), bad()) }},
		{"array.json", func(w io.Writer) error { return JSONArray(w, check.Report{Lab: "family/lab"}) }},
		{"test.json", func(w io.Writer) error { return TestJSON(w, tested()) }},
		{"verify.xml", func(w io.Writer) error { return JUnit(w, bad()) }},
		{"several.xml", func(w io.Writer) error { return JUnit(w, good(), bad(), check.Report{Lab: "family/empty"}) }},
		{"test.xml", func(w io.Writer) error { return TestJUnit(w, tested()) }},
	} {
		t.Run(c.file, func(t *testing.T) {
			var got bytes.Buffer
			if err := c.write(&got); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join("testdata", c.file)
			if *update {
				if err := os.WriteFile(path, got.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got.String()); diff != "" {
				t.Errorf("differs from %s (go test -update writes it anew):\n%s", path, diff)
			}
		})
	}
}

// TestFieldNames: other programs read these; they are DESIGN's, and none may go or be renamed.
func TestFieldNames(t *testing.T) {
	for _, c := range []struct {
		of   any
		want []string
	}{
		{check.Report{}, []string{"lab", "variant", "instance", "verdict", "seed", "seconds", "engine", "claims"}},
		{check.ClaimReport{}, []string{"id", "says", "verdict", "measured", "want", "samples", "detail", "seconds", "faults,omitempty"}},
		{check.Receipt{}, []string{"fault", "before", "during", "after,omitempty"}},
		{Test{}, []string{"lab", "verdict", "seconds", "report", "variants"}},
		{VariantOutcome{}, []string{"variant", "must_break", "must_keep", "ok", "why,omitempty", "report"}},
	} {
		var got []string
		for _, f := range reflect.VisibleFields(reflect.TypeOf(c.of)) {
			got = append(got, f.Tag.Get("json"))
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%T:\n%s", c.of, diff)
		}
	}
}

// TestJSONShape: an object for one, an array otherwise, and never null.
func TestJSONShape(t *testing.T) {
	for _, c := range []struct {
		name  string
		write func(io.Writer) error
		want  string // with the spaces taken out, from the beginning
	}{
		{"none", func(w io.Writer) error { return JSON(w) }, "[]"},
		{"one", func(w io.Writer) error { return JSON(w, good()) }, `{"lab":"sidecar/tls"`},
		{"two", func(w io.Writer) error { return JSON(w, good(), bad()) }, `[{"lab":"sidecar/tls"`},
		{"one of a list", func(w io.Writer) error { return JSONArray(w, good()) }, `[{"lab":"sidecar/tls"`},
		{"no tests", func(w io.Writer) error { return TestJSON(w) }, "[]"},
		{"one test", func(w io.Writer) error { return TestJSON(w, Test{Variants: []VariantOutcome{{}}}) }, `{"lab":""`},
		{"two tests", func(w io.Writer) error { return TestJSON(w, Test{}, Test{}) }, `[{"lab":""`},
		{"a test of a list", func(w io.Writer) error { return TestJSONArray(w, Test{}) }, `[{"lab":""`},
	} {
		var out bytes.Buffer
		if err := c.write(&out); err != nil {
			t.Fatal(err)
		}
		text := strings.Join(strings.Fields(out.String()), "")
		if !strings.HasPrefix(text, c.want) || strings.Contains(text, "null") || !json.Valid(out.Bytes()) {
			t.Errorf("%s: %s", c.name, text)
		}
	}
}

// TestStream: claims that are printed as they come are the same text as the whole.
func TestStream(t *testing.T) {
	for _, o := range []Options{{}, {Color: true}, {Width: 50}} {
		var whole, stream strings.Builder
		r := bad()
		if err := Text(&whole, o, r); err != nil {
			t.Fatal(err)
		}
		p := NewPrinter(&stream, o, r.Lab, r.Variant, []check.Claim{{ID: "https"}, {ID: "plaintext-closed"}, {ID: "app-down"}})
		for _, c := range r.Claims {
			p.Claim(c)
		}
		if err := p.Summary(r); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(whole.String(), stream.String()); diff != "" {
			t.Errorf("%+v:\n%s", o, diff)
		}
	}
}

// TestWidths: no line is longer than the terminal unless one word is, and all words are there at any width.
func TestWidths(t *testing.T) {
	var unwrapped strings.Builder
	if err := TestText(&unwrapped, Options{}, tested()); err != nil {
		t.Fatal(err)
	}
	want := strings.Fields(unwrapped.String())
	for width := range 200 {
		var text strings.Builder
		if err := TestText(&text, Options{Width: width}, tested()); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, strings.Fields(text.String())); diff != "" {
			t.Fatalf("width %d:\n%s", width, diff)
		}
	}
	var narrow strings.Builder
	if err := TestText(&narrow, Options{Width: 25}, tested()); err != nil {
		t.Fatal(err)
	}
	// Beside an indent of 22 there would be a word a line; the variants' lines have a smaller one, and are wrapped.
	if !strings.Contains(narrow.String(), "  ✓ https             312 of 312 pages equal (want all equal) 1.2 s\n") {
		t.Errorf("width 25:\n%s", narrow.String())
	}
	var text strings.Builder
	if err := Text(&text, Options{Width: 70}, bad()); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(text.String()) {
		if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > 70 && !strings.Contains(line, "seed") {
			t.Errorf("%d columns: %s", n, line)
		}
	}
}

// TestNoVerdict: what is no verdict is shown and counted as inconclusive.
func TestNoVerdict(t *testing.T) {
	var text strings.Builder
	if err := Text(&text, Options{Color: true}, check.Report{Claims: []check.ClaimReport{{ID: "a", Verdict: "passed"}}}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"\x1b[33m?\x1b[0m a", "inconclusive:\n", "0 of 1 claims passed, 1 inconclusive"} {
		if !strings.Contains(text.String()+"\n", want) {
			t.Errorf("no %q in\n%s", want, text.String())
		}
	}
}

// TestTerminal: nothing in a report can command the terminal.
func TestTerminal(t *testing.T) {
	evil := "a\x1b]0;title\x07b\x9bc\u202ed\x00\x7f"
	c := check.ClaimReport{ID: evil, Says: evil, Measured: evil, Want: evil, Detail: evil, Faults: []check.Receipt{{Fault: evil, Before: evil, During: evil, After: evil}}}
	r := check.Report{Lab: "family/lab", Engine: evil, Claims: []check.ClaimReport{c}}
	for _, write := range []func(io.Writer) error{
		func(w io.Writer) error { return Text(w, Options{Width: 40}, r) },
		func(w io.Writer) error {
			return TestText(w, Options{}, Test{Lab: "family/lab", Report: r, Variants: []VariantOutcome{{Variant: "v", Why: evil, Report: r}}})
		},
	} {
		var out strings.Builder
		if err := write(&out); err != nil {
			t.Fatal(err)
		}
		if i := strings.IndexAny(out.String(), "\x1b\x07\u009b\u202e\x00\x7f"); i >= 0 {
			t.Errorf("at %d: %q", i, out.String())
		}
	}
}

// deaf fails after so many writes.
type deaf struct{ left int }

var errDeaf = errors.New("the disk is full")

func (d *deaf) Write(p []byte) (int, error) {
	if d.left--; d.left < 0 {
		return 0, errDeaf
	}
	return len(p), nil
}

func TestWriteErrors(t *testing.T) {
	for name, write := range map[string]func(io.Writer) error{
		"text":       func(w io.Writer) error { return Text(w, Options{}, bad()) },
		"test text":  func(w io.Writer) error { return TestText(w, Options{}, tested()) },
		"json":       func(w io.Writer) error { return JSON(w, bad()) },
		"test json":  func(w io.Writer) error { return TestJSON(w, tested()) },
		"junit":      func(w io.Writer) error { return JUnit(w, bad()) },
		"test junit": func(w io.Writer) error { return TestJUnit(w, tested()) },
	} {
		full := &deaf{left: 1 << 20}
		if err := write(full); err != nil {
			t.Fatal(err)
		}
		for n := range 1<<20 - full.left {
			if err := write(&deaf{left: n}); !errors.Is(err, errDeaf) {
				t.Errorf("%s, write %d: error %v", name, n, err)
			}
		}
	}
}

// TestJUnitCounts: the numbers that a CI server goes by.
func TestJUnitCounts(t *testing.T) {
	type counts struct{ Tests, Failures, Errors int }
	for _, c := range []struct {
		name  string
		write func(io.Writer) error
		want  counts
	}{
		{"pass", func(w io.Writer) error { return JUnit(w, good()) }, counts{2, 0, 0}},
		{"fail and inconclusive", func(w io.Writer) error { return JUnit(w, bad()) }, counts{3, 1, 1}},
		{"nothing decided is no success", func(w io.Writer) error { return JUnit(w, check.Report{}) }, counts{1, 0, 1}},
		{"no verdict is no success", func(w io.Writer) error {
			return JUnit(w, check.Report{Claims: []check.ClaimReport{{ID: "a"}}})
		}, counts{1, 0, 1}},
		{"variants", func(w io.Writer) error { return TestJUnit(w, tested()) }, counts{2 + 1 + 1 + 2, 1, 2}},
		{"a claim too many is no matter", func(w io.Writer) error {
			return TestJUnit(w, Test{Report: good(), Variants: []VariantOutcome{{Variant: "v", Must: []string{"plaintext-closed"}, OK: true, Report: bad()}}})
		}, counts{3, 0, 0}},
	} {
		var out bytes.Buffer
		if err := c.write(&out); err != nil {
			t.Fatal(err)
		}
		var all struct {
			Tests    int `xml:"tests,attr"`
			Failures int `xml:"failures,attr"`
			Errors   int `xml:"errors,attr"`
			Suites   []struct {
				Tests    int `xml:"tests,attr"`
				Failures int `xml:"failures,attr"`
				Errors   int `xml:"errors,attr"`
				Cases    []struct {
					Failure *string `xml:"failure"`
					Error   *string `xml:"error"`
				} `xml:"testcase"`
			} `xml:"testsuite"`
		}
		if err := xml.Unmarshal(out.Bytes(), &all); err != nil {
			t.Fatal(err)
		}
		if got := (counts{all.Tests, all.Failures, all.Errors}); got != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
		var cases, suites counts
		for _, s := range all.Suites {
			suites = counts{suites.Tests + s.Tests, suites.Failures + s.Failures, suites.Errors + s.Errors}
			for _, one := range s.Cases {
				cases.Tests++
				if one.Failure != nil {
					cases.Failures++
				}
				if one.Error != nil {
					cases.Errors++
				}
			}
		}
		if suites != c.want || cases != c.want {
			t.Errorf("%s: suites say %+v, cases are %+v, want %+v", c.name, suites, cases, c.want)
		}
	}
}
