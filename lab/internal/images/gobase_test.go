package images_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/moby/moby/api/types/build"

	"distlab/lab/internal/images"
)

// TestDefaultTarget builds what `docker compose up` on a fresh clone builds: every container's default target, compiled
// inside the build, without a network. It runs, and does what the image with the binary from outside does.
func TestDefaultTarget(t *testing.T) {
	docker := engine(t)
	root, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	im := &images.Images{Root: root, Docker: docker}
	containers, err := im.Containers()
	if err != nil || len(containers) == 0 {
		t.Fatalf("containers: %v, %v", containers, err)
	}
	if err := im.Build(t.Context()); err != nil {
		t.Fatal(err)
	}
	base, err := im.GoBase(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	inspect := func() (id, digest string) {
		have, err := docker.ImageInspect(t.Context(), base)
		if err != nil {
			t.Fatal(err)
		}
		return have.ID, have.Config.Labels["distlab.digest"]
	}
	first, digest := inspect()
	if _, err := im.GoBase(t.Context()); err != nil {
		t.Fatal(err)
	}
	// Another digest is another reason: someone is at work in this clone.
	if again, same := inspect(); again != first && same == digest {
		t.Error("the Go image was made again for nothing")
	}

	try := func(name string, builder build.BuilderVersion) {
		t.Run(name+"-"+string(builder), func(t *testing.T) {
			ref := "distlab/images-test-default-" + name + ":dev"
			t.Cleanup(func() { remove(t, docker, ref) })
			if err := im.BuildDefault(t.Context(), name, base, ref, builder); err != nil {
				t.Fatal(err)
			}
			got, want := run(t, docker, ref, "-h"), run(t, docker, "distlab/"+name+":dev", "-h")
			if !strings.Contains(strings.ToLower(got), name) || got != want {
				t.Errorf("the image says\n%s\nand that with the binary from outside\n%s", got, want)
			}
		})
	}
	t.Run("no network", func(t *testing.T) {
		root := repo(t, docker)
		write(t, root, ".dockerignore", "*\n")
		write(t, root, "containers/images-test-lone/Dockerfile", "ARG GO_IMAGE\nFROM ${GO_IMAGE}\nRUN cat /proc/net/route && test $(wc -l </proc/net/route) = 1\n")
		for _, builder := range []build.BuilderVersion{build.BuilderBuildKit, build.BuilderV1} {
			ref := "distlab/images-test-lone:dev"
			t.Cleanup(func() { remove(t, docker, ref) })
			if err := (&images.Images{Root: root, Docker: docker}).BuildDefault(t.Context(), "images-test-lone", base, ref, builder); err != nil {
				t.Errorf("builder %s: %v", builder, err)
			}
		}
	})
	for _, name := range containers {
		try(name, build.BuilderBuildKit)
	}
	try("pause", build.BuilderV1) // the classic builder takes every stage, and a second for each line of metadata
}
