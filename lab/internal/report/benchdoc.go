package report

import (
	"io"
	"strings"

	"distlab/lab/check"
)

// BenchMarkdown writes comparisons as sections of a document.
func BenchMarkdown(w io.Writer, reports ...check.BenchReport) error {
	p := &Printer{w: w}
	for i, r := range reports {
		if i > 0 {
			p.printf("\n")
		}
		p.printf("## %s\n\n%s.\n\n%s. It took %.0f s.\n\n", r.Lab, oneLine(r.Says), conditions(r), r.Seconds)
		p.markdownTable(subjectTable(r))
		if sizes := imageRatios(r); sizes != "" {
			p.printf("\nImage size: %s.\n", sizes)
		}
		if note := disturbance(r); note != "" {
			p.printf("\n**Note:** %s.\n", note)
		}
		for _, wl := range r.Workloads {
			p.printf("\n### %s: %s\n\n", wl.ID, oneLine(wl.Says))
			p.markdownTable(rowTable(wl))
			if ratios := ratioTable(wl, Options{}); len(ratios) > 1 {
				p.printf("\n")
				p.markdownTable(ratios)
			}
		}
	}
	return p.err
}

// BenchDocument writes docs/benchmarks.md.
func BenchDocument(w io.Writer, reports ...check.BenchReport) error {
	p := &Printer{w: w}
	p.printf("%s", `# Benchmarks

What the containers cost beside the programs that people know. `+"`lab bench --all`"+` has written this page; run it on your machine, for
these numbers are those of one machine on one day.

**How it is measured.** The subjects stand in the same network, with the same limits, before the same backend. They are loaded in
turn, round after round; the first round warms up and does not count. A run with an error is no measurement. Each lab's folder
`+"`bench`"+` has the whole configuration, and its README says why it is so.

**How to read it.** Values are medians over the rounds (two of them for ceilings); "spread" is how far the lowest and the highest lie from it. A ratio is made of
the runs of the same round. Its interval covers the true ratio with 95 % confidence (Hodges and Lehmann's estimate with
Wilcoxon's interval); a goal is met or not met only if the whole interval is on one side of it. CPU seconds and resident memory are those of the
subject's container, as the engine counts them. A **ceiling** shows how far load generator and backend go: a subject near
it may be faster than can be seen here. "CPUs" shows how many of them were busy with what.

**The goals** are those of the project, set before the measurements. A ratio of the rate above 1 is better; of time, CPU and memory, one below.

`)
	if p.err != nil {
		return p.err
	}
	p.goals(reports)
	if p.err != nil {
		return p.err
	}
	return BenchMarkdown(w, reports...)
}

// goals is a table of all goals, for those who read no further.
func (p *Printer) goals(reports []check.BenchReport) {
	rows := [][]string{{"lab", "work", "ratio", "of", "measured", "goal", "outcome"}}
	for _, r := range reports {
		for _, w := range r.Workloads {
			for _, ratio := range w.Ratios {
				if ratio.Goal != "" {
					rows = append(rows, []string{
						r.Lab, oneLine(w.Says), oneLine(ratio.Subject) + " ÷ " + oneLine(ratio.Against), string(ratio.Metric),
						ratioOf(ratio), ratio.Goal, string(ratio.Outcome),
					})
				}
			}
		}
	}
	p.printf("## The goals\n\n")
	p.markdownTable(rows)
	p.printf("\n")
}

func (p *Printer) markdownTable(rows [][]string) {
	for i, row := range rows {
		p.printf("|")
		for _, cell := range row {
			p.printf(" %s |", strings.ReplaceAll(cell, "|", `\|`))
		}
		p.printf("\n")
		if i == 0 {
			p.printf("|%s\n", strings.Repeat(" --- |", len(row)))
		}
	}
}
