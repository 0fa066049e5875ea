package stack

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/compose-spec/compose-go/v2/types"
	"github.com/docker/compose/v5/pkg/api"
	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/client"

	"distlab/lab/internal/compose"
)

// watcher follows the engine's events of a project until every service is as it should be.
type watcher struct {
	engine   *Engine
	project  *compose.Project
	progress Progress
	cancel   context.CancelFunc
	events   client.EventsResult
	ill      map[string]time.Time // since when a container is unhealthy

	mu      sync.Mutex
	busiest float64 // the highest load of the machine's CPUs that was seen
}

func (e *Engine) watch(ctx context.Context, p *compose.Project, progress Progress) *watcher {
	ctx, cancel := context.WithCancel(ctx)
	if progress == nil {
		progress = func(string, string) {}
	}
	w := &watcher{engine: e, project: p, progress: progress, cancel: cancel, ill: map[string]time.Time{}}
	changes := make(chan events.Message, 256)
	errs := make(chan error, 1)
	go w.forward(ctx, changes, errs)
	w.events = client.EventsResult{Messages: changes, Err: errs}
	return w
}

func (e *Engine) projectEvents(ctx context.Context, project string) client.EventsResult {
	return e.Docker.Events(ctx, client.EventsListOptions{
		Filters: make(client.Filters).Add("type", "container").Add("label", inProject(project)),
	})
}

func (w *watcher) stop() { w.cancel() }

// forward tells the progress of every event at once, also while compose still works, and hands a change on to wait.
func (w *watcher) forward(ctx context.Context, changes chan<- events.Message, errs chan<- error) {
	src := w.engine.projectEvents(ctx, w.project.Project.Name)
	for {
		select {
		case m := <-src.Messages:
			if state := told(m); state != "" && m.Actor.Attributes[api.OneoffLabel] != "True" {
				w.progress(m.Actor.Attributes[api.ServiceLabel], state)
				select {
				case changes <- m:
				default: // wait looks at the engine itself; an event only wakes it
				}
			}
		case err := <-src.Err:
			errs <- err
			return
		case <-ctx.Done():
			return
		}
	}
}

// told is an event in the words of the display.
func told(m events.Message) string {
	action := string(m.Action)
	switch {
	case action == "create":
		return "created"
	case action == "start":
		return "started"
	case action == "die":
		return "exited with code " + m.Actor.Attributes["exitCode"]
	case action == "destroy":
		return "removed"
	case action == "stop":
		return "stopped"
	case strings.HasPrefix(action, "health_status"):
		_, health, _ := strings.Cut(action, ": ")
		return health
	}
	return ""
}

// How long a start may take, and how long a container that did run may be unhealthy: one that was paused, or that the machine had
// no time for, gets healthy again. Both are for a machine that has a CPU for everyone.
const (
	upTimeout        = 2 * time.Minute
	unhealthyTimeout = 15 * time.Second
)

// allowed is a limit on this machine, as busy as it was meanwhile.
func (w *watcher) allowed(limit time.Duration) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.busiest = max(w.busiest, w.engine.load())
	return time.Duration(float64(limit) * stretch(w.busiest)).Round(time.Second)
}

// expiring is a context that ends when a start may take no longer.
func (w *watcher) expiring(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	begun := time.Now()
	go func() {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
			if limit := w.allowed(upTimeout); time.Since(begun) > limit {
				cancel(w.tooLate(limit))
			}
		}
	}()
	return ctx, func() { cancel(nil) }
}

func (w *watcher) tooLate(limit time.Duration) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.busiest > 1 {
		return fmt.Errorf("not healthy within %v, on a busy machine: %.1f processes for each CPU", limit, w.busiest)
	}
	return fmt.Errorf("not healthy within %v", limit)
}

// wait returns when every service is as it should be, or one can no longer get there. Events wake it; it asks the
// engine every second as well, since an event may have passed before it listened.
func (w *watcher) wait(ctx context.Context) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		done, err := w.settled(ctx)
		if err != nil || done {
			return err
		}
		select {
		case <-w.events.Messages:
		case err := <-w.events.Err:
			if ctx.Err() == nil && err != nil {
				return w.engine.explain(ctx, fmt.Errorf("watch the engine: %w", err))
			}
		case <-tick.C:
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
}

// settled asks the engine. One-shots, on which another service waits to complete, may have exited with code 0.
func (w *watcher) settled(ctx context.Context) (bool, error) {
	all, err := w.engine.containers(ctx, w.project.Project.Name)
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return false, err
	}
	oneShot := oneShots(w.project)
	up := map[string]bool{}
	waiting := false
	for _, c := range all {
		service := c.Labels[api.ServiceLabel]
		if healthOf(c) != "unhealthy" {
			delete(w.ill, c.ID)
		}
		switch health := healthOf(c); {
		case c.State == "running" && (health == "" || health == "healthy"):
			state := "running"
			if health != "" {
				state = health
			}
			w.progress(service, state)
			up[service] = true
		case c.State == "running" && health == "unhealthy":
			waiting = true
			if w.ill[c.ID].IsZero() {
				w.ill[c.ID] = time.Now()
			}
			if limit := w.allowed(unhealthyTimeout); time.Since(w.ill[c.ID]) > limit {
				return false, fmt.Errorf("service %s is unhealthy, for %v", service, limit)
			}
		case c.State == "exited" && oneShot[service] && strings.HasPrefix(c.Status, "Exited (0)"):
			up[service] = true
		case c.State == "exited" || c.State == "dead":
			return false, fmt.Errorf("service %s ended at its start", service)
		default:
			waiting = true
		}
	}
	for name, s := range w.project.Services {
		if !up[name] && s.GetScale() > 0 { // scale: 0 is how a variant leaves a service out
			waiting = true
		}
	}
	return !waiting, nil
}

func oneShots(p *compose.Project) map[string]bool {
	out := map[string]bool{}
	for _, s := range p.Services {
		for name, d := range s.DependsOn {
			if d.Condition == types.ServiceConditionCompletedSuccessfully {
				out[name] = true
			}
		}
	}
	return out
}

// watchDown tells the progress of a stack that goes away.
func (e *Engine) watchDown(ctx context.Context, project string, progress Progress) func() {
	ctx, cancel := context.WithCancel(ctx)
	src := e.projectEvents(ctx, project)
	go func() {
		for {
			select {
			case m := <-src.Messages:
				if state := told(m); state != "" && m.Actor.Attributes[api.OneoffLabel] != "True" {
					progress(m.Actor.Attributes[api.ServiceLabel], state)
				}
			case err := <-src.Err:
				if !errors.Is(err, context.Canceled) {
					return
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	return cancel
}
