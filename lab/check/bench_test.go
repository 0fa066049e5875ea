package check

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// comparison is one that is right.
func comparison() Bench {
	return Bench{
		Says: "two of a kind",
		Subjects: []Subject{
			{Name: "mine", Service: "a", Role: Ours, Says: "as it is"},
			{Name: "theirs", Service: "b", Role: Counterpart, Says: "as it is"},
		},
		Workloads: []Workload{
			{
				ID: "small", Says: "small answers", Load: Wrk{Connections: 1},
				Targets: []Target{{Subject: "mine", At: "http://a:1/"}, {Subject: "theirs", At: "https://b:1/"}},
				Pairs:   []Pair{{"mine", "theirs", []Goal{{Metric: Rate, AtLeast: 1}, {Metric: P99, AtMost: 1}}}},
			},
			{ID: "keys", Says: "keys", Load: RedisBenchmark{Clients: 1, Pipeline: 1, Command: []string{"PING"}}, Targets: []Target{{Subject: "mine", At: "a:1"}}},
			{ID: "shake", Says: "handshakes", Load: Handshakes{1}, Targets: []Target{{Subject: "mine", At: "a:1"}}},
			{ID: "large", Says: "large answers", Load: Transfer{Connections: 1, Down: 1}, Targets: []Target{{Subject: "mine", At: "http://a:1/"}}},
			{ID: "open", Says: "open connections", Load: Idle{Connections: 1, Send: "x", Expect: "y"}, Targets: []Target{{Subject: "mine", At: "a:1"}}},
		},
	}
}

func TestBenchValidate(t *testing.T) {
	if err := comparison().Validate(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		change func(b *Bench)
		want   string
	}{
		{"nothing said", func(b *Bench) { b.Says = "" }, "needs a sentence"},
		{"no workloads", func(b *Bench) { b.Workloads = nil }, "needs a sentence, subjects and workloads"},
		{"a subject without service", func(b *Bench) { b.Subjects[0].Service = "" }, `subject "mine": needs`},
		{"no such role", func(b *Bench) { b.Subjects[0].Role = "judge" }, `no role "judge"`},
		{"subject twice", func(b *Bench) { b.Subjects[1].Name = "mine" }, "subject mine is declared twice"},
		{"workload twice", func(b *Bench) { b.Workloads[1].ID = "small" }, "workload small is declared twice"},
		{"ID", func(b *Bench) { b.Workloads[0].ID = "Small" }, "an ID in lower case"},
		{"no load", func(b *Bench) { b.Workloads[0].Load = nil }, "a load"},
		{"no subject", func(b *Bench) { b.Workloads[0].Targets[0].Subject = "nobody" }, "target nobody"},
		{"target twice", func(b *Bench) { b.Workloads[0].Targets[1].Subject = "mine" }, "stands there twice"},
		{"wrk without URL", func(b *Bench) { b.Workloads[0].Targets[0].At = "a:1" }, "a URL"},
		{"wrk without connections", func(b *Bench) { b.Workloads[0].Load = Wrk{} }, "needs connections"},
		{"redis with URL", func(b *Bench) { b.Workloads[1].Targets[0].At = "http://a:1/" }, "HOST:PORT"},
		{"redis without command", func(b *Bench) { b.Workloads[1].Load = RedisBenchmark{Clients: 1, Pipeline: 1} }, "a command"},
		{"handshakes with URL", func(b *Bench) { b.Workloads[2].Targets[0].At = "https://a:1/" }, "HOST:PORT"},
		{"transfer of nothing", func(b *Bench) { b.Workloads[3].Load = Transfer{Connections: 1} }, "a length"},
		{"idle without answer", func(b *Bench) { b.Workloads[4].Load = Idle{Connections: 1, Send: "x"} }, "its answer"},
		{"pair with itself", func(b *Bench) { b.Workloads[0].Pairs[0].Against = "mine" }, "not two targets"},
		{"pair with nobody", func(b *Bench) { b.Workloads[0].Pairs[0].Against = "nobody" }, "not two targets"},
		{"goal without bound", func(b *Bench) { b.Workloads[0].Pairs[0].Goals[0].AtLeast = 0 }, "one bound"},
		{"goal with two", func(b *Bench) { b.Workloads[0].Pairs[0].Goals[0].AtMost = 1 }, "one bound"},
		{"no such metric", func(b *Bench) { b.Workloads[0].Pairs[0].Goals[0].Metric = "charm" }, "a goal is a metric"},
	} {
		b := comparison()
		c.change(&b)
		if err := b.Validate(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

// TestCompare: a verdict stands only where the whole interval is on one side.
func TestCompare(t *testing.T) {
	row := func(name string, rate, p99 float64, wobble ...float64) BenchRow {
		r := BenchRow{Subject: name}
		for i := range 6 {
			w := 1.0
			if i < len(wobble) {
				w = wobble[i]
			}
			r.Rate.Values = append(r.Rate.Values, rate*w)
			r.P99.Values = append(r.P99.Values, p99*w)
		}
		r.Rate, r.P99 = SpreadOf(r.Rate.Values), SpreadOf(r.P99.Values)
		return r
	}
	base := row("theirs", 100, 0.01)
	for _, c := range []struct {
		name   string
		row    BenchRow
		metric Metric
		goal   *Goal
		want   Outcome
	}{
		{"well above", row("mine", 120, 1), Rate, &Goal{Metric: Rate, AtLeast: 1}, Met},
		{"just there", row("mine", 100, 1), Rate, &Goal{Metric: Rate, AtLeast: 1}, Met},
		{"below", row("mine", 80, 1), Rate, &Goal{Metric: Rate, AtLeast: 1}, NotMet},
		{"above and below", row("mine", 100, 1, 0.9, 1.1), Rate, &Goal{Metric: Rate, AtLeast: 1}, Unclear},
		{"slower, and may be", row("mine", 100, 0.02), P99, &Goal{Metric: P99, AtMost: 2.1}, Met},
		{"too slow", row("mine", 100, 0.02), P99, &Goal{Metric: P99, AtMost: 1.5}, NotMet},
		{"no goal, more", row("mine", 120, 1), Rate, nil, Better},
		{"no goal, less", row("mine", 80, 1), Rate, nil, Worse},
		{"no goal, the same", row("mine", 100, 1, 0.9, 1.1), Rate, nil, Unclear},
		{"no goal, quicker", row("mine", 1, 0.005), P99, nil, Better},
		{"no goal, slower", row("mine", 1, 0.02), P99, nil, Worse},
		{"not measured", row("mine", 1, 1), CPU, &Goal{Metric: CPU, AtMost: 1}, Unclear},
		{"invalid", BenchRow{Subject: "mine", Invalid: "errors", Rate: row("", 500, 1).Rate}, Rate, &Goal{Metric: Rate, AtLeast: 1}, Unclear},
	} {
		if got := Compare(c.row, base, c.metric, c.goal); got.Outcome != c.want {
			t.Errorf("%s: %s, want %s: %+v", c.name, got.Outcome, c.want, got)
		}
	}
	// Too few rounds give a ratio, and nothing more.
	few := func(v ...float64) BenchRow { return BenchRow{Rate: SpreadOf(v)} }
	got := Compare(few(3, 3), few(1, 1), Rate, &Goal{Metric: Rate, AtLeast: 1})
	if got.Ratio < 2.99 || got.Ratio > 3.01 || got.High != 0 || got.Outcome != Unclear {
		t.Errorf("two rounds: %+v", got)
	}
}

func TestSpreadOf(t *testing.T) {
	for _, c := range []struct{ in, want []float64 }{
		{[]float64{3, 1, 2}, []float64{2, 1, 3}},
		{[]float64{4, 1, 2, 3}, []float64{2.5, 1, 4}},
		{[]float64{7}, []float64{7, 7, 7}},
		{nil, []float64{0, 0, 0}},
	} {
		s := SpreadOf(c.in)
		if diff := cmp.Diff(c.want, []float64{s.Median, s.Min, s.Max}); diff != "" || len(s.Values) != len(c.in) || s.Values == nil {
			t.Errorf("%v: %+v\n%s", c.in, s, diff)
		}
	}
}
