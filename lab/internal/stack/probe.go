package stack

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/docker/compose/v5/pkg/api"
	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"

	"distlab/lab/check"
	"distlab/lab/internal/compose"
)

// ProbeImage is the container that probes run in.
const ProbeImage = "distlab/probe:dev"

// probe is a one-off container of the project.
type probe struct {
	engine *Engine
	id     string
	lines  chan []byte
	done   chan struct{} // closed when the streams have ended
	close  func() error

	mu     sync.Mutex
	stderr bytes.Buffer
	failed error
}

// Probe implements [check.Driver].
func (d *Driver) Probe(ctx context.Context, spec check.ProbeSpec) (check.Process, error) {
	cfg, host, nets, err := d.probeConfig(ctx, spec)
	if err != nil {
		return nil, err
	}
	docker := d.Engine.Docker
	made, err := docker.ContainerCreate(ctx, client.ContainerCreateOptions{Config: cfg, HostConfig: host, NetworkingConfig: nets})
	if err != nil {
		return nil, d.Engine.explain(ctx, fmt.Errorf("create probe: %w", err))
	}
	p := &probe{engine: d.Engine, id: made.ID, lines: make(chan []byte), done: make(chan struct{})}
	p.close = sync.OnceValue(p.remove)
	at, err := docker.ContainerAttach(ctx, made.ID, client.ContainerAttachOptions{Stream: true, Stdout: true, Stderr: true})
	if err != nil {
		return nil, errors.Join(d.Engine.explain(ctx, fmt.Errorf("attach probe: %w", err)), p.close())
	}
	go p.read(at.HijackedResponse)
	if _, err := docker.ContainerStart(ctx, made.ID, client.ContainerStartOptions{}); err != nil {
		at.Close()
		return nil, errors.Join(d.Engine.explain(ctx, fmt.Errorf("start probe: %w", err)), p.close())
	}
	return p, nil
}

// PinProbe has all further probes run the image that the tag names now, whatever another command builds meanwhile: a
// comparison is made with one load generator. A container that never starts holds the image, and goes with the stack.
func (d *Driver) PinProbe(ctx context.Context) error {
	docker := d.Engine.Docker
	image, err := docker.ImageInspect(ctx, ProbeImage)
	if err != nil {
		return d.Engine.explain(ctx, fmt.Errorf("inspect image %s: %w", ProbeImage, err))
	}
	cfg := &container.Config{Image: image.ID, Labels: d.probeLabels()}
	if _, err := docker.ContainerCreate(ctx, client.ContainerCreateOptions{Config: cfg}); err != nil {
		return d.Engine.explain(ctx, fmt.Errorf("hold image %s: %w", ProbeImage, err))
	}
	d.probeImage = image.ID
	return nil
}

func (d *Driver) probeLabels() map[string]string {
	return map[string]string{
		api.ProjectLabel: d.Project, api.OneoffLabel: "True", api.ServiceLabel: "probe",
		compose.LabelLab: "probe", compose.LabelOwner: string(Self()), compose.LabelSession: session(),
		compose.LabelExpires: time.Now().Add(time.Hour).UTC().Format(time.RFC3339),
	}
}

// probeConfig makes a probe a hardened one-off container of the project: `lab down` takes it away with the rest.
func (d *Driver) probeConfig(ctx context.Context, spec check.ProbeSpec) (*container.Config, *container.HostConfig, *network.NetworkingConfig, error) {
	cfg := &container.Config{Image: cmp.Or(d.probeImage, ProbeImage), Cmd: spec.Args, Labels: d.probeLabels()}
	host := &container.HostConfig{
		ReadonlyRootfs: true, CapDrop: []string{"ALL"}, SecurityOpt: []string{"no-new-privileges:true"},
	}
	if spec.Beside != "" {
		cs, err := d.Containers(ctx, spec.Beside)
		if err != nil {
			return nil, nil, nil, err
		}
		if len(cs) == 0 {
			return nil, nil, nil, fmt.Errorf("probe beside %s: the service has no container", spec.Beside)
		}
		host.NetworkMode = container.NetworkMode("container:" + cs[0].ID)
		return cfg, host, nil, nil
	}
	res, err := d.Engine.Docker.NetworkList(ctx, client.NetworkListOptions{Filters: make(client.Filters).Add("label", inProject(d.Project))})
	if err != nil {
		return nil, nil, nil, d.Engine.explain(ctx, fmt.Errorf("list networks: %w", err))
	}
	if len(res.Items) == 0 {
		return nil, nil, nil, fmt.Errorf("the stack %s has no network", d.Project)
	}
	// Engines before API 1.44 join one network at creation; a lab with more gives the probe its default one.
	chosen, wanted := "", cmp.Or(spec.Network, "default")
	for _, n := range res.Items {
		if n.Labels[api.NetworkLabel] == wanted || n.Name == d.Project+"_"+wanted {
			chosen = n.Name
		}
	}
	switch {
	case chosen != "":
	case spec.Network != "":
		return nil, nil, nil, fmt.Errorf("probe in network %s: the stack %s has none of that name", spec.Network, d.Project)
	default:
		chosen = res.Items[0].Name
	}
	host.NetworkMode = container.NetworkMode(chosen)
	nets := &network.NetworkingConfig{EndpointsConfig: map[string]*network.EndpointSettings{chosen: {}}}
	return cfg, host, nets, nil
}

func (p *probe) read(at client.HijackedResponse) {
	defer close(p.done)
	defer close(p.lines)
	defer at.Close()
	r, w := io.Pipe()
	go func() {
		_, err := stdcopy.StdCopy(w, lockedWriter{p}, at.Reader)
		w.CloseWithError(err)
	}()
	br := bufio.NewReader(r)
	for {
		line, err := br.ReadBytes('\n')
		if len(line) > 0 {
			p.lines <- line
		}
		if err != nil {
			if !errors.Is(err, io.EOF) {
				p.mu.Lock()
				p.failed = err
				p.mu.Unlock()
			}
			return
		}
	}
}

// lockedWriter collects standard error while others may read what is there.
type lockedWriter struct{ p *probe }

func (w lockedWriter) Write(b []byte) (int, error) {
	w.p.mu.Lock()
	defer w.p.mu.Unlock()
	return w.p.stderr.Write(b)
}

// Line implements [check.Process].
func (p *probe) Line(ctx context.Context) ([]byte, error) {
	select {
	case line, ok := <-p.lines:
		if ok {
			return line, nil
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.failed != nil {
			return nil, p.failed
		}
		return nil, io.EOF
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// Stop implements [check.Process]. A probe that has ended already is stopped.
func (p *probe) Stop(ctx context.Context) error {
	_, err := p.engine.Docker.ContainerKill(ctx, p.id, client.ContainerKillOptions{Signal: "SIGTERM"})
	if err != nil {
		if st, serr := p.engine.state(ctx, p.id); serr == nil && st.Status == "exited" {
			return nil
		}
	}
	return err
}

// Wait implements [check.Process].
func (p *probe) Wait(ctx context.Context) (check.Output, error) {
	if err := p.engine.waitExit(ctx, p.id); err != nil {
		return check.Output{}, err
	}
	st, err := p.engine.state(ctx, p.id)
	if err != nil {
		return check.Output{}, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return check.Output{ExitCode: st.ExitCode, Stderr: p.stderr.String()}, nil
}

// Close implements [check.Process].
func (p *probe) Close() error { return p.close() }

func (p *probe) remove() error {
	// It is removed even when the caller's time is up.
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	_, err := p.engine.Docker.ContainerRemove(ctx, p.id, client.ContainerRemoveOptions{Force: true})
	go func() { // let the reader go
		for range p.lines {
		}
	}()
	if err != nil {
		return p.engine.explain(ctx, fmt.Errorf("remove probe: %w", err))
	}
	return nil
}
