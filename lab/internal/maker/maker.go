// Package maker makes and takes away what a compose project consists of: containers, networks and volumes. It is the only package
// that knows docker/compose's library and the docker command's, which are half of what the tool is compiled from; what it
// takes and gives are compose-go's project and the engine's client.
package maker

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"
	"github.com/docker/cli/cli/command"
	"github.com/docker/cli/cli/config"
	"github.com/docker/cli/cli/flags"
	"github.com/docker/compose/v5/pkg/api"
	"github.com/docker/compose/v5/pkg/compose"
	"github.com/moby/moby/client"
	"github.com/sirupsen/logrus"

	"distlab/lab/internal/hint"
)

// Client finds the engine as the docker command would, DOCKER_HOST and contexts included. It asks the engine nothing.
func Client() (client.APIClient, error) {
	logrus.SetOutput(io.Discard) // the libraries' warnings; the terminal is ours
	docker, err := command.NewAPIClientFromFlags(flags.NewClientOptions(), config.LoadDefaultConfigFile(io.Discard))
	if err != nil {
		return nil, hint.Wrap(fmt.Errorf("docker client: %w", err), "DOCKER_HOST or the Docker context is wrong: docker context ls")
	}
	return docker, nil
}

// Maker makes projects on one engine.
type Maker struct{ compose api.Compose }

// New is docker/compose over a client whose engine has answered: without that its own client ends the process.
func New(docker client.APIClient) (*Maker, error) {
	cli, err := command.NewDockerCli(command.WithAPIClient(docker), command.WithCombinedStreams(io.Discard))
	if err == nil {
		err = cli.Initialize(flags.NewClientOptions())
	}
	if err != nil {
		return nil, fmt.Errorf("compose: %w", err)
	}
	c, err := compose.NewComposeService(cli,
		compose.WithStreams(io.Discard, io.Discard, strings.NewReader("")), compose.WithPrompt(refuse))
	if err != nil {
		return nil, fmt.Errorf("compose: %w", err)
	}
	return &Maker{c}, nil
}

// refuse answers compose's questions: a volume that differs from the compose file is kept.
func refuse(string, bool) (bool, error) { return false, nil }

// Create creates what is missing of a project, makes anew what differs, and removes what no longer belongs to it. Nothing starts.
func (m *Maker) Create(ctx context.Context, p *types.Project) error {
	return m.compose.Create(ctx, p, api.CreateOptions{
		Services: p.ServiceNames(), RemoveOrphans: true,
		Recreate: api.RecreateDiverged, RecreateDependencies: api.RecreateDiverged, QuietPull: true,
	})
}

// Start starts what was created, in the order of its dependencies. It waits for the health of those alone.
func (m *Maker) Start(ctx context.Context, p *types.Project) error {
	return m.compose.Start(ctx, p.Name, api.StartOptions{Project: p, Services: p.ServiceNames()})
}

// Down takes a project away by its name: what it consists of is read from its labels, so it goes away whole even when the
// lab's file has changed or is gone.
func (m *Maker) Down(ctx context.Context, project string) error {
	return m.compose.Down(ctx, project, api.DownOptions{RemoveOrphans: true, Volumes: true})
}
