package images

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"
	cerrdefs "github.com/containerd/errdefs"
	"github.com/distribution/reference"
	"github.com/moby/moby/api/types/image"
	"github.com/moby/moby/client"
)

// Need is one image that one or more labs need.
type Need struct {
	Ref       string   // as the compose file has it, variables filled in: distlab/pause:dev, redis:8.0
	Variable  string   // the variable that the compose file has in its place: REDIS_IMAGE, or ""
	Container string   // for an image of ours, its folder in containers/: pause, or ""
	Recipe    string   // for one of others, what scripts/debian-image can make instead: redis, or ""
	Labs      []string // sidecar/tls, …, sorted
	State     State
	Use       string // the image that really runs, when it is not Ref: distlab/debian-redis:8.0.2
	Detail    string // for a person: why, or what else could be done
}

// State is where an image is now.
type State string

// The states.
const (
	Present     State = "present"
	ToBuild     State = "to build"    // ours, and missing or older than its sources
	ToPull      State = "to pull"     // of others, and missing; without a registry it is substituted if it has a Recipe
	Substituted State = "substituted" // by Use, made from Debian's packages
)

// Needs lists the images of the projects' services and the probe image, ours first. It changes nothing and asks no
// registry. A project's lab is named after its folder in labs/, else as the project.
func (im *Images) Needs(ctx context.Context, projects ...*types.Project) ([]Need, error) {
	byRef := map[string]*Need{}
	add := func(ref, variable, lab string) {
		n := byRef[ref]
		if n == nil {
			n = &Need{Ref: ref, Variable: variable, Container: im.container(ref)}
			byRef[ref] = n
		}
		if !slices.Contains(n.Labs, lab) {
			n.Labs = append(n.Labs, lab)
		}
	}
	for _, project := range projects {
		variables, err := im.variables(project)
		if err != nil {
			return nil, err
		}
		lab := im.lab(project)
		for _, service := range project.Services {
			if service.Image != "" {
				add(service.Image, variables[service.Image], lab)
			}
		}
		add(Probe, "", lab)
	}
	needs := make([]Need, 0, len(byRef))
	for _, n := range byRef {
		slices.Sort(n.Labs)
		if err := im.look(ctx, n); err != nil {
			return nil, err
		}
		needs = append(needs, *n)
	}
	slices.SortFunc(needs, func(a, b Need) int {
		return cmp.Or(order(a)-order(b), strings.Compare(a.Ref, b.Ref))
	})
	return needs, nil
}

func order(n Need) int {
	if n.Container != "" {
		return 0
	}
	return 1
}

// look finds out where n is now.
func (im *Images) look(ctx context.Context, n *Need) error {
	have, err := im.inspect(ctx, n.Ref)
	if err != nil {
		return err
	}
	if n.Container != "" {
		n.State, n.Detail, err = im.lookOurs(ctx, n.Container, have)
		return err
	}
	n.Recipe = im.recipe(n.Ref)
	switch {
	case have != nil:
		n.State = Present
	case n.Recipe == "":
		n.State = ToPull
	default:
		if n.Use, err = im.substitute(ctx, n.Recipe); err != nil {
			return err
		}
		n.State, n.Detail = Substituted, "from Debian's packages; docker pull "+n.Ref+" to have the real one"
		if n.Use == "" {
			n.State, n.Detail = ToPull, "without a registry: from Debian's packages, by scripts/debian-image "+n.Recipe
		}
	}
	return nil
}

// inspect is the image that ref names, or nil.
func (im *Images) inspect(ctx context.Context, ref string) (*image.InspectResponse, error) {
	if _, err := reference.ParseAnyReference(ref); err != nil {
		return nil, fmt.Errorf("image %q: %w", ref, err)
	}
	have, err := im.Docker.ImageInspect(ctx, ref)
	switch {
	case cerrdefs.IsNotFound(err):
		return nil, nil
	case err != nil:
		return nil, im.engineError("inspect image "+ref, err)
	}
	return &have.InspectResponse, nil
}

func label(have *image.InspectResponse, name string) string {
	if have == nil || have.Config == nil {
		return ""
	}
	return have.Config.Labels[name]
}

// substitute is the newest image that a recipe has made on this engine, or "".
func (im *Images) substitute(ctx context.Context, recipe string) (string, error) {
	list, err := im.Docker.ImageList(ctx, client.ImageListOptions{
		Filters: client.Filters{}.Add("label", labelRecipe+"="+recipe).Add("dangling", "false"),
	})
	if err != nil {
		return "", im.engineError("list images", err)
	}
	var newest image.Summary
	for _, have := range list.Items {
		if len(have.RepoTags) > 0 && have.Created >= newest.Created {
			newest = have
		}
	}
	if len(newest.RepoTags) == 0 {
		return "", nil
	}
	return newest.RepoTags[0], nil
}

// container is the folder of containers/ that an image of ours is built from, or "" for an image of others.
func (im *Images) container(ref string) string {
	name, ours := strings.CutPrefix(ref, prefix)
	name, dev := strings.CutSuffix(name, tag)
	if !ours || !dev || strings.ContainsAny(name, "/:@") {
		return ""
	}
	return name
}

// recipe is the recipe that can stand in for ref, or "": that of the same name, whoever the publisher.
func (im *Images) recipe(ref string) string {
	named, err := reference.ParseNormalizedNamed(ref)
	if err != nil {
		return ""
	}
	name := strings.TrimPrefix(path.Base(reference.Path(named)), "debian-")
	if _, err := os.Stat(filepath.Join(im.Root, "scripts", "debian", name+".recipe")); err != nil {
		return ""
	}
	return name
}

func (im *Images) lab(project *types.Project) string {
	dir, err := filepath.Rel(filepath.Join(im.Root, "labs"), project.WorkingDir)
	if err != nil || !filepath.IsLocal(dir) || dir == "." {
		return project.Name
	}
	return filepath.ToSlash(dir)
}

var imageVariable = regexp.MustCompile(`(?m)^\s*image:\s*["']?\$\{([A-Za-z_][A-Za-z0-9_]*):?-([^}]+)\}["']?\s*(?:#.*)?$`)

// variables maps an image to the variable that has it as its default. A loaded project has forgotten its variables, so
// this reads its files again, and the fragments in compose/ that they extend.
func (im *Images) variables(project *types.Project) (map[string]string, error) {
	files, err := filepath.Glob(filepath.Join(im.Root, "compose", "*.yaml"))
	if err != nil {
		return nil, err
	}
	found := map[string]string{}
	for _, file := range append(files, project.ComposeFiles...) {
		text, err := os.ReadFile(file)
		if errors.Is(err, os.ErrNotExist) {
			continue // a project that was not loaded from disk
		}
		if err != nil {
			return nil, fmt.Errorf("look for image variables: %w", err)
		}
		for _, m := range imageVariable.FindAllSubmatch(text, -1) {
			found[string(m[2])] = string(m[1])
		}
	}
	return found, nil
}
