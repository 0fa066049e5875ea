package labs_test

import (
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"distlab/labs"
)

// TestEveryFolderIsALab holds the catalog and the folders together: a lab has its compose file, its claims, its
// tests, its README, and an override file for every variant and no other.
func TestEveryFolderIsALab(t *testing.T) {
	here := os.DirFS(".")
	found, err := fs.Glob(here, "*/*/compose.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var folders, names []string
	for _, f := range found {
		folders = append(folders, path.Dir(f))
	}
	for _, l := range labs.Catalog {
		names = append(names, l.Name)
	}
	slices.Sort(names)
	if diff := cmp.Diff(folders, names); diff != "" {
		t.Errorf("folders with a compose.yaml (-) and labs in the catalog (+):\n%s", diff)
	}
	for _, l := range labs.Catalog {
		t.Run(l.Name, func(t *testing.T) {
			if err := l.Validate(); err != nil {
				t.Error(err)
			}
			for _, name := range []string{"lab.go", "lab_test.go", "README.md"} {
				if _, err := fs.Stat(here, path.Join(l.Name, name)); err != nil {
					t.Error(err)
				}
			}
			files, err := fs.Glob(here, path.Join(l.Name, "variants", "*"))
			if err != nil {
				t.Fatal(err)
			}
			var have, want []string
			for _, f := range files {
				have = append(have, strings.TrimSuffix(path.Base(f), ".yaml"))
			}
			for _, v := range l.Variants {
				want = append(want, v.Name)
				if v.Says == "" {
					t.Errorf("variant %s does not say what it takes away", v.Name)
				}
			}
			slices.Sort(want)
			if diff := cmp.Diff(have, want); diff != "" {
				t.Errorf("files in variants/ (-) and declared variants (+):\n%s", diff)
			}
		})
	}
}
