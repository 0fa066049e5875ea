package stack

import (
	"testing"

	"github.com/docker/compose/v5/pkg/api"
	"github.com/moby/moby/api/types/container"
)

func TestCompleted(t *testing.T) {
	depends := func(on string) container.Summary {
		return container.Summary{Labels: map[string]string{api.DependenciesLabel: on}}
	}
	done := completed([]container.Summary{
		depends(""), depends("a:service_healthy:false"),
		depends("b:service_started:false,c:service_completed_successfully:false"),
	})
	for service, want := range map[string]bool{"a": false, "b": false, "c": true, "": false} {
		if done[service] != want {
			t.Errorf("%q: %v, want %v", service, done[service], want)
		}
	}
}
