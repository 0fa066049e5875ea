// Package runner takes one lab through its life: images, up, verify, its variants, down. `lab` and `go test` both
// drive labs through it, so that both do the same.
package runner

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"distlab/lab/check"
	"distlab/lab/internal/compose"
	"distlab/lab/internal/hint"
	"distlab/lab/internal/images"
	"distlab/lab/internal/record"
	"distlab/lab/internal/report"
	"distlab/lab/internal/stack"
)

// Runner is one stack of one lab.
type Runner struct {
	Engine   *stack.Engine
	Images   *images.Images
	Root     string
	Lab      check.Lab
	Instance string
	Bench    bool // the stack is that of the lab's comparison, not the lab itself
	Owned    bool // the stack belongs to this process, as a test's does
	Progress stack.Progress

	lock *stack.Lock
}

// Lock takes the stack for a verb, or says who has it. Up, Verify and Down want it held.
func (r *Runner) Lock(ctx context.Context, verb string) (err error) {
	r.lock, err = r.Engine.Lock(ctx, r.Project(), verb)
	return err
}

// Unlock lets go of the stack. It waits for nothing that was not begun.
func (r *Runner) Unlock() { r.lock.Release() }

// Driver is the running stack as the checks see it. Its records go to a folder, or nowhere.
func (r *Runner) Driver(runDir string) *stack.Driver {
	return &stack.Driver{Engine: r.Engine, Project: r.Project(), Lock: r.lock, RunDir: runDir}
}

// ErrNotUp says that a lab has no running stack.
var ErrNotUp = errors.New("is not up")

// Source is the stack's source, with a variant or without.
func (r *Runner) Source(variant string) compose.Source {
	return compose.Source{Root: r.Root, Lab: r.Lab.Name, Instance: r.Instance, Variant: variant, Bench: r.Bench}
}

// Project is the stack's compose project name.
func (r *Runner) Project() string { return r.Source("").Project() }

// Load reads and lints the lab's compose project.
func (r *Runner) Load(ctx context.Context, variant string, env map[string]string) (*compose.Project, error) {
	p, err := compose.Load(ctx, r.Source(variant), env)
	if err != nil {
		return nil, err
	}
	return p, p.Lint()
}

// Up makes the images that are missing and brings the lab up, in a variant or unbroken.
func (r *Runner) Up(ctx context.Context, variant string) (*compose.Project, error) {
	p, err := r.Load(ctx, variant, nil)
	if err != nil {
		return nil, err
	}
	needs, err := r.Images.Needs(ctx, p.Project)
	if err != nil {
		return nil, err
	}
	env, err := r.Images.Ensure(ctx, needs)
	if err != nil {
		return nil, err
	}
	if len(env) > 0 {
		if p, err = r.Load(ctx, variant, env); err != nil {
			return nil, err
		}
	}
	return p, r.Engine.Up(ctx, p, stack.UpOptions{Owned: r.Owned, Progress: r.Progress})
}

// Down takes the stack away.
func (r *Runner) Down(ctx context.Context) error {
	return r.Engine.Down(ctx, r.Project(), r.Progress)
}

// Status is the stack as the engine has it, or ErrNotUp.
func (r *Runner) Status(ctx context.Context) (stack.Overview, error) {
	o, err := r.Engine.Overview(ctx, r.Project())
	if err != nil || len(o.Members) > 0 {
		return o, err
	}
	return stack.Overview{}, hint.Wrap(fmt.Errorf("%s %w", r.Name(), ErrNotUp), "bring it up: lab up %s%s", r.Lab.Name, r.nameFlag())
}

// Name is the lab's name, with the instance's if it has one.
func (r *Runner) Name() string {
	if r.Instance == "" {
		return r.Lab.Name
	}
	return r.Lab.Name + " (" + r.Instance + ")"
}

func (r *Runner) nameFlag() string {
	if r.Instance == "" {
		return ""
	}
	return " --name " + r.Instance
}

// VerifyOptions choose what a verify does.
type VerifyOptions struct {
	Variant string // what the running stack is
	Claims  []string
	Seed    uint64
	Started func(check.Claim)
	Decided func(check.ClaimReport)
}

// Record is where a run was recorded.
type Record struct {
	Dir string // "" where there is none
	Err error  // what of it could not be kept: no reason to lose a verdict
}

// Verify decides the lab's claims on the running stack and records the run.
func (r *Runner) Verify(ctx context.Context, o VerifyOptions) (check.Report, Record, error) {
	if err := r.Images.Build(ctx, "probe"); err != nil {
		return check.Report{}, Record{}, err
	}
	var kept Record
	rec, err := record.New(r.Root, r.Lab.Name)
	if kept.Err = err; err == nil {
		kept.Dir = rec.Dir
	}
	begun := time.Now()
	s := check.NewStack(r.Driver(kept.Dir), o.Seed)
	s.Instance, s.Variant = r.Instance, o.Variant
	rep := check.Run(ctx, r.Lab, s, check.Options{
		Claims: o.Claims, Engine: r.Engine.Describe(), Started: o.Started, Decided: o.Decided,
	})
	if ctx.Err() != nil {
		return rep, kept, context.Cause(ctx)
	}
	if rec != nil {
		kept.Err = r.keep(ctx, rec, rep, begun)
	}
	return rep, kept, nil
}

// keep writes a run's record: the reports, what ran, as its compose file and as the engine has it, and what every container
// logged meanwhile. The compose file is with the clone that the stack was started from, which may be another one, or gone.
func (r *Runner) keep(ctx context.Context, rec *record.Run, rep check.Report, begun time.Time) error {
	errs := []error{
		rec.Write("report.json", func(w record.Writer) error { return report.JSON(w, rep) }),
		rec.Write("report.txt", func(w record.Writer) error { return report.Text(w, report.Options{}, rep) }),
		rec.Write("junit.xml", func(w record.Writer) error { return report.JUnit(w, rep) }),
	}
	data := func(name string, data []byte) {
		errs = append(errs, rec.Write(name, func(w record.Writer) error {
			_, err := w.Write(data)
			return err
		}))
	}
	o, err := r.Engine.Overview(ctx, r.Project())
	errs = append(errs, err)
	if file := stack.Kept(o.Root, r.Project()); o.Root != "" {
		if err := rec.Copy("compose.yaml", file); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	ran, err := r.Engine.Inspect(ctx, r.Project())
	if errs = append(errs, err); err == nil {
		data("containers.json", ran)
	}
	logs, err := r.Engine.Collect(ctx, r.Project(), begun)
	errs = append(errs, err)
	for name, text := range logs {
		data(name+".log", []byte(text))
	}
	errs = append(errs, rec.Finish())
	return errors.Join(errs...)
}

// TestOptions choose what a test does.
type TestOptions struct {
	Seed    uint64
	Begun   func(variant string)
	Started func(check.Claim)
	Decided func(check.ClaimReport)
}

// Test brings the lab up, verifies it, then every variant, and takes it down: whatever happens, also when ctx ends.
func (r *Runner) Test(ctx context.Context, o TestOptions) (res report.Test, err error) {
	begun := time.Now()
	res.Lab = r.Lab.Name
	defer func() {
		clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		err = errors.Join(err, r.Down(clean))
		res.Seconds = time.Since(begun).Seconds()
	}()
	tell := func(variant string) {
		if o.Begun != nil {
			o.Begun(variant)
		}
	}
	tell("")
	if _, err := r.Up(ctx, ""); err != nil {
		return res, err
	}
	vo := VerifyOptions{Seed: o.Seed, Started: o.Started, Decided: o.Decided}
	if res.Report, _, err = r.Verify(ctx, vo); err != nil {
		return res, err
	}
	verdicts := []check.Verdict{res.Report.Verdict}
	for _, v := range r.Lab.Variants {
		tell(v.Name)
		out, err := r.Variant(ctx, v, vo)
		if err != nil {
			return res, fmt.Errorf("variant %s: %w", v.Name, err)
		}
		res.Variants = append(res.Variants, out)
		verdicts = append(verdicts, Judge(out))
	}
	res.Verdict = check.Worst(verdicts...)
	return res, nil
}

// Variant switches the running stack to a variant and decides the claims that it must break, and those that it must keep.
func (r *Runner) Variant(ctx context.Context, v check.Variant, o VerifyOptions) (report.VariantOutcome, error) {
	if _, err := r.Up(ctx, v.Name); err != nil {
		return report.VariantOutcome{}, err
	}
	o.Variant, o.Claims = v.Name, v.Decides()
	rep, _, err := r.Verify(ctx, o)
	if err != nil {
		return report.VariantOutcome{}, err
	}
	return Outcome(v, rep), nil
}

// Outcome says whether a variant broke what it must and kept what it must.
func Outcome(v check.Variant, rep check.Report) report.VariantOutcome {
	out := report.VariantOutcome{Variant: v.Name, Must: v.Breaks, Keep: v.Keeps, Report: rep, OK: true}
	var why []string
	for _, c := range rep.Claims {
		keeps := slices.Contains(v.Keeps, c.ID)
		switch {
		case c.Verdict == wanted(v, c.ID):
			continue
		case c.Verdict == check.Fail:
			why = append(why, fmt.Sprintf("%s fails: the claim asks for more than the pattern, or the program lacks it", c.ID))
		case c.Verdict == check.Pass:
			why = append(why, fmt.Sprintf("%s still passes: the claim does not see what the variant takes away", c.ID))
		case keeps:
			why = append(why, fmt.Sprintf("%s is inconclusive, so nothing was seen to be kept", c.ID))
		default:
			why = append(why, fmt.Sprintf("%s is inconclusive, so nothing was seen to break", c.ID))
		}
		out.OK = false
	}
	if len(rep.Claims) < len(v.Decides()) {
		out.OK = false
		why = append(why, "not every claim was measured")
	}
	out.Why = strings.Join(why, "; ")
	return out
}

// wanted is the verdict that a claim must have in a variant.
func wanted(v check.Variant, id string) check.Verdict {
	if slices.Contains(v.Keeps, id) {
		return check.Pass
	}
	return check.Fail
}

// Judge is a variant's outcome as a verdict over the lab: all as it must be is a pass; a claim that still passes, or
// fails where it must be kept, is a failure of the lab; one that could not be measured decides nothing.
func Judge(o report.VariantOutcome) check.Verdict {
	if o.OK {
		return check.Pass
	}
	v := check.Variant{Breaks: o.Must, Keeps: o.Keep}
	for _, c := range o.Report.Claims {
		if c.Verdict != check.Inconclusive && c.Verdict != wanted(v, c.ID) {
			return check.Fail
		}
	}
	return check.Inconclusive
}
