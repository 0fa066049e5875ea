package stack

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"os"
	"slices"

	"github.com/compose-spec/compose-go/v2/types"
	"github.com/docker/compose/v5/pkg/api"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/volume"
	"github.com/moby/moby/client"
	"go.yaml.in/yaml/v4"

	"distlab/lab/internal/hint"
)

// plan is what a stack was started as, read back from where Up kept it.
type plan struct {
	Services map[string]struct {
		Networks    map[string]any `yaml:"networks"`
		NetworkMode string         `yaml:"network_mode"`
		Scale       *int           `yaml:"scale"`
		Deploy      struct {
			Replicas *int `yaml:"replicas"`
		} `yaml:"deploy"`
	} `yaml:"services"`
	Networks map[string]planned `yaml:"networks"`
	Volumes  map[string]planned `yaml:"volumes"`
}

type planned struct {
	Name     string `yaml:"name"`
	External bool   `yaml:"external"`
}

// kept is the plan of a stack, if it was started from a clone on this machine.
func kept(root, project string) (p plan, known bool) {
	data, err := os.ReadFile(Kept(root, project))
	return p, err == nil && yaml.Unmarshal(data, &p) == nil
}

// missing is what a stack should have and has not, as far as this machine knows: containers, networks and volumes that somebody
// removed, and connections.
func (e *Engine) missing(ctx context.Context, o Overview, all []container.Summary) ([]string, error) {
	p, known := kept(o.Root, o.Project)
	if !known {
		return nil, nil
	}
	nets, vols, err := e.belongings(ctx, o.Project)
	if err != nil {
		return nil, err
	}
	labelled := map[string]bool{} // what compose made for the stack; what only has its name is none
	for _, n := range nets {
		labelled["network "+n.Name] = n.Labels[api.ProjectLabel] == o.Project
	}
	for _, v := range vols {
		labelled["volume "+v.Name] = v.Labels[api.ProjectLabel] == o.Project
	}
	var out []string
	for _, service := range slices.Sorted(maps.Keys(p.Services)) {
		s := p.Services[service]
		want, have := 1, 0
		for _, n := range []*int{s.Scale, s.Deploy.Replicas} {
			if n != nil {
				want = *n
			}
		}
		for _, c := range all {
			if c.Labels[api.ServiceLabel] != service {
				continue
			}
			have++
			for _, key := range slices.Sorted(maps.Keys(s.Networks)) {
				if s.NetworkMode == "" && !connected(c, p.Networks[key].Name) {
					out = append(out, fmt.Sprintf("%s is not on the network %s", name(c), key))
				}
			}
		}
		if have < want {
			out = append(out, fmt.Sprintf("the service %s has %d of %d containers", service, have, want))
		}
	}
	for _, key := range slices.Sorted(maps.Keys(p.Networks)) {
		if n := p.Networks[key]; !n.External && !labelled["network "+n.Name] {
			out = append(out, "the network "+key+" is gone")
		}
	}
	for _, key := range slices.Sorted(maps.Keys(p.Volumes)) {
		if n := p.Volumes[key]; !n.External && !labelled["volume "+n.Name] {
			out = append(out, "the volume "+key+" is gone")
		}
	}
	return out, nil
}

func connected(c container.Summary, network string) bool {
	if c.NetworkSettings == nil {
		return false
	}
	_, ok := c.NetworkSettings.Networks[network]
	return ok
}

// mend does what compose will not do by itself: it unpauses, and takes away what compose is then to make anew. That is a volume or
// a network that has the name of one of the project's and is not as its file says, as the engine makes a volume for a container
// whose volume was removed; and a container whose network is gone.
func (e *Engine) mend(ctx context.Context, p *types.Project, tell Progress) error {
	all, err := e.containers(ctx, p.Name)
	if err != nil {
		return err
	}
	for _, c := range all {
		service := c.Labels[api.ServiceLabel]
		if c.State == container.StatePaused {
			if _, err := e.Docker.ContainerUnpause(ctx, c.ID, client.ContainerUnpauseOptions{}); err != nil {
				return e.explain(ctx, fmt.Errorf("unpause %s: %w", name(c), err))
			}
			tell(service, "unpaused")
		}
		for key := range p.Services[service].Networks {
			if p.Services[service].NetworkMode != "" || connected(c, p.Networks[key].Name) {
				continue
			}
			if _, err := e.Docker.ContainerRemove(ctx, c.ID, client.ContainerRemoveOptions{Force: true}); err != nil {
				return e.explain(ctx, fmt.Errorf("remove %s, which is off its network: %w", name(c), err))
			}
			tell(service, "made anew: it was off its network")
			break
		}
	}
	nets, vols, err := e.belongings(ctx, p.Name)
	if err != nil {
		return err
	}
	for _, n := range nets {
		if n.Labels[api.ProjectLabel] == p.Name {
			continue // compose compares it with the file
		}
		if _, err := e.Docker.NetworkRemove(ctx, n.ID, client.NetworkRemoveOptions{}); err != nil {
			return e.explain(ctx, fmt.Errorf("the network %s is not the lab's, and cannot be removed: %w", n.Name, err))
		}
		tell("network", "made anew: "+n.Name+" was not the lab's")
	}
	for _, v := range vols {
		for _, want := range p.Volumes {
			if want.Name == v.Name && !bool(want.External) && differs(v, want) {
				if err := e.removeVolume(ctx, p.Name, v.Name); err != nil {
					return err
				}
				tell("volume", "made anew: "+v.Name+" was not as the compose file says")
			}
		}
	}
	return nil
}

func differs(v volume.Volume, want types.VolumeConfig) bool {
	return v.Labels[api.ProjectLabel] == "" || v.Driver != cmp.Or(want.Driver, "local") ||
		!maps.Equal(v.Options, want.DriverOpts) && len(v.Options)+len(want.DriverOpts) > 0
}

// removeVolume removes a volume with the project's containers that have it. One of somebody else's keeps it.
func (e *Engine) removeVolume(ctx context.Context, project, volume string) error {
	res, err := e.Docker.ContainerList(ctx, client.ContainerListOptions{All: true, Filters: make(client.Filters).Add("volume", volume)})
	if err != nil {
		return e.explain(ctx, fmt.Errorf("who has the volume %s: %w", volume, err))
	}
	for _, c := range res.Items {
		if c.Labels[api.ProjectLabel] != project {
			return hint.New(fmt.Sprintf("the volume %s is not as the compose file says, and the container %s has it", volume, name(c)),
				"remove that: docker rm -f "+name(c))
		}
		if _, err := e.Docker.ContainerRemove(ctx, c.ID, client.ContainerRemoveOptions{Force: true}); err != nil {
			return e.explain(ctx, fmt.Errorf("remove %s, for its volume: %w", name(c), err))
		}
	}
	if _, err := e.Docker.VolumeRemove(ctx, volume, client.VolumeRemoveOptions{}); err != nil {
		return e.explain(ctx, fmt.Errorf("remove the volume %s: %w", volume, err))
	}
	return nil
}

// Ill is what keeps a stack from being whole, in words; empty where nothing does, or where what does may pass by itself.
func (o Overview) Ill() []string {
	out := slices.Clone(o.Missing)
	for _, m := range o.Members {
		switch m.Status {
		case "paused", "created", "dead":
			out = append(out, m.Name+" is "+m.Status)
		case "exited":
			if !m.OneShot || m.ExitCode != 0 {
				out = append(out, fmt.Sprintf("%s has ended, with exit code %d", m.Name, m.ExitCode))
			}
		}
	}
	return out
}
