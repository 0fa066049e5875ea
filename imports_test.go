// Package distlab_test holds what is true of the repository as a whole.
package distlab_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"
	"testing"
)

const module = "distlab/"

// protocols are the libraries that a container's programs may use besides the
// standard library and containers/internal: those of the protocol that it
// speaks. A line here is a decision: every module is code that runs in the
// image, and megabytes in it.
var protocols = map[string][]string{
	"balancer":          {metrics, "github.com/fsnotify/fsnotify"},
	"broker-ambassador": {metrics, "golang.org/x/net"}, // DNS messages; etcd by its JSON gateway
	"burner":            {metrics},
	"dictionary":        {metrics, "golang.org/x/net", "golang.org/x/sys"}, // a limit of connections; a thread's clock
	"elector":           {metrics, "golang.org/x/sys"},                     // a clock that counts while the machine sleeps; etcd by its JSON gateway
	"content-generator": {metrics},
	"format-adapter":    {metrics, "go.yaml.in/yaml/v4", "golang.org/x/net", "golang.org/x/text"}, // sources are YAML; encodings
	"legacy-feed":       {metrics, "golang.org/x/text"},
	"health-adapter":    {metrics, "github.com/go-sql-driver/mysql"},
	"http-cache":        {metrics, "github.com/maypok86/otter/v2"}, // W-TinyLFU by bytes
	"internal":          {"github.com/prometheus/client_golang", "golang.org/x/net", "golang.org/x/sys"},
	"legacy-app":        {metrics, "github.com/coder/websocket"},
	"ledger":            {metrics, "golang.org/x/net"},
	"owner-proxy":       {metrics},
	"pause":             {},
	"probe":             {"github.com/tsenart/vegeta/v12", "golang.org/x/net"},
	"restarter":         {metrics}, // a signal needs no library
	"search-leaf":       {metrics, "golang.org/x/net"},
	"search-root":       {metrics, "golang.org/x/net"},
	"shard-ambassador":  {metrics, "go.yaml.in/yaml/v4"}, // pool files are YAML
	"slowlog-adapter":   {metrics},                       // it speaks RESP itself: a reply has a bound, and no client keeps one
	"splitter":          {metrics, "github.com/fsnotify/fsnotify", "golang.org/x/sys"},
	"tls-sidecar":       {metrics, "github.com/fsnotify/fsnotify", "github.com/pires/go-proxyproto", "golang.org/x/net", "golang.org/x/sys"},
	"topz-sidecar":      {metrics, "github.com/prometheus/procfs", "golang.org/x/net"},
	"git-sync": {
		metrics, "github.com/go-git/go-git/v5", "github.com/go-git/go-billy/v5", // git's messages, packs and objects
		"golang.org/x/crypto", // SSH, and authorities for an image that has none
		"golang.org/x/sys",
	},
	"config-api":      {metrics, "golang.org/x/net"},
	"config-sidecar":  {metrics, "github.com/fsnotify/fsnotify"}, // etcd by its JSON gateway: its client is larger than the image may be
	"log-shipper":     {metrics, "golang.org/x/sys"},             // a send queue's length; JSON, OTLP's too, and syslog it writes itself
	"log-store":       {metrics, "golang.org/x/net"},
	"log-writer":      {metrics},
	"metrics-adapter": {metrics},
	"log-adapter":     {metrics}, // formats and lines it reads itself: a hostile line has a bound
}

const metrics = "github.com/prometheus/client_golang" // every container measures itself

// docker are the libraries that speak to an engine or read compose files.
var docker = []string{
	"github.com/docker", "github.com/moby", "github.com/testcontainers", "github.com/compose-spec", "github.com/containerd",
}

// forTests may be imported by tests alone.
var forTests = []string{"github.com/google/go-cmp", "github.com/rogpeppe/go-internal", "gotest.tools"}

// file is one import of one file.
type file struct {
	dir  string // of the file, from the root of the repository
	test bool
	path string // what is imported
}

// bans are all the rules. A ban whose broken func is true of an import makes
// it an error, with the reason. The words are those of DESIGN's "Who may
// import whom".
var bans = []struct {
	why    string
	broken func(f file) bool
}{
	{
		"a container is a program of its own: its image is taken away without the tool",
		func(f file) bool {
			return in(f.dir, "containers") && (in(f.path, module+"lab") || in(f.path, module+"labs"))
		},
	},
	{
		"a container knows another one only over the network; what three of them share goes to containers/internal",
		func(f file) bool {
			theirs, ok := container(strings.TrimPrefix(f.path, module))
			mine, _ := container(f.dir)
			return ok && in(f.dir, "containers") && theirs != "internal" && theirs != mine
		},
	},
	{
		"a container's program is the standard library, its protocol's library and containers/internal; a new library is a line in protocols",
		func(f file) bool {
			name, ok := container(f.dir)
			return ok && !f.test && foreign(f.path) && !inAny(f.path, protocols[name])
		},
	},
	{
		"the tool and the labs know a container only as an image on a network: that keeps it reusable",
		func(f file) bool { return !in(f.dir, "containers") && in(f.path, module+"containers") },
	},
	{
		"a claim touches a lab only through check.Stack, so that it can be measured on anything that runs the lab",
		func(f file) bool { return (in(f.dir, "lab/check") || in(f.dir, "labs")) && inAny(f.path, docker) },
	},
	{
		"lab/check is what labs are written in, and stands below the whole tool, above lab/stats alone",
		func(f file) bool {
			return in(f.dir, "lab/check") && strings.HasPrefix(f.path, module) &&
				!in(f.path, module+"lab/check") && f.path != module+"lab/stats"
		},
	},
	{
		"a lab is written in lab/check and lab/stats alone; its test may use lab/labtest",
		func(f file) bool {
			return isLab(f.dir) && strings.HasPrefix(f.path, module) &&
				!in(f.path, module+"lab/check") && f.path != module+"lab/stats" && !in(f.path, module+f.dir) && !(f.test && f.path == module+"lab/labtest")
		},
	},
	{
		"lab/internal works for any labs: main gives it the catalog",
		func(f file) bool {
			return in(f.dir, "lab/internal") && !f.test && (in(f.path, module+"labs") || in(f.path, module+"lab/labtest"))
		},
	},
	{
		"docker/compose's library and the docker command's are half of what the tool is compiled from: one package knows them",
		func(f file) bool {
			return inAny(f.path, []string{"github.com/docker/compose", "github.com/docker/cli"}) && f.dir != "lab/internal/maker"
		},
	},
	{
		"the verbs are the top of the tool: only main and tests are above them",
		func(f file) bool { return !f.test && f.path == module+"lab/internal/cli" && f.dir != "lab" },
	},
	{
		"testing is for tests: in a program it brings its flags",
		func(f file) bool { return !f.test && f.path == "testing" && f.dir != "lab/labtest" },
	},
	{
		"this library is for tests",
		func(f file) bool { return !f.test && inAny(f.path, forTests) && f.dir != "lab/labtest" },
	},
}

// in says whether a path is dir or below it.
func in(p, dir string) bool { return p == dir || strings.HasPrefix(p, dir+"/") }

func inAny(p string, dirs []string) bool {
	for _, dir := range dirs {
		if in(p, dir) {
			return true
		}
	}
	return false
}

// container is the folder of containers/ that a directory belongs to.
func container(dir string) (name string, ok bool) {
	rest, ok := strings.CutPrefix(dir, "containers/")
	name, _, _ = strings.Cut(rest, "/")
	return name, ok
}

// isLab says whether dir is a lab, labs/family/name or below: labs itself is the catalog.
func isLab(dir string) bool { return strings.HasPrefix(dir, "labs/") }

// foreign says whether an import is neither ours nor the standard library's.
func foreign(p string) bool {
	first, _, _ := strings.Cut(p, "/")
	return strings.Contains(first, ".")
}

// violations are the reasons for which an import is banned.
func violations(f file) (why []string) {
	for _, b := range bans {
		if b.broken(f) {
			why = append(why, b.why)
		}
	}
	return why
}

func TestImports(t *testing.T) {
	files := 0
	err := fs.WalkDir(os.DirFS("."), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		base := path.Base(name)
		if d.IsDir() {
			// As the go tool does: testdata and hidden folders are not code.
			if name != "." && (base == "testdata" || strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_")) {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") {
			return nil
		}
		files++
		parsed, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, spec := range parsed.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			for _, why := range violations(file{path.Dir(name), strings.HasSuffix(name, "_test.go"), imported}) {
				t.Errorf("%s imports %s: %s", name, imported, why)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if files == 0 {
		t.Fatal("no Go files")
	}
}

// TestBans shows each ban red, and what must stay allowed.
func TestBans(t *testing.T) {
	broken := map[string]bool{}
	for _, tt := range []struct {
		file
		why string // how the reason begins; empty if allowed
	}{
		{file{"containers/pause", false, "distlab/lab/check"}, "a container is a program"},
		{file{"containers/pause", true, "distlab/labs"}, "a container is a program"},
		{file{"containers", true, "distlab/lab/internal/images"}, "a container is a program"},
		{file{"containers/pause", false, "distlab/containers/probe"}, "a container knows another"},
		{file{"containers/pause", true, "distlab/containers/probe"}, "a container knows another"},
		{file{"containers/internal/env", false, "distlab/containers/pause"}, "a container knows another"},
		{file{"containers/shard-ambassador/pool", false, "distlab/containers/probe"}, "a container knows another"},
		{file{"containers/pause", false, "github.com/coder/websocket"}, "a container's program is"},
		{file{"containers/new", false, "golang.org/x/net/http2"}, "a container's program is"},
		{file{"lab/internal/stack", false, "distlab/containers/internal/env"}, "the tool and the labs know"},
		{file{"labs/sidecar/tls", true, "distlab/containers/probe"}, "the tool and the labs know"},
		{file{"lab/check", false, "github.com/moby/moby/client"}, "a claim touches a lab"},
		{file{"labs/sidecar/tls", true, "github.com/testcontainers/testcontainers-go"}, "a claim touches a lab"},
		{file{"lab/check", false, "distlab/lab/internal/hint"}, "lab/check is what"},
		{file{"lab/check", true, "distlab/labs"}, "lab/check is what"},
		{file{"labs/sidecar/tls", false, "distlab/lab/labtest"}, "a lab is written"},
		{file{"labs/sidecar/tls", true, "distlab/lab/internal/stack"}, "a lab is written"},
		{file{"labs/sidecar/tls", false, "distlab/labs/sidecar/topz"}, "a lab is written"},
		{file{"lab/internal/runner", false, "distlab/labs"}, "lab/internal works"},
		{file{"lab/internal/runner", false, "distlab/lab/internal/cli"}, "the verbs are"},
		{file{"lab/internal/stack", true, "github.com/docker/compose/v5/pkg/api"}, "docker/compose's library"},
		{file{"lab/internal/cli", false, "github.com/docker/cli/cli/config"}, "docker/compose's library"},
		{file{"lab/check", false, "testing"}, "testing is for tests"},
		{file{"lab/internal/stack", false, "github.com/google/go-cmp/cmp"}, "this library is for tests"},

		{file{"containers", true, "distlab/containers/internal/env"}, ""},
		{file{"containers", true, "github.com/moby/buildkit/frontend/dockerfile/parser"}, ""},
		{file{"containers/probe", false, "github.com/tsenart/vegeta/v12/lib"}, ""},
		{file{"containers/pause", false, "distlab/containers/internal/env"}, ""},
		{file{"containers/shard-ambassador/pool", false, "distlab/containers/shard-ambassador/ring"}, ""},
		{file{"containers/pause", true, "github.com/google/go-cmp/cmp"}, ""},
		{file{"containers/internal/daemon", false, "distlab/containers/internal/env"}, ""},
		{file{"lab/check", false, "gonum.org/v1/gonum/stat"}, ""},
		{file{"lab", false, "distlab/labs"}, ""},
		{file{"lab", false, "distlab/lab/internal/cli"}, ""},
		{file{"lab/internal/e2e", true, "distlab/lab/internal/cli"}, ""},
		{file{"lab/internal/maker", false, "github.com/docker/compose/v5/pkg/compose"}, ""},
		{file{"lab/labtest", false, "testing"}, ""},
		{file{"lab/laboratory", false, "testing/fstest"}, ""},
		{file{"labs", false, "distlab/labs/sidecar/tls"}, ""},
		{file{"labs/sidecar/tls", false, "distlab/lab/check"}, ""},
		{file{"labs/sidecar/tls", true, "distlab/labs/sidecar/tls"}, ""},
		{file{"labs/sidecar/tls", true, "distlab/lab/labtest"}, ""},
	} {
		found := tt.why == ""
		for _, why := range violations(tt.file) {
			broken[why] = true
			found = found || strings.HasPrefix(why, tt.why)
			if tt.why == "" {
				t.Errorf("%+v is banned: %s", tt.file, why)
			}
		}
		if !found {
			t.Errorf("%+v is allowed, want the ban %q", tt.file, tt.why)
		}
	}
	for _, b := range bans {
		if !broken[b.why] {
			t.Errorf("no case for the ban %q", b.why)
		}
	}
}
