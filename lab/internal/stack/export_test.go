package stack

import (
	"context"
	"encoding/json"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
)

// Leave makes what a killed command leaves of a stack whose lock another one has by now: a lock with a journal in it.
func (e *Engine) Leave(ctx context.Context, project, journalJSON string) error {
	var j journal
	if err := json.Unmarshal([]byte(journalJSON), &j); err != nil {
		return err
	}
	made, err := e.Docker.ContainerCreate(ctx, client.ContainerCreateOptions{
		Name:   project + ".left-by-a-test",
		Config: &container.Config{Image: lockImage, Cmd: []string{"/none"}, Labels: map[string]string{labelLock: project}},
	})
	if err != nil {
		return err
	}
	return e.writeJournal(ctx, made.ID, &j)
}

// HealHeld heals a stack for who holds its lock.
func (e *Engine) HealHeld(ctx context.Context, project string) ([]string, error) {
	return e.heal(ctx, project)
}
