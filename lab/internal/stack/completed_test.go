package stack

import (
	"testing"

	"github.com/docker/compose/v5/pkg/api"
	"github.com/moby/moby/api/types/container"
)

// TestCompleted: a one-shot that others waited for and that ended well is as it should be; nothing else that has ended is.
func TestCompleted(t *testing.T) {
	of := func(id, project, service, depends, state, status string) container.Summary {
		return container.Summary{ID: id, State: container.ContainerState(state), Status: status, Labels: map[string]string{
			api.ProjectLabel: project, api.ServiceLabel: service, api.DependenciesLabel: depends,
		}}
	}
	all := []container.Summary{
		of("web", "p", "web", "pod:service_started:false,certificate:service_completed_successfully:false", "running", "Up 3 seconds"),
		of("certificate", "p", "certificate", "pod:service_started:false", "exited", "Exited (0) 3 seconds ago"),
		of("pod", "p", "pod", "", "exited", "Exited (0) 3 seconds ago"), // nobody waits for it to end
		of("failed", "q", "certificate", "", "exited", "Exited (1) 3 seconds ago"),
		of("client", "q", "client", "certificate:service_completed_successfully:false", "created", "Created"),
		of("elsewhere", "r", "certificate", "", "exited", "Exited (0) 3 seconds ago"), // of a project in which nobody does
		of("running", "s", "job", "", "running", "Up 3 seconds"),
		of("waiter", "s", "waiter", "job:service_completed_successfully:false", "created", "Created"),
	}
	ended := completed(all)
	for _, c := range all {
		if ended[c.ID] != (c.ID == "certificate") {
			t.Errorf("%s has completed: %t", c.ID, ended[c.ID])
		}
	}
	o := Overview{Members: []Member{{Status: "running"}, {Status: "exited", Completed: true}}}
	if got := o.State(); got != "up" {
		t.Errorf("a stack with a completed one-shot is %s", got)
	}
}
