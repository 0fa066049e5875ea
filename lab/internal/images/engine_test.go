package images_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"distlab/lab/internal/hint"
	"distlab/lab/internal/images"
)

// engine connects to the real Docker; without one, the test fails, for a test that is skipped proves nothing.
func engine(t *testing.T) *client.Client {
	t.Helper()
	if testing.Short() {
		t.Skip("needs Docker")
	}
	docker, err := client.New(client.FromEnv)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { docker.Close() })
	if _, err := docker.Ping(t.Context(), client.PingOptions{}); err != nil {
		t.Fatalf("%v\nhint: this test needs Docker: scripts/setup installs and starts it; go test -short leaves it out", err)
	}
	return docker
}

// repo is a small repository of its own with the named containers, copies of testdata's; images of those names are removed
// when the test ends.
func repo(t *testing.T, docker *client.Client, names ...string) string {
	t.Helper()
	root := t.TempDir()
	write(t, root, "go.mod", read(t, "testdata/repo/go.mod.txt"))
	write(t, root, "go.sum", "")
	write(t, root, "containers/internal/greet/greet.go", read(t, "testdata/repo/containers/internal/greet/greet.go"))
	for _, name := range names {
		for _, file := range []string{"main.go", "page.txt", "Dockerfile"} {
			text := read(t, "testdata/repo/containers/images-test/"+file)
			write(t, root, "containers/"+name+"/"+file, strings.ReplaceAll(text, "images-test", name))
		}
		if docker != nil {
			t.Cleanup(func() { remove(t, docker, "distlab/"+name+":dev") })
		}
	}
	return root
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func write(t *testing.T, root, file, text string) {
	t.Helper()
	file = filepath.Join(root, file)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, docker *client.Client, ref string) {
	_, _ = docker.ImageRemove(lasting(t), ref, client.ImageRemoveOptions{Force: true, PruneChildren: true})
}

// events collects what an Images reports.
type events struct {
	mu   sync.Mutex
	list []images.Event
}

func (e *events) add(event images.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.list = append(e.list, event)
}

// ended are the steps that ended since the last call, as "build distlab/x:dev done".
func (e *events) ended() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	var got []string
	for _, event := range e.list {
		if event.Phase == images.Done || event.Phase == images.Failed {
			got = append(got, strings.TrimSpace(string(event.Step)+" "+event.Ref)+" "+string(event.Phase))
		}
	}
	e.list = nil
	return got
}

// run runs an image to its end and returns what it printed.
func run(t *testing.T, docker *client.Client, ref string, command ...string) string {
	t.Helper()
	ctx := lasting(t)
	made, err := docker.ContainerCreate(ctx, client.ContainerCreateOptions{
		Config:     &container.Config{Image: ref, Cmd: command},
		HostConfig: &container.HostConfig{NetworkMode: "none"},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer docker.ContainerRemove(lasting(t), made.ID, client.ContainerRemoveOptions{Force: true, RemoveVolumes: true})
	waiting := docker.ContainerWait(ctx, made.ID, client.ContainerWaitOptions{Condition: container.WaitConditionNextExit})
	if _, err := docker.ContainerStart(ctx, made.ID, client.ContainerStartOptions{}); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-waiting.Error:
		t.Fatal(err)
	case <-waiting.Result:
	case <-time.After(30 * time.Second):
		t.Fatalf("%s does not end", ref)
	}
	logs, err := docker.ContainerLogs(ctx, made.ID, client.ContainerLogsOptions{ShowStdout: true, ShowStderr: true})
	if err != nil {
		t.Fatal(err)
	}
	defer logs.Close()
	var out bytes.Buffer
	if _, err := stdcopy.StdCopy(&out, &out, logs); err != nil && err != io.EOF {
		t.Fatal(err)
	}
	return out.String()
}

func id(t *testing.T, docker *client.Client, ref string) string {
	t.Helper()
	have, err := docker.ImageInspect(lasting(t), ref)
	if err != nil {
		t.Fatal(err)
	}
	return have.ID
}

func exists(t *testing.T, docker *client.Client, ref string) bool {
	t.Helper()
	_, err := docker.ImageInspect(lasting(t), ref)
	return err == nil
}

func TestBuild(t *testing.T) {
	docker := engine(t)
	root := repo(t, docker, "images-test-a", "images-test-b")
	const a, b = "distlab/images-test-a:dev", "distlab/images-test-b:dev"
	var seen events
	im := &images.Images{Root: root, Docker: docker, Report: seen.add}
	build := func(want ...string) {
		t.Helper()
		if err := im.Build(t.Context(), "images-test-a", "images-test-b"); err != nil {
			t.Fatal(err)
		}
		got := seen.ended()
		sortBuilds(got)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("steps (-want +got):\n%s", diff)
		}
	}
	const (
		compileA    = "compile images-test-a done"
		compileBoth = "compile images-test-a, images-test-b done"
		buildA      = "build " + a + " done"
		buildB      = "build " + b + " done"
	)

	build(compileBoth, buildA, buildB)
	if got := run(t, docker, a); got != "hello, world\n" {
		t.Errorf("the container printed %q", got)
	}
	build() // nothing changed, nothing done

	// A file that the Dockerfile copies, and nothing else.
	first, other := id(t, docker, a), id(t, docker, b)
	write(t, root, "containers/images-test-a/page.txt", "moon\n")
	build(compileA, buildA)
	if got := run(t, docker, a); got != "hello, moon\n" {
		t.Errorf("after a change of a file the container printed %q", got)
	}
	if exists(t, docker, first) {
		t.Error("the image that was replaced is still there")
	}
	if id(t, docker, b) != other {
		t.Error("a change of one container rebuilt another")
	}

	// Code that both share.
	write(t, root, "containers/internal/greet/greet.go", "package greet\n\nconst Text = \"goodbye\"\n")
	build(compileBoth, buildA, buildB)
	if got := run(t, docker, a); got != "goodbye, moon\n" {
		t.Errorf("after a change of shared code the container printed %q", got)
	}

	// The Dockerfile.
	write(t, root, "containers/images-test-a/Dockerfile", read(t, root+"/containers/images-test-a/Dockerfile")+"# a comment\n")
	build(compileA, buildA)

	// Tests and documentation are no reason.
	write(t, root, "containers/images-test-a/a_test.go", "package main\n")
	write(t, root, "containers/images-test-a/README.md", "# a\n")
	build()

	// Sources that give the same binary: compiled, not built.
	write(t, root, "go.sum", "example.org/x v1.0.0/go.mod h1:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n")
	build(compileBoth)
	build()

	// Someone removes an image: no need to compile.
	remove(t, docker, a)
	build(buildA)

	// Someone empties .lab: no need to build.
	if err := os.RemoveAll(filepath.Join(root, ".lab")); err != nil {
		t.Fatal(err)
	}
	build(compileBoth)

	// Someone else's image under our name is not ours.
	if _, err := docker.ImageTag(t.Context(), client.ImageTagOptions{Source: b, Target: a}); err != nil {
		t.Fatal(err)
	}
	build(buildA)
	if got := run(t, docker, a); got != "goodbye, moon\n" {
		t.Errorf("after a foreign tag the container printed %q", got)
	}
}

// sortBuilds puts the builds, which run beside each other, in order; compilation stays first.
func sortBuilds(steps []string) {
	for i := range steps {
		for j := i; j > 0 && strings.HasPrefix(steps[j-1], "build ") && steps[j] < steps[j-1]; j-- {
			steps[j], steps[j-1] = steps[j-1], steps[j]
		}
	}
}

func TestBuildConcurrently(t *testing.T) {
	docker := engine(t)
	root := repo(t, docker, "images-test-c", "images-test-d")
	var seen events
	var group sync.WaitGroup
	for range 4 { // as four processes would: each its own Images
		group.Go(func() {
			im := &images.Images{Root: root, Docker: docker, Report: seen.add}
			for range 2 {
				if err := im.Build(t.Context()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	built := 0
	for _, step := range seen.ended() {
		if strings.HasPrefix(step, "build ") {
			built++
		}
	}
	if built != 2 {
		t.Errorf("two images were built %d times", built)
	}
}

func TestBuildErrors(t *testing.T) {
	docker := engine(t)
	root := repo(t, docker, "images-test-e")
	im := &images.Images{Root: root, Docker: docker}

	err := im.Build(t.Context(), "images-test-x")
	if err == nil || !strings.Contains(err.Error(), `no container "images-test-x"`) || !strings.Contains(hint.Of(err), "images-test-e") {
		t.Errorf("unknown container: %v, hint %q", err, hint.Of(err))
	}

	good := read(t, root+"/containers/images-test-e/main.go")
	write(t, root, "containers/images-test-e/main.go", "package main\n\nfunc main() { undefined() }\n")
	err = im.Build(t.Context())
	if err == nil || !strings.Contains(err.Error(), "containers/images-test-e/main.go:3:15: undefined: undefined") {
		t.Errorf("code that does not compile: %v", err)
	}

	write(t, root, "containers/images-test-e/main.go", good)
	write(t, root, "containers/images-test-e/Dockerfile", "FROM scratch AS runtime\nFROM runtime AS prebuilt\nCOPY nothing /nothing\n")
	err = im.Build(t.Context())
	if err == nil || !strings.Contains(err.Error(), "nothing") || !strings.Contains(err.Error(), "distlab/images-test-e:dev") {
		t.Errorf("Dockerfile that cannot be built: %v", err)
	}

	away, err := client.New(client.WithHost("unix:///nowhere/docker.sock"))
	if err != nil {
		t.Fatal(err)
	}
	err = (&images.Images{Root: root, Docker: away}).Build(t.Context())
	if err == nil || err.Error() != "cannot reach Docker at unix:///nowhere/docker.sock" || hint.Of(err) == "" {
		t.Errorf("no engine: %v, hint %q", err, hint.Of(err))
	}
}

// lasting outlives the test's own context, which is over when its cleanups run.
func lasting(t *testing.T) context.Context { return context.WithoutCancel(t.Context()) }

// TestBuildWithoutGo is a machine to which the images were brought.
func TestBuildWithoutGo(t *testing.T) {
	docker := engine(t)
	root := repo(t, docker, "images-test-g")
	var seen events
	im := &images.Images{Root: root, Docker: docker, Report: seen.add}
	path := os.Getenv("PATH")

	t.Setenv("PATH", t.TempDir())
	err := im.Build(t.Context())
	if err == nil || !strings.Contains(err.Error(), "no go command") || !strings.Contains(hint.Of(err), "scripts/setup") {
		t.Errorf("no Go and no image: %v, hint %q", err, hint.Of(err))
	}

	t.Setenv("PATH", path)
	if err := im.Build(t.Context()); err != nil {
		t.Fatal(err)
	}
	seen.ended()
	t.Setenv("PATH", t.TempDir())
	if err := im.Build(t.Context()); err != nil {
		t.Errorf("no Go, but an image: %v", err)
	}
	if diff := cmp.Diff([]string{"keep distlab/images-test-g:dev done"}, seen.ended()); diff != "" {
		t.Errorf("steps (-want +got):\n%s", diff)
	}
}

// TestBuildWaits has another process build in the same clone.
func TestBuildWaits(t *testing.T) {
	docker := engine(t)
	root := repo(t, docker, "images-test-w")
	write(t, root, ".lab/build.lock", "")
	other, err := os.Open(root + "/.lab/build.lock")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if err := syscall.Flock(int(other.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}

	ctx, cancel := context.WithCancel(t.Context())
	im := &images.Images{Root: root, Docker: docker, Report: func(e images.Event) {
		if e.Step == images.Wait && e.Phase == images.Began {
			cancel()
		}
	}}
	if err := im.Build(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted while it waits: %v", err)
	}

	im.Report = func(e images.Event) {
		if e.Step == images.Wait && e.Phase == images.Began {
			other.Close()
		}
	}
	if err := im.Build(t.Context()); err != nil {
		t.Error(err)
	}
	if !exists(t, docker, "distlab/images-test-w:dev") {
		t.Error("nothing was built after the wait")
	}
}

func chmod(t *testing.T, file string) {
	t.Helper()
	if err := os.Chmod(file, 0o755); err != nil {
		t.Fatal(err)
	}
}

func archiveOf(t *testing.T, im *images.Images, needs ...images.Need) io.Reader {
	t.Helper()
	var archive bytes.Buffer
	if err := im.Save(t.Context(), needs, &archive); err != nil {
		t.Fatal(err)
	}
	return &archive
}
