package main

import (
	"encoding/json"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestReadmeFields holds the README's tables and the program's answers together. The Go side, lab/check, is held
// to the same tables by a test of its own.
func TestReadmeFields(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	tables := fieldTables(string(readme))
	for _, c := range []struct {
		name   string
		answer any
	}{
		{"http", httpAnswer{}},
		{"tcp", tcpAnswer{}},
		{"tls", tlsAnswer{}},
		{"certificates", certificate{}},
		{"sockets", socketsAnswer{}},
		{"load", loadAnswer{}},
		{"latency", latency{}},
		{"buckets", bucket{}},
		{"handshakes", closedAnswer{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if len(tables) == 0 {
				t.Fatal("README.md: no table of fields is left")
			}
			if diff := cmp.Diff(fields(t, c.answer), tables[0]); diff != "" {
				t.Errorf("program (-) and README (+) differ:\n%s", diff)
			}
			tables = tables[1:]
		})
	}
	if len(tables) != 0 {
		t.Errorf("README.md has tables of fields that no answer has: %q", tables)
	}
}

// TestReadmeFlags requires every flag of every subcommand in the README.
func TestReadmeFlags(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range verbs {
		out, _, code := runProbe(t, v.name, "-h")
		if code != 0 {
			t.Fatalf("probe %s -h: exit code %d", v.name, code)
		}
		if !strings.Contains(string(readme), "## probe "+v.name) {
			t.Errorf("README.md has no section on %s", v.name)
		}
		flags := regexp.MustCompile(`(?m)^  (-[a-z0-9-]+)`).FindAllStringSubmatch(out, -1)
		if len(flags) < 3 && !strings.HasPrefix(v.help, ":") {
			t.Errorf("probe %s -h lists %d flags:\n%s", v.name, len(flags), out)
		}
		for _, f := range flags {
			if !regexp.MustCompile("[` (]" + f[1] + "[` =]").Match(readme) {
				t.Errorf("README.md does not mention %s of probe %s", f[1], v.name)
			}
		}
	}
}

// fieldTables are the first columns of the tables that are headed "field".
func fieldTables(text string) [][]string {
	var all [][]string
	within := false
	for line := range strings.Lines(text) {
		cell := regexp.MustCompile("^\\| `?([a-z0-9_]+)`? \\|").FindStringSubmatch(line)
		switch {
		case cell == nil && !strings.HasPrefix(line, "|--"):
			within = false
		case cell == nil:
		case cell[1] == "field":
			all, within = append(all, nil), true
		case within:
			all[len(all)-1] = append(all[len(all)-1], cell[1])
		}
	}
	return all
}

// fields are the names that an answer has in JSON, in the order of its struct.
func fields(t *testing.T, answer any) []string {
	t.Helper()
	var names []string
	for _, f := range reflect.VisibleFields(reflect.TypeOf(answer)) {
		if name, ok := f.Tag.Lookup("json"); ok {
			names = append(names, name)
		}
	}
	data, err := json.Marshal(answer)
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(data, &m); err != nil {
		t.Fatal(err)
	}
	if len(m) != len(names) {
		t.Errorf("the JSON of %T has %d fields, its tags %d", answer, len(m), len(names))
	}
	for name := range m {
		if !slices.Contains(names, name) {
			t.Errorf("the JSON of %T has %q without a tag", answer, name)
		}
	}
	return names
}
