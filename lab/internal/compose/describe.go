package compose

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"
	"go.yaml.in/yaml/v4"
)

// ReadMeta reads the x-lab block alone. It takes a fraction of what Load does, so that every lab's can be read for a list.
func ReadMeta(src Source) (Meta, error) {
	base := src
	base.Variant = ""
	data, err := os.ReadFile(base.Files()[0])
	if err != nil {
		return Meta{}, broken(base, err)
	}
	var file struct {
		Lab Meta `yaml:"x-lab"`
	}
	if err := yaml.Unmarshal(data, &file); err != nil {
		return Meta{}, broken(base, err)
	}
	return file.Lab, nil
}

// Graph is a lab's services and what ties them together, as the compose file has them. The JSON names are stable.
type Graph struct {
	Services []Node `json:"services"`
	Edges    []Edge `json:"edges"`
}

// Node is a service.
type Node struct {
	Name     string   `json:"name"`
	Image    string   `json:"image"`
	Pod      string   `json:"pod"`      // the service whose network it lives in, which may be its own; "" when it shares with nobody
	Replicas int      `json:"replicas"` // as the file has it
	Ports    []Port   `json:"ports"`    // published on this machine
	Networks []string `json:"networks"` // none for a service in another's network
	Mounts   []Mount  `json:"mounts"`
	Health   string   `json:"health"` // "image", when the image brings its check; else the command, or "" for none
}

// Port is a published port. Published is "" where the engine chooses a free one.
type Port struct {
	Address   string `json:"address"`
	Published string `json:"published"`
	Target    int    `json:"target"`
	Protocol  string `json:"protocol"`
}

// number is the port within the container.
func (p Port) number() string {
	if p.Protocol == "tcp" {
		return strconv.Itoa(p.Target)
	}
	return strconv.Itoa(p.Target) + "/" + p.Protocol
}

// Mount is a volume or a folder in a service. Source is "" for an anonymous one.
type Mount struct {
	Kind     string `json:"kind"` // volume, bind, tmpfs, …
	Source   string `json:"source"`
	Target   string `json:"target"`
	ReadOnly bool   `json:"read_only"`
}

// The kinds of edges.
const (
	EdgeDepends = "depends_on" // Detail is the condition: service_started, service_healthy, service_completed_successfully
	EdgeNetwork = "network"    // From lives in To's network
	EdgePID     = "pid"        // From sees To's processes
)

// Edge is a tie between two services.
type Edge struct {
	From   string `json:"from"`
	To     string `json:"to"`
	Kind   string `json:"kind"`
	Detail string `json:"detail"`
}

// Describe reads the graph from the project. Pods' owners come before those that live in them, services otherwise by name.
func (p *Project) Describe() Graph {
	g := Graph{Services: []Node{}, Edges: []Edge{}}
	pods := map[string]string{}
	for name, s := range p.Services {
		if owner, ok := strings.CutPrefix(s.NetworkMode, types.NetworkModeServicePrefix); ok {
			pods[name], pods[owner] = owner, owner
		}
	}
	for _, name := range slices.Sorted(maps.Keys(p.Services)) {
		s := p.Services[name]
		g.Services = append(g.Services, p.node(s, pods[name]))
		g.Edges = append(g.Edges, edges(s)...)
	}
	slices.SortStableFunc(g.Services, func(a, b Node) int {
		return cmp.Or(cmp.Compare(place(a), place(b)), strings.Compare(a.Name, b.Name))
	})
	return g
}

// place puts the members of a pod together, its owner first.
func place(n Node) string {
	switch n.Pod {
	case "":
		return n.Name
	case n.Name:
		return n.Pod + " 0"
	}
	return n.Pod + " 1"
}

func (p *Project) node(s types.ServiceConfig, pod string) Node {
	n := Node{
		Name: s.Name, Image: s.Image, Pod: pod, Replicas: s.GetScale(),
		Ports: []Port{}, Networks: []string{}, Mounts: []Mount{}, Health: health(s),
	}
	for _, c := range s.Ports {
		port := Port{Address: c.HostIP, Published: c.Published, Target: int(c.Target), Protocol: cmp.Or(c.Protocol, "tcp")}
		if port.Published == "0" {
			port.Published = "" // another way to say: a free one
		}
		n.Ports = append(n.Ports, port)
	}
	if s.NetworkMode == "" {
		n.Networks = slices.Sorted(maps.Keys(s.Networks))
	}
	for _, v := range s.Volumes {
		source := v.Source
		// A folder of the clone is shown as the file has it, wherever the clone lies.
		if rel, err := filepath.Rel(p.Dir(), source); v.Type == types.VolumeTypeBind && err == nil {
			source = filepath.ToSlash(rel)
		}
		n.Mounts = append(n.Mounts, Mount{Kind: v.Type, Source: source, Target: v.Target, ReadOnly: v.ReadOnly})
	}
	for _, t := range s.Tmpfs {
		target, _, _ := strings.Cut(t, ":")
		n.Mounts = append(n.Mounts, Mount{Kind: types.VolumeTypeTmpfs, Target: target})
	}
	return n
}

func health(s types.ServiceConfig) string {
	switch {
	case s.HealthCheck != nil && (s.HealthCheck.Disable || slices.Equal(s.HealthCheck.Test, []string{"NONE"})):
		return ""
	case s.HealthCheck != nil && len(s.HealthCheck.Test) > 0:
		test := s.HealthCheck.Test
		if test[0] == "CMD" || test[0] == "CMD-SHELL" {
			test = test[1:]
		}
		return strings.Join(test, " ")
	case ours(s.Image):
		return "image"
	}
	return ""
}

func edges(s types.ServiceConfig) []Edge {
	var out []Edge
	if to, ok := strings.CutPrefix(s.NetworkMode, types.NetworkModeServicePrefix); ok {
		out = append(out, Edge{From: s.Name, To: to, Kind: EdgeNetwork})
	}
	if to, ok := strings.CutPrefix(s.Pid, types.ServicePrefix); ok {
		out = append(out, Edge{From: s.Name, To: to, Kind: EdgePID})
	}
	for _, to := range slices.Sorted(maps.Keys(s.DependsOn)) {
		out = append(out, Edge{From: s.Name, To: to, Kind: EdgeDepends, Detail: s.DependsOn[to].Condition})
	}
	return out
}

// after says what a service waits for. That the members of a pod start after its owner goes without saying.
func (g Graph) after(n Node) []Edge {
	var out []Edge
	for _, e := range g.Edges {
		implied := e.To == n.Pod && e.Detail == types.ServiceConditionStarted
		if e.From == n.Name && e.Kind == EdgeDepends && !implied {
			out = append(out, e)
		}
	}
	return out
}

var conditions = map[string]string{
	types.ServiceConditionStarted:               "is started",
	types.ServiceConditionHealthy:               "is healthy",
	types.ServiceConditionCompletedSuccessfully: "has ended well",
}

// Text draws the graph for a terminal or a README: pods as groups, a line per service, its ties beneath it.
func (g Graph) Text() string {
	var b strings.Builder
	width := 0
	for _, n := range g.Services {
		width = max(width, len(n.Name))
	}
	for i, n := range g.Services {
		mark, rest := "·", " "
		if n.Pod != "" {
			mark, rest = "├", "│"
			if n.Name == n.Pod {
				mark = "┌"
			}
			if i+1 == len(g.Services) || g.Services[i+1].Pod != n.Pod {
				mark, rest = "└", " "
			}
		}
		fmt.Fprintf(&b, "%s %-*s  %s\n", mark, width, n.Name, n.Image)
		for _, line := range g.facts(n) {
			fmt.Fprintf(&b, "%s %-*s    %s\n", rest, width, "", line)
		}
	}
	return b.String()
}

func (g Graph) facts(n Node) []string {
	var out []string
	if n.Name == n.Pod {
		out = append(out, "one network for: "+strings.Join(g.members(n.Pod), ", "))
	}
	if n.Replicas != 1 {
		out = append(out, fmt.Sprintf("%d replicas", n.Replicas))
	}
	for _, p := range n.Ports {
		out = append(out, fmt.Sprintf("port %s at %s:%s", p.number(), p.Address, cmp.Or(p.Published, "(a free port)")))
	}
	for _, e := range g.Edges {
		if e.From == n.Name && e.Kind == EdgePID {
			out = append(out, "sees the processes of "+e.To)
		}
	}
	for _, e := range g.after(n) {
		out = append(out, fmt.Sprintf("starts when %s %s", e.To, cmp.Or(conditions[e.Detail], e.Detail)))
	}
	for _, m := range n.Mounts {
		out = append(out, m.String())
	}
	if len(n.Networks) > 0 && !slices.Equal(n.Networks, []string{"default"}) {
		out = append(out, "networks: "+strings.Join(n.Networks, ", "))
	}
	if n.Health != "" && n.Health != "image" {
		out = append(out, "healthy when: "+n.Health)
	}
	return out
}

func (m Mount) String() string {
	text := strings.TrimSpace(m.Kind+" "+m.Source) + " at " + m.Target
	if m.ReadOnly {
		text += ", read-only"
	}
	return text
}

func (g Graph) members(pod string) []string {
	var out []string
	for _, n := range g.Services {
		if n.Pod == pod && n.Name != pod {
			out = append(out, n.Name)
		}
	}
	return out
}
