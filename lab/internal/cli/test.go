package cli

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"sync/atomic"

	"github.com/spf13/cobra"

	"distlab/lab/check"
	"distlab/lab/internal/report"
	"distlab/lab/internal/runner"
)

func (a *app) test() *cobra.Command {
	var f verifyFlags
	cmd := &cobra.Command{
		Use:   "test LAB… | --all",
		Short: "Up, verify, every variant, down",
		Long: `Starts an instance of its own, measures every claim, then switches to each of its variants and requires that
the claims named there fail, or in a stand-in pass, and takes everything away again: also after Ctrl-C, and after kill -9 by the next command.`,
		ValidArgsFunction: a.completeLabs,
		RunE: func(cmd *cobra.Command, args []string) error {
			labs, err := a.chosen(args, f.all)
			if err != nil {
				return err
			}
			if err := f.check(labs); err != nil {
				return err
			}
			return a.testLabs(cmd.Context(), labs, f)
		},
	}
	cmd.Flags().Uint64Var(&f.seed, "seed", 0, "seed of the random numbers (default: a new one, which is printed)")
	cmd.Flags().BoolVar(&f.all, "all", false, "every lab")
	cmd.Flags().IntVarP(&f.jobs, "jobs", "j", 1, "labs at a time")
	f.output.flag(cmd, "text", "json", "junit")
	return cmd
}

func (a *app) testLabs(ctx context.Context, labs []check.Lab, f verifyFlags) error {
	results := make([]report.Test, len(labs))
	errs := a.each(ctx, labs, f.jobs, func(ctx context.Context, i int, lab check.Lab) error {
		var err error
		results[i], err = a.testLab(ctx, lab, f, len(labs) == 1 || f.jobs == 1)
		return err
	})
	if err := a.first(errs); err != nil {
		return err
	}
	var err error
	switch f.output {
	case "json":
		write := report.TestJSON
		if f.all {
			write = report.TestJSONArray
		}
		err = write(a.stdout, results...)
	case "junit":
		err = report.TestJUnit(a.stdout, results...)
	default:
		err = report.TestText(a.stdout, report.Options{Color: a.color, Width: a.width}, results...)
	}
	if err != nil {
		return err
	}
	var verdicts []check.Verdict
	for _, t := range results {
		verdicts = append(verdicts, t.Verdict)
	}
	return verdictExit(check.Worst(verdicts...))
}

var testNumber atomic.Int64

// testInstance is a name that no other process and no other test of this one has.
func testInstance() string {
	return "test-" + strconv.FormatInt(int64(os.Getpid()), 36) + "-" + strconv.FormatInt(testNumber.Add(1), 36)
}

func (a *app) testLab(ctx context.Context, lab check.Lab, f verifyFlags, stream bool) (report.Test, error) {
	d := a.display()
	defer d.close(false)
	r, err := a.runner(ctx, lab, testInstance(), d)
	if err != nil {
		return report.Test{}, err
	}
	r.Owned = true
	if err := r.Lock(ctx, "test"); err != nil {
		return report.Test{}, err
	}
	defer r.Unlock()
	variant := ""
	return r.Test(ctx, runner.TestOptions{
		Seed: f.seed,
		Begun: func(v string) {
			d.clear()
			if variant = v; v != "" && stream {
				d.line("%s, variant %s", lab.Name, v)
			} else if stream {
				d.line("%s", lab.Name)
			}
		},
		Started: func(c check.Claim) { d.set(c.ID, c.Says, false, false) },
		Decided: func(c check.ClaimReport) {
			d.clear()
			what := string(c.Verdict)
			if v, ok := lab.Variant(variant); ok && c.Verdict == check.Fail && slices.Contains(v.Breaks, c.ID) {
				what = "broken, as it must be"
			} else if ok && c.Verdict == check.Pass && slices.Contains(v.Keeps, c.ID) {
				what = "kept, as it must be"
			}
			d.line("  %s: %s (%s)", c.ID, what, fmt.Sprintf("%.1f s", c.Seconds))
		},
	})
}
