package cli

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"distlab/lab/internal/images"
)

func TestJudged(t *testing.T) {
	for have, want := range map[float64]quality{0: failed, 0.99e9: failed, 1e9: warned, 4.9e9: warned, 5e9: fine, 9e12: fine} {
		list := judged("disk", "remedy", "fact", have, diskFull, diskTight)
		if len(list) != 1 || list[0].Status != want || list[0].Fact != "fact" || (list[0].Remedy == "") != (want == fine) {
			t.Errorf("%g: %+v, want %s", have, list, want)
		}
	}
	if list := judged("memory", "", "", 1e9, 0, memoryTight); list[0].Status != warned {
		t.Errorf("memory below 2 GB: %+v", list)
	}
	if list := judged("disk", "", "", -1, diskFull, diskTight); list != nil {
		t.Errorf("nothing could be looked at: %+v", list)
	}
}

// TestTogether is bounded, whether a look minds its context or not.
func TestTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		defer close(release)
		begun := time.Now()
		list := together(t.Context(), 4*time.Second, []look{
			{"quick", failed, func(context.Context) []finding { return []finding{good("quick", "a"), good("also", "b")} }},
			{"polite", failed, func(ctx context.Context) []finding {
				<-ctx.Done()
				return []finding{warn("polite", "", "%v", ctx.Err())}
			}},
			{"hanging", failed, func(context.Context) []finding { <-release; return nil }},
		})
		want := []finding{
			good("quick", "a"), good("also", "b"), warn("polite", "", "context deadline exceeded"),
			bad("hanging", "", "no answer within 4s"),
		}
		if diff := cmp.Diff(want, list); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if took := time.Since(begun); took > 4*time.Second+grace {
			t.Errorf("took %v", took)
		}
	})
}

// TestGoVersion without an engine: nobody knows whether images must be built, so a missing Go is a failure.
func TestGoVersion(t *testing.T) {
	root := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, "go.mod"), []byte("module x\n\ngo 1.26.0\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for release, want := range map[string]finding{
		"go1.26.0": good("go", "go1.26.0"),
		"go1.27.1": good("go", "go1.27.1"),
		"go1.26rc1": warn("go", "scripts/setup go",
			"go1.26rc1 is older than go1.26.0, and fetches that one when it is first needed, if it can"),
		"go1.21.3": warn("go", "scripts/setup go", "go1.21.3 is older than go1.26.0, and fetches that one when it is first needed, if it can"),
		"go1.19.8": bad("go", "scripts/setup go; or bring the images along: lab images save, lab images load",
			"go1.19.8 is older than go1.26.0; images must be built"),
		"": bad("go", "scripts/setup go; or bring the images along: lab images save, lab images load",
			"no Go: go is not installed; images must be built"),
	} {
		d := &doctor{root: root, goRelease: release}
		if release == "" {
			d.goErr = errors.New("go is not installed")
		}
		if diff := cmp.Diff([]finding{want}, d.goVersion(t.Context())); diff != "" {
			t.Errorf("%q (-want +got):\n%s", release, diff)
		}
	}
}

func TestAnswered(t *testing.T) {
	for text, want := range map[string]bool{
		"manifest unknown: manifest unknown":          true,
		"unauthorized: authentication required":       true,
		"toomanyrequests: you have reached the limit": true,
		"dial tcp: lookup registry: no such host":     false,
		"context deadline exceeded":                   false,
		"net/http: TLS handshake timeout":             false,
	} {
		if got := answered(errors.New(text)); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
}

// TestRun says what a command said when it failed.
func TestRun(t *testing.T) {
	if out, err := run(t.Context(), "/", "sh", "-c", "pwd"); err != nil || out != "/" {
		t.Errorf("%q, %v", out, err)
	}
	if _, err := run(t.Context(), "", "sh", "-c", "echo why >&2; echo more >&2; exit 3"); err == nil || err.Error() != "why" {
		t.Errorf("error %v", err)
	}
	if _, err := run(t.Context(), "", "sh", "-c", "exit 3"); err == nil || err.Error() != "exit status 3" {
		t.Errorf("error %v", err)
	}
	if _, err := run(t.Context(), "", "no-such-command"); err == nil || err.Error() != "no-such-command is not installed" {
		t.Errorf("error %v", err)
	}
}

func TestFindingsText(t *testing.T) {
	list := []finding{good("a", "well"), warn("long-id", "one\ntwo", "first\nsecond"), bad("c", "do", "ill")}
	var out bytes.Buffer
	(&app{stdout: &out}).findingsText(list)
	want := `✓ a        well
! long-id  first
           second
           → one
           → two
✗ c        ill
           → do
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestToMake: labs that wait for an image which cannot be made here do not run, and doctor says which.
func TestToMake(t *testing.T) {
	needs := []images.Need{
		{Ref: "redis:8.0", State: images.ToPull, Recipe: "redis", Labs: []string{"adapter/slowlog", "ambassador/shard"}},
		{Ref: "other:1", State: images.ToPull},
		{Ref: "there:1", State: images.Substituted, Recipe: "there"},
	}
	if diff := cmp.Diff([]string{"redis:8.0 (adapter/slowlog, ambassador/shard)"}, toMake(needs)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	dir := t.TempDir()
	t.Setenv("PATH", dir)
	tool := func(name string, mode os.FileMode) {
		if err := os.WriteFile(filepath.Join(dir, name), nil, mode); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat("/usr/sbin/docker"); err == nil {
		t.Fatal("docker in /usr/sbin: the test shows nothing")
	}
	d := &doctor{}
	if got := d.makers(); got != "docker is not here" {
		t.Errorf("with nothing: %q", got)
	}
	tool("docker", 0o755)
	tool("mmdebstrap", 0o644)
	if got := d.makers(); got != "mmdebstrap is not here" {
		t.Errorf("without mmdebstrap: %q", got)
	}
	if err := os.Chmod(filepath.Join(dir, "mmdebstrap"), 0o755); err != nil {
		t.Fatal(err)
	}
	if got := d.makers(); got != "" {
		t.Errorf("with all: %q", got)
	}
}
