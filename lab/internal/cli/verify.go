package cli

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"distlab/lab/check"
	"distlab/lab/internal/report"
	"distlab/lab/internal/runner"
)

type verifyFlags struct {
	instance, variant string
	claims            []string
	seed              uint64
	all               bool
	jobs              int
	output            format
}

func (a *app) verify() *cobra.Command {
	var f verifyFlags
	cmd := &cobra.Command{
		Use:   "verify LAB… | --all",
		Short: "Measure what a running lab claims",
		Long: `Decides the claims of a lab that is up, prints them as they are decided, and keeps the run under .lab/runs.
With --variant the lab is switched to that variant, the claims that it must break or keep are measured, and the lab is
switched back. Those of a broken variant are expected to fail, and the exit code says truly that they did (1); those of a
stand-in, the program that people know in our container's place, are expected to pass.`,
		ValidArgsFunction: a.completeLabs,
		RunE: func(cmd *cobra.Command, args []string) error {
			labs, err := a.chosen(args, f.all)
			if err != nil {
				return err
			}
			if err := f.check(labs); err != nil {
				return err
			}
			return a.verifyLabs(cmd.Context(), labs, f)
		},
	}
	cmd.Flags().StringVar(&f.instance, "name", "", "the instance, where it is not the first")
	cmd.Flags().StringVar(&f.variant, "variant", "", "measure what this variant must break or keep")
	cmd.Flags().StringSliceVar(&f.claims, "claim", nil, "only these claims")
	cmd.Flags().Uint64Var(&f.seed, "seed", 0, "seed of the random numbers (default: a new one, which is printed)")
	cmd.Flags().BoolVar(&f.all, "all", false, "every lab that is up")
	cmd.Flags().IntVarP(&f.jobs, "jobs", "j", 1, "labs at a time")
	f.output.flag(cmd, "text", "json", "junit")
	return cmd
}

func (f *verifyFlags) check(labs []check.Lab) error {
	if err := checkInstance(f.instance); err != nil {
		return err
	}
	if f.jobs < 1 {
		return usagef("", "-j %d: at least one lab at a time", f.jobs)
	}
	if len(labs) != 1 && (f.variant != "" || len(f.claims) > 0) {
		return usagef("", "--variant and --claim go with one lab")
	}
	if f.variant != "" {
		if _, err := variantOf(labs[0], f.variant); err != nil {
			return err
		}
	}
	if f.seed == 0 {
		f.seed = rand.Uint64()>>11 | 1 // short enough for every JSON reader's numbers, and never "none"
	}
	return checkClaims(labs[0], f.claims)
}

func (a *app) verifyLabs(ctx context.Context, labs []check.Lab, f verifyFlags) error {
	if f.all {
		var err error
		if labs, err = a.running(ctx, labs, f.instance); err != nil {
			return err
		}
	}
	reports := make([]check.Report, len(labs))
	errs := a.each(ctx, labs, f.jobs, func(ctx context.Context, i int, lab check.Lab) error {
		var err error
		reports[i], err = a.verifyLab(ctx, lab, f, len(labs) == 1 || f.jobs == 1)
		return err
	})
	if err := a.first(errs); err != nil {
		return err
	}
	switch f.output {
	case "json":
		write := report.JSON
		if f.all {
			write = report.JSONArray
		}
		if err := write(a.stdout, reports...); err != nil {
			return err
		}
	case "junit":
		if err := report.JUnit(a.stdout, reports...); err != nil {
			return err
		}
	}
	var verdicts []check.Verdict
	for _, r := range reports {
		verdicts = append(verdicts, r.Verdict)
	}
	return verdictExit(check.Worst(verdicts...))
}

// running keeps the labs that are up.
func (a *app) running(ctx context.Context, labs []check.Lab, instance string) ([]check.Lab, error) {
	e, err := a.connect(ctx)
	if err != nil {
		return nil, err
	}
	all, err := e.Overviews(ctx)
	if err != nil {
		return nil, err
	}
	var out []check.Lab
	for _, l := range labs {
		for _, o := range all {
			if o.Lab == l.Name && o.Instance == instance && o.Owner == "" {
				out = append(out, l)
			}
		}
	}
	if len(out) == 0 {
		return nil, hintUp(fmt.Errorf("no lab %w", runner.ErrNotUp))
	}
	return out, nil
}

// each runs f for every lab, jobs at a time. All errors are kept: one lab's trouble does not hide another's.
func (a *app) each(ctx context.Context, labs []check.Lab, jobs int, f func(context.Context, int, check.Lab) error) []error {
	errs := make([]error, len(labs))
	var g errgroup.Group
	g.SetLimit(min(jobs, max(1, 2*runtime.NumCPU())))
	for i, lab := range labs {
		g.Go(func() error {
			if ctx.Err() == nil {
				errs[i] = f(ctx, i, lab)
			} else {
				errs[i] = context.Cause(ctx)
			}
			return nil
		})
	}
	_ = g.Wait()
	return errs
}

// first is the error to end with; further ones are said.
func (a *app) first(errs []error) error {
	var first error
	for _, err := range errs {
		switch {
		case err == nil:
		case first == nil:
			first = err
		case !errors.Is(err, errInterrupted):
			fmt.Fprintf(a.stderr, "lab: %v\n", err)
		}
	}
	return first
}

func (a *app) verifyLab(ctx context.Context, lab check.Lab, f verifyFlags, stream bool) (rep check.Report, err error) {
	d := a.display()
	defer d.close(false)
	r, err := a.runner(ctx, lab, f.instance, d)
	if err != nil {
		return rep, err
	}
	o, err := r.Status(ctx)
	if err != nil {
		return rep, err
	}
	if err := r.Lock(ctx, "verify"); err != nil {
		return rep, err
	}
	defer r.Unlock()
	vo := runner.VerifyOptions{Variant: o.Variant, Claims: f.claims, Seed: f.seed}
	if f.variant != "" && f.variant != o.Variant {
		defer func() {
			clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
			defer cancel()
			_, back := r.Up(clean, o.Variant)
			err = errors.Join(err, back)
		}()
		if _, err := r.Up(ctx, f.variant); err != nil {
			return rep, err
		}
		d.clear()
	}
	if f.variant != "" {
		v, _ := lab.Variant(f.variant)
		vo.Variant = f.variant
		if len(vo.Claims) == 0 {
			vo.Claims = v.Decides()
		}
	}
	p := a.printer(lab, vo.Variant, f.output, stream)
	if v, ok := lab.Variant(f.variant); ok && len(v.Breaks) > 0 {
		d.line("variant %s must break %s: there ✗ is what is wanted", v.Name, strings.Join(v.Breaks, ", "))
	}
	vo.Started = func(c check.Claim) { d.set(c.ID, c.Says, false, false) }
	vo.Decided = func(c check.ClaimReport) {
		d.above(func() { p.claim(c) })
		d.clear()
	}
	rep, kept, err := r.Verify(ctx, vo)
	if err != nil {
		return rep, err
	}
	d.close(false)
	p.summary(rep, kept)
	return rep, nil
}

// printer writes claims as text as they are decided, or a lab's all at once when several labs run side by side.
type printer struct {
	app    *app
	lab    check.Lab
	text   *report.Printer
	stream bool
	held   []check.ClaimReport
}

var printing sync.Mutex // one lab's lines at a time

func (a *app) printer(lab check.Lab, variant string, f format, stream bool) *printer {
	p := &printer{app: a, lab: lab, stream: stream}
	if f != "text" {
		return p
	}
	var claims []check.Claim
	claims = append(claims, lab.Claims...)
	p.text = report.NewPrinter(a.stdout, report.Options{Color: a.color, Width: a.width}, lab.Name, variant, claims)
	return p
}

func (p *printer) claim(c check.ClaimReport) {
	switch {
	case p.text == nil:
	case p.stream:
		p.text.Claim(c)
	default:
		p.held = append(p.held, c)
	}
}

func (p *printer) summary(rep check.Report, kept runner.Record) {
	printing.Lock()
	defer printing.Unlock()
	if p.text != nil {
		for _, c := range p.held {
			p.text.Claim(c)
		}
		p.text.Summary(rep)
	}
	if kept.Dir != "" {
		fmt.Fprintf(p.app.stderr, "record: %s\n", p.app.fromHere(kept.Dir))
	}
	if kept.Err != nil {
		fmt.Fprintf(p.app.stderr, "warning: the record is not whole: %v\n", kept.Err)
	}
}
