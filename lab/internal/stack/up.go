package stack

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/compose-spec/compose-go/v2/types"
	"github.com/docker/compose/v5/pkg/api"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/api/types/volume"
	"github.com/moby/moby/client"

	"distlab/lab/internal/compose"
	"distlab/lab/internal/hint"
)

// Progress is told what each service is at: "created", "starting", "healthy" … It may be called from any goroutine.
type Progress func(service, state string)

// UpOptions change what Up does.
type UpOptions struct {
	Owned    bool // for a test: the stack belongs to this process and expires
	Progress Progress
}

const (
	testLifetime = 2 * time.Hour
	// downTimeout bounds taking away what an interrupted or failed start had made.
	downTimeout = 60 * time.Second
)

// Up brings a project up, whose lock the caller holds, and waits until every service is healthy. A stack that is up already is left
// as it is, what is missing or differs is made anew. When it fails or ctx ends, what it started is taken away again: the
// whole stack if there was none before, else the containers that it made.
func (e *Engine) Up(ctx context.Context, p *compose.Project, o UpOptions) (err error) {
	before, err := e.containers(ctx, p.Project.Name)
	if err != nil {
		return err
	}
	labelled, err := p.Labelled(o.owned())
	if err != nil {
		return err
	}
	if err := keep(p, labelled); err != nil {
		return err
	}
	defer func() {
		if err == nil {
			return
		}
		clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), downTimeout)
		defer cancel()
		if undo := e.undoUp(clean, p.Root, p.Project.Name, before); undo != nil {
			err = hint.Wrap(err, "%s", strings.TrimSpace(hint.Of(err)+fmt.Sprintf(
				"\nsome of it may be left (%v): lab down %s", undo, p.Lab)))
		}
	}()
	w := e.watch(ctx, p, o.Progress)
	defer w.stop()
	ctx, cancel := w.expiring(ctx)
	defer cancel()
	if err := e.mend(ctx, labelled, w.progress); err != nil {
		return err
	}
	if err := e.composeUp(ctx, labelled); err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return e.postMortem(p, err)
	}
	if err := w.wait(ctx); err != nil {
		return e.postMortem(p, err)
	}
	_, err = e.heal(ctx, p.Project.Name) // what can be undone only now that all run
	return err
}

func (o UpOptions) owned() compose.Owned {
	if !o.Owned {
		return compose.Owned{}
	}
	return compose.Owned{Owner: string(Self()), Session: session(), Expires: expiry().Format(time.RFC3339)}
}

// expiry is the same for all that this process owns: a label that changed would make compose start everything anew.
var expiry = sync.OnceValue(func() time.Time { return time.Now().Add(testLifetime).UTC() })

// Kept is where the project that a stack was last started from is kept, for the record.
func Kept(root, project string) string {
	return filepath.Join(root, ".lab", "stacks", project, "compose.yaml")
}

func keep(p *compose.Project, labelled *types.Project) error {
	data, err := labelled.MarshalYAML()
	if err != nil {
		return fmt.Errorf("keep the compose project: %w", err)
	}
	file := Kept(p.Root, p.Project.Name)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return fmt.Errorf("keep the compose project: %w", err)
	}
	if err := os.WriteFile(file, data, 0o644); err != nil {
		return fmt.Errorf("keep the compose project: %w", err)
	}
	return nil
}

// forget removes what was kept of a stack that is no more.
func forget(root, project string) {
	if root != "" {
		_ = os.RemoveAll(filepath.Dir(Kept(root, project))) // a folder that stays does nothing
	}
}

// createTimeout bounds what cannot be interrupted: creating networks, volumes and containers.
const createTimeout = time.Minute

// composeUp creates and starts what is missing or differs. What the engine was asked to create it creates, also when
// nobody waits for the answer; so creation is not interrupted, or it would leave things after the cleaning up. It
// does not wait for health: we watch that ourselves, where compose asks every half second.
func (e *Engine) composeUp(ctx context.Context, p *types.Project) error {
	create, cancel := context.WithTimeout(context.WithoutCancel(ctx), createTimeout)
	defer cancel()
	err := e.compose.Create(create, p, api.CreateOptions{
		Services: p.ServiceNames(), RemoveOrphans: true,
		Recreate: api.RecreateDiverged, RecreateDependencies: api.RecreateDiverged, QuietPull: true,
	})
	if err != nil {
		return err
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return e.compose.Start(ctx, p.Name, api.StartOptions{Project: p, Services: p.ServiceNames()})
}

// undoUp takes away what an unfinished Up made.
func (e *Engine) undoUp(ctx context.Context, root, project string, before []container.Summary) error {
	if len(before) == 0 {
		forget(root, project)
		return e.Down(ctx, project, nil)
	}
	old := map[string]bool{}
	for _, c := range before {
		old[c.ID] = true
	}
	now, err := e.containers(ctx, project)
	if err != nil {
		return err
	}
	var errs []error
	for _, c := range now {
		if !old[c.ID] {
			_, err := e.Docker.ContainerRemove(ctx, c.ID, client.ContainerRemoveOptions{Force: true})
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// postMortem adds to an error what a person would look for next: the last lines of the container that failed, and
// how the others are.
func (e *Engine) postMortem(p *compose.Project, cause error) error {
	if errors.Is(cause, context.Canceled) {
		return cause
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	cause = e.explain(ctx, cause)
	all, err := e.containers(ctx, p.Project.Name)
	if err != nil || len(all) == 0 {
		return cause
	}
	var b strings.Builder
	for _, c := range all {
		st, err := e.state(ctx, c.ID)
		if err != nil {
			continue
		}
		fmt.Fprintf(&b, "\n  %-14s %s", c.Labels[api.ServiceLabel], sentence(st.Status, st.Health, st.ExitCode, st.OOMKilled))
		if st.Status == "running" && st.Health != "unhealthy" && st.Health != "starting" || st.Status == "created" {
			continue
		}
		logs, err := e.logs(ctx, c.ID, client.ContainerLogsOptions{ShowStdout: true, ShowStderr: true, Tail: "8"})
		if err != nil {
			continue
		}
		for line := range strings.Lines(logs) {
			fmt.Fprintf(&b, "\n  %14s | %s", "", strings.TrimRight(line, "\r\n"))
		}
	}
	h := hint.Of(cause)
	if h == "" {
		h = "the lines above are the last of its log; settings are in " + strings.Join(p.Files(), ", ")
	}
	return hint.Wrap(fmt.Errorf("start %s: %w%s", p.Lab, cause, b.String()), "%s", h)
}

func sentence(status, health string, code int, oom bool) string {
	switch {
	case oom:
		return "was killed: out of memory"
	case status == "exited":
		return fmt.Sprintf("exited with code %d", code)
	case health != "":
		return status + ", " + health
	}
	return status
}

// Down takes a stack away: containers, networks and volumes. A stack that is not there is no error.
func (e *Engine) Down(ctx context.Context, project string, progress Progress) error {
	o, err := e.Overview(ctx, project)
	if err != nil {
		return err
	}
	if err := e.removeOneOffs(ctx, project); err != nil {
		return err
	}
	if progress != nil {
		w := e.watchDown(ctx, project, progress)
		defer w()
	}
	// No project is given: what a stack consists of is read from its labels, so it goes away whole even when the
	// lab's file has changed or is gone.
	if err := e.compose.Down(ctx, project, api.DownOptions{RemoveOrphans: true, Volumes: true}); err != nil {
		return e.explain(ctx, fmt.Errorf("take %s down: %w", project, err))
	}
	if err := e.removeLeftovers(ctx, project); err != nil {
		return err
	}
	forget(o.Root, project)
	return nil
}

// removeOneOffs removes probes that are still there: they would keep the network from being removed.
func (e *Engine) removeOneOffs(ctx context.Context, project string) error {
	all, err := e.list(ctx, inProject(project), api.OneoffLabel+"=True")
	if err != nil {
		return err
	}
	for _, c := range all {
		_, err := e.Docker.ContainerRemove(ctx, c.ID, client.ContainerRemoveOptions{Force: true})
		if err != nil {
			return e.explain(ctx, fmt.Errorf("remove probe: %w", err))
		}
	}
	return nil
}

// removeLeftovers removes networks and volumes of the project that compose did not know of, because no container
// led to them or because they lack its labels.
func (e *Engine) removeLeftovers(ctx context.Context, project string) error {
	nets, vols, err := e.belongings(ctx, project)
	if err != nil {
		return err
	}
	for _, n := range nets {
		if _, err := e.Docker.NetworkRemove(ctx, n.ID, client.NetworkRemoveOptions{}); err != nil {
			return e.explain(ctx, fmt.Errorf("remove network %s: %w", n.Name, err))
		}
	}
	for _, v := range vols {
		if _, err := e.Docker.VolumeRemove(ctx, v.Name, client.VolumeRemoveOptions{Force: true}); err != nil {
			return e.explain(ctx, fmt.Errorf("remove volume %s: %w", v.Name, err))
		}
	}
	return nil
}

// belongings are the networks and volumes of a project, known by its label, or by their name where they have none.
func (e *Engine) belongings(ctx context.Context, project string) ([]network.Summary, []volume.Volume, error) {
	mine := func(name string, labels map[string]string) bool {
		of, labelled := labels[api.ProjectLabel]
		return of == project || !labelled && compose.ProjectOf(name) == project
	}
	nets, err := e.Docker.NetworkList(ctx, client.NetworkListOptions{})
	if err != nil {
		return nil, nil, e.explain(ctx, fmt.Errorf("list networks: %w", err))
	}
	vols, err := e.Docker.VolumeList(ctx, client.VolumeListOptions{})
	if err != nil {
		return nil, nil, e.explain(ctx, fmt.Errorf("list volumes: %w", err))
	}
	return slices.DeleteFunc(nets.Items, func(n network.Summary) bool { return !mine(n.Name, n.Labels) }),
		slices.DeleteFunc(vols.Items, func(v volume.Volume) bool { return !mine(v.Name, v.Labels) }), nil
}

// Exists says whether the engine has anything of a project.
func (e *Engine) Exists(ctx context.Context, project string) (bool, error) {
	all, err := e.list(ctx, inProject(project))
	if err != nil || len(all) > 0 {
		return len(all) > 0, err
	}
	nets, vols, err := e.belongings(ctx, project)
	return len(nets)+len(vols) > 0, err
}
