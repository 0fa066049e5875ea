package report

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"distlab/lab/check"
)

// compared is a comparison with all that can stand in one: rates, bytes, memory alone, an invalid row, every outcome.
func compared() check.BenchReport {
	six := func(v float64) check.Spread {
		return check.SpreadOf([]float64{v, v * 1.1, v * 0.95, v, v * 1.02, v * 0.99})
	}
	row := func(name string, role check.Role, rate float64) check.BenchRow {
		return check.BenchRow{
			Subject: name, Role: role, Rate: six(rate), P50: six(0.00072), P99: six(0.0123), CPU: six(40 / rate), Memory: six(12 << 20),
			After: six(11 << 20), Cores: six(0.8), BackendCores: six(0.4), LoadCores: six(0.7), OtherCores: six(0.05),
		}
	}
	memory := func(name string, role check.Role, bytes float64) check.BenchRow {
		return check.BenchRow{Subject: name, Role: role, Memory: six(bytes), After: six(bytes)}
	}
	ratio := func(subject, against string, m check.Metric, v float64, goal string, out check.Outcome) check.BenchRatio {
		return check.BenchRatio{
			Subject: subject, Against: against, Metric: m, Ratio: v, Low: v - 0.02, High: v + 0.03, Confidence: check.Confidence, Goal: goal, Outcome: out,
		}
	}
	invalid := check.BenchRow{Subject: "hitch", Role: check.Counterpart, Invalid: "round 2: Socket errors: connect 0, read 3\n\x1b[31m"}
	return check.BenchReport{
		Lab: "sidecar/tls", Says: "TLS in front of the same | server", Rounds: 6, Seconds: 321.4,
		Date: time.Date(2026, 3, 1, 12, 30, 0, 0, time.UTC), Engine: "Docker 20.10 (API 1.41)", Revision: "abc123",
		Machine: check.Machine{CPU: "A CPU", Cores: 2, Memory: 8 << 30, Kernel: "6.1", System: "Debian"},
		Subjects: []check.SubjectReport{
			{Name: "tls-sidecar", Role: check.Ours, Says: "MODE=http", Image: "distlab/tls-sidecar:dev", Size: 10500000, CPUs: 2, MemoryLimit: 1 << 30},
			{Name: "nginx", Role: check.Counterpart, Says: "2 workers", Image: "nginx:1.28", Size: 82400000, CPUs: 2, MemoryLimit: 1 << 30},
			{Name: "backend", Role: check.Ceiling, Says: "no second hop", Image: "nginx:1.28", Size: 82400000, CPUs: 0.5, MemoryLimit: 64 << 20},
		},
		Workloads: []check.WorkloadReport{
			{
				ID: "keep-alive", Says: "GET of 1 KB", Unit: "requests",
				Rows: []check.BenchRow{row("tls-sidecar", check.Ours, 31204), row("nginx", check.Counterpart, 29000), invalid, row("backend", check.Ceiling, 1234567)},
				Ratios: []check.BenchRatio{
					ratio("tls-sidecar", "nginx", check.Rate, 1.08, "≥ 0.9", check.Met),
					ratio("tls-sidecar", "nginx", check.P99, 1.2, "≤ 1", check.NotMet),
					ratio("tls-sidecar", "nginx", check.CPU, 0.9, "", check.Better),
					ratio("tls-sidecar", "nginx", check.Memory, 1.9, "", check.Worse),
					{Subject: "tls-sidecar", Against: "hitch", Metric: check.Rate, Goal: "≥ 1", Outcome: check.Unclear},
				},
			},
			{
				ID: "download", Says: "1 GB", Unit: "bytes",
				Rows:   []check.BenchRow{row("tls-sidecar", check.Ours, 485e6), row("nginx", check.Counterpart, 472e6)},
				Ratios: []check.BenchRatio{{Subject: "tls-sidecar", Against: "nginx", Metric: check.Rate, Ratio: 1.03, Outcome: check.Unclear}},
			},
			{
				ID: "idle", Says: "open connections", Unit: "connections", Connections: 9500,
				Rows:   []check.BenchRow{memory("tls-sidecar", check.Ours, 300<<20), memory("nginx", check.Counterpart, 2<<30), invalid},
				Ratios: []check.BenchRatio{ratio("tls-sidecar", "nginx", check.Memory, 0.15, "≤ 2", check.Met)},
			},
		},
	}
}

// hurried is a quick run on a machine with other things to do.
func hurried() check.BenchReport {
	r := compared()
	r.Quick, r.Rounds, r.Revision, r.Machine.CPU = true, 1, "", ""
	r.Workloads = r.Workloads[:1]
	r.Workloads[0].Rows = r.Workloads[0].Rows[:1]
	one := &r.Workloads[0].Rows[0]
	one.Rate, one.OtherCores, one.P50, one.P99 = check.SpreadOf([]float64{5}), check.SpreadOf([]float64{1.3}), check.SpreadOf(nil), check.SpreadOf(nil)
	r.Workloads[0].Ratios = nil
	return r
}

func TestBenchGolden(t *testing.T) {
	for _, c := range []struct {
		file  string
		write func(io.Writer) error
	}{
		{"bench.txt", func(w io.Writer) error { return BenchText(w, Options{}, compared()) }},
		{"bench-color.txt", func(w io.Writer) error { return BenchText(w, Options{Color: true}, compared()) }},
		{"bench-quick.txt", func(w io.Writer) error { return BenchText(w, Options{}, hurried(), hurried()) }},
		{"bench.json", func(w io.Writer) error { return BenchJSON(w, false, compared()) }},
		{"bench-many.json", func(w io.Writer) error { return BenchJSON(w, true, hurried()) }},
		{"bench.md", func(w io.Writer) error { return BenchMarkdown(w, hurried()) }},
		{"benchmarks.md", func(w io.Writer) error { return BenchDocument(w, compared()) }},
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

// TestBenchColumns: colours do not shift the columns.
func TestBenchColumns(t *testing.T) {
	var plain, colored bytes.Buffer
	if err := BenchText(&plain, Options{}, compared()); err != nil {
		t.Fatal(err)
	}
	if err := BenchText(&colored, Options{Color: true}, compared()); err != nil {
		t.Fatal(err)
	}
	bare := colored.String()
	for _, code := range []string{"\x1b[32m", "\x1b[31m", "\x1b[0m"} {
		bare = strings.ReplaceAll(bare, code, "")
	}
	if bare == colored.String() || bare != plain.String() {
		t.Errorf("without its colours it differs:\n%s", cmp.Diff(plain.String(), bare))
	}
}

// TestBenchNumbers writes numbers as people read them.
func TestBenchNumbers(t *testing.T) {
	for want, got := range map[string]string{
		"0": grouped(0.4), "999": grouped(999), "1,000": grouped(1000), "1,234,567": grouped(1234567.4),
		"–": timeOf(0), "850 µs": timeOf(0.00085), "12.3 ms": timeOf(0.01234), "1.5 s": timeOf(1.5),
		"1.5 MiB": bytesOf(1.5 * (1 << 20)), "250 MiB": bytesOf(250 << 20), "2.0 GiB": bytesOf(2 << 30),
		"0.00210": digits(0.0021), "1.28": digits(1.28012), "128": digits(128.4), "0.0000320": digits(0.000032), "12.8": digits(12.8),
		"−50/+100 %": plusMinus(check.SpreadOf([]float64{2, 1, 4})),
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// TestBenchFieldNames: other programs read these; none may go or be renamed.
func TestBenchFieldNames(t *testing.T) {
	for _, c := range []struct {
		of   any
		want string
	}{
		{check.BenchReport{}, "lab says quick rounds date seconds machine engine revision subjects workloads"},
		{check.Machine{}, "cpu cores memory kernel system"},
		{check.SubjectReport{}, "name role says image image_bytes cpus memory_limit"},
		{check.WorkloadReport{}, "id says unit connections,omitempty rows ratios"},
		{check.BenchRow{}, "subject role invalid,omitempty rate p50_seconds p99_seconds cpu_seconds_per_thousand memory_peak_bytes " +
			"memory_after_bytes cores_subject cores_backend cores_load cores_other"},
		{check.Spread{}, "median min max values"},
		{check.BenchRatio{}, "subject against metric ratio low high confidence goal outcome"},
	} {
		var got []string
		for _, f := range reflect.VisibleFields(reflect.TypeOf(c.of)) {
			got = append(got, f.Tag.Get("json"))
		}
		if diff := cmp.Diff(strings.Fields(c.want), got); diff != "" {
			t.Errorf("%T:\n%s", c.of, diff)
		}
	}
}
