package images_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"distlab/lab/internal/hint"
	"distlab/lab/internal/images"
)

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

// TestPrune: an image that lost its name while a container ran it is removed when the container is gone.
func TestPrune(t *testing.T) {
	docker := engine(t)
	root := repo(t, docker, "images-test-q")
	const ref = "distlab/images-test-q:dev"
	im := &images.Images{Root: root, Docker: docker}
	if err := im.Build(t.Context()); err != nil {
		t.Fatal(err)
	}
	old := id(t, docker, ref)
	made, err := docker.ContainerCreate(t.Context(), client.ContainerCreateOptions{Config: &container.Config{Image: ref}})
	if err != nil {
		t.Fatal(err)
	}
	free := func() {
		_, _ = docker.ContainerRemove(lasting(t), made.ID, client.ContainerRemoveOptions{Force: true})
	}
	t.Cleanup(free)

	write(t, root, "containers/images-test-q/page.txt", "moon\n")
	if err := im.Build(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, _, err := im.Prune(t.Context()); err != nil || !exists(t, docker, old) {
		t.Errorf("in use: removed, or %v", err)
	}
	free()
	if removed, _, err := im.Prune(t.Context()); err != nil || removed == 0 || exists(t, docker, old) {
		t.Errorf("out of use: %d removed, %v", removed, err)
	}
	if !exists(t, docker, ref) {
		t.Error("the image with the name is gone")
	}
}

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
