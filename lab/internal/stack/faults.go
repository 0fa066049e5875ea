package stack

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/compose/v5/pkg/api"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"

	"distlab/lab/check"
)

// noted is a fault with what is needed to undo it.
type noted struct {
	Container string       `json:"container"`
	Action    check.Action `json:"action"`
	Before    []file       `json:"before,omitempty"`  // for writes: what was there
	Aliases   []string     `json:"aliases,omitempty"` // for disconnects: the container's names on the network
	Network   string       `json:"network,omitempty"` // for disconnects: the network's full name
	WasUp     bool         `json:"was_up"`            // it ran, and shall run again
	Healthy   bool         `json:"was_healthy"`       // it was healthy, and shall be again
	Replica   replica      `json:"replica,omitzero"`  // for runs: whose volume what was done may lie in
}

// replica is a container by its place, which the one that is made in its stead takes over, with its volumes.
type replica struct {
	Project string `json:"project"`
	Service string `json:"service"`
	Number  int    `json:"number"`
}

// file is a file in a container.
type file struct {
	Path    string `json:"path"`
	Exists  bool   `json:"exists"`
	Content []byte `json:"content,omitempty"`
	Mode    int64  `json:"mode"`
	UID     int    `json:"uid"`
	GID     int    `json:"gid"`
}

// note gathers what is needed to undo an action, before it is done.
func (e *Engine) note(ctx context.Context, project, id string, a check.Action) (noted, error) {
	st, err := e.state(ctx, id)
	if err != nil {
		return noted{}, err
	}
	n := noted{Container: id, Action: a, WasUp: st.Status == "running", Healthy: st.Health == "healthy"}
	switch a.Kind {
	case check.ActWrite:
		n.Action.Files = nil // the new content is not needed to go back
		for p := range a.Files {
			f, err := e.readFile(ctx, id, p)
			if err != nil {
				return noted{}, err
			}
			n.Before = append(n.Before, f)
		}
	case check.ActRun:
		all, err := e.containers(ctx, project)
		if err != nil {
			return noted{}, err
		}
		for _, c := range all {
			if c.ID == id {
				n.Replica = replica{project, c.Labels[api.ServiceLabel], number(c)}
			}
		}
	case check.ActDisconnect:
		n.Network = project + "_" + a.Network
		if strings.HasPrefix(a.Network, project+"_") {
			n.Network = a.Network
		}
		res, err := e.Docker.ContainerInspect(ctx, id, client.ContainerInspectOptions{})
		if err != nil {
			return noted{}, e.explain(ctx, err)
		}
		ep := res.Container.NetworkSettings.Networks[n.Network]
		if ep == nil {
			return noted{}, fmt.Errorf("container %s is not on network %s", id[:12], n.Network)
		}
		for _, alias := range ep.Aliases {
			if alias != id[:12] { // the engine adds this one by itself
				n.Aliases = append(n.Aliases, alias)
			}
		}
	}
	return n, nil
}

// do does an action. It does not return before the engine says that it is done.
func (e *Engine) do(ctx context.Context, id string, a check.Action, n noted) error {
	switch a.Kind {
	case check.ActStop:
		opts := client.ContainerStopOptions{}
		if a.Grace > 0 {
			seconds := int((a.Grace + time.Second - 1) / time.Second)
			opts.Timeout = &seconds
		}
		_, err := e.Docker.ContainerStop(ctx, id, opts)
		return err
	case check.ActKill:
		if _, err := e.Docker.ContainerKill(ctx, id, client.ContainerKillOptions{Signal: "SIGKILL"}); err != nil {
			return err
		}
		return e.waitExit(ctx, id)
	case check.ActPause:
		_, err := e.Docker.ContainerPause(ctx, id, client.ContainerPauseOptions{})
		return err
	case check.ActDisconnect:
		_, err := e.Docker.NetworkDisconnect(ctx, n.Network, client.NetworkDisconnectOptions{Container: id, Force: true})
		return err
	case check.ActSignal:
		_, err := e.Docker.ContainerKill(ctx, id, client.ContainerKillOptions{Signal: a.Signal})
		return err
	case check.ActRun:
		return e.run(ctx, id, a.Run)
	case check.ActWrite:
		for p, data := range a.Files {
			f := file{Path: p, Exists: true, Content: data, Mode: 0o644}
			for _, b := range n.Before {
				if b.Path == p {
					f.Mode, f.UID, f.GID = b.Mode, b.UID, b.GID
				}
			}
			if err := e.writeFile(ctx, id, f); err != nil {
				return err
			}
		}
		return nil
	}
	return fmt.Errorf("unknown action %q", a.Kind)
}

// undo takes an action back and waits until the container is as it was. A container that is gone needs nothing.
func (e *Engine) undo(ctx context.Context, n noted) error {
	err := e.revert(ctx, n)
	if errdefs.IsNotFound(err) || err == nil && n.Action.Kind == check.ActRun {
		return nil
	}
	if err != nil {
		return fmt.Errorf("undo %s: %w", n.Action.Kind, err)
	}
	if n.WasUp {
		return e.waitUp(ctx, n.Container, n.Healthy)
	}
	return nil
}

func (e *Engine) revert(ctx context.Context, n noted) error {
	switch n.Action.Kind {
	case check.ActPause:
		st, err := e.state(ctx, n.Container)
		if err != nil || st.Status != "paused" {
			return err
		}
		_, err = e.Docker.ContainerUnpause(ctx, n.Container, client.ContainerUnpauseOptions{})
		return err
	case check.ActDisconnect:
		st, err := e.state(ctx, n.Container)
		if err != nil {
			return err
		}
		if _, ok := st.Networks[n.Network]; ok {
			return nil
		}
		_, err = e.Docker.NetworkConnect(ctx, n.Network, client.NetworkConnectOptions{
			Container: n.Container, EndpointConfig: &network.EndpointSettings{Aliases: n.Aliases},
		})
		return err
	case check.ActRun:
		return e.runBack(ctx, n)
	case check.ActWrite:
		for _, f := range n.Before {
			if !f.Exists {
				continue // nothing can be removed through the engine's API; an extra file is left
			}
			if err := e.writeFile(ctx, n.Container, f); err != nil {
				return err
			}
		}
		return nil
	}
	// Stopped, killed, or a signal that may have ended it.
	if !n.WasUp {
		return nil
	}
	if n.Action.Back != "" {
		_, err := e.Docker.ContainerKill(ctx, n.Container, client.ContainerKillOptions{Signal: n.Action.Back})
		if err != nil && !errdefs.IsConflict(err) { // it does not run any more
			return err
		}
	}
	_, err := e.Docker.ContainerStart(ctx, n.Container, client.ContainerStartOptions{}) // no effect when it runs
	return err
}

// runBackTimeout bounds the wait for a container that starts, and for the server in it.
const runBackTimeout = 20 * time.Second

// runBack runs the command that undoes a run, in the container that has the place of the old one now.
func (e *Engine) runBack(ctx context.Context, n noted) error {
	ctx, cancel := context.WithTimeout(ctx, runBackTimeout)
	defer cancel()
	return check.Wait(ctx, "it to be undone", func(ctx context.Context) error {
		c, there, err := e.at(ctx, n.Replica)
		if err != nil || !there {
			return err
		}
		if c.State != container.StateRunning {
			return fmt.Errorf("%s is %s", name(c), c.State)
		}
		return e.run(ctx, c.ID, n.Action.Undo)
	})
}

// at is the container that has a place now.
func (e *Engine) at(ctx context.Context, r replica) (c container.Summary, there bool, err error) {
	all, err := e.containers(ctx, r.Project)
	i := slices.IndexFunc(all, func(c container.Summary) bool {
		return c.Labels[api.ServiceLabel] == r.Service && number(c) == r.Number
	})
	if err != nil || i < 0 {
		return container.Summary{}, false, err
	}
	return all[i], true, nil
}

// run runs a command in a container, and fails where that does.
func (e *Engine) run(ctx context.Context, id string, cmd []string) error {
	out, err := e.exec(ctx, id, cmd)
	if err == nil && out.ExitCode != 0 {
		err = fmt.Errorf("%s: exit code %d: %s", cmd[0], out.ExitCode, strings.TrimSpace(out.Stderr))
	}
	return err
}

func (e *Engine) waitExit(ctx context.Context, id string) error {
	res := e.Docker.ContainerWait(ctx, id, client.ContainerWaitOptions{Condition: container.WaitConditionNotRunning})
	select {
	case err := <-res.Error:
		return err
	case <-res.Result:
		return nil
	}
}

// waitUp waits until a container runs, and is healthy if it was.
func (e *Engine) waitUp(ctx context.Context, id string, healthy bool) error {
	return check.Wait(ctx, "the container to serve again", func(ctx context.Context) error {
		st, err := e.state(ctx, id)
		switch {
		case err != nil:
			return err
		case st.Status != "running" || healthy && st.Health != "healthy":
			return fmt.Errorf("it is %s %s", st.Status, st.Health)
		}
		return nil
	})
}

// readFile reads a file through the engine; a file that is not there is an answer.
func (e *Engine) readFile(ctx context.Context, id, p string) (file, error) {
	res, err := e.Docker.CopyFromContainer(ctx, id, client.CopyFromContainerOptions{SourcePath: p})
	if errdefs.IsNotFound(err) {
		return file{Path: p, Mode: 0o644}, nil
	}
	if err != nil {
		return file{}, e.explain(ctx, fmt.Errorf("read %s: %w", p, err))
	}
	defer res.Content.Close()
	tr := tar.NewReader(res.Content)
	h, err := tr.Next()
	if err != nil {
		return file{}, fmt.Errorf("read %s: %w", p, err)
	}
	data, err := io.ReadAll(tr)
	if err != nil {
		return file{}, fmt.Errorf("read %s: %w", p, err)
	}
	return file{Path: p, Exists: true, Content: data, Mode: h.Mode, UID: h.Uid, GID: h.Gid}, nil
}

// writeFile writes a file through the engine, as docker cp does: the old one is removed and the new one written in
// place, so a reader may find none or half of it.
func (e *Engine) writeFile(ctx context.Context, id string, f file) error {
	var buf bytes.Buffer
	tw := tar.NewWriter(&buf)
	h := &tar.Header{Name: path.Base(f.Path), Mode: f.Mode, Uid: f.UID, Gid: f.GID, Size: int64(len(f.Content)), ModTime: time.Now()}
	err := tw.WriteHeader(h)
	if err == nil {
		_, err = tw.Write(f.Content)
	}
	if err = errors.Join(err, tw.Close()); err != nil {
		return fmt.Errorf("write %s: %w", f.Path, err)
	}
	_, err = e.Docker.CopyToContainer(ctx, id, client.CopyToContainerOptions{DestinationPath: path.Dir(f.Path), Content: &buf})
	if err != nil {
		return e.explain(ctx, fmt.Errorf("write %s: %w", f.Path, err))
	}
	return nil
}
