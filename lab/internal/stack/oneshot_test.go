package stack

import (
	"testing"

	"github.com/docker/compose/v5/pkg/api"
	"github.com/moby/moby/api/types/container"
)

// TestEndedWell: only what another service waits for to end may have ended, and only with code 0.
func TestEndedWell(t *testing.T) {
	one := func(service, state, status, depends string) container.Summary {
		return container.Summary{State: container.ContainerState(state), Status: status, Labels: map[string]string{
			api.ServiceLabel: service, api.DependenciesLabel: depends,
		}}
	}
	waits := one("app", "running", "Up", "pod:service_started:true,tools:service_completed_successfully:false")
	for _, tt := range []struct {
		c    container.Summary
		want bool
	}{
		{one("tools", "exited", "Exited (0) 3 seconds ago", ""), true},
		{one("tools", "exited", "Exited (1) 3 seconds ago", ""), false},
		{one("tools", "running", "Up", ""), false},
		{one("pod", "exited", "Exited (0) 3 seconds ago", ""), false},
		{one("ools", "exited", "Exited (0) 3 seconds ago", ""), false},
	} {
		if got := endedWell(tt.c, []container.Summary{tt.c, waits}); got != tt.want {
			t.Errorf("%s %s: %t", tt.c.Labels[api.ServiceLabel], tt.c.Status, got)
		}
	}
}
