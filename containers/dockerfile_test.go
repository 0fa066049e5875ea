package containers_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

// instruction is one line of a Dockerfile.
type instruction struct {
	name  string   // ENV, COPY, …
	flags []string // --from=build
	args  []string // words; NAME=value for ENV, LABEL and ARG
	json  bool     // exec form
	doc   bool     // a comment stands before it
	text  string   // as written
}

// stage is a FROM and what follows.
type stage struct {
	from, as string
	lines    []instruction
}

// parse reads a Dockerfile as the builders do: what stands before the first
// FROM, and the stages.
func parse(t *testing.T, path string) (global []instruction, stages []stage) {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	result, err := parser.Parse(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, node := range result.AST.Children {
		in := newInstruction(node)
		switch {
		case in.name == "FROM":
			s := stage{from: in.args[0]}
			if len(in.args) == 3 {
				s.as = in.args[2]
			}
			stages = append(stages, s)
		case len(stages) == 0:
			global = append(global, in)
		default:
			s := &stages[len(stages)-1]
			s.lines = append(s.lines, in)
		}
	}
	return global, stages
}

func newInstruction(node *parser.Node) instruction {
	in := instruction{
		name:  strings.ToUpper(node.Value),
		flags: node.Flags,
		json:  node.Attributes["json"],
		doc:   len(node.PrevComment) > 0,
		text:  node.Original,
	}
	for n := node.Next; n != nil; n = n.Next {
		arg := n.Value
		// The parser gives ENV and LABEL as name, value and "=".
		if in.name == "ENV" || in.name == "LABEL" {
			value := n.Next.Value
			if unquoted, err := strconv.Unquote(value); err == nil {
				value = unquoted
			}
			arg += "=" + value
			n = n.Next.Next
		}
		in.args = append(in.args, arg)
	}
	return in
}

// only is the stage's one instruction of a name.
func (s stage) only(t *testing.T, name string) instruction {
	t.Helper()
	var found []instruction
	for _, in := range s.lines {
		if in.name == name {
			found = append(found, in)
		}
	}
	if len(found) != 1 {
		t.Errorf("stage %q has %d %s instructions, want one", s.as, len(found), name)
		return instruction{}
	}
	return found[0]
}

// pairs are the name=value arguments of all the stage's instructions of a name.
func (s stage) pairs(name string) map[string]string {
	m := map[string]string{}
	for _, in := range s.lines {
		if in.name == name {
			for _, arg := range in.args {
				k, v, _ := strings.Cut(arg, "=")
				m[k] = v
			}
		}
	}
	return m
}

// expect compares a stage with its instructions, flags included.
func (s stage) expect(t *testing.T, want ...string) {
	t.Helper()
	var got []string
	for _, in := range s.lines {
		got = append(got, in.text)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("stage %q (-want +got):\n%s", s.as, diff)
	}
}

func TestDockerfile(t *testing.T) {
	forEach(t, func(t *testing.T, c container) {
		global, stages := parse(t, filepath.Join(c.name, "Dockerfile"))
		if len(global) != 1 || global[0].text != "ARG GO_IMAGE=golang:1.26-bookworm" {
			t.Errorf("before the first FROM stands %v, want ARG GO_IMAGE=golang:1.26-bookworm alone", global)
		}
		var shape []string
		for _, s := range stages {
			shape = append(shape, strings.TrimSpace(s.from+" "+s.as))
		}
		// The order is that of the target: the classic builder runs every
		// stage before it, so prebuilt must stand before build.
		if diff := cmp.Diff([]string{"scratch runtime", "runtime prebuilt", "${GO_IMAGE} build", "runtime"}, shape); diff != "" {
			t.Fatalf("stages (-want +got):\n%s", diff)
		}
		checkRuntime(t, c, stages[0])
		stages[1].expect(t,
			"ARG BINARY=containers/"+c.name+"/main.go",
			"COPY ${BINARY} /"+c.name,
		)
		checkBuild(t, c, stages[2])
		stages[3].expect(t, fmt.Sprintf("COPY --from=build /out/%s /%s", c.name, c.name))
	})
}

// checkBuild: it compiles what it copied, and downloads no more than that needs.
func checkBuild(t *testing.T, c container, s stage) {
	want := []string{"WORKDIR /src", "COPY go.mod go.sum ./"}
	if daemonless[c.name] == "" {
		want = append(want, "COPY containers/internal containers/internal")
	}
	s.expect(t, append(want,
		fmt.Sprintf("COPY containers/%s containers/%s", c.name, c.name),
		fmt.Sprintf(`RUN CGO_ENABLED=0 go build -trimpath -ldflags "-s -w" -o /out/%s ./containers/%s`, c.name, c.name),
	)...)
}

// checkRuntime: the image's metadata is what the program says.
func checkRuntime(t *testing.T, c container, s stage) {
	t.Helper()
	for _, in := range s.lines {
		if slices.Contains([]string{"COPY", "ADD", "RUN", "CMD", "ARG", "VOLUME", "WORKDIR"}, in.name) {
			t.Errorf("stage runtime has %s: it is metadata only", in.text)
		}
		if (in.name == "ENV" || in.name == "EXPOSE") && (!in.doc || len(in.args) != 1) {
			t.Errorf("%s: one for each, with a comment before it", in.text)
		}
	}
	if got := s.only(t, "USER").args; !slices.Equal(got, []string{"65532:65532"}) {
		t.Errorf("USER is %q, want 65532:65532: root in a container is root of the host's kernel", got)
	}
	if got := s.only(t, "STOPSIGNAL").args; !slices.Equal(got, []string{"SIGTERM"}) {
		t.Errorf("STOPSIGNAL is %q, want SIGTERM", got)
	}
	if in := s.only(t, "ENTRYPOINT"); !in.json || !slices.Equal(in.args, []string{"/" + c.name}) {
		t.Errorf("ENTRYPOINT is %s, want [\"/%s\"]: there is no shell", in.text, c.name)
	}
	checkHealth(t, c, s.only(t, "HEALTHCHECK"))
	checkLabels(t, c, s.pairs("LABEL"))
	checkEnv(t, c, s)
	checkExpose(t, c, s)
}

func checkHealth(t *testing.T, c container, in instruction) {
	t.Helper()
	if daemonless[c.name] != "" {
		if !slices.Equal(in.args, []string{"NONE"}) {
			t.Errorf("%s, want HEALTHCHECK NONE: %s", in.text, daemonless[c.name])
		}
		return
	}
	flags := []string{"--interval=1s", "--timeout=2s", "--retries=3"}
	if !in.json || !slices.Equal(in.flags, flags) || !slices.Equal(in.args, []string{"CMD", "/" + c.name, "health"}) {
		t.Errorf("%s, want HEALTHCHECK %s CMD [\"/%s\", \"health\"]", in.text, strings.Join(flags, " "), c.name)
	}
}

func checkLabels(t *testing.T, c container, labels map[string]string) {
	t.Helper()
	const oci = "org.opencontainers.image."
	for name, want := range map[string]string{
		"title":         c.name,
		"documentation": "containers/" + c.name + "/README.md",
		"source":        "containers/" + c.name,
		"licenses":      "Apache-2.0",
	} {
		if got := labels[oci+name]; got != want {
			t.Errorf("label %s is %q, want %q", name, got, want)
		}
	}
	if labels[oci+"description"] == "" {
		t.Error("no label description")
	}
}

// checkEnv: ENV has every setting and its default, and nothing else. What is
// required or secret cannot have a default in an image: a comment names it.
func checkEnv(t *testing.T, c container, s stage) {
	t.Helper()
	want := map[string]string{}
	text := read(t, c.name, "Dockerfile")
	for _, setting := range c.settings(t) {
		if setting.Required || setting.Secret {
			if !commented(text, setting.Name) {
				t.Errorf("no comment names %s, which has no ENV because it is required or secret", setting.Name)
			}
			continue
		}
		want[setting.Name] = setting.Default
	}
	if diff := cmp.Diff(want, s.pairs("ENV")); diff != "" {
		t.Errorf("ENV (-program +Dockerfile):\n%s", diff)
	}
}

func commented(text, word string) bool {
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "#") && slices.Contains(strings.FieldsFunc(line, notName), word) {
			return true
		}
	}
	return false
}

func notName(r rune) bool {
	return r != '_' && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && (r < 'a' || r > 'z')
}

// checkExpose: the ports are those of the addresses that the program listens
// on by default.
func checkExpose(t *testing.T, c container, s stage) {
	t.Helper()
	var want, got []string
	for _, setting := range c.settings(t) {
		if _, port, err := net.SplitHostPort(setting.Default); err == nil && setting.Type == "address" && port != "0" {
			want = append(want, port)
		}
	}
	for _, in := range s.lines {
		if in.name == "EXPOSE" {
			got = append(got, in.args...)
		}
	}
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("EXPOSE (-program's addresses +Dockerfile):\n%s", diff)
	}
}
