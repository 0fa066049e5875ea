package stack

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/docker/compose/v5/pkg/api"
	"github.com/moby/moby/client"

	"distlab/lab/internal/compose"
)

// Leftover is something in the engine that nobody needs any more.
type Leftover struct {
	Project string
	Why     string
	Probes  []string // IDs of probe containers, when only they are left over
}

// fresh is how old a network or a volume without a container must be to count as left over: somebody may be at its start,
// who locks in another way than this version does.
const fresh = 2 * createTimeout

// Leftovers are stacks whose command is gone or whose time is up, probes of dead commands in stacks that live on, and
// networks and volumes of stacks without a container.
func (e *Engine) Leftovers(ctx context.Context) ([]Leftover, error) {
	// The locks are looked at last: whoever made something by now had one before.
	stacks, err := e.Overviews(ctx)
	if err != nil {
		return nil, err
	}
	probes, err := e.list(ctx, api.OneoffLabel+"=True", compose.LabelOwner)
	if err != nil {
		return nil, err
	}
	empty, err := e.emptyProjects(ctx)
	if err != nil {
		return nil, err
	}
	held, _, err := e.locks(ctx)
	if err != nil {
		return nil, err
	}
	living := map[string]bool{}
	for _, h := range held {
		living[h.session] = true
	}
	var out []Leftover
	known := map[string]bool{}
	add := func(l Leftover) { out, known[l.Project] = append(out, l), true }
	for _, s := range stacks {
		delete(empty, s.Project)
		if why := orphaned(s.Session, s.Owner, s.Expires, living); why != "" {
			add(Leftover{Project: s.Project, Why: why})
		}
	}
	dead := map[string][]string{}
	for _, c := range probes {
		project := c.Labels[api.ProjectLabel]
		delete(empty, project)
		if orphaned(c.Labels[compose.LabelSession], Owner(c.Labels[compose.LabelOwner]), expires(c.Labels), living) != "" {
			dead[project] = append(dead[project], c.ID)
		}
	}
	for project, ids := range dead {
		if !known[project] {
			add(Leftover{Project: project, Why: "its probes' process is gone", Probes: ids})
		}
	}
	for project := range empty {
		if !slices.ContainsFunc(held, func(h holder) bool {
			return h.project == project && h.session != session() // ours is held to remove it
		}) {
			add(Leftover{Project: project, Why: "it has no container"})
		}
	}
	slices.SortFunc(out, func(a, b Leftover) int { return strings.Compare(a.Project, b.Project) })
	return out, nil
}

// orphaned says why nobody needs something with these labels any more, or "". What a command owns lives as long as the command
// holds a lock; what has no session was made by an older version, and lives until its time is up.
func orphaned(session string, owner Owner, expires time.Time, living map[string]bool) string {
	switch {
	case session != "" && !living[session]:
		return fmt.Sprintf("its process %d is gone", owner.PID())
	case owner != "" && !expires.IsZero() && time.Now().After(expires):
		return "it expired at " + expires.Format(time.RFC3339)
	}
	return ""
}

func expires(labels map[string]string) time.Time {
	t, err := time.Parse(time.RFC3339, labels[compose.LabelExpires])
	if err != nil {
		return time.Time{}
	}
	return t
}

// emptyProjects are those of which there is a network or a volume. Who asks takes out those that have a container. One is
// known by its labels, or by its name where it has none: the engine makes a volume anew, without them, for a container whose
// volume was removed.
func (e *Engine) emptyProjects(ctx context.Context) (map[string]bool, error) {
	out := map[string]bool{}
	add := func(name string, labels map[string]string, made time.Time) {
		project, labelled := labels[api.ProjectLabel]
		_, ours := labels[compose.LabelLab]
		switch {
		case labelled && ours && time.Since(made) > fresh:
			out[project] = true
		case !labelled:
			if project := compose.ProjectOf(name); project != "" {
				out[project] = true
			}
		}
	}
	nets, err := e.Docker.NetworkList(ctx, client.NetworkListOptions{})
	if err != nil {
		return nil, e.explain(ctx, fmt.Errorf("list networks: %w", err))
	}
	for _, n := range nets.Items {
		add(n.Name, n.Labels, n.Created)
	}
	vols, err := e.Docker.VolumeList(ctx, client.VolumeListOptions{})
	if err != nil {
		return nil, e.explain(ctx, fmt.Errorf("list volumes: %w", err))
	}
	for _, v := range vols.Items {
		made, _ := time.Parse(time.RFC3339, v.CreatedAt)
		add(v.Name, v.Labels, made)
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
				return e.explain(ctx, fmt.Errorf("remove probe: %w", err))
			}
		}
		return nil
	}
	lock, err := e.Lock(ctx, l.Project, "gc")
	if err != nil {
		return err
	}
	defer lock.Release()
	// Somebody may have brought it up, or taken it away, before we had the lock.
	left, err := e.Leftovers(ctx)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(left, func(m Leftover) bool { return m.Project == l.Project && len(m.Probes) == 0 }) {
		return ErrBusy
	}
	return e.Down(ctx, l.Project, nil)
}

// Tidy puts right what ended commands left: faults first, then stacks that nobody owns. It says what it did.
func (e *Engine) Tidy(ctx context.Context) ([]string, error) {
	healed, err := e.Heal(ctx)
	reaped, rerr := e.Reap(ctx)
	return append(healed, reaped...), errors.Join(err, rerr)
}
