// Package stack runs labs: it brings a lab's containers up, attaches to them, does faults to them, and takes them
// away, over docker/compose's own library and the engine's API. It is the [check.Driver] of the checks.
//
// What it starts is labelled. A stack of `lab up` belongs to nobody and outlives the process; a stack of `lab test`
// belongs to its process and expires, and [Reap] removes those whose owner is gone. Faults are written down before
// they are done, so that [Heal] undoes them even when the process that did them was killed.
package stack

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/docker/cli/cli/command"
	"github.com/docker/cli/cli/config"
	"github.com/docker/cli/cli/flags"
	"github.com/docker/compose/v5/pkg/api"
	"github.com/docker/compose/v5/pkg/compose"
	"github.com/moby/moby/client"
	"github.com/sirupsen/logrus"

	"distlab/lab/internal/hint"
)

// Engine is a Docker engine that answers.
type Engine struct {
	Docker     client.APIClient
	Host       string // unix:///var/run/docker.sock, …
	Version    string
	APIVersion string
	Arch       string // GOARCH of the engine

	compose api.Compose
}

// Describe is the engine in a few words, for reports.
func (e *Engine) Describe() string { return fmt.Sprintf("Docker %s (API %s)", e.Version, e.APIVersion) }

// Connect finds the engine as the docker command would, DOCKER_HOST and contexts included, and asks its version.
func Connect(ctx context.Context) (*Engine, error) {
	logrus.SetOutput(io.Discard) // the libraries' warnings; the terminal is ours
	opts := flags.NewClientOptions()
	docker, err := command.NewAPIClientFromFlags(opts, config.LoadDefaultConfigFile(io.Discard))
	if err != nil {
		return nil, hint.Wrap(fmt.Errorf("docker client: %w", err), "DOCKER_HOST or the Docker context is wrong: docker context ls")
	}
	e := &Engine{Docker: docker, Host: docker.DaemonHost()}
	ctx, cancel := context.WithTimeoutCause(ctx, engineTimeout, errSilent)
	defer cancel()
	if _, err := e.Docker.Ping(ctx, client.PingOptions{NegotiateAPIVersion: true}); err != nil {
		return nil, e.explain(ctx, err)
	}
	v, err := e.Docker.ServerVersion(ctx, client.ServerVersionOptions{})
	if err != nil {
		return nil, e.explain(ctx, err)
	}
	e.Version, e.APIVersion, e.Arch = v.Version, v.APIVersion, v.Arch
	e.compose, err = newCompose(docker, opts)
	return e, err
}

// newCompose is docker/compose over our client. It is made when the engine has answered: its own client ends the
// process where it cannot be made.
func newCompose(docker client.APIClient, opts *flags.ClientOptions) (api.Compose, error) {
	cli, err := command.NewDockerCli(command.WithAPIClient(docker), command.WithCombinedStreams(io.Discard))
	if err != nil {
		return nil, fmt.Errorf("compose: %w", err)
	}
	if err := cli.Initialize(opts); err != nil {
		return nil, fmt.Errorf("compose: %w", err)
	}
	c, err := compose.NewComposeService(cli,
		compose.WithStreams(io.Discard, io.Discard, strings.NewReader("")), compose.WithPrompt(refuse))
	if err != nil {
		return nil, fmt.Errorf("compose: %w", err)
	}
	return c, nil
}

// refuse answers compose's questions: a volume that differs from the compose file is kept.
func refuse(string, bool) (bool, error) { return false, nil }
