// Package compose loads a lab's compose file, checks it against the rules that every lab keeps, and describes it.
//
// A lab's compose.yaml runs unchanged under plain `docker compose up`. Its x-lab block says what the lab is, which
// endpoints a person should open and which commands to try.
package compose

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/docker/compose/v5/pkg/api"
	"github.com/sirupsen/logrus"

	"distlab/lab/internal/hint"
)

// Labels on everything that distlab creates.
const (
	LabelLab      = "distlab.lab"      // family/name
	LabelInstance = "distlab.instance" // "" for the default one
	LabelVariant  = "distlab.variant"  // on the services that the variant changes
	LabelRoot     = "distlab.root"     // the clone it came from
	LabelOwner    = "distlab.owner"    // the process without which it is an orphan; absent on what `lab up` starts
	LabelSession  = "distlab.session"  // of the owner: what it owns lives as long as it holds a lock
	LabelExpires  = "distlab.expires"  // RFC 3339; after it, it is an orphan whoever owns it
)

// Prefix begins the compose project name of every stack.
const Prefix = "distlab-"

// Meta is a compose file's x-lab block.
type Meta struct {
	Title     string     `mapstructure:"title" yaml:"title"`
	Pattern   string     `mapstructure:"pattern" yaml:"pattern"`
	Says      string     `mapstructure:"says" yaml:"says"`
	Endpoints []Endpoint `mapstructure:"endpoints" yaml:"endpoints"`
	Try       []Command  `mapstructure:"try" yaml:"try"`
}

// Endpoint is an address that a person should open. URL has {address} where host:port belongs.
type Endpoint struct {
	Service string `mapstructure:"service" yaml:"service"`
	Port    int    `mapstructure:"port" yaml:"port"`
	URL     string `mapstructure:"url" yaml:"url"`
	Says    string `mapstructure:"says" yaml:"says"`
}

// Command is something to try. Run has {service:port} where a published address belongs and {service} where a
// container's name belongs.
type Command struct {
	Says string `mapstructure:"says" yaml:"says"`
	Run  string `mapstructure:"run" yaml:"run"`
}

// Source says which stack is meant.
type Source struct {
	Root     string // the clone
	Lab      string // family/name
	Instance string
	Variant  string
	Bench    bool // the stack of `lab bench`, in the lab's folder bench, in place of the lab itself
}

// Dir is the folder of the stack's compose file: the lab's, or bench in it.
func (s Source) Dir() string {
	dir := filepath.Join(s.Root, "labs", filepath.FromSlash(s.Lab))
	if s.Bench {
		dir = filepath.Join(dir, "bench")
	}
	return dir
}

// Project is the compose project's name.
func (s Source) Project() string {
	name := Prefix + strings.ReplaceAll(s.Lab, "/", "-")
	if s.Bench {
		return Prefix + "bench_" + strings.ReplaceAll(s.Lab, "/", "-") // which no instance can be called
	}
	if s.Instance != "" {
		name += "-" + s.Instance
	}
	return name
}

// projectName is what [Source.Project] gives, and what compose puts behind it for a network or a volume.
var projectName = regexp.MustCompile(`^(` + Prefix + `(?:bench_)?[a-z][a-z0-9-]*-[a-z0-9-]+)_[a-zA-Z0-9]`)

// ProjectOf is the project whose network or volume has this name, or "".
func ProjectOf(name string) string {
	if m := projectName.FindStringSubmatch(name); m != nil {
		return m[1]
	}
	return ""
}

// Files are the compose files, the override last.
func (s Source) Files() []string {
	files := []string{filepath.Join(s.Dir(), "compose.yaml")}
	if s.Variant != "" {
		files = append(files, filepath.Join(s.Dir(), "variants", s.Variant+".yaml"))
	}
	return files
}

var instanceName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,30}$`)

// ValidInstance says whether a name can stand in a project name.
func ValidInstance(name string) bool { return name == "" || instanceName.MatchString(name) }

// Project is a lab's compose project, loaded.
type Project struct {
	Source
	*types.Project
	Meta Meta

	changed map[string]bool // the services that the variant changes
}

// Load reads a lab's compose files. Variables come from env, then from the process's environment.
func Load(ctx context.Context, src Source, env map[string]string) (*Project, error) {
	logrus.SetLevel(logrus.ErrorLevel) // compose-go warns about every variable that is unset, which is our default
	for _, f := range src.Files() {
		if _, err := os.Stat(f); err != nil {
			return nil, hint.Wrap(err, "a lab is a folder labs/family/name with a compose.yaml, and its variants/*.yaml")
		}
	}
	var list []string
	for _, k := range slices.Sorted(maps.Keys(env)) {
		list = append(list, k+"="+env[k])
	}
	opts, err := cli.NewProjectOptions(src.Files(), cli.WithName(src.Project()), cli.WithOsEnv, cli.WithEnv(list),
		cli.WithWorkingDirectory(src.Dir()))
	if err != nil {
		return nil, broken(src, err)
	}
	p, err := opts.LoadProject(ctx)
	if err != nil {
		return nil, broken(src, err)
	}
	out := &Project{Source: src, Project: p}
	if _, err := p.Extensions.Get("x-lab", &out.Meta); err != nil {
		return nil, broken(src, fmt.Errorf("x-lab: %w", err))
	}
	if src.Variant != "" {
		base := src
		base.Variant = ""
		whole, err := Load(ctx, base, env)
		if err != nil {
			return nil, err
		}
		out.changed = differing(whole.Services, p.Services)
	}
	return out, nil
}

func differing(a, b types.Services) map[string]bool {
	out := map[string]bool{}
	for name, s := range b {
		if other, ok := a[name]; !ok || !reflect.DeepEqual(other, s) {
			out[name] = true
		}
	}
	return out
}

// relative is a file's path from the clone.
func (s Source) relative(file string) string {
	if rel, err := filepath.Rel(s.Root, file); err == nil {
		return rel
	}
	return file
}

// broken says which file is: where it is a fragment that the lab's file extends, the error of the whole names the lab's.
func broken(src Source, err error) error {
	for _, file := range src.fragments() {
		if fault := alone(file); fault != nil {
			return hint.Wrap(fmt.Errorf("%s, which %s extends: %w", src.relative(file), src.Lab, fault),
				"see it with: docker compose -f %s config --no-consistency", src.relative(file))
		}
	}
	var args []string
	for _, f := range src.Files() {
		args = append(args, "-f "+src.relative(f))
	}
	return hint.Wrap(fmt.Errorf("compose file of %s: %w", src.Lab, err), "see it with: docker compose %s config",
		strings.Join(args, " "))
}

var extendsFile = regexp.MustCompile(`(?m)^\s*(?:extends:\s*\{)?\s*file:\s*["']?([^\s"',}]+)`)

// fragments are the files that the source's extend, as far as they can be read.
func (s Source) fragments() (files []string) {
	for _, f := range s.Files() {
		text, err := os.ReadFile(f)
		if err != nil {
			continue
		}
		for _, m := range extendsFile.FindAllSubmatch(text, -1) {
			file := filepath.Join(filepath.Dir(f), filepath.FromSlash(string(m[1])))
			if !slices.Contains(files, file) {
				files = append(files, file)
			}
		}
	}
	return files
}

// alone is what is wrong with a fragment by itself. It need not make sense without what extends it.
func alone(file string) error {
	opts, err := cli.NewProjectOptions([]string{file}, cli.WithName("fragment"), cli.WithConsistency(false), cli.WithOsEnv)
	if err == nil {
		_, err = opts.LoadProject(context.Background())
	}
	return err
}

// Owned are the labels that a stack's things get besides those that say which lab it is.
type Owned struct {
	Owner   string
	Session string
	Expires string
}

// Labelled is the project as the engine shall have it: with our labels on everything, without build sections, since
// the images are made before, and with every image expected to be present.
func (p *Project) Labelled(o Owned) (*types.Project, error) {
	labels := types.Labels{LabelLab: p.Lab, LabelInstance: p.Instance, LabelRoot: p.Root}
	if o.Owner != "" {
		labels[LabelOwner] = o.Owner
		labels[LabelSession] = o.Session
		labels[LabelExpires] = o.Expires
	}
	out, err := p.WithServicesTransform(func(name string, s types.ServiceConfig) (types.ServiceConfig, error) {
		s.Build = nil
		s.PullPolicy = types.PullPolicyNever
		s.Labels = merged(s.Labels, labels)
		if p.changed[name] {
			// Only here: a label makes compose replace a container, and what a variant leaves alone shall stay.
			s.Labels[LabelVariant] = p.Variant
		}
		// These are compose's own; its command line sets them in the same way, so that it knows the stack.
		s.CustomLabels = types.Labels{
			api.ProjectLabel: p.Project.Name, api.ServiceLabel: name, api.OneoffLabel: "False",
			api.VersionLabel: api.ComposeVersion, api.WorkingDirLabel: p.WorkingDir,
			api.ConfigFilesLabel: strings.Join(p.ComposeFiles, ","),
		}
		return s, nil
	})
	if err != nil {
		return nil, err
	}
	networks := types.Networks{}
	for name, n := range out.Networks {
		if !n.External {
			n.Labels = merged(n.Labels, labels)
		}
		networks[name] = n
	}
	volumes := types.Volumes{}
	for name, v := range out.Volumes {
		if !v.External {
			v.Labels = merged(v.Labels, labels)
		}
		volumes[name] = v
	}
	out.Networks, out.Volumes = networks, volumes
	return out, nil
}

func merged(a, b types.Labels) types.Labels {
	out := maps.Clone(a)
	if out == nil {
		out = types.Labels{}
	}
	maps.Copy(out, b)
	return out
}
