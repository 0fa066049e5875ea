package cli

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"distlab/lab/check"
	"distlab/lab/internal/bench"
	"distlab/lab/internal/report"
)

type benchFlags struct {
	all, quick, strict bool
	rounds             int
	workloads          []string
	output             format
}

// benchmarks is the file that `lab bench --all` writes.
const benchmarks = "docs/benchmarks.md"

func (a *app) bench() *cobra.Command {
	var f benchFlags
	cmd := &cobra.Command{
		Use:   "bench LAB… | --all",
		Short: "Compare a lab's container with the programs that people know",
		Long: `Starts the lab's container and its counterparts with the same limits, puts the same load on them in turn, round after
round, and prints what each did and the ratios, with intervals. A verdict stands where the whole interval allows it.
With --all it compares every lab that can be compared, and writes the tables of ` + benchmarks + `.

The exit code says whether it could be measured, not how it came out: 0 also where a goal is not met or the spread
decides nothing, 2 where a run had errors and so is no measurement. With --strict: 1 where a goal is not met, 2 where one is unclear.`,
		ValidArgsFunction: a.completeLabs,
		RunE: func(cmd *cobra.Command, args []string) error {
			labs, err := a.comparable(args, f.all)
			if err != nil {
				return err
			}
			if err := f.check(labs); err != nil {
				return err
			}
			return a.benchLabs(cmd.Context(), labs, f)
		},
	}
	cmd.Flags().BoolVar(&f.all, "all", false, "every lab that can be compared; writes "+benchmarks)
	cmd.Flags().BoolVar(&f.quick, "quick", false, "one short round: shows that it runs, compares nothing")
	cmd.Flags().BoolVar(&f.strict, "strict", false, "exit 1 where a goal is not met, 2 where one is unclear")
	cmd.Flags().IntVar(&f.rounds, "rounds", bench.DefaultRounds, "rounds that count; the first of all warms up and does not")
	cmd.Flags().StringSliceVar(&f.workloads, "workload", nil, "only these workloads")
	f.output.flag(cmd, "text", "json", "markdown")
	return cmd
}

// comparable are the chosen labs, all of which must have a comparison unless all were meant.
func (a *app) comparable(args []string, all bool) ([]check.Lab, error) {
	chosen, err := a.chosen(args, all)
	if err != nil {
		return nil, err
	}
	var labs []check.Lab
	for _, l := range chosen {
		switch {
		case l.Bench != nil:
			labs = append(labs, l)
		case !all:
			return nil, usagef("there are: "+strings.Join(a.benched(), ", "), "%s has nothing to compare with", l.Name)
		}
	}
	return labs, nil
}

// benched are the names of the labs that can be compared.
func (a *app) benched() []string {
	var names []string
	for _, l := range a.labs {
		if l.Bench != nil {
			names = append(names, l.Name)
		}
	}
	return names
}

func (f *benchFlags) check(labs []check.Lab) error {
	switch {
	case f.rounds < 1 || f.rounds > 100:
		return usagef("", "--rounds %d: from 1 to 100", f.rounds)
	case f.quick && f.strict:
		return usagef("a quick run decides nothing", "either --quick or --strict, not both")
	case len(labs) != 1 && len(f.workloads) > 0:
		return usagef("", "--workload goes with one lab")
	}
	for _, id := range f.workloads {
		if _, ok := labs[0].Bench.Workload(id); ok {
			continue
		}
		var all []string
		for _, w := range labs[0].Bench.Workloads {
			all = append(all, w.ID)
		}
		return usagef(didYouMean(id, all, "there are others"), "%s has no workload %q", labs[0].Name, id)
	}
	return nil
}

func (a *app) benchLabs(ctx context.Context, labs []check.Lab, f benchFlags) error {
	// Two at a time would measure each other.
	e, err := a.connect(ctx)
	if err != nil {
		return err
	}
	lock, err := e.Lock(ctx, "distlab-bench", "bench")
	if err != nil {
		return err
	}
	defer lock.Release()
	var reports []check.BenchReport
	errs := make([]error, len(labs))
	for i, lab := range labs {
		rep, err := a.benchLab(ctx, lab, f)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if errs[i] = err; err != nil {
			continue // what the others come to is worth hearing
		}
		reports = append(reports, rep)
		if f.output == "text" {
			if err := report.BenchText(a.stdout, report.Options{Color: a.color, Width: a.width}, rep); err != nil {
				return err
			}
		}
	}
	switch {
	case len(reports) == 0:
	case f.output == "json":
		err = report.BenchJSON(a.stdout, f.all, reports...)
	case f.output == "markdown":
		err = report.BenchMarkdown(a.stdout, reports...)
	}
	if err != nil {
		return err
	}
	if err := a.first(errs); err != nil {
		return err
	}
	if f.all && !f.quick {
		if err := a.writeBenchmarks(reports); err != nil {
			return err
		}
	}
	return benchExit(reports, f.strict)
}

func (a *app) benchLab(ctx context.Context, lab check.Lab, f benchFlags) (check.BenchReport, error) {
	d := a.display()
	defer d.close(false)
	r, err := a.runner(ctx, lab, "bench", d)
	if err != nil {
		return check.BenchReport{}, err
	}
	r.Bench, r.Owned = true, true
	if err := r.Lock(ctx, "bench"); err != nil {
		return check.BenchReport{}, err
	}
	defer r.Unlock()
	return bench.Run(ctx, r, bench.Options{
		Quick: f.quick, Rounds: f.rounds, Workloads: f.workloads,
		Step: func(workload, subject string, round, rounds int) {
			what := fmt.Sprintf("round %d of %d: %s", round, rounds, subject)
			if round == 0 {
				what = "warming up: " + subject
			}
			d.clear()
			d.set(lab.Name+" "+workload, what, false, false)
		},
	})
}

// writeBenchmarks writes the tables into the clone.
func (a *app) writeBenchmarks(reports []check.BenchReport) error {
	root, err := a.findRoot()
	if err != nil {
		return err
	}
	f, err := os.Create(filepath.Join(root, filepath.FromSlash(benchmarks)))
	if err != nil {
		return fmt.Errorf("write the benchmarks: %w", err)
	}
	defer f.Close()
	if err := report.BenchDocument(f, reports...); err != nil {
		return fmt.Errorf("write the benchmarks: %w", err)
	}
	fmt.Fprintf(a.stderr, "wrote %s\n", benchmarks)
	return f.Close()
}

// benchExit is 0 where everything was measured; what came of it matters with --strict alone.
func benchExit(reports []check.BenchReport, strict bool) error {
	invalid, unclear, notMet := false, false, false
	for _, r := range reports {
		for _, w := range r.Workloads {
			for _, row := range w.Rows {
				invalid = invalid || row.Invalid != ""
			}
			for _, ratio := range w.Ratios {
				notMet = notMet || ratio.Outcome == check.NotMet
				unclear = unclear || ratio.Goal != "" && ratio.Outcome == check.Unclear
			}
		}
	}
	switch {
	case strict && notMet:
		return quietExit(exitFail)
	case invalid, strict && unclear:
		return quietExit(exitInconclusive)
	}
	return nil
}
