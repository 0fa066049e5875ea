package cli

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"distlab/labs"

	"distlab/lab/internal/public"
)

// TestEveryLab lists and explains the labs that there are, in all forms.
func TestEveryLab(t *testing.T) {
	root, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	run := func(t *testing.T, args ...string) string {
		t.Helper()
		var stdout, stderr bytes.Buffer
		a := &app{labs: labs.Catalog, root: root, stdout: &stdout, stderr: &stderr}
		if code := a.run(t.Context(), args); code != exitOK || stderr.Len() > 0 {
			t.Fatalf("lab %s: exit code %d\n%s", strings.Join(args, " "), code, &stderr)
		}
		return stdout.String()
	}
	list := run(t, "list")
	for _, l := range labs.Catalog {
		t.Run(l.Name, func(t *testing.T) {
			var e public.Explained
			if err := json.Unmarshal([]byte(run(t, "explain", l.Name, "-o", "json")), &e); err != nil {
				t.Fatal(err)
			}
			if len(e.Claims) != len(l.Claims) || len(e.Variants) != len(l.Variants) || len(e.Services) == 0 || e.Title == "" {
				t.Errorf("explained as %+v", e)
			}
			if !strings.Contains(list, e.Title) {
				t.Errorf("the list lacks %q", e.Title)
			}
			chart := run(t, "explain", l.Name, "-o", "mermaid")
			text := run(t, "explain", l.Name)
			for _, s := range e.Services {
				if !strings.Contains(chart, s.Name) || !strings.Contains(text, s.Name) {
					t.Errorf("service %s is not shown", s.Name)
				}
			}
			for _, c := range l.Claims {
				if !strings.Contains(text, "- `"+c.ID+"`: ") {
					t.Errorf("claim %s is not shown", c.ID)
				}
			}
		})
	}
}
