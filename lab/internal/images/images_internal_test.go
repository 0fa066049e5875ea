package images

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/compose-spec/compose-go/v2/types"
	"github.com/google/go-cmp/cmp"
	"github.com/moby/moby/api/types/jsonstream"

	"distlab/lab/internal/hint"
)

func put(t *testing.T, file, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestContainer(t *testing.T) {
	im := &Images{}
	for ref, want := range map[string]string{
		"distlab/pause:dev":           "pause",
		"distlab/debian-redis:8.0.2":  "",
		"distlab/pause":               "",
		"distlab/a/b:dev":             "",
		"example.org/distlab/x:dev":   "",
		"redis:8.0":                   "",
		"distlab/pause@sha256:00:dev": "",
	} {
		if got := im.container(ref); got != want {
			t.Errorf("container of %s: %q, want %q", ref, got, want)
		}
	}
}

func TestRecipe(t *testing.T) {
	im := &Images{Root: t.TempDir()}
	put(t, filepath.Join(im.Root, "scripts/debian/redis.recipe"), "")
	for ref, want := range map[string]string{
		"redis:8.0":                       "redis",
		"redis":                           "redis",
		"docker.io/library/redis:8.0":     "redis",
		"registry.example:5000/x/redis:8": "redis",
		"distlab/debian-redis:8.0.2":      "redis",
		"redis@sha256:b5bb9d8014a0f9b1d61e21e796d78dccdf1352f23cd32812f4850b878ae4944c": "redis",
		"mysql:9":    "",
		"UPPER:case": "",
	} {
		if got := im.recipe(ref); got != want {
			t.Errorf("recipe for %s: %q, want %q", ref, got, want)
		}
	}
}

func TestVariables(t *testing.T) {
	im := &Images{Root: t.TempDir()}
	put(t, filepath.Join(im.Root, "compose/redis.yaml"), "services:\n  redis:\n    image: ${REDIS_IMAGE:-redis:8.0}\n")
	file := filepath.Join(im.Root, "labs/x/y/compose.yaml")
	put(t, file, `services:
  a: # image: ${COMMENTED:-no:1}
    image: "${A_IMAGE-a:1}" # why
  b:
    image: '${B_IMAGE:-registry.example:5000/b@sha256:00}'
  c:
    image: c:1
  d:
    image: ${D_IMAGE:?needed}
  e:
    image: ${E_NAME:-e}:1
`)
	got, err := im.variables(&types.Project{ComposeFiles: []string{file, "nowhere.yaml"}})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"redis:8.0": "REDIS_IMAGE", "a:1": "A_IMAGE", "registry.example:5000/b@sha256:00": "B_IMAGE"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("variables (-want +got):\n%s", diff)
	}
}

func TestAnswered(t *testing.T) {
	for text, want := range map[string]bool{
		"manifest for redis:99 not found: manifest unknown: manifest unknown":                                    true,
		"pull access denied for x, repository does not exist or may require 'docker login'":                      true,
		"no matching manifest for linux/riscv64 in the manifest list entries":                                    true,
		`Get "https://example.org/v2/": dial tcp: lookup example.org on 10.0.0.1:53: no such host`:               false,
		`Get "https://example.org/v2/": dial tcp 192.0.2.1:443: connect: connection refused`:                     false,
		`Get "https://example.org/v2/": net/http: TLS handshake timeout`:                                         false,
		`Get "https://example.org/v2/": context deadline exceeded`:                                               false,
		"toomanyrequests: You have reached your pull rate limit.":                                                false,
		`Get "https://example.org/v2/": tls: failed to verify certificate: x509: certificate is not trusted yet`: false,
	} {
		if got := answered(errors.New(text)); got != want {
			t.Errorf("answered(%s) = %t", text, got)
		}
	}
}

func TestDiskError(t *testing.T) {
	for text, want := range map[string]bool{
		"write /tmp/x: no space left on device":                 true,
		"Error processing tar file: No space left on device":    true,
		"write /tmp/x: permission denied":                       false,
		"link: running gcc failed: no space for another symbol": false,
	} {
		if got := hint.Of(diskError(errors.New(text))) != ""; got != want {
			t.Errorf("%s: a full disk: %t", text, got)
		}
	}
	if diskError(nil) != nil {
		t.Error("no error became one")
	}
}

func TestJoin(t *testing.T) {
	a, b := hint.New("a", "do a"), hint.New("b", "do b")
	for _, test := range []struct {
		errs       []error
		text, hint string
	}{
		{[]error{nil, a, nil}, "a", "do a"},
		{[]error{a, errors.New("c"), b}, "a\nc\nb", "do a\ndo b"},
		{[]error{errors.New("c"), errors.New("d")}, "c\nd", ""},
	} {
		err := join(test.errs)
		if err.Error() != test.text || hint.Of(err) != test.hint {
			t.Errorf("join %v: %q, hint %q", test.errs, err, hint.Of(err))
		}
	}
	if join([]error{nil, nil}) != nil {
		t.Error("no errors became one")
	}
}

func TestLayers(t *testing.T) {
	var l layers
	at := func(id, status string, current, total int64) jsonstream.Message {
		return jsonstream.Message{ID: id, Status: status, Progress: &jsonstream.Progress{Current: current, Total: total}}
	}
	for _, step := range []struct {
		message jsonstream.Message
		want    string
	}{
		{jsonstream.Message{Status: "Pulling from library/redis"}, ""},
		{at("a", "Downloading", 1e6, 10e6), "1 of 10 MB"},
		{at("b", "Downloading", 5e6, 30e6), "6 of 40 MB"},
		{jsonstream.Message{ID: "a", Status: "Download complete"}, "15 of 40 MB"},
		{at("a", "Extracting", 3e6, 10e6), "15 of 40 MB"},
		{jsonstream.Message{ID: "b", Status: "Pull complete"}, "40 of 40 MB"},
	} {
		l.add(step.message)
		if got := l.String(); got != step.want {
			t.Errorf("after %s %s: %q, want %q", step.message.ID, step.message.Status, got, step.want)
		}
	}
}

// TestFingerprint: what changes a binary or an image changes the fingerprint, and nothing else does.
func TestFingerprint(t *testing.T) {
	root := t.TempDir()
	for file, text := range map[string]string{
		"go.mod": "module distlab\n", "go.sum": "", "containers/a/main.go": "package main\n", "containers/a/Dockerfile": "FROM scratch\n",
		"containers/b/Dockerfile": "FROM scratch\n", "lab/main.go": "package main\n", // and nothing shared yet
	} {
		put(t, filepath.Join(root, file), text)
	}
	fingerprint := func(arch string) string {
		t.Helper()
		s, err := (&Images{Root: root}).source("a", arch)
		if err != nil {
			t.Fatal(err)
		}
		return s.sources
	}
	last := fingerprint("amd64")
	if fingerprint("arm64") == last {
		t.Error("another architecture has the same fingerprint")
	}
	for _, test := range []struct {
		file    string
		matters bool
	}{
		{"containers/a/main.go", true},
		{"containers/a/Dockerfile", true},
		{"containers/a/new.go", true},
		{"containers/a/page.html", true},
		{"containers/a/main_test.go", false},
		{"containers/a/README.md", false},
		{"containers/a/testdata/x.go", false},
		{"containers/a/.main.go.swp", false},
		{"containers/internal/env/env.go", true},
		{"containers/internal/daemon/daemon.go", true},
		{"containers/b/main.go", false},
		{"lab/main.go", false},
		{"go.mod", true},
		{"go.sum", true},
	} {
		put(t, filepath.Join(root, test.file), "// "+test.file+"\n")
		now := fingerprint("amd64")
		if (now != last) != test.matters {
			t.Errorf("%s: changed the fingerprint: %t", test.file, now != last)
		}
		last = now
	}
	if err := os.Remove(filepath.Join(root, "containers/a/new.go")); err != nil {
		t.Fatal(err)
	}
	if fingerprint("amd64") == last {
		t.Error("a file that is gone did not change the fingerprint")
	}
}
