package images_test

import (
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/types"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/moby/moby/client"

	"distlab/lab/internal/hint"
	"distlab/lab/internal/images"
)

// project is a lab of root with one service per image. The compose file is what a person wrote; of it, the package reads only
// the variables.
func project(t *testing.T, root, lab, file string, refs ...string) *types.Project {
	t.Helper()
	dir := root + "/labs/" + lab
	write(t, root, "labs/"+lab+"/compose.yaml", file)
	p := &types.Project{Name: "a-project", WorkingDir: dir, ComposeFiles: []string{dir + "/compose.yaml"}, Services: types.Services{}}
	for _, ref := range refs {
		p.Services[ref] = types.ServiceConfig{Name: ref, Image: ref}
	}
	return p
}

func TestNeeds(t *testing.T) {
	docker := engine(t)
	root := repo(t, docker, "images-test-n", "images-test-o")
	write(t, root, "scripts/debian/redis-images-test.recipe", "# a recipe\n")
	write(t, root, "compose/redis.yaml", `services:
  redis:
    image: ${REDIS_IMAGE:-images.test/redis-images-test:8.0} # pinned
`)
	im := &images.Images{Root: root, Docker: docker}
	if err := im.Build(t.Context(), "images-test-n"); err != nil {
		t.Fatal(err)
	}
	shard := project(t, root, "ambassador/shard", "services: {}\n", "images.test/redis-images-test:8.0", "distlab/images-test-n:dev")
	split := project(t, root, "ambassador/split", `services:
  a:
    image: "${OTHER_IMAGE-images.test/other:1}"
`, "images.test/other:1", "distlab/images-test-n:dev", "distlab/images-test-o:dev")

	look := func(want ...images.Need) {
		t.Helper()
		got, err := im.Needs(t.Context(), split, shard)
		if err != nil {
			t.Fatal(err)
		}
		ignore := cmpopts.IgnoreFields(images.Need{}, "Detail")
		probeless := got[:0:0] // whether this machine has the real probe image is not this test's business
		probes := 0
		for _, n := range got {
			if n.Ref == images.Probe {
				probes++
				continue
			}
			probeless = append(probeless, n)
		}
		if diff := cmp.Diff(want, probeless, ignore); diff != "" {
			t.Errorf("needs (-want +got):\n%s", diff)
		}
		if probes != 1 {
			t.Errorf("the probe image is needed %d times", probes)
		}
	}
	both := []string{"ambassador/shard", "ambassador/split"}
	n := images.Need{Ref: "distlab/images-test-n:dev", Container: "images-test-n", Labs: both, State: images.Present}
	o := images.Need{Ref: "distlab/images-test-o:dev", Container: "images-test-o", Labs: both[1:], State: images.ToBuild}
	other := images.Need{Ref: "images.test/other:1", Variable: "OTHER_IMAGE", Labs: both[1:], State: images.ToPull}
	redis := images.Need{
		Ref: "images.test/redis-images-test:8.0", Variable: "REDIS_IMAGE", Recipe: "redis-images-test",
		Labs: both[:1], State: images.ToPull,
	}
	look(n, o, other, redis)

	write(t, root, "containers/images-test-n/page.txt", "changed\n")
	n.State = images.ToBuild
	look(n, o, other, redis)

	// An image with the recipe's label stands in; the real one, once there, is preferred.
	write(t, root, "containers/images-test-o/Dockerfile", read(t, root+"/containers/images-test-o/Dockerfile")+
		"\nFROM scratch AS unused\n")
	write(t, root, "containers/images-test-n/Dockerfile", strings.Replace(read(t, root+"/containers/images-test-n/Dockerfile"),
		"LABEL ", "LABEL distlab.recipe=redis-images-test ", 1))
	if err := im.Build(t.Context(), "images-test-n"); err != nil {
		t.Fatal(err)
	}
	tagged := func(target string) {
		t.Helper()
		_, err := docker.ImageTag(t.Context(), client.ImageTagOptions{Source: n.Ref, Target: target})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { remove(t, docker, target) })
	}
	n.State, redis.State, redis.Use = images.Present, images.Substituted, n.Ref
	look(n, o, other, redis)

	tagged(redis.Ref)
	tagged(other.Ref)
	redis.State, redis.Use, other.State = images.Present, "", images.Present
	look(n, o, other, redis)
}

// TestEnsure needs no registry: images.test does not exist, anywhere, by RFC 6761.
func TestEnsure(t *testing.T) {
	docker := engine(t)
	root := repo(t, docker, "images-test-p")
	write(t, root, "scripts/debian/nothing.recipe", "# a recipe\n")
	var seen events
	im := &images.Images{Root: root, Docker: docker, Report: seen.add}

	script := func(text string) {
		t.Helper()
		write(t, root, "scripts/debian-image", "#!/bin/sh\n"+text)
		chmod(t, root+"/scripts/debian-image")
	}
	script("echo working >&2; echo distlab/images-test-p:dev\n")
	ours := images.Need{Ref: "distlab/images-test-p:dev", Container: "images-test-p"}
	lost := images.Need{Ref: "images.test/lost:1"}
	made := images.Need{Ref: "images.test/nothing:1", Variable: "NOTHING_IMAGE", Recipe: "nothing"}

	env, err := im.Ensure(t.Context(), []images.Need{ours, made})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"NOTHING_IMAGE": "distlab/images-test-p:dev"}, env); diff != "" {
		t.Errorf("environment (-want +got):\n%s", diff)
	}
	got := strings.Join(seen.ended(), "\n")
	for _, want := range []string{"pull images.test/nothing:1 failed", "substitute images.test/nothing:1 done", "build distlab/images-test-p:dev done"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}

	// What was there at the start asks no registry, and one that gave no answer is not asked again.
	made.Use = "distlab/images-test-p:dev"
	fresh := &images.Images{Root: root, Docker: docker, Report: seen.add}
	if _, err := fresh.Ensure(t.Context(), []images.Need{made}); err != nil {
		t.Fatal(err)
	}
	made.Use = ""
	if _, err := im.Ensure(t.Context(), []images.Need{made}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"substitute images.test/nothing:1 done", "substitute images.test/nothing:1 done"}, seen.ended()); diff != "" {
		t.Errorf("steps (-want +got):\n%s", diff)
	}

	for _, test := range []struct {
		name, fact, hint, script string
		need                     images.Need
	}{
		{"no recipe", "image images.test/lost:1 is missing: no answer from images.test", "docker load", "", lost},
		{
			"no variable", "image images.test/nothing:1 is missing: no answer from images.test", "${NAME_IMAGE:-images.test/nothing:1}", "",
			images.Need{Ref: made.Ref, Recipe: "nothing"},
		},
		{"a script that fails", "half a step\nnot enough", "get more", "echo half a step >&2; echo not enough >&2; echo hint: get more >&2; exit 1", made},
		{"a full disk", "write /x: no space left on device", "lab gc", "echo 'write /x: No space left on device' >&2; exit 1", made},
		{"bad reference", `image "UPPER:case"`, "", "", images.Need{Ref: "UPPER:case"}},
		{"ours by name only", "no image distlab/debian-lost:1 here", "scripts/debian-image", "", images.Need{Ref: "distlab/debian-lost:1"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			script(test.script + "\n")
			_, err := im.Ensure(t.Context(), []images.Need{ours, test.need})
			if err == nil || !strings.Contains(strings.ToLower(err.Error()), strings.ToLower(test.fact)) {
				t.Errorf("error %v\nwant %s", err, test.fact)
			}
			if !strings.Contains(hint.Of(err), test.hint) {
				t.Errorf("hint %q, want %q", hint.Of(err), test.hint)
			}
		})
	}

	t.Run("several failures", func(t *testing.T) {
		_, err := im.Ensure(t.Context(), []images.Need{lost, {Ref: "images.test/lost:2"}})
		for _, want := range []string{"images.test/lost:1", "images.test/lost:2"} {
			if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(hint.Of(err), want) {
				t.Errorf("no %s in %v\nhint: %s", want, err, hint.Of(err))
			}
		}
	})
}

func TestSaveAndLoad(t *testing.T) {
	docker := engine(t)
	root := repo(t, docker, "images-test-s")
	im := &images.Images{Root: root, Docker: docker}
	ref := "distlab/images-test-s:dev"
	if err := im.Build(t.Context()); err != nil {
		t.Fatal(err)
	}
	before := id(t, docker, ref)

	archive := archiveOf(t, im, images.Need{Ref: "images.test/lost:1", Use: ref, State: images.Substituted})
	remove(t, docker, ref)
	loaded, err := im.Load(t.Context(), archive)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{ref}, loaded); diff != "" {
		t.Errorf("loaded (-want +got):\n%s", diff)
	}
	if after := id(t, docker, ref); after != before {
		t.Errorf("saved %s, loaded %s", before, after)
	}

	err = im.Save(t.Context(), []images.Need{{Ref: "images.test/lost:1", State: images.ToPull}}, nil)
	if err == nil || hint.Of(err) == "" {
		t.Errorf("saved an image that is not there: %v", err)
	}
	if _, err := im.Load(t.Context(), strings.NewReader("not an archive")); err == nil {
		t.Error("loaded what is not an archive")
	}
}
