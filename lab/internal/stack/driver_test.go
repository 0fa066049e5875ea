package stack

import (
	"testing"

	"github.com/docker/compose/v5/pkg/api"
	"github.com/google/go-cmp/cmp"
	"github.com/moby/moby/api/types/container"
)

func TestAwaited(t *testing.T) {
	of := func(label string) container.Summary {
		return container.Summary{Labels: map[string]string{api.DependenciesLabel: label}}
	}
	got := awaited([]container.Summary{
		of(""), of("pod:service_started:false"), of("seed:service_completed_successfully:false,pod:service_healthy:true"), {}, of("odd"),
	})
	if diff := cmp.Diff(map[string]bool{"seed": true}, got); diff != "" {
		t.Error(diff)
	}
}
