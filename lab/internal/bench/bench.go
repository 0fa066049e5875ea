// Package bench runs a lab's comparison: it starts the stack in the lab's folder bench, puts each workload on each of its
// targets in turn, round after round, and sums up what was measured.
//
// The subjects take turns within a round, and begin with another one in the next, so that what changes on the machine
// meanwhile meets all of them; ratios are then made of the runs of the same round. The first round warms up and is thrown away.
// What a subject and the backends take of the CPUs and of memory is what the engine counts for their containers.
package bench

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"time"

	"distlab/lab/check"
	"distlab/lab/internal/compose"
	"distlab/lab/internal/runner"
	"distlab/lab/internal/stack"
)

// LoadService is the service of every comparison that the load generators run in.
const LoadService = "load"

// Options choose what is measured.
type Options struct {
	Quick     bool          // one short round, to see that all of it runs
	Rounds    int           // that count; 0: six, the fewest that an interval can be made of
	Length    time.Duration // of a measurement with wrk, in whole seconds; others take half of it; 0: two seconds
	Workloads []string      // IDs; none: all
	// Step is told what is measured next.
	Step func(workload, subject string, round, rounds int)
}

// ceilingRounds are as many as ceilings take part in: nothing is compared with them.
const ceilingRounds = 2

// DefaultRounds is the fewest pairs for which there is an interval with a confidence of 0.95.
const DefaultRounds = 6

func (o *Options) complete() {
	if o.Rounds == 0 {
		o.Rounds = DefaultRounds
	}
	if o.Length == 0 {
		o.Length = 2 * time.Second
	}
	if o.Quick {
		o.Rounds, o.Length = 1, time.Second
	}
	if o.Step == nil {
		o.Step = func(string, string, int, int) {}
	}
}

// session is a stack that is up for a comparison.
type session struct {
	Options
	bench    check.Bench
	engine   *stack.Engine
	driver   *stack.Driver
	services map[string]string  // service to container
	up       map[string]bool    // addresses that accept connections
	tls      map[string]agreed  // what each address that speaks TLS agrees on
	rates    map[string]float64 // what redis-benchmark reached, by workload and subject: it takes a number, not a time
}

// Run brings the stack up, measures, and takes it down again, whatever happens.
func Run(ctx context.Context, r *runner.Runner, o Options) (rep check.BenchReport, err error) {
	o.complete()
	begun := time.Now()
	defer func() {
		clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		err = errors.Join(err, r.Down(clean))
	}()
	p, err := r.Up(ctx, "")
	if err != nil {
		return rep, err
	}
	s := &session{
		Options: o, bench: *r.Lab.Bench, engine: r.Engine, driver: r.Driver(""),
		services: map[string]string{}, up: map[string]bool{}, tls: map[string]agreed{}, rates: map[string]float64{},
	}
	if err := errors.Join(r.Images.Build(ctx, "probe"), s.driver.PinProbe(ctx), s.find(ctx, p)); err != nil {
		return rep, err
	}
	if rep, err = s.describe(ctx, p); err != nil {
		return rep, err
	}
	rep.Lab, rep.Says, rep.Quick, rep.Rounds, rep.Date = r.Lab.Name, s.bench.Says, o.Quick, o.Rounds, begun.UTC()
	rep.Revision = revision(ctx, r.Root)
	for _, w := range s.bench.Workloads {
		if len(o.Workloads) > 0 && !slices.Contains(o.Workloads, w.ID) {
			continue
		}
		wr, err := s.workload(ctx, w)
		if err != nil {
			return rep, fmt.Errorf("%s: %w", w.ID, err)
		}
		rep.Workloads = append(rep.Workloads, wr)
	}
	rep.Seconds = time.Since(begun).Seconds()
	return rep, nil
}

// find notes the containers of the services that the comparison names.
func (s *session) find(ctx context.Context, p *compose.Project) error {
	all, err := s.driver.Containers(ctx, "")
	if err != nil {
		return err
	}
	for _, c := range all {
		s.services[c.Service] = c.ID
	}
	wanted := slices.Clone(s.bench.Backends)
	for _, sub := range s.bench.Subjects {
		wanted = append(wanted, sub.Service)
	}
	for _, name := range wanted {
		if s.services[name] == "" {
			return fmt.Errorf("bench/compose.yaml of %s: no service %s, which the comparison names", p.Lab, name)
		}
	}
	return nil
}

// describe says what runs, on what.
func (s *session) describe(ctx context.Context, p *compose.Project) (rep check.BenchReport, err error) {
	if rep.Machine, err = s.engine.Machine(ctx); err != nil {
		return rep, err
	}
	rep.Machine.CPU = processor(s.engine.Host)
	rep.Engine = s.engine.Describe()
	for _, sub := range s.bench.Subjects {
		service := p.Services[sub.Service]
		size, err := s.engine.ImageSize(ctx, service.Image)
		if err != nil {
			return rep, err
		}
		rep.Subjects = append(rep.Subjects, check.SubjectReport{
			Name: sub.Name, Role: sub.Role, Says: sub.Says, Image: service.Image, Size: size,
			CPUs: float64(service.CPUS), MemoryLimit: int64(service.MemLimit),
		})
	}
	return rep, nil
}

// revision is the commit of the clone, with a mark when files differ from it.
func revision(ctx context.Context, root string) string {
	out, err := exec.CommandContext(ctx, "git", "-C", root, "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*").Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(out))
}

// workload measures one workload in all rounds.
func (s *session) workload(ctx context.Context, w check.Workload) (check.WorkloadReport, error) {
	if err := s.prepare(ctx, w); err != nil {
		return check.WorkloadReport{}, err
	}
	if err := s.same(ctx, w); err != nil {
		return check.WorkloadReport{}, err
	}
	taken := map[string][]sample{}
	first := 0 // the round that warms up
	if _, idle := w.Load.(check.Idle); idle || s.Quick {
		first = 1 // memory of a process that has just been started again needs no warming up
	}
	for round := first; round <= s.Rounds; round++ {
		for i := range w.Targets {
			t := w.Targets[(i+round)%len(w.Targets)]
			if sub, _ := s.bench.Subject(t.Subject); sub.Role == check.Ceiling && round > ceilingRounds {
				continue
			}
			s.Step(w.ID, t.Subject, round, s.Rounds)
			one, err := s.measure(ctx, w, t, round == 0)
			if ctx.Err() != nil {
				return check.WorkloadReport{}, context.Cause(ctx)
			}
			if err != nil { // of one measurement, which shall not take all others with it
				one = sample{work: work{invalid: err.Error()}}
			}
			if round > 0 {
				taken[t.Subject] = append(taken[t.Subject], one)
			}
		}
	}
	return s.sum(w, taken), nil
}

// sum makes the rows and ratios of a workload.
func (s *session) sum(w check.Workload, taken map[string][]sample) check.WorkloadReport {
	rep := check.WorkloadReport{ID: w.ID, Says: w.Says, Unit: w.Load.Unit(), Ratios: []check.BenchRatio{}}
	if l, ok := w.Load.(check.Idle); ok {
		if rep.Connections = s.connections(l); rep.Connections != l.Connections {
			rep.Says += fmt.Sprintf(" (%d in this quick run)", rep.Connections)
		}
	}
	rows := map[string]check.BenchRow{}
	for _, t := range w.Targets {
		sub, _ := s.bench.Subject(t.Subject)
		row := rowOf(sub, taken[t.Subject])
		rows[t.Subject] = row
		rep.Rows = append(rep.Rows, row)
	}
	for _, p := range w.Pairs {
		a, b := rows[p.Subject], rows[p.Against]
		for _, m := range check.Metrics {
			goals := slices.DeleteFunc(slices.Clone(p.Goals), func(g check.Goal) bool { return g.Metric != m })
			for _, g := range goals {
				rep.Ratios = append(rep.Ratios, check.Compare(a, b, m, &g))
			}
			if len(goals) == 0 && a.Has(m) && b.Has(m) {
				rep.Ratios = append(rep.Ratios, check.Compare(a, b, m, nil))
			}
		}
	}
	return rep
}
