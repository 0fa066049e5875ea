// Package example_test is what a repository of its own would have to test a lab in its CI, with nothing but testcontainers-go and
// labtest: testcontainers' compose module starts the lab's compose file, as it is, labtest decides the lab's claims on it, and
// testcontainers takes it away. In place of sidecar/tls it may be a compose file and claims of yours.
package example_test

import (
	"context"
	"os/exec"
	"testing"
	"time"

	"github.com/testcontainers/testcontainers-go/modules/compose"

	"distlab/lab/labtest"
	"distlab/labs/sidecar/tls"
)

func TestSidecar(t *testing.T) {
	if testing.Short() {
		t.Log("-short leaves out what needs Docker")
		return
	}
	withOrWithoutRyuk(t)
	file, env := labtest.Prepare(t, tls.Lab)
	const project = "example-sidecar-tls"
	stack, err := compose.NewDockerComposeWith(compose.WithStackFiles(file), compose.StackIdentifier(project))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := stack.Down(ctx, compose.RemoveOrphans(true), compose.RemoveVolumes(true)); err != nil {
			t.Errorf("down: %v", err)
		}
	})
	if err := stack.WithOsEnv().WithEnv(env).Up(t.Context(), compose.Wait(true)); err != nil {
		t.Fatal(err)
	}
	labtest.Verify(t, tls.Lab, project)
}

// withOrWithoutRyuk leaves testcontainers' reaper out where its image cannot be had. It takes the stack away when this process is
// killed; without it, that is left to the next one: docker compose -p example-sidecar-tls down -v.
func withOrWithoutRyuk(t *testing.T) {
	t.Helper()
	const image = "testcontainers/ryuk:0.14.0" // which testcontainers-go v0.44 wants
	if exec.CommandContext(t.Context(), "docker", "image", "inspect", image).Run() == nil {
		return
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if out, err := exec.CommandContext(ctx, "docker", "pull", "--quiet", image).CombinedOutput(); err != nil {
		t.Logf("without Ryuk: %v: %s", err, out)
		t.Setenv("TESTCONTAINERS_RYUK_DISABLED", "true")
	}
}
