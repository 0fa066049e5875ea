package compose_test

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"distlab/lab/internal/compose"
)

var update = flag.Bool("update", false, "write the golden files anew")

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", "golden", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got; -update writes it anew):\n%s", file, diff)
	}
}

func TestDescribe(t *testing.T) {
	for _, lab := range []string{"name", "rich"} {
		t.Run(lab, func(t *testing.T) {
			g := load(t, compose.Source{Root: clone(t), Lab: "family/" + lab}).Describe()
			data, err := json.MarshalIndent(g, "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			golden(t, lab+".json", string(data)+"\n")
			golden(t, lab+".txt", g.Text())
			golden(t, lab+".mmd", g.Mermaid())
		})
	}
}

// TestMermaidNames holds that every name in a flowchart is one that Mermaid takes, and that no two services share one.
func TestMermaidNames(t *testing.T) {
	g := load(t, compose.Source{Root: clone(t), Lab: "family/rich"}).Describe()
	names := regexp.MustCompile(`(?m)^\s+(s_\w+)\["`).FindAllStringSubmatch(g.Mermaid(), -1)
	seen := map[string]bool{}
	for _, m := range names {
		seen[m[1]] = true
	}
	if len(seen) != len(g.Services) {
		t.Errorf("%d names for %d services: %v", len(seen), len(g.Services), names)
	}
	opened := strings.Count(g.Mermaid(), "subgraph ")
	if closed := len(regexp.MustCompile(`(?m)^\s+end$`).FindAllString(g.Mermaid(), -1)); opened != closed || opened == 0 {
		t.Errorf("%d groups are opened, %d closed", opened, closed)
	}
}
