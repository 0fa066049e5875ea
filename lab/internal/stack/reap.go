package stack

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/docker/compose/v5/pkg/api"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"distlab/lab/check"
	"distlab/lab/internal/compose"
)

// Heal undoes the faults that dead processes left, and says what it did. A command can be undone only where its container
// runs; where it does not, Up does that.
func (e *Engine) Heal(ctx context.Context) ([]string, error) {
	left, err := journals()
	if err != nil {
		return nil, err
	}
	var done []string
	var errs []error
	for _, j := range left {
		if j.Owner.Alive() {
			continue
		}
		for len(j.Faults) > 0 {
			n := j.Faults[len(j.Faults)-1]
			if n.Action.Kind == check.ActRun {
				if c, there, err := e.at(ctx, n.Replica); err == nil && there && c.State != container.StateRunning {
					break
				}
			}
			if err := e.undo(ctx, n); err != nil {
				errs = append(errs, err)
				break
			}
			done = append(done, fmt.Sprintf("healed %s: undid a %s that an ended command had left", j.Project, n.Action.Kind))
			j.Faults = j.Faults[:len(j.Faults)-1]
			if err := j.save(); err != nil {
				errs = append(errs, err)
				break
			}
		}
	}
	return done, errors.Join(errs...)
}

// Leftover is something in the engine that nobody needs any more.
type Leftover struct {
	Project string
	Why     string
	Probes  []string // IDs of probe containers, when only they are left over
}

// Leftovers are stacks whose owner is gone or whose time is up, probes of dead commands in stacks that live on, and
// networks and volumes of stacks without a container.
func (e *Engine) Leftovers(ctx context.Context) ([]Leftover, error) {
	stacks, err := e.Overviews(ctx)
	if err != nil {
		return nil, err
	}
	var out []Leftover
	known := map[string]bool{}
	for _, s := range stacks {
		known[s.Project] = true
		switch {
		case s.Owner == "":
		case !s.Owner.Alive():
			out = append(out, Leftover{Project: s.Project, Why: fmt.Sprintf("its process %d is gone", s.Owner.PID())})
		case !s.Expires.IsZero() && time.Now().After(s.Expires):
			out = append(out, Leftover{Project: s.Project, Why: "it expired at " + s.Expires.Format(time.RFC3339)})
		}
	}
	probes, err := e.deadProbes(ctx)
	if err != nil {
		return nil, err
	}
	for project, ids := range probes {
		if !slices.ContainsFunc(out, func(l Leftover) bool { return l.Project == project }) {
			out = append(out, Leftover{Project: project, Why: "its probes' process is gone", Probes: ids})
			known[project] = true
		}
	}
	empty, err := e.emptyProjects(ctx, known)
	if err != nil {
		return nil, err
	}
	for _, p := range empty {
		out = append(out, Leftover{Project: p, Why: "it has no container"})
	}
	slices.SortFunc(out, func(a, b Leftover) int { return strings.Compare(a.Project, b.Project) })
	return out, nil
}

func (e *Engine) deadProbes(ctx context.Context) (map[string][]string, error) {
	all, err := e.list(ctx, api.OneoffLabel+"=True", compose.LabelOwner)
	if err != nil {
		return nil, err
	}
	out := map[string][]string{}
	for _, c := range all {
		if !Owner(c.Labels[compose.LabelOwner]).Alive() {
			p := c.Labels[api.ProjectLabel]
			out[p] = append(out[p], c.ID)
		}
	}
	return out, nil
}

// emptyProjects are projects with a network or a volume that carries our label and no container. One that a command
// is just about to fill is held by its lock.
func (e *Engine) emptyProjects(ctx context.Context, known map[string]bool) ([]string, error) {
	seen := map[string]bool{}
	add := func(labels map[string]string) {
		p := labels[api.ProjectLabel]
		if _, ours := labels[compose.LabelLab]; ours && !known[p] {
			seen[p] = true
		}
	}
	filter := make(client.Filters).Add("label", api.ProjectLabel)
	nets, err := e.Docker.NetworkList(ctx, client.NetworkListOptions{Filters: filter})
	if err != nil {
		return nil, Explain(e.Host, fmt.Errorf("list networks: %w", err))
	}
	for _, n := range nets.Items {
		add(n.Labels)
	}
	vols, err := e.Docker.VolumeList(ctx, client.VolumeListOptions{Filters: filter})
	if err != nil {
		return nil, Explain(e.Host, fmt.Errorf("list volumes: %w", err))
	}
	for _, v := range vols.Items {
		add(v.Labels)
	}
	var out []string
	for p := range seen {
		lock, err := Acquire(p, "gc")
		if errors.Is(err, ErrBusy) {
			continue
		}
		if err != nil {
			return nil, err
		}
		lock.Release()
		out = append(out, p)
	}
	return out, nil
}

// Reap removes leftovers, and says what it did. One that another command holds is left to it.
func (e *Engine) Reap(ctx context.Context) ([]string, error) {
	left, err := e.Leftovers(ctx)
	if err != nil {
		return nil, err
	}
	var done []string
	var errs []error
	for _, l := range left {
		if err := e.remove(ctx, l); err != nil {
			if !errors.Is(err, ErrBusy) {
				errs = append(errs, err)
			}
			continue
		}
		done = append(done, fmt.Sprintf("removed %s: %s", l.Project, l.Why))
	}
	return done, errors.Join(errs...)
}

func (e *Engine) remove(ctx context.Context, l Leftover) error {
	if len(l.Probes) > 0 {
		for _, id := range l.Probes {
			if _, err := e.Docker.ContainerRemove(ctx, id, client.ContainerRemoveOptions{Force: true}); err != nil {
				return Explain(e.Host, fmt.Errorf("remove probe: %w", err))
			}
		}
		return nil
	}
	lock, err := Acquire(l.Project, "gc")
	if err != nil {
		return err
	}
	defer lock.Release()
	return e.Down(ctx, l.Project, nil)
}

// Tidy puts right what ended commands left: faults first, then stacks that nobody owns. It says what it did.
func (e *Engine) Tidy(ctx context.Context) ([]string, error) {
	healed, err := e.Heal(ctx)
	reaped, rerr := e.Reap(ctx)
	return append(healed, reaped...), errors.Join(err, rerr)
}
