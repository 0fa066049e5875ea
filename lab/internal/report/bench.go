package report

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"distlab/lab/check"
)

// BenchJSON writes one comparison as an object, several as an array.
func BenchJSON(w io.Writer, many bool, reports ...check.BenchReport) error {
	if len(reports) == 1 && !many {
		return encode(w, reports[0])
	}
	if reports == nil {
		reports = []check.BenchReport{}
	}
	return encode(w, reports)
}

// BenchText writes comparisons as tables for a terminal.
func BenchText(w io.Writer, o Options, reports ...check.BenchReport) error {
	p := &Printer{w: w, o: o}
	for i, r := range reports {
		if i > 0 {
			p.printf("\n")
		}
		p.bench(r)
	}
	return p.err
}

func (p *Printer) bench(r check.BenchReport) {
	p.printf("%s: %s\n", r.Lab, oneLine(r.Says))
	p.printf("%s\n\n", conditions(r))
	p.table(subjectTable(r))
	if sizes := imageRatios(r); sizes != "" {
		p.printf("  image size: %s\n", sizes)
	}
	for _, w := range r.Workloads {
		p.printf("\n%s: %s\n", w.ID, oneLine(w.Says))
		p.table(rowTable(w))
		p.table(ratioTable(w, p.o))
	}
	if note := disturbance(r); note != "" {
		p.printf("\n%s\n", note)
	}
	if r.Quick {
		p.printf("\nquick: it runs; one short round is too little to compare\n")
	}
}

// disturbance says that the machine had other things to do.
func disturbance(r check.BenchReport) string {
	cores := r.Disturbed()
	if cores < quiet*float64(r.Machine.Cores) {
		return ""
	}
	return fmt.Sprintf("the machine was busy with other things: up to %.1f of its %d CPUs", cores, r.Machine.Cores)
}

// quiet is the share of a machine that may be busy with other things before it is worth a word: the engine and the kernel's
// network have their part.
const quiet = 0.15

// conditions are what the numbers depend on.
func conditions(r check.BenchReport) string {
	m := r.Machine
	parts := []string{fmt.Sprintf("%d cores", m.Cores)}
	if m.CPU != "" {
		parts = append(parts, oneLine(m.CPU))
	}
	parts = append(parts, bytesOf(float64(m.Memory)), "Linux "+oneLine(m.Kernel), oneLine(r.Engine))
	if r.Revision != "" {
		parts = append(parts, "revision "+oneLine(r.Revision))
	}
	rounds := "rounds"
	if r.Rounds == 1 {
		rounds = "round"
	}
	return strings.Join(append(parts, fmt.Sprintf("%d %s", r.Rounds, rounds), r.Date.Format("2006-01-02 15:04 UTC")), ", ")
}

// table writes columns as wide as they must be; the first and the last lean left, the others right.
func (p *Printer) table(rows [][]string) {
	if len(rows) < 2 {
		return
	}
	width := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			width[i] = max(width[i], cells(cell))
		}
	}
	for _, row := range rows {
		var line strings.Builder
		for i, cell := range row {
			pad := strings.Repeat(" ", width[i]-cells(cell))
			switch i {
			case 0:
				line.WriteString("  " + cell + pad)
			case len(row) - 1:
				line.WriteString("  " + cell)
			default:
				line.WriteString("  " + pad + cell)
			}
		}
		p.printf("%s\n", strings.TrimRight(line.String(), " "))
	}
}

// cells is how many columns a text takes, colours not counted.
func cells(s string) int {
	n := utf8.RuneCountInString(s)
	for _, v := range marks {
		n -= strings.Count(s, "\x1b["+v.color+"m") * (len(v.color) + 3)
	}
	return n - strings.Count(s, "\x1b[0m")*4
}

func subjectTable(r check.BenchReport) [][]string {
	rows := [][]string{{"subject", "image", "size", "limits", "what it is"}}
	for _, s := range r.Subjects {
		limits := fmt.Sprintf("%g CPUs, %s", s.CPUs, bytesOf(float64(s.MemoryLimit)))
		says := s.Says
		if s.Role == check.Ceiling {
			says = "ceiling: " + says
		}
		rows = append(rows, []string{oneLine(s.Name), oneLine(s.Image), fmt.Sprintf("%.1f MB", float64(s.Size)/1e6), limits, oneLine(says)})
	}
	return rows
}

// imageRatios are the sizes of the images of each pair; there is nothing to measure twice.
func imageRatios(r check.BenchReport) string {
	size := map[string]int64{}
	for _, s := range r.Subjects {
		size[s.Name] = s.Size
	}
	var all []string
	for _, w := range r.Workloads {
		for _, ratio := range w.Ratios {
			if size[ratio.Against] == 0 {
				continue
			}
			text := fmt.Sprintf("%s ÷ %s %.2f", oneLine(ratio.Subject), oneLine(ratio.Against), float64(size[ratio.Subject])/float64(size[ratio.Against]))
			if !slices.Contains(all, text) {
				all = append(all, text)
			}
		}
	}
	return strings.Join(all, "; ")
}

func rowTable(w check.WorkloadReport) [][]string {
	if w.Connections > 0 {
		rows := [][]string{{"", "resident", "a connection", "spread"}}
		for _, r := range w.Rows {
			if r.Invalid != "" {
				rows = append(rows, []string{oneLine(r.Subject), "", "", "invalid: " + oneLine(r.Invalid)})
				continue
			}
			each := fmt.Sprintf("%.1f KiB", r.Memory.Median/1024/float64(w.Connections))
			rows = append(rows, []string{oneLine(r.Subject), bytesOf(r.Memory.Median), each, plusMinus(r.Memory)})
		}
		return rows
	}
	timed := false
	for _, r := range w.Rows {
		timed = timed || r.Has(check.P50)
	}
	head := []string{"", rateUnit(w), "spread"}
	if timed {
		head = append(head, "p50", "p99")
	}
	rows := [][]string{append(head, cpuUnit(w), "resident", "CPUs: it, backend, load, others")}
	for _, r := range w.Rows {
		if r.Invalid != "" {
			row := make([]string, len(rows[0]))
			row[0], row[len(row)-1] = oneLine(r.Subject), "invalid: "+oneLine(r.Invalid)
			rows = append(rows, row)
			continue
		}
		row := []string{oneLine(r.Subject), rateOf(w, r.Rate.Median), plusMinus(r.Rate)}
		if timed {
			row = append(row, timeOf(r.P50.Median), timeOf(r.P99.Median))
		}
		rows = append(rows, append(row, digits(cpuOf(w, r.CPU.Median)), bytesOf(r.Memory.Median),
			busyOf(r)))
	}
	return rows
}

// busyOf are the CPUs that were busy with each part.
func busyOf(r check.BenchRow) string {
	text := fmt.Sprintf("%.2f, %.2f, %.2f", r.Cores.Median, r.BackendCores.Median, r.LoadCores.Median)
	if len(r.OtherCores.Values) > 0 {
		text += fmt.Sprintf(", %.2f", r.OtherCores.Median)
	}
	return text
}

// ratioTable has a row for each pair, and a column for each metric.
func ratioTable(w check.WorkloadReport, o Options) [][]string {
	head := []string{"ratio (95 % interval)"}
	var metrics []check.Metric
	for _, m := range check.Metrics {
		for _, r := range w.Ratios {
			if r.Metric == m && !slices.Contains(metrics, m) {
				metrics = append(metrics, m)
				head = append(head, string(m))
			}
		}
	}
	rows := [][]string{append(head, "goal")}
	index := map[string]int{}
	for _, r := range w.Ratios {
		name := oneLine(r.Subject) + " ÷ " + oneLine(r.Against)
		if index[name] == 0 {
			index[name] = len(rows)
			row := make([]string, len(metrics)+2)
			row[0] = name
			rows = append(rows, row)
		}
		row := rows[index[name]]
		row[1+slices.Index(metrics, r.Metric)] = o.outcome(r.Outcome, ratioOf(r))
		if r.Goal != "" {
			if row[len(row)-1] != "" {
				row[len(row)-1] += "; "
			}
			row[len(row)-1] += string(r.Metric) + " " + r.Goal + ": " + o.outcome(r.Outcome, string(r.Outcome))
		}
	}
	return rows
}

func (o Options) outcome(out check.Outcome, text string) string {
	switch out {
	case check.Met, check.Better:
		return o.paint(check.Pass, text)
	case check.NotMet, check.Worse:
		return o.paint(check.Fail, text)
	}
	return text
}

// ratioOf is a ratio with its interval, where there is one.
func ratioOf(r check.BenchRatio) string {
	switch {
	case r.Ratio == 0:
		return "–"
	case r.High == 0:
		return fmt.Sprintf("%.2f", r.Ratio)
	}
	return fmt.Sprintf("%.2f (%.2f–%.2f)", r.Ratio, r.Low, r.High)
}

func rateUnit(w check.WorkloadReport) string {
	if w.Unit == "bytes" {
		return "MB/s"
	}
	return w.Unit + "/s"
}

func cpuUnit(w check.WorkloadReport) string {
	if w.Unit == "bytes" {
		return "CPU s/GB"
	}
	return "CPU s/1000"
}

// cpuOf is CPU seconds for a thousand units, of bytes for a thousand million.
func cpuOf(w check.WorkloadReport, v float64) float64 {
	if w.Unit == "bytes" {
		return v * 1e6
	}
	return v
}

// digits is a number with three digits that count.
func digits(v float64) string {
	if v <= 0 {
		return "0"
	}
	return strconv.FormatFloat(v, 'f', max(0, 2-int(math.Floor(math.Log10(v)))), 64)
}

func rateOf(w check.WorkloadReport, v float64) string {
	if w.Unit == "bytes" {
		v /= 1e6
	}
	return grouped(v)
}

// grouped is a number with commas between thousands.
func grouped(v float64) string {
	text := fmt.Sprintf("%.0f", v)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

func timeOf(seconds float64) string {
	switch {
	case seconds <= 0:
		return "–"
	case seconds < 0.001:
		return fmt.Sprintf("%.0f µs", seconds*1e6)
	case seconds < 1:
		return fmt.Sprintf("%.3g ms", seconds*1e3)
	}
	return fmt.Sprintf("%.3g s", seconds)
}

func bytesOf(v float64) string {
	switch {
	case v >= 1<<30:
		return fmt.Sprintf("%.1f GiB", v/(1<<30))
	case v >= 100<<20:
		return fmt.Sprintf("%.0f MiB", v/(1<<20))
	}
	return fmt.Sprintf("%.1f MiB", v/(1<<20))
}

// plusMinus is how far the values lie from their median, as a share of it.
func plusMinus(s check.Spread) string {
	if len(s.Values) < 2 || s.Median == 0 {
		return "–"
	}
	return fmt.Sprintf("−%.0f/+%.0f %%", 100*(s.Median-s.Min)/s.Median, 100*(s.Max-s.Median)/s.Median)
}
