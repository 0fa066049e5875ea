package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/moby/moby/client"
)

// TestByHand takes something of a lab away behind the tool's back. Status tells, verify decides nothing and says at once what to do,
// and up mends it.
func TestByHand(t *testing.T) {
	const project, network, volume = "distlab-test-pod", "distlab-test-pod_default", "distlab-test-pod_data"
	w := newWorld(t, "test/pod")
	docker := w.engine.Docker
	remove := func(ctx context.Context, id string) error {
		_, err := docker.ContainerRemove(ctx, id, client.ContainerRemoveOptions{Force: true})
		return err
	}
	disconnect := func(ctx context.Context, id string) error {
		_, err := docker.NetworkDisconnect(ctx, network, client.NetworkDisconnectOptions{Container: id, Force: true})
		return err
	}
	unplug := func(ctx context.Context, pod, _ string) error {
		err := disconnect(ctx, pod)
		if err == nil {
			_, err = docker.NetworkRemove(ctx, network, client.NetworkRemoveOptions{})
		}
		return err
	}
	anew := func(ctx context.Context, opts map[string]string) error {
		_, err := docker.VolumeRemove(ctx, volume, client.VolumeRemoveOptions{})
		if err == nil {
			_, err = docker.VolumeCreate(ctx, client.VolumeCreateOptions{Name: volume, DriverOpts: opts})
		}
		return err
	}
	for _, c := range []struct {
		name   string
		take   func(ctx context.Context, pod, app string) error
		status string // what of it status and verify name; "-" where no container is left that leads to it
	}{
		{"app removed", func(ctx context.Context, _, app string) error { return remove(ctx, app) }, "service app"},
		{"pod removed", func(ctx context.Context, pod, _ string) error { return remove(ctx, pod) }, "service pod"},
		{"app paused", func(ctx context.Context, _, app string) error {
			_, err := docker.ContainerPause(ctx, app, client.ContainerPauseOptions{})
			return err
		}, "app-1"},
		{"pod paused", func(ctx context.Context, pod, _ string) error {
			_, err := docker.ContainerPause(ctx, pod, client.ContainerPauseOptions{})
			return err
		}, "pod-1"},
		{"app stopped", func(ctx context.Context, _, app string) error {
			_, err := docker.ContainerKill(ctx, app, client.ContainerKillOptions{Signal: "SIGKILL"})
			return err
		}, "app-1"},
		{"pod off its network", func(ctx context.Context, pod, _ string) error { return disconnect(ctx, pod) }, "network default"},
		{"network removed", unplug, "network default"},
		{"network made anew by another", func(ctx context.Context, pod, app string) error {
			err := unplug(ctx, pod, app)
			if err == nil {
				_, err = docker.NetworkCreate(ctx, network, client.NetworkCreateOptions{})
			}
			return err
		}, "network default"},
		{"volume made anew without its options", func(ctx context.Context, _, app string) error {
			return errors.Join(remove(ctx, app), anew(ctx, nil))
		}, "service app"},
		{"volume made anew with others", func(ctx context.Context, _, app string) error {
			return errors.Join(remove(ctx, app), anew(ctx, map[string]string{"type": "tmpfs", "device": "tmpfs", "o": "uid=0,gid=0,mode=700"}))
		}, "service app"},
		{"all but a volume without its label", func(ctx context.Context, pod, app string) error {
			return errors.Join(remove(ctx, app), remove(ctx, pod), anew(ctx, nil))
		}, "-"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := &world{t: t, root: w.root, engine: w.engine}
			w.want(0, []string{"up", "pod"})
			all := w.containers(project)
			if err := c.take(t.Context(), all["pod"].ID, all["app"].ID); err != nil {
				t.Fatal(err)
			}
			if c.status != "-" {
				w.want(0, []string{"status"}, "test/pod: partial", c.status)
				var list []struct{ Lab, State string }
				if err := json.Unmarshal([]byte(w.want(0, []string{"status", "-o", "json"}).stdout), &list); err != nil {
					t.Fatal(err)
				}
				for _, s := range list {
					if s.Lab == "test/pod" && s.State != "partial" {
						t.Errorf("status -o json: %s", s.State)
					}
				}
				begun := time.Now()
				w.want(2, []string{"verify", "pod"}, c.status, "lab up test/pod")
				if took := time.Since(begun); took > 20*time.Second {
					t.Errorf("verify took %v to say so", took)
				}
			}
			w.want(0, []string{"up", "pod"})
			w.want(0, []string{"verify", "pod"})
		})
	}
}

// TestLeftByName: a volume that lost its labels is the stack's all the same.
func TestLeftByName(t *testing.T) {
	w := newWorld(t, "test/pod")
	const volume = "distlab-test-pod_data"
	for _, verb := range [][]string{{"down", "pod"}, {"gc"}} {
		if _, err := w.engine.Docker.VolumeCreate(t.Context(), client.VolumeCreateOptions{Name: volume}); err != nil {
			t.Fatal(err)
		}
		w.want(0, verb, "removed distlab-test-pod")
		w.gone("distlab-test-pod")
	}
}
