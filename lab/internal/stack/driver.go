package stack

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/compose-spec/compose-go/v2/types"
	"github.com/docker/compose/v5/pkg/api"
	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"distlab/lab/check"
)

// Driver is a running stack as the checks see it.
type Driver struct {
	Engine  *Engine
	Project string
	RunDir  string // where Record keeps files; "" keeps none

	probeImage string // that PinProbe has chosen, or ""

	mu      sync.Mutex
	journal journal
}

var _ check.Driver = (*Driver)(nil)

// Containers implements [check.Driver].
func (d *Driver) Containers(ctx context.Context, service string) ([]check.Container, error) {
	all, err := d.Engine.containers(ctx, d.Project)
	if err != nil {
		return nil, err
	}
	var out []check.Container
	for _, c := range all {
		if dc := describe(c); service == "" || dc.Service == service {
			out = append(out, dc)
		}
	}
	return out, nil
}

// State implements [check.Driver].
func (d *Driver) State(ctx context.Context, id string) (check.State, error) {
	return d.Engine.state(ctx, id)
}

// Do implements [check.Driver]: the fault is in the journal before it is done.
func (d *Driver) Do(ctx context.Context, id string, a check.Action) error {
	n, err := d.Engine.note(ctx, d.Project, id, a)
	if err != nil {
		return err
	}
	d.mu.Lock()
	d.journal.Project, d.journal.Owner = d.Project, Self()
	d.journal.Faults = append(d.journal.Faults, n)
	err = d.journal.save()
	d.mu.Unlock()
	if err != nil {
		return err
	}
	if err := d.Engine.do(ctx, id, a, n); err != nil {
		return Explain(d.Engine.Host, err)
	}
	return nil
}

// Undo implements [check.Driver]: the newest fault of that kind on that container.
func (d *Driver) Undo(ctx context.Context, id string, a check.Action) error {
	d.mu.Lock()
	at := -1
	for i, n := range d.journal.Faults {
		if n.Container == id && n.Action.Kind == a.Kind {
			at = i
		}
	}
	if at < 0 {
		d.mu.Unlock()
		return nil
	}
	n := d.journal.Faults[at]
	d.mu.Unlock()
	if err := d.Engine.undo(ctx, n); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.journal.Faults = append(d.journal.Faults[:at:at], d.journal.Faults[at+1:]...)
	return d.journal.save()
}

// Exec implements [check.Driver].
func (d *Driver) Exec(ctx context.Context, id string, cmd []string) (check.Output, error) {
	return d.Engine.exec(ctx, id, cmd)
}

func (e *Engine) exec(ctx context.Context, id string, cmd []string) (check.Output, error) {
	made, err := e.Docker.ExecCreate(ctx, id, client.ExecCreateOptions{Cmd: cmd, AttachStdout: true, AttachStderr: true})
	if err != nil {
		return check.Output{}, Explain(e.Host, fmt.Errorf("exec %s: %w", cmd[0], err))
	}
	at, err := e.Docker.ExecAttach(ctx, made.ID, client.ExecAttachOptions{})
	if err != nil {
		return check.Output{}, Explain(e.Host, fmt.Errorf("exec %s: %w", cmd[0], err))
	}
	defer at.Close()
	stop := context.AfterFunc(ctx, at.Close) // the stream does not know of ctx
	defer stop()
	var stdout, stderr bytes.Buffer
	if _, err := stdcopy.StdCopy(&stdout, &stderr, at.Reader); err != nil {
		return check.Output{}, fmt.Errorf("exec %s: %w", cmd[0], errors.Join(ctx.Err(), err))
	}
	res, err := e.Docker.ExecInspect(ctx, made.ID, client.ExecInspectOptions{})
	if err != nil {
		return check.Output{}, Explain(e.Host, fmt.Errorf("exec %s: %w", cmd[0], err))
	}
	return check.Output{ExitCode: res.ExitCode, Stdout: stdout.String(), Stderr: stderr.String()}, nil
}

// Logs implements [check.Driver].
func (d *Driver) Logs(ctx context.Context, id string, since time.Time) (string, error) {
	opts := client.ContainerLogsOptions{ShowStdout: true, ShowStderr: true}
	if !since.IsZero() {
		opts.Since = strconv.FormatFloat(float64(since.UnixNano())/1e9, 'f', 9, 64)
	}
	return d.Engine.logs(ctx, id, opts)
}

func (e *Engine) logs(ctx context.Context, id string, opts client.ContainerLogsOptions) (string, error) {
	r, err := e.Docker.ContainerLogs(ctx, id, opts)
	if err != nil {
		return "", Explain(e.Host, fmt.Errorf("read logs: %w", err))
	}
	defer r.Close()
	var out bytes.Buffer
	if _, err := stdcopy.StdCopy(&out, &out, r); err != nil {
		return "", fmt.Errorf("read logs: %w", err)
	}
	return out.String(), nil
}

// ReadFile implements [check.Driver].
func (d *Driver) ReadFile(ctx context.Context, id, path string) ([]byte, error) {
	f, err := d.Engine.readFile(ctx, id, path)
	if err != nil {
		return nil, err
	}
	if !f.Exists {
		return nil, fmt.Errorf("read %s: %w", path, os.ErrNotExist)
	}
	return f.Content, nil
}

// Settled implements [check.Driver].
func (d *Driver) Settled(ctx context.Context) error {
	return check.Wait(ctx, "a healthy lab", func(ctx context.Context) error {
		all, err := d.Engine.containers(ctx, d.Project)
		if err != nil {
			return err
		}
		if len(all) == 0 {
			return fmt.Errorf("%s has no container", d.Project)
		}
		for _, c := range all {
			if endedWell(c, all) {
				continue
			}
			if h := healthOf(c); c.State != "running" || h == "starting" || h == "unhealthy" {
				return fmt.Errorf("%s is %s %s", name(c), c.State, h)
			}
		}
		return nil
	})
}

// endedWell says whether a container was to run once, and has. That another service waits for its end is known here from
// the label in which compose keeps what a service depends on: "tools:service_completed_successfully:false,…".
func endedWell(c container.Summary, all []container.Summary) bool {
	if c.State != "exited" || !strings.HasPrefix(c.Status, "Exited (0)") {
		return false
	}
	waits := c.Labels[api.ServiceLabel] + ":" + types.ServiceConditionCompletedSuccessfully + ":"
	return slices.ContainsFunc(all, func(other container.Summary) bool {
		return slices.ContainsFunc(strings.Split(other.Labels[api.DependenciesLabel], ","), func(d string) bool { return strings.HasPrefix(d, waits) })
	})
}

// Record implements [check.Driver].
func (d *Driver) Record(name string, data []byte) error {
	if d.RunDir == "" {
		return nil
	}
	return os.WriteFile(filepath.Join(d.RunDir, filepath.Base(name)), data, 0o644)
}

// Collect is what every container of a project has logged since then, by container name.
func (e *Engine) Collect(ctx context.Context, project string, since time.Time) (map[string]string, error) {
	all, err := e.containers(ctx, project)
	if err != nil {
		return nil, err
	}
	d := &Driver{Engine: e, Project: project}
	out := map[string]string{}
	for _, c := range all {
		text, err := d.Logs(ctx, c.ID, since)
		if err != nil {
			return nil, err
		}
		out[describe(c).Service+"-"+strconv.Itoa(number(c))] = text
	}
	return out, nil
}
