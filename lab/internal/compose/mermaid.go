package compose

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Mermaid draws the graph as a flowchart that GitHub renders: pods as boxes, published ports as arrows from this machine,
// dotted arrows from a service to what it starts after, named volumes as drums.
func (g Graph) Mermaid() string {
	var b strings.Builder
	b.WriteString("flowchart LR\n")
	if slices.ContainsFunc(g.Services, func(n Node) bool { return len(n.Ports) > 0 }) {
		b.WriteString("  you([\"this machine\"])\n")
	}
	pod := ""
	for _, n := range g.Services {
		if n.Pod != pod && pod != "" {
			b.WriteString("  end\n")
		}
		if n.Pod != pod && n.Pod != "" {
			fmt.Fprintf(&b, "  subgraph %s[\"%s: one network\"]\n", id("pod", n.Pod), escape(n.Pod))
		}
		pod = n.Pod
		indent := "  "
		if pod != "" {
			indent = "    "
		}
		fmt.Fprintf(&b, "%s%s[\"%s<br/>%s\"]\n", indent, id("s", n.Name), escape(title(n)), escape(n.Image))
	}
	if pod != "" {
		b.WriteString("  end\n")
	}
	g.mermaidEdges(&b)
	return b.String()
}

func title(n Node) string {
	if n.Replicas == 1 {
		return n.Name
	}
	return fmt.Sprintf("%s × %d", n.Name, n.Replicas)
}

func (g Graph) mermaidEdges(b *strings.Builder) {
	var volumes []string
	for _, n := range g.Services {
		for _, p := range n.Ports {
			label := p.number()
			if p.Published != "" {
				label = p.Published + " → " + label
			}
			fmt.Fprintf(b, "  you -- \"%s\" --> %s\n", label, id("s", n.Name))
		}
		for _, m := range n.Mounts {
			if m.Source == "" {
				continue
			}
			if !slices.Contains(volumes, m.Source) {
				volumes = append(volumes, m.Source)
				fmt.Fprintf(b, "  %s[(\"%s\")]\n", id("v", m.Source), escape(m.Source))
			}
			fmt.Fprintf(b, "  %s --- %s\n", id("s", n.Name), id("v", m.Source))
		}
		for _, e := range g.after(n) {
			fmt.Fprintf(b, "  %s -. \"starts when it %s\" .-> %s\n", id("s", n.Name), cmp.Or(conditions[e.Detail], e.Detail), id("s", e.To))
		}
		for _, e := range g.Edges {
			if e.From == n.Name && e.Kind == EdgePID {
				fmt.Fprintf(b, "  %s -. \"sees its processes\" .-> %s\n", id("s", n.Name), id("s", e.To))
			}
		}
	}
}

var notWord = regexp.MustCompile(`[^A-Za-z0-9]`)

// id is a name that mermaid takes: words such as "end" and characters such as "-" have a meaning of their own there.
// What is not a letter or a digit becomes its code, so that two names never meet.
func id(kind, name string) string {
	return kind + "_" + notWord.ReplaceAllStringFunc(name, func(s string) string { return fmt.Sprintf("_%x", s) })
}

var escaper = strings.NewReplacer("#", "#35;", "&", "#amp;", `"`, "#quot;", "<", "#lt;", ">", "#gt;", "\n", " ")

func escape(text string) string { return escaper.Replace(text) }
