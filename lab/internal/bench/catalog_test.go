package bench

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"distlab/lab/check"
	"distlab/lab/internal/compose"
	"distlab/labs"
)

// TestCatalog holds each declaration and its compose file together: it is linted, and has every service that is named.
func TestCatalog(t *testing.T) {
	root, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, l := range labs.Catalog {
		src := compose.Source{Root: root, Lab: l.Name, Bench: true}
		if l.Bench == nil {
			if _, err := os.Stat(src.Dir()); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("%s has a folder bench and declares no comparison: %v", l.Name, err)
			}
			continue
		}
		n++
		t.Run(l.Name, func(t *testing.T) {
			p, err := compose.Load(t.Context(), src, nil)
			if err != nil {
				t.Fatal(err)
			}
			if err := p.Lint(); err != nil {
				t.Error(err)
			}
			named := append([]string{LoadService}, l.Bench.Backends...)
			limits := map[[2]float64]string{}
			for _, s := range l.Bench.Subjects {
				named = append(named, s.Service)
				if s.Role != check.Ceiling {
					limits[[2]float64{float64(p.Services[s.Service].CPUS), float64(p.Services[s.Service].MemLimit)}] = s.Name
				}
			}
			for _, name := range named {
				if _, ok := p.Services[name]; !ok {
					t.Errorf("bench/compose.yaml has no service %s", name)
				}
			}
			if len(limits) != 1 {
				t.Errorf("not the same limits for all: %v", limits)
			}
			// A subject that no workload loads, or a comparison without a ceiling, is an oversight.
			loaded := map[string]bool{}
			for _, w := range l.Bench.Workloads {
				for _, target := range w.Targets {
					loaded[target.Subject] = true
				}
			}
			ceiling := false
			for _, s := range l.Bench.Subjects {
				ceiling = ceiling || s.Role == check.Ceiling
				if !loaded[s.Name] {
					t.Errorf("no workload for %s", s.Name)
				}
			}
			if !ceiling {
				t.Error("no ceiling: how far load generator and backend go is not shown")
			}
		})
	}
	if n == 0 {
		t.Error("no lab has a comparison")
	}
}
