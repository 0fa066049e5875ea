package compose_test

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/types"
	"github.com/google/go-cmp/cmp"

	"distlab/lab/internal/compose"
	"distlab/lab/internal/hint"
)

func TestSource(t *testing.T) {
	for _, c := range []struct {
		src     compose.Source
		project string
		files   []string
	}{
		{
			compose.Source{Root: "/r", Lab: "sidecar/tls"},
			"distlab-sidecar-tls",
			[]string{"/r/labs/sidecar/tls/compose.yaml"},
		},
		{
			compose.Source{Root: "/r", Lab: "sidecar/tls", Instance: "two", Variant: "open"},
			"distlab-sidecar-tls-two",
			[]string{"/r/labs/sidecar/tls/compose.yaml", "/r/labs/sidecar/tls/variants/open.yaml"},
		},
	} {
		if got := c.src.Project(); got != c.project {
			t.Errorf("project of %+v: %q, want %q", c.src, got, c.project)
		}
		if diff := cmp.Diff(c.files, c.src.Files()); diff != "" {
			t.Errorf("files of %+v (-want +got):\n%s", c.src, diff)
		}
	}
}

func TestValidInstance(t *testing.T) {
	for name, want := range map[string]bool{
		"": true, "a": true, "two": true, "0-1": true, strings.Repeat("a", 31): true,
		strings.Repeat("a", 32): false, "Two": false, "-a": false, "a_b": false, "a/b": false, "a b": false, "ä": false, "a.b": false,
	} {
		if got := compose.ValidInstance(name); got != want {
			t.Errorf("%q: %v, want %v", name, got, want)
		}
	}
}

// TestLoad fills variables in from what it is given, then from the process, then from the file's defaults.
func TestLoad(t *testing.T) {
	root := clone(t)
	src := compose.Source{Root: root, Lab: "family/name", Instance: "two"}
	t.Setenv("GREETING", "from the process")
	t.Setenv("STORE_IMAGE", "other:1")
	p, err := compose.Load(t.Context(), src, map[string]string{"STORE_IMAGE": "ours:2"})
	if err != nil {
		t.Fatal(err)
	}
	if got := p.Services["store"].Image; got != "ours:2" {
		t.Errorf("what is given must win: image %q", got)
	}
	if got := value(p.Services["app"], "GREETING"); got != "from the process" {
		t.Errorf("greeting %q", got)
	}
	if p.Project.Name != "distlab-family-name-two" {
		t.Errorf("project %q", p.Project.Name)
	}
	want := compose.Meta{
		Title: "A thing", Pattern: "sidecar", Says: "One thing beside another.",
		Endpoints: []compose.Endpoint{{Service: "pod", Port: 8080, URL: "http://{address}/", Says: "the app"}},
		Try: []compose.Command{
			{Says: "look", Run: "curl http://{pod:8080}/x"},
			{Says: "what is in there", Run: "docker exec {app} ls"},
		},
	}
	if diff := cmp.Diff(want, p.Meta); diff != "" {
		t.Errorf("x-lab (-want +got):\n%s", diff)
	}
	quick, err := compose.ReadMeta(src)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, quick); diff != "" {
		t.Errorf("x-lab read alone (-want +got):\n%s", diff)
	}
}

func value(s types.ServiceConfig, name string) string {
	if v := s.Environment[name]; v != nil {
		return *v
	}
	return ""
}

// TestLoadBroken names the lab, the cause and where to look.
func TestLoadBroken(t *testing.T) {
	for _, c := range []struct {
		name, file, text string
		variant          string
		want, hint       string
	}{
		{
			name: "not YAML", file: "compose.yaml", text: "services:\n\t- x\n",
			want: "compose file of family/name: ", hint: "docker compose -f labs/family/name/compose.yaml config",
		},
		{
			name: "not compose", file: "compose.yaml", text: "services: {a: {image: b, bogus: 1}}\n",
			want: "additional properties 'bogus' not allowed", hint: "labs/family/name/compose.yaml",
		},
		{
			name: "a variable without a value", file: "compose.yaml", text: "services: {a: {image: \"${NO_SUCH_IMAGE:?which image}\"}}\n",
			want: "which image", hint: "labs/family/name/compose.yaml",
		},
		{
			name: "x-lab of another shape", file: "compose.yaml", text: "x-lab: {endpoints: here}\nservices: {a: {image: b}}\n",
			want: "x-lab: ", hint: "labs/family/name/compose.yaml",
		},
		{
			name: "a broken variant", file: "variants/open.yaml", text: "services: 7\n", variant: "open",
			want: "compose file of family/name: ", hint: "-f labs/family/name/compose.yaml -f labs/family/name/variants/open.yaml",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			root := clone(t)
			if err := os.WriteFile(filepath.Join(root, "labs/family/name", c.file), []byte(c.text), 0o644); err != nil {
				t.Fatal(err)
			}
			_, err := compose.Load(t.Context(), compose.Source{Root: root, Lab: "family/name", Variant: c.variant}, nil)
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "compose file of family/name: ") {
				t.Errorf("error %v, want %q in it", err, c.want)
			}
			if h := hint.Of(err); !strings.Contains(h, c.hint) {
				t.Errorf("hint %q, want %q in it", h, c.hint)
			}
		})
	}
}

func TestLoadMissing(t *testing.T) {
	root := clone(t)
	for _, src := range []compose.Source{
		{Root: root, Lab: "family/other"},
		{Root: root, Lab: "family/name", Variant: "shut"},
	} {
		_, err := compose.Load(t.Context(), src, nil)
		if !errors.Is(err, fs.ErrNotExist) || hint.Of(err) == "" {
			t.Errorf("%+v: got %v, hint %q", src, err, hint.Of(err))
		}
	}
	if _, err := compose.ReadMeta(compose.Source{Root: root, Lab: "family/other"}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("x-lab: got %v", err)
	}
}

// TestLabelled is what goes to the engine: labelled, without anything that could build or pull.
func TestLabelled(t *testing.T) {
	root := clone(t)
	p := load(t, compose.Source{Root: root, Lab: "family/name", Instance: "two"})
	out, err := p.Labelled(compose.Owned{Owner: "host/1/2", Session: "s", Expires: "2030-01-01T00:00:00Z"})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		compose.LabelLab: "family/name", compose.LabelInstance: "two", compose.LabelRoot: root,
		compose.LabelOwner: "host/1/2", compose.LabelSession: "s", compose.LabelExpires: "2030-01-01T00:00:00Z",
	}
	for name, s := range out.Services {
		if s.Build != nil || s.PullPolicy != types.PullPolicyNever {
			t.Errorf("service %s: could be built or pulled: %+v, %q", name, s.Build, s.PullPolicy)
		}
		if diff := cmp.Diff(want, map[string]string(s.Labels)); diff != "" {
			t.Errorf("labels of service %s (-want +got):\n%s", name, diff)
		}
	}
	if diff := cmp.Diff(want, map[string]string(out.Volumes["data"].Labels)); diff != "" {
		t.Errorf("labels of the volume (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(want, map[string]string(out.Networks["default"].Labels)); diff != "" {
		t.Errorf("labels of the network (-want +got):\n%s", diff)
	}
	if got := value(out.Services["app"], "PRICE"); got != "5$" {
		t.Errorf("a dollar sign that was written twice: %q, want 5$", got)
	}
	if p.Services["app"].Build == nil || len(p.Services["app"].Labels) > 0 {
		t.Error("the project itself was changed")
	}
}

// TestLabelledForNobody is a stack of `lab up`: without an owner, it outlives the process.
func TestLabelledForNobody(t *testing.T) {
	out, err := load(t, compose.Source{Root: clone(t), Lab: "family/name"}).Labelled(compose.Owned{})
	if err != nil {
		t.Fatal(err)
	}
	got := slices.Sorted(maps.Keys(out.Services["app"].Labels))
	if diff := cmp.Diff([]string{compose.LabelInstance, compose.LabelLab, compose.LabelRoot}, got); diff != "" {
		t.Errorf("labels (-want +got):\n%s", diff)
	}
}

// TestLabelledExternal leaves alone what the stack does not own.
func TestLabelledExternal(t *testing.T) {
	root := clone(t, "volumes:\n  data:\n", "volumes:\n  data: {external: true}\nnetworks:\n  default: {external: true, name: theirs}\n")
	out, err := load(t, compose.Source{Root: root, Lab: "family/name"}).Labelled(compose.Owned{})
	if err != nil {
		t.Fatal(err)
	}
	if len(out.Volumes["data"].Labels) > 0 || len(out.Networks["default"].Labels) > 0 {
		t.Errorf("labels %v, %v", out.Volumes["data"].Labels, out.Networks["default"].Labels)
	}
}

// TestVariant labels what the variant changes and nothing else, so that the rest of a running stack stays.
func TestVariant(t *testing.T) {
	root := clone(t)
	out, err := load(t, compose.Source{Root: root, Lab: "family/name", Variant: "open"}).Labelled(compose.Owned{})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for name, s := range out.Services {
		got[name] = s.Labels[compose.LabelVariant]
	}
	if diff := cmp.Diff(map[string]string{"pod": "", "app": "open", "store": ""}, got); diff != "" {
		t.Errorf("labels (-want +got):\n%s", diff)
	}
	if got := value(out.Services["app"], "GREETING"); got != "nothing" {
		t.Errorf("the override is not in it: %q", got)
	}
	added := "services: {spy: {image: distlab/spy:dev}}\n"
	if err := os.WriteFile(filepath.Join(root, "labs/family/name/variants/spied.yaml"), []byte(added), 0o644); err != nil {
		t.Fatal(err)
	}
	out, err = load(t, compose.Source{Root: root, Lab: "family/name", Variant: "spied"}).Labelled(compose.Owned{})
	if err != nil {
		t.Fatal(err)
	}
	if out.Services["spy"].Labels[compose.LabelVariant] != "spied" || out.Services["app"].Labels[compose.LabelVariant] != "" {
		t.Errorf("a service that the variant adds: %v", out.Services["spy"].Labels)
	}
}

// TestProjectOf: what compose calls a network or a volume leads back to the project, and nobody else's name does.
func TestProjectOf(t *testing.T) {
	for name, want := range map[string]string{
		"distlab-sidecar-tls_default":        "distlab-sidecar-tls",
		"distlab-sidecar-tls-two_my_data":    "distlab-sidecar-tls-two",
		"distlab-bench_sidecar-tls_data":     "distlab-bench_sidecar-tls",
		"distlab-sidecar-tls":                "",
		"distlab-doctor-4711":                "",
		"distlab_x":                          "",
		"sidecar-tls_data":                   "",
		"my-distlab-sidecar-tls_data":        "",
		"distlab-" + strings.Repeat("a", 64): "",
	} {
		if got := compose.ProjectOf(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	for _, src := range []compose.Source{{Lab: "a/b"}, {Lab: "a/b", Instance: "test-1"}, {Lab: "a/b", Bench: true}} {
		if got := compose.ProjectOf(src.Project() + "_default"); got != src.Project() {
			t.Errorf("%s: %q", src.Project(), got)
		}
	}
}
