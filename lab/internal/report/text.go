package report

import (
	"fmt"
	"io"
	"strings"
	"unicode"
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
	width int // of the longest ID
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

// known takes what is no verdict for inconclusive.
func known(v check.Verdict) check.Verdict {
	if _, ok := marks[v]; !ok {
		return check.Inconclusive
	}
	return v
}

func (o Options) paint(v check.Verdict, text string) string {
	if !o.Color {
		return text
	}
	return "\x1b[" + marks[known(v)].color + "m" + text + "\x1b[0m"
}

func (o Options) mark(v check.Verdict) string { return o.paint(v, marks[known(v)].mark) }

// Claim writes one claim: what was measured and wanted, and for one that did not pass, why.
func (p *Printer) Claim(c check.ClaimReport) {
	pad := strings.Repeat(" ", max(0, p.width-utf8.RuneCountInString(c.ID)))
	indent := strings.Repeat(" ", p.width+6)
	p.printf("  %s %s%s  ", p.o.mark(c.Verdict), plain(c.ID), pad)
	p.wrap(indent, append(against(c), fmt.Sprintf("%.1f s", c.Seconds)))
	if c.Verdict == check.Pass {
		return
	}
	p.text(indent, string(known(c.Verdict))+": "+c.Says)
	for line := range strings.Lines(c.Detail) {
		p.text(indent, line)
	}
	for _, f := range c.Faults {
		p.text(indent, "fault: "+proof(f))
	}
}

// against are the words of a measurement and what it was compared with.
func against(c check.ClaimReport) []string {
	words := strings.Fields(plain(c.Measured))
	if want := strings.Fields(plain(c.Want)); len(want) > 0 {
		want[0] = "(want " + want[0] // not to be parted
		want[len(want)-1] += ")"
		words = append(words, want...)
	}
	return words
}

// proof is a receipt as a line.
func proof(f check.Receipt) string {
	during, after := f.During, f.After
	if during == "" {
		during = "not seen"
	}
	if after == "" {
		after = "not healed"
	}
	return fmt.Sprintf("%s: %s → %s → %s", f.Fault, f.Before, during, after)
}

// text writes a line from the indent on, and goes on under itself; a blank one is left out.
func (p *Printer) text(indent, line string) {
	words := strings.Fields(plain(line))
	if len(words) == 0 {
		return
	}
	p.printf("%s", indent)
	p.wrap(indent, words)
}

// wrap writes words from the column of the indent on, and goes on there in the next line when the width is used up.
// A terminal that leaves hardly a word beside the indent wraps by itself better.
func (p *Printer) wrap(indent string, words []string) { p.wrapFrom(len(indent), indent, words) }

// wrapFrom begins at a column of its own.
func (p *Printer) wrapFrom(at int, indent string, words []string) {
	wide := p.o.Width
	if wide < len(indent)+20 {
		wide = 0
	}
	for i, word := range words {
		n := utf8.RuneCountInString(word)
		switch {
		case i == 0: // it stays where the caller has begun
		case wide > 0 && at+1+n > wide:
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

// plain takes away what could command a terminal: a detail may quote a container's log.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && !unicode.IsSpace(r) || unicode.Is(unicode.Cf, r) {
			return utf8.RuneError
		}
		return r
	}, s)
}

func oneLine(s string) string { return strings.Join(strings.Fields(plain(s)), " ") }

func tally(claims []check.ClaimReport) string {
	n := map[check.Verdict]int{}
	for _, c := range claims {
		n[known(c.Verdict)]++
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
	verdict := string(known(r.Verdict))
	words := append(strings.Fields(tally(r.Claims)), fmt.Sprintf("in %.1f s,", r.Seconds), fmt.Sprintf("seed %d", r.Seed))
	if r.Engine != "" {
		words[len(words)-1] += ","
		words = append(words, strings.Fields(oneLine(r.Engine))...)
	}
	p.printf("%s: ", p.o.paint(r.Verdict, verdict))
	p.wrapFrom(utf8.RuneCountInString(verdict)+2, "  ", words)
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

// TestText writes whole tests: the lab's claims, then each variant with the claims that it must break, then the
// verdict over all.
func TestText(w io.Writer, o Options, tests ...Test) error {
	for _, t := range tests {
		if err := Text(w, o, t.Report); err != nil {
			return err
		}
		p := &Printer{w: w, o: o}
		for _, v := range t.Variants {
			p.variant(v)
		}
		p.printf("%s: %s in %.1f s\n", p.o.paint(t.Verdict, string(known(t.Verdict))), t.Lab, t.Seconds)
		if p.err != nil {
			return p.err
		}
	}
	return nil
}

func (p *Printer) variant(v VariantOutcome) {
	const indent = "      "
	what := "variant"
	if len(v.Must) == 0 {
		what = "stand-in"
	}
	if v.OK {
		p.printf("  %s %s %s %s, as it must\n", p.o.mark(check.Pass), what, v.Variant, duties(v, "breaks", "keeps"))
	} else {
		p.printf("  %s %s %s must %s: ", p.o.mark(check.Fail), what, v.Variant, duties(v, "break", "keep"))
		p.wrap(indent, strings.Fields(plain(v.Why)))
	}
	for _, c := range v.Report.Claims {
		p.text(indent, c.ID+": "+strings.Join(against(c), " "))
		if known(c.Verdict) == check.Inconclusive {
			for line := range strings.Lines(c.Detail) {
				p.text(indent+"  ", line)
			}
		}
	}
}

// duties are the claims that a variant must break and those that it must keep.
func duties(v VariantOutcome, breaks, keeps string) string {
	var words []string
	if len(v.Must) > 0 {
		words = append(words, breaks+" "+strings.Join(v.Must, ", "))
	}
	if len(v.Keep) > 0 {
		words = append(words, keeps+" "+strings.Join(v.Keep, ", "))
	}
	return strings.Join(words, " and ")
}
