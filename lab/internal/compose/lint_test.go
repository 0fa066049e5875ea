package compose_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"distlab/lab/internal/compose"
	"distlab/lab/internal/hint"
)

// clone makes a clone with one lab in it, with the edits (old, new, …) done to its files. An edit that finds nothing
// is a mistake of the test.
func clone(t *testing.T, edits ...string) string {
	t.Helper()
	root := t.TempDir()
	if err := os.CopyFS(root, os.DirFS("testdata/clone")); err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(edits); i += 2 {
		done := false
		for _, name := range []string{"labs/family/name/compose.yaml", "compose/parts.yaml"} {
			file := filepath.Join(root, name)
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(string(data), edits[i]) {
				continue
			}
			done = true
			data = []byte(strings.Replace(string(data), edits[i], edits[i+1], 1))
			if err := os.WriteFile(file, data, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if !done {
			t.Fatalf("no file has %q", edits[i])
		}
	}
	return root
}

func load(t *testing.T, src compose.Source) *compose.Project {
	t.Helper()
	p, err := compose.Load(t.Context(), src, nil)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestLint breaks one rule at a time: exactly that rule must be named.
func TestLint(t *testing.T) {
	for _, c := range []struct {
		name  string
		edits []string
		want  string // "" for none
	}{
		{name: "whole"},
		{
			"a name for one container",
			[]string{"    image: distlab/app:dev\n", "    image: distlab/app:dev\n    container_name: app\n"},
			"service app: container_name keeps a second instance from running beside the first",
		},
		{
			"a port for everyone",
			[]string{`"127.0.0.1:${HTTP_PORT:-}:8080"`, `"${HTTP_PORT:-}:8080"`},
			"service pod: port 8080 is not published on loopback: write 127.0.0.1:${PORT:-}:8080",
		},
		{
			"a port on IPv6 loopback", []string{`"127.0.0.1:${HTTP_PORT:-}:8080"`, `"[::1]:${HTTP_PORT:-}:8080"`}, "",
		},
		{
			"a fixed port",
			[]string{`"127.0.0.1:${HTTP_PORT:-}:8080"`, `"127.0.0.1:8080:8080"`},
			"service pod: a fixed port keeps a second instance from running beside the first: write 127.0.0.1:${NAME_PORT:-}:8080",
		},
		{
			"a fixed port behind a variable",
			[]string{`"127.0.0.1:${HTTP_PORT:-}:8080"`, `"127.0.0.1:${HTTP_PORT:-80}:8080"`},
			"service pod: a fixed port keeps a second instance from running beside the first: write 127.0.0.1:${NAME_PORT:-}:8080",
		},
		{
			"a fixed port in the long form",
			[]string{`"127.0.0.1:${HTTP_PORT:-}:8080"`, `{host_ip: 127.0.0.1, published: "80", target: 8080}`},
			"service pod: a fixed port keeps a second instance from running beside the first: write 127.0.0.1:${NAME_PORT:-}:8080",
		},
		{
			"no memory limit",
			[]string{"    mem_limit: 64m # store\n", ""},
			"service store: has no memory or CPU limit (mem_limit, cpus)",
		},
		{
			"no CPU limit",
			[]string{"    cpus: 0.5 # store\n", ""},
			"service store: has no memory or CPU limit (mem_limit, cpus)",
		},
		{
			"an order without conditions",
			[]string{"    depends_on:\n      pod:\n        condition: service_started\n", "    depends_on: [pod]\n"},
			"service app: depends_on says no condition: service_started, service_healthy or service_completed_successfully",
		},
		{
			"an unhealthy third party",
			[]string{"    healthcheck:\n      test: [CMD, store-cli, ping]\n", ""},
			"service store: a third-party image needs a health check in the compose file",
		},
		{
			"a third party's check switched off",
			[]string{"      test: [CMD, store-cli, ping]\n", "      disable: true\n"},
			"service store: a third-party image needs a health check in the compose file",
		},
		{
			"ours without build",
			[]string{"    build: # app\n      context: ../../..\n", ""},
			"service app: image distlab/app:dev needs a build section, so that plain docker compose can make it",
		},
		{
			"ours writable",
			[]string{"    read_only: true # hardened\n", ""},
			"service app: is not read_only",
		},
		{
			"ours with capabilities",
			[]string{"    cap_drop: [ALL] # hardened\n", ""},
			"service app: does not drop all capabilities (cap_drop: [ALL])",
		},
		{
			"ours with new privileges",
			[]string{"    security_opt: [\"no-new-privileges:true\"] # hardened\n", ""},
			"service app: lacks security_opt no-new-privileges",
		},
		{
			"ours privileged",
			[]string{"    read_only: true # hardened\n", "    read_only: true\n    privileged: true\n"},
			"service app: is privileged",
		},
		{
			name:  "a substitute for a third party",
			edits: []string{"image: ${STORE_IMAGE:-store:1.2}", "image: ${STORE_IMAGE:-distlab/debian-store:1.2}"},
		},
		{
			"a third party without a variable",
			[]string{"image: ${STORE_IMAGE:-store:1.2}", "image: store:1.2"},
			"service store: image store:1.2: a third-party image stands behind a variable: ${NAME_IMAGE:-store:1.2}",
		},
		{
			"a third party that moves",
			[]string{"image: ${STORE_IMAGE:-store:1.2}", "image: ${STORE_IMAGE:-store:latest}"},
			"service store: image ${STORE_IMAGE:-store:latest}: a third-party image is pinned: ${NAME_IMAGE:-name:1.2}",
		},
		{
			"a third party without a tag",
			[]string{"image: ${STORE_IMAGE:-store:1.2}", "image: ${STORE_IMAGE:-localhost:5000/store}"},
			"service store: image ${STORE_IMAGE:-localhost:5000/store}: a third-party image is pinned: ${NAME_IMAGE:-name:1.2}",
		},
		{"no title", []string{"  title: A thing\n", ""}, "x-lab: needs a title, a pattern and a sentence (says)"},
		{"no pattern", []string{"  pattern: sidecar\n", ""}, "x-lab: needs a title, a pattern and a sentence (says)"},
		{"no sentence", []string{"  says: One thing beside another.\n", ""}, "x-lab: needs a title, a pattern and a sentence (says)"},
		{
			"nothing to open",
			[]string{"    - {service: pod, port: 8080, url: \"http://{address}/\", says: the app}\n", ""},
			"x-lab: needs endpoints to open and commands to try",
		},
		{
			"an endpoint that is not there",
			[]string{"{service: pod, port: 8080,", "{service: app, port: 8080,"},
			"x-lab: endpoint app:8080 is not published by the service",
		},
		{
			"an endpoint without an address",
			[]string{`"http://{address}/"`, `"http://localhost/"`},
			"x-lab: endpoint pod:8080 needs a url with {address} and a sentence (says)",
		},
		{
			"an endpoint without a sentence",
			[]string{", says: the app}", "}"},
			"x-lab: endpoint pod:8080 needs a url with {address} and a sentence (says)",
		},
		{"a command without a sentence", []string{"{says: look, run:", "{run:"}, "x-lab: a command to try needs run and says"},
		{
			"a command to a port that is not there",
			[]string{"{pod:8080}/x", "{pod:8081}/x"},
			`x-lab: command "curl http://{pod:8081}/x": {pod:8081} is not a published port of a service`,
		},
		{
			"a command in a container that is not there",
			[]string{"exec {app} ls", "exec {ap} ls"},
			`x-lab: command "docker exec {ap} ls": {ap} is not a service`,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := load(t, compose.Source{Root: clone(t, c.edits...), Lab: "family/name"}).Lint()
			if c.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			if err == nil {
				t.Fatalf("no error, want %q", c.want)
			}
			want := "compose file of family/name breaks the rules of a lab:\n" + c.want
			if diff := cmp.Diff(want, err.Error()); diff != "" {
				t.Errorf("wrong error (-want +got):\n%s", diff)
			}
			if hint.Of(err) == "" {
				t.Error("no hint")
			}
		})
	}
}

// TestLintFragments sees rules broken in a file that a lab extends, and in a variant.
func TestLintFragments(t *testing.T) {
	root := clone(t, "    image: distlab/pause:dev\n", "    image: pause:3\n")
	err := load(t, compose.Source{Root: root, Lab: "family/name"}).Lint()
	if err == nil || !strings.Contains(err.Error(), "image pause:3: a third-party image stands behind a variable") {
		t.Errorf("fragment: got %v", err)
	}
	root = clone(t)
	variant := "services: {store: {image: other:2}}"
	if err := os.WriteFile(filepath.Join(root, "labs/family/name/variants/open.yaml"), []byte(variant), 0o644); err != nil {
		t.Fatal(err)
	}
	err = load(t, compose.Source{Root: root, Lab: "family/name", Variant: "open"}).Lint()
	if err == nil || !strings.Contains(err.Error(), "service store: image other:2: a third-party image stands behind a variable") {
		t.Errorf("variant: got %v", err)
	}
}

// TestEveryLab holds the labs that there are to the rules, whole and in every variant.
func TestEveryLab(t *testing.T) {
	root, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(root, "labs", "*", "*", "compose.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no labs in %s: %v", root, err)
	}
	for _, f := range files {
		lab, err := filepath.Rel(filepath.Join(root, "labs"), filepath.Dir(f))
		if err != nil {
			t.Fatal(err)
		}
		variants := []string{""}
		overrides, err := filepath.Glob(filepath.Join(filepath.Dir(f), "variants", "*.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range overrides {
			variants = append(variants, strings.TrimSuffix(filepath.Base(o), ".yaml"))
		}
		for _, v := range variants {
			t.Run(lab+" "+v, func(t *testing.T) {
				src := compose.Source{Root: root, Lab: filepath.ToSlash(lab), Variant: v}
				p, err := compose.Load(context.Background(), src, nil)
				if err != nil {
					t.Fatal(err)
				}
				if err := p.Lint(); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// TestLintBench: a comparison is no lab to open, but nothing in it may disturb the measurement.
func TestLintBench(t *testing.T) {
	const good = `services:
  ours:
    image: distlab/app:dev
    build: {context: .}
    read_only: true
    cap_drop: [ALL]
    security_opt: ["no-new-privileges:true"]
    mem_limit: 64m
    cpus: 1
    healthcheck: {disable: true}
  theirs:
    image: ${THEIRS_IMAGE:-theirs:1.2}
    mem_limit: 64m
    cpus: 1
    healthcheck: {disable: true}
`
	for _, c := range []struct{ name, old, new, want string }{
		{"whole", "", "", ""},
		{"a health check", "cpus: 1\n    healthcheck: {disable: true}\n  theirs", "cpus: 1\n  theirs", "service ours: in a comparison health checks are off"},
		{"a port", "    image: distlab", "    ports: [\"127.0.0.1:${P:-}:80\"]\n    image: distlab", "service ours: in a comparison nothing is published"},
		{"no limit", "    mem_limit: 64m\n    cpus: 1\n    healthcheck: {disable: true}\n  theirs", "    healthcheck: {disable: true}\n  theirs", "service ours: has no memory or CPU limit"},
		{"not hardened", "    read_only: true\n", "", "service ours: is not read_only"},
		{"no variable", "${THEIRS_IMAGE:-theirs:1.2}", "theirs:1.2", "service theirs: image theirs:1.2: a third-party image stands behind a variable"},
	} {
		root := t.TempDir()
		src := compose.Source{Root: root, Lab: "family/name", Bench: true}
		if err := os.MkdirAll(src.Dir(), 0o755); err != nil {
			t.Fatal(err)
		}
		text := strings.Replace(good, c.old, c.new, 1)
		if c.old != "" && text == good {
			t.Fatalf("%s: the edit finds nothing", c.name)
		}
		if err := os.WriteFile(src.Files()[0], []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		err := load(t, src).Lint()
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", c.name, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
	src := compose.Source{Root: "/clone", Lab: "family/name", Bench: true}
	if src.Project() != "distlab-bench_family-name" || src.Dir() != "/clone/labs/family/name/bench" {
		t.Errorf("project %s in %s", src.Project(), src.Dir())
	}
}
