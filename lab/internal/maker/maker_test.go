package maker

import (
	"testing"

	"github.com/docker/compose/v5/pkg/api"
	"github.com/google/go-cmp/cmp"

	"distlab/lab/internal/compose"
)

// TestLabels: what the rest of the tool finds containers by is what this library labels them with.
func TestLabels(t *testing.T) {
	want := []string{
		api.ProjectLabel, api.ServiceLabel, api.OneoffLabel, api.ContainerNumberLabel, api.NetworkLabel, api.DependenciesLabel,
		api.VersionLabel, api.WorkingDirLabel, api.ConfigFilesLabel, api.ComposeVersion,
	}
	got := []string{
		compose.LabelProject, compose.LabelService, compose.LabelOneOff, compose.LabelNumber, compose.LabelNetwork, compose.LabelDependencies,
		compose.LabelVersion, compose.LabelWorkingDir, compose.LabelConfigFiles, compose.Version,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
