package compose

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"
)

// written is a service as its file has it. Loading fills in variables and spells out short forms, so what was written
// there leaves no trace in a loaded project.
type written struct {
	Image     string    `yaml:"image"`
	DependsOn yaml.Node `yaml:"depends_on"`
	Ports     yaml.Node `yaml:"ports"`
	Extends   yaml.Node `yaml:"extends"`
}

// lintWritten checks what only the files themselves show: those of the lab, and the services that they extend.
func (p *Project) lintWritten(say func(string, ...any)) {
	seen := map[string]bool{}
	for _, f := range p.Files() {
		services, err := readWritten(f)
		if err != nil {
			say("%v", err)
			continue
		}
		for _, name := range slices.Sorted(maps.Keys(services)) {
			p.lintFragment(f, name, services, seen, say)
		}
	}
}

func readWritten(file string) (map[string]written, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var parsed struct {
		Services map[string]written `yaml:"services"`
	}
	if err := yaml.Unmarshal(data, &parsed); err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Base(file), err)
	}
	return parsed.Services, nil
}

// lintFragment checks a service of a file, and what it extends.
func (p *Project) lintFragment(file, name string, services map[string]written, seen map[string]bool, say func(string, ...any)) {
	s, ok := services[name]
	key := file + " " + name
	if !ok || seen[key] {
		return
	}
	seen[key] = true
	where := "service " + name
	if !slices.Contains(p.Files(), file) { // a fragment: the fault is not in the lab's own file
		where += " in " + p.relative(file)
	}
	here := func(format string, args ...any) { say(where+": "+format, args...) }
	lintImage(s.Image, here)
	if s.DependsOn.Kind == yaml.SequenceNode {
		here("depends_on says no condition: service_started, service_healthy or service_completed_successfully")
	}
	for _, port := range s.Ports.Content {
		if fixed(port) {
			here("a fixed port keeps a second instance from running beside the first: write 127.0.0.1:${NAME_PORT:-}:8080")
		}
	}
	var extends struct {
		File    string `yaml:"file"`
		Service string `yaml:"service"`
	}
	if s.Extends.Kind == yaml.ScalarNode {
		extends.Service = s.Extends.Value
	} else if s.Extends.Kind == yaml.MappingNode && s.Extends.Decode(&extends) != nil {
		return // compose-go has said so
	}
	if extends.File == "" {
		p.lintFragment(file, extends.Service, services, seen, say)
		return
	}
	other := filepath.Join(filepath.Dir(file), extends.File)
	if fragments, err := readWritten(other); err != nil {
		say("%v", err)
	} else {
		p.lintFragment(other, extends.Service, fragments, seen, say)
	}
}

// fixed says whether a port would be published under the same number by every instance: 127.0.0.1:80:8080, or
// 127.0.0.1:${PORT:-80}:8080.
func fixed(port *yaml.Node) bool {
	var long struct {
		Published string `yaml:"published"`
		Target    string `yaml:"target"`
	}
	if port.Kind == yaml.MappingNode && port.Decode(&long) == nil {
		return fixedPort.MatchString(long.Published + ":" + long.Target)
	}
	return fixedPort.MatchString(port.Value)
}

var (
	fixedPort = regexp.MustCompile(`(?:^|[:-])[1-9]\d*\}?:[^:]+$`)
	pinned    = regexp.MustCompile(`^\$\{[A-Z][A-Z0-9_]*_IMAGE:-[^}]+(:[^}/]+|@sha256:[0-9a-f]+)\}$`)
)

// lintImage wants an image of others pinned, and behind a variable: where no registry can be reached, the variable
// names the substitute.
func lintImage(ref string, say func(string, ...any)) {
	switch {
	case ref == "" || ours(ref):
	case !strings.HasPrefix(ref, "${"):
		say("image %s: a third-party image stands behind a variable: ${NAME_IMAGE:-%s}", ref, ref)
	case !pinned.MatchString(ref) || strings.HasSuffix(ref, ":latest}"):
		say("image %s: a third-party image is pinned: ${NAME_IMAGE:-name:1.2}", ref)
	}
}
