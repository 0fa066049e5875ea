package report

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"distlab/lab/check"
)

// Options change the text.
type Options struct {
	Color bool
	Width int // of the terminal, in columns; 0 does not wrap
}

// Printer writes a lab's claims as they are decided. The first error of the writer ends it; Summary gives it back.
type Printer struct {
	w     io.Writer
	o     Options
	width int
	err   error
}

// NewPrinter prepares for the claims that may come: their IDs are set in one column.
func NewPrinter(w io.Writer, o Options, lab, variant string, claims []check.Claim) *Printer {
	p := &Printer{w: w, o: o}
	for _, c := range claims {
		p.width = max(p.width, utf8.RuneCountInString(c.ID))
	}
	title := lab
	if variant != "" {
		title += ", variant " + variant
	}
	p.printf("%s\n", title)
	return p
}

func (p *Printer) printf(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format, args...)
	}
}

var marks = map[check.Verdict]struct{ mark, color string }{
	check.Pass:         {"✓", "32"},
	check.Fail:         {"✗", "31"},
	check.Inconclusive: {"?", "33"},
}

func (o Options) paint(v check.Verdict, text string) string {
	m, ok := marks[v]
	if !o.Color || !ok {
		return text
	}
	return "\x1b[" + m.color + "m" + text + "\x1b[0m"
}

// Claim writes one claim: what was measured and wanted, and for one that did not pass, why.
func (p *Printer) Claim(c check.ClaimReport) {
	m, ok := marks[c.Verdict]
	if !ok {
		m = marks[check.Inconclusive]
	}
	pad := strings.Repeat(" ", max(0, p.width-utf8.RuneCountInString(c.ID)))
	words := strings.Fields(c.Measured)
	if c.Want != "" {
		words = append(words, strings.Fields("(want "+c.Want+")")...)
	}
	indent := strings.Repeat(" ", p.width+6)
	p.printf("  %s %s%s  ", p.o.paint(c.Verdict, m.mark), c.ID, pad)
	p.wrap(indent, append(words, fmt.Sprintf("%.1f s", c.Seconds)))
	if c.Verdict == check.Pass {
		return
	}
	p.printf("%s%s: %s\n", indent, c.Verdict, oneLine(c.Says))
	for line := range strings.Lines(c.Detail) {
		if line = strings.TrimSpace(line); line != "" {
			p.printf("%s%s\n", indent, line)
		}
	}
	for _, f := range c.Faults {
		p.printf("%sfault: %s: %s → %s → %s\n", indent, oneLine(f.Fault), oneLine(f.Before), oneLine(f.During), oneLine(f.After))
	}
}

// wrap writes words from the column of the indent on, and goes on there in the next line when the width is used up.
func (p *Printer) wrap(indent string, words []string) {
	at := len(indent)
	for i, word := range words {
		n := utf8.RuneCountInString(word)
		switch {
		case i == 0:
		case p.o.Width > 0 && at+1+n > p.o.Width:
			p.printf("\n%s", indent)
			at = len(indent)
		default:
			p.printf(" ")
			at++
		}
		p.printf("%s", word)
		at += n
	}
	p.printf("\n")
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

func tally(claims []check.ClaimReport) string {
	n := map[check.Verdict]int{}
	for _, c := range claims {
		n[c.Verdict]++
	}
	parts := []string{fmt.Sprintf("%d of %d claims passed", n[check.Pass], len(claims))}
	if n[check.Fail] > 0 {
		parts = append(parts, fmt.Sprintf("%d failed", n[check.Fail]))
	}
	if n[check.Inconclusive] > 0 {
		parts = append(parts, fmt.Sprintf("%d inconclusive", n[check.Inconclusive]))
	}
	return strings.Join(parts, ", ")
}

// Summary writes the verdict, and what repeats the run.
func (p *Printer) Summary(r check.Report) error {
	p.printf("%s: %s in %.1f s, seed %d, %s\n", p.o.paint(r.Verdict, string(r.Verdict)), tally(r.Claims), r.Seconds, r.Seed, r.Engine)
	return p.err
}

// Text writes whole reports.
func Text(w io.Writer, o Options, reports ...check.Report) error {
	for _, r := range reports {
		p := NewPrinter(w, o, r.Lab, r.Variant, claimsOf(r))
		for _, c := range r.Claims {
			p.Claim(c)
		}
		if err := p.Summary(r); err != nil {
			return err
		}
	}
	return nil
}

func claimsOf(r check.Report) []check.Claim {
	var out []check.Claim
	for _, c := range r.Claims {
		out = append(out, check.Claim{ID: c.ID})
	}
	return out
}

// TestText writes whole tests: the lab's claims, then a line for each variant.
func TestText(w io.Writer, o Options, tests ...Test) error {
	for _, t := range tests {
		if err := Text(w, o, t.Report); err != nil {
			return err
		}
		p := &Printer{w: w, o: o}
		for _, v := range t.Variants {
			p.variant(v)
		}
		p.printf("%s: %s in %.1f s\n", p.o.paint(t.Verdict, string(t.Verdict)), t.Lab, t.Seconds)
		if p.err != nil {
			return p.err
		}
	}
	return nil
}

func (p *Printer) variant(v VariantOutcome) {
	must := strings.Join(v.Must, ", ")
	if v.OK {
		p.printf("  %s variant %s breaks %s, as it must\n", p.o.paint(check.Pass, "✓"), v.Variant, must)
	} else {
		p.printf("  %s variant %s must break %s: %s\n", p.o.paint(check.Fail, "✗"), v.Variant, must, oneLine(v.Why))
	}
	for _, c := range v.Report.Claims {
		p.printf("      %s: %s (want %s)\n", c.ID, oneLine(c.Measured), oneLine(c.Want))
	}
}
