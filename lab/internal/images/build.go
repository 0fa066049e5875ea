package images

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/build"
	"github.com/moby/moby/api/types/image"
	"github.com/moby/moby/api/types/jsonstream"
	"github.com/moby/moby/client"
	"golang.org/x/sync/errgroup"

	"distlab/lab/internal/hint"
)

// Build builds the images of the named folders of containers/, of all of them if none is named. What is up to date
// costs a few milliseconds and no event.
func (im *Images) Build(ctx context.Context, containers ...string) error {
	if len(containers) == 0 {
		var err error
		if containers, err = im.Containers(); err != nil {
			return err
		}
	}
	im.building.Lock()
	defer im.building.Unlock()
	stale, err := im.stale(ctx, containers)
	if err != nil || len(stale) == 0 {
		return err
	}
	unlock, err := im.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	// What another process built in the meantime is found again, below and in build.
	var missing []*source
	for _, s := range stale {
		if _, err := os.Stat(s.binary()); err != nil || s.recalls().Sources != s.sources {
			missing = append(missing, s)
		}
	}
	if err := im.compile(ctx, missing); err != nil {
		return err
	}
	return im.buildAll(ctx, stale)
}

// stale are those of the containers whose image is missing or not known to be made from the sources as they are.
func (im *Images) stale(ctx context.Context, containers []string) ([]*source, error) {
	arch, err := im.engineArch(ctx)
	if err != nil {
		return nil, err
	}
	var stale []*source
	for _, name := range containers {
		s, err := im.source(name, arch)
		if err != nil {
			return nil, err
		}
		have, err := im.inspect(ctx, s.ref())
		if err != nil {
			return nil, err
		}
		if s.isIn(have) {
			continue
		}
		if _, err := exec.LookPath("go"); err != nil {
			if have == nil {
				return nil, hint.New("cannot compile "+s.name+": no go command here",
					"scripts/setup installs Go; or bring the images along: lab images save, lab images load")
			}
			im.report(Event{Ref: s.ref(), Step: Keep, Phase: Done, Text: "as it is: no go command here to compare it with its sources"})
			continue
		}
		stale = append(stale, s)
	}
	return stale, nil
}

// lookOurs tells the state of an image of ours without compiling anything.
func (im *Images) lookOurs(ctx context.Context, name string, have *image.InspectResponse) (State, string, error) {
	arch, err := im.engineArch(ctx)
	if err != nil {
		return "", "", err
	}
	s, err := im.source(name, arch)
	switch {
	case err != nil:
		return ToBuild, err.Error(), nil
	case have == nil:
		return ToBuild, "", nil
	case s.isIn(have):
		return Present, "", nil
	case s.recalls().Sources == "":
		return Present, "not compared with its sources yet", nil
	}
	return ToBuild, "its sources changed", nil
}

// buildAll has the engine build each image whose digest differs from the one it has, and removes those that they replace.
func (im *Images) buildAll(ctx context.Context, sources []*source) error {
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0))
	for _, s := range sources {
		group.Go(func() error { return im.build(groupCtx, s) })
	}
	err := group.Wait()
	im.sweep(ctx)
	return err
}

// build brings one image up to date.
func (im *Images) build(ctx context.Context, s *source) error {
	files, err := s.context()
	if err != nil {
		return fmt.Errorf("build %s: %w", s.ref(), err)
	}
	digest, err := files.digest(s.arch)
	if err != nil {
		return fmt.Errorf("build %s: %w", s.ref(), err)
	}
	have, err := im.inspect(ctx, s.ref())
	if err != nil {
		return err
	}
	if label(have, labelDigest) != digest {
		done := im.step(s.ref(), BuildImage, "")
		err = im.engineBuild(ctx, files, client.ImageBuildOptions{
			Tags:      []string{s.ref()},
			Target:    "prebuilt",
			BuildArgs: map[string]*string{"BINARY": &s.name},
			Labels:    map[string]string{labelDigest: digest},
		})
		done("", err)
		if err != nil {
			return err
		}
	}
	text, err := json.Marshal(memo{s.sources, digest})
	if err != nil {
		return err
	}
	return diskError(os.WriteFile(s.memoFile(), text, 0o644))
}

// engineBuild builds with the engine's BuildKit, to which a line of metadata costs nothing. The classic builder runs a container
// for each, up to a second on a slow storage driver, but every engine has it.
func (im *Images) engineBuild(ctx context.Context, files files, options client.ImageBuildOptions) error {
	options.Version = build.BuilderBuildKit
	_, err := im.engineBuildWith(ctx, files, options)
	if _, lacks := errors.AsType[*noBuilder](err); lacks {
		options.Version = build.BuilderV1
		_, err = im.engineBuildWith(ctx, files, options)
	}
	return err
}

// noBuilder is the engine's refusal to begin a build, as opposed to a build that went wrong.
type noBuilder struct{ error }

func (n *noBuilder) Unwrap() error { return n.error }

// engineBuildWith returns the images of the stages, the last of which is the one that was asked for.
func (im *Images) engineBuildWith(ctx context.Context, files files, options client.ImageBuildOptions) (ids []string, err error) {
	options.Remove, options.ForceRemove = true, true
	options.NetworkMode = "none"
	doing := "build " + strings.Join(options.Tags, ", ")
	archive, writer := io.Pipe()
	go func() { writer.CloseWithError(files.writeTo(writer)) }()
	defer archive.Close()
	result, err := im.Docker.ImageBuild(ctx, archive, options)
	if err != nil {
		return nil, &noBuilder{im.engineError(doing, err)}
	}
	defer result.Body.Close()

	var log bytes.Buffer // of the step that is running, to show why it ended
	for decoder := json.NewDecoder(result.Body); ; {
		var m jsonstream.Message
		switch err := decoder.Decode(&m); {
		case errors.Is(err, io.EOF):
			return ids, nil
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case err != nil:
			return nil, im.engineError(doing, err)
		}
		if m.Error != nil {
			text := strings.TrimSpace(m.Error.Message + "\n" + log.String())
			return nil, diskError(fmt.Errorf("%s: %s", doing, text))
		}
		if strings.HasPrefix(m.Stream, "Step ") {
			log.Reset()
		}
		log.WriteString(m.Stream)
		if m.Aux != nil { // BuildKit also reports its progress here, in a form that takes BuildKit to read
			var built struct{ ID string }
			if json.Unmarshal(*m.Aux, &built) == nil && built.ID != "" {
				ids = append(ids, built.ID)
			}
		}
	}
}

// sweep removes images of ours, and substitutes, that have lost their name to a newer one, but for those that a container still
// runs; the next build or Prune finds these. It is not worth an error, nor a wait.
func (im *Images) sweep(ctx context.Context) {
	for _, filter := range nameless() {
		list, err := im.Docker.ImageList(ctx, client.ImageListOptions{Filters: filter})
		if err != nil {
			return
		}
		for _, old := range list.Items {
			_, _ = im.Docker.ImageRemove(ctx, old.ID, client.ImageRemoveOptions{PruneChildren: true})
		}
	}
}

func nameless() (filters []client.Filters) {
	for _, label := range []string{labelDigest, labelRecipe} {
		filters = append(filters, client.Filters{}.Add("dangling", "true").Add("label", label))
	}
	return filters
}

// Prune removes images of ours, and substitutes, that have lost their name to a newer one and that nothing uses. It returns how
// many, and the bytes that came free.
func (im *Images) Prune(ctx context.Context) (removed int, freed uint64, err error) {
	for _, filter := range nameless() {
		result, err := im.Docker.ImagePrune(ctx, client.ImagePruneOptions{Filters: filter})
		if cerrdefs.IsConflict(err) {
			continue // another prune is running
		}
		if err != nil {
			return removed, freed, im.engineError("prune images", err)
		}
		for _, deleted := range result.Report.ImagesDeleted {
			if deleted.Deleted != "" {
				removed++
			}
		}
		freed += result.Report.SpaceReclaimed
	}
	return removed, freed, nil
}
