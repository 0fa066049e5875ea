// Package stack runs labs: it brings a lab's containers up, attaches to them, does faults to them, and takes them
// away, over docker/compose's own library and the engine's API. It is the [check.Driver] of the checks.
//
// What it starts is labelled. A stack of `lab up` belongs to nobody and outlives the process; a stack of `lab test`
// belongs to its process and expires, and [Engine.Reap] removes those whose owner is gone. Faults are written down before
// they are done, so that [Engine.Heal] undoes them even when the process that did them was killed.
package stack

import (
	"context"
	"fmt"

	"github.com/moby/moby/client"

	"distlab/lab/internal/maker"
)

// Engine is a Docker engine that answers.
type Engine struct {
	Docker     client.APIClient
	Host       string // unix:///var/run/docker.sock, …
	Version    string
	APIVersion string
	Arch       string // GOARCH of the engine

	maker *maker.Maker
}

// Describe is the engine in a few words, for reports.
func (e *Engine) Describe() string { return fmt.Sprintf("Docker %s (API %s)", e.Version, e.APIVersion) }

// Connect finds the engine as the docker command would, DOCKER_HOST and contexts included, and asks its version.
func Connect(ctx context.Context) (*Engine, error) {
	docker, err := maker.Client()
	if err != nil {
		return nil, err
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
	e.maker, err = maker.New(docker)
	return e, err
}
