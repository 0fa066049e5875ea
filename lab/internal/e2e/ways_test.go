package e2e

import (
	"crypto/tls"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"distlab/lab/internal/images"
)

// The lab runs in two more ways than by `lab up`: under plain `docker compose up` in its folder, and from an integration test, by
// testcontainers-go, which lab/labtest/example shows. Both get the lab's own compose file, unchanged.

// repository is the clone that this test is part of, with the lab's images made.
func repository(t *testing.T, w *world) string {
	t.Helper()
	root, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	im := &images.Images{Root: root, Docker: w.engine.Docker}
	if err := im.Build(t.Context(), "pause", "legacy-app", "tls-sidecar"); err != nil {
		t.Fatal(err)
	}
	return root
}

// page asks the sidecar for a page of the app.
func page(t *testing.T, address string) {
	t.Helper()
	c := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}}
	res, err := c.Get("https://" + address + "/about")
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusOK {
		t.Errorf("the page answers %d", res.StatusCode)
	}
}

func TestPlainDockerCompose(t *testing.T) {
	w := newWorld(t)
	root := repository(t, w)
	if out, err := exec.Command(filepath.Join(root, "scripts", "setup"), "compose").CombinedOutput(); err != nil {
		t.Fatalf("docker compose is not there, and cannot be built: %v\n%s", err, out)
	}
	const project = "distlab-e2e-compose"
	t.Cleanup(func() { w.clean(project) })
	compose := func(args ...string) string {
		t.Helper()
		cmd := exec.Command("docker", append([]string{"compose", "--progress", "quiet", "-p", project}, args...)...)
		cmd.Dir = filepath.Join(root, "labs", "sidecar", "tls")
		var stderr strings.Builder
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("docker compose %v: %v\n%s%s", args, err, out, stderr.String())
		}
		return strings.TrimSpace(string(out))
	}
	compose("up", "-d", "--wait")
	page(t, compose("port", "pod", "8443"))
	variant := []string{"-f", "compose.yaml", "-f", "variants/trusting.yaml"}
	compose(append(variant, "up", "-d", "--wait")...)
	page(t, compose("port", "pod", "8443"))
	if got := compose("exec", "-T", "tls-sidecar", "/tls-sidecar", "version"); got == "" {
		t.Error("the sidecar does not say its version")
	}
	compose("down", "-v")
	w.gone(project)
}
