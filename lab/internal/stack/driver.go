package stack

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/client"

	"distlab/lab/check"
)

// Driver is a running stack as the checks see it.
type Driver struct {
	Engine  *Engine
	Project string
	Lock    *Lock  // of the stack, for who does faults or starts probes
	RunDir  string // where Record keeps files; "" keeps none

	probeImage string // that PinProbe has chosen, or ""
	ill        bool   // the stack was not whole when last looked at
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
	if err := d.Lock.note(ctx, n); err != nil {
		return err
	}
	if err := d.Engine.do(ctx, id, a, n); err != nil {
		return d.Engine.explain(ctx, err)
	}
	return nil
}

// Undo implements [check.Driver]: the newest fault of that kind on that container.
func (d *Driver) Undo(ctx context.Context, id string, a check.Action) error {
	n, ok := d.Lock.last(id, a.Kind)
	if !ok {
		return nil
	}
	if err := d.Engine.undo(ctx, n); err != nil {
		return err
	}
	d.Lock.undone(id, a.Kind)
	return nil
}

// Exec implements [check.Driver].
func (d *Driver) Exec(ctx context.Context, id string, cmd []string) (check.Output, error) {
	return d.Engine.exec(ctx, id, cmd)
}

func (e *Engine) exec(ctx context.Context, id string, cmd []string) (check.Output, error) {
	made, err := e.Docker.ExecCreate(ctx, id, client.ExecCreateOptions{Cmd: cmd, AttachStdout: true, AttachStderr: true})
	if err != nil {
		return check.Output{}, e.explain(ctx, fmt.Errorf("exec %s: %w", cmd[0], err))
	}
	at, err := e.Docker.ExecAttach(ctx, made.ID, client.ExecAttachOptions{})
	if err != nil {
		return check.Output{}, e.explain(ctx, fmt.Errorf("exec %s: %w", cmd[0], err))
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
		return check.Output{}, e.explain(ctx, fmt.Errorf("exec %s: %w", cmd[0], err))
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
		return "", e.explain(ctx, fmt.Errorf("read logs: %w", err))
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

// passing is how long a container may look ended: the engine is about to start it again.
const passing = 2 * time.Second

// Settled implements [check.Driver]. Where something was stopped, paused or taken away by hand, it waits for nothing: that does
// not pass by itself.
func (d *Driver) Settled(ctx context.Context) error {
	begun := time.Now()
	var ill error
	wait, stop := context.WithCancel(ctx)
	defer stop()
	err := check.Wait(wait, "a healthy lab", func(ctx context.Context) error {
		o, err := d.Engine.Overview(ctx, d.Project)
		if err != nil {
			return err
		}
		if len(o.Members) == 0 {
			ill = fmt.Errorf("%s has no container", d.Project)
			stop()
			return ill
		}
		if wrong := o.Ill(); len(wrong) > 0 {
			err := fmt.Errorf("%s: lab up %s mends it", strings.Join(wrong, ", "), o.Name())
			if d.ill || time.Since(begun) > passing {
				ill = err
				stop()
			}
			return err
		}
		for _, m := range o.Members {
			if m.Status == "restarting" || m.Status == "running" && (m.Health == "starting" || m.Health == "unhealthy") {
				return fmt.Errorf("%s is %s %s", m.Name, m.Status, m.Health)
			}
		}
		return nil
	})
	d.ill = ill != nil
	if ill != nil {
		return ill
	}
	return err
}

// Record implements [check.Driver].
func (d *Driver) Record(name string, data []byte) error {
	if d.RunDir == "" {
		return nil
	}
	return os.WriteFile(filepath.Join(d.RunDir, filepath.Base(name)), data, 0o644)
}

// Inspect is what the engine says of every container of a project, as JSON.
func (e *Engine) Inspect(ctx context.Context, project string) ([]byte, error) {
	all, err := e.containers(ctx, project)
	if err != nil {
		return nil, err
	}
	out := []json.RawMessage{}
	for _, c := range all {
		res, err := e.Docker.ContainerInspect(ctx, c.ID, client.ContainerInspectOptions{})
		if err != nil {
			return nil, e.explain(ctx, fmt.Errorf("inspect %s: %w", name(c), err))
		}
		out = append(out, res.Raw)
	}
	return json.MarshalIndent(out, "", "  ")
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
