package distlab_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"distlab/labs"
)

// What follows needs Docker. A missing engine is a failure; -short leaves these tests out.

// instance is where the documents' commands are run: beside the lab that a person may have up.
const instance = "docs"

// plain is the project of plain docker compose for a lab's document; its name is not one of ours, which lab would take away
// between its first two steps.
func plain(lab string) string { return instance + "-" + strings.ReplaceAll(lab, "/", "-") }

// beside turns the commands of a lab's document into the same ones for that instance.
func beside(lab string) *strings.Replacer {
	var pairs []string
	for _, l := range labs.Catalog {
		project := "distlab-" + strings.ReplaceAll(l.Name, "/", "-") + "-"
		pairs = append(pairs, l.Name, l.Name+" --name "+instance, "labs/"+l.Name, "labs/"+l.Name /* a folder */, project, project+instance+"-")
	}
	return strings.NewReplacer(append(pairs, "sidecar-tls_default", plain(lab)+"_default",
		"docker compose ", "docker compose --project-name "+plain(lab)+" ")...)
}

// away takes the instance out of an output.
var away = strings.NewReplacer(" ("+instance+")", "", " --name "+instance, "", "distlab-sidecar-tls-"+instance+"-", "distlab-sidecar-tls-")

var tool = sync.OnceValue(func() error {
	out, err := exec.Command("scripts/lab", "build").CombinedOutput()
	if err != nil {
		return fmt.Errorf("scripts/lab build: %w\n%s", err, out)
	}
	return nil
})

// engine takes away what a run that was cut off has left of the instance, and in the end looks that nothing is left.
func engine(t *testing.T) {
	t.Helper()
	if err := tool(); err != nil {
		t.Fatal(err)
	}
	var projects []string
	for _, l := range labs.Catalog {
		projects = append(projects, plain(l.Name), "distlab-"+strings.ReplaceAll(l.Name, "/", "-")+"-"+instance)
	}
	clean := func() {
		for _, l := range labs.Catalog {
			run(t, ".", "scripts/lab", "down", l.Name, "--name", instance)
			run(t, ".", "docker", "compose", "--project-name", plain(l.Name), "down", "--volumes")
		}
	}
	clean()
	t.Cleanup(func() {
		for _, kind := range []string{"container", "network", "volume"} {
			for _, project := range projects {
				args := []string{"docker", kind, "ls", "--quiet", "--filter", "label=com.docker.compose.project=" + project}
				if kind == "container" {
					args = append(args, "--all")
				}
				if out := run(t, ".", args...); out != "" {
					t.Errorf("%s: %s left: %s", project, kind, out)
				}
			}
		}
		clean()
	})
}

// volatile is what differs from run to run, and what stands for it.
var volatile = []struct {
	pattern *regexp.Regexp
	by      string
}{
	{regexp.MustCompile(`127\.0\.0\.1:\d+`), "127.0.0.1:PORT"},
	{regexp.MustCompile(`\b\d+(\.\d+){3} https`), "CLIENT https"},
	{regexp.MustCompile(`\b\d+\.\d+ s\b`), "TIME"},
	{regexp.MustCompile(`\bseed \d+`), "seed SEED"},
	{regexp.MustCompile(`\b\d+ bytes`), "BYTES bytes"},
	{regexp.MustCompile(`of \d+ (requests failed|under load lost)`), "of COUNT $1"},
	{regexp.MustCompile(`\(\d+ looks\)`), "(COUNT looks)"},
	{regexp.MustCompile(`\b(3[2-9]|[45]\d|60)\d{3}\b`), "PORT"}, // of those that the kernel gives
	{regexp.MustCompile(`Docker \S+ \(API \S+\)`), "ENGINE"},
	{regexp.MustCompile(` {2,}`), "  "}, // columns, as wide as a port
}

func settle(text string) string {
	for _, v := range volatile {
		text = v.pattern.ReplaceAllString(text, v.by)
	}
	return text
}

var transcript = regexp.MustCompile("(?s)<!-- transcript -->\n```text\n(.*?)```\n<!-- /transcript -->")

// TestTranscript runs the commands of the README's transcript and compares what they print, but for what is volatile.
// With -update it writes the transcript anew.
func TestTranscript(t *testing.T) {
	if testing.Short() {
		t.Log("-short leaves out what needs Docker")
		return
	}
	engine(t)
	readme := readDoc(t, "README.md")
	m := transcript.FindStringSubmatch(readme)
	if m == nil {
		t.Fatal("README.md has no transcript")
	}
	var got strings.Builder
	for line := range strings.Lines(m[1]) {
		if typed, ok := strings.CutPrefix(line, "$ "); ok {
			if got.Len() > 0 {
				got.WriteString("\n")
			}
			got.WriteString(line + typeLine(t, strings.TrimSpace(typed)))
		}
	}
	if *update {
		text := strings.Replace(readme, m[1], got.String(), 1)
		writeFile(t, "README.md", []byte(text), 0o644)
		return
	}
	if diff := cmp.Diff(strings.Split(settle(m[1]), "\n"), strings.Split(settle(got.String()), "\n")); diff != "" {
		t.Errorf("README.md's transcript (-README +now; go test -run TestTranscript -update . writes it):\n%s", diff)
	}
}

// typeLine runs a line in a shell and is its standard output.
func typeLine(t *testing.T, line string) string {
	t.Helper()
	cmd := exec.Command("bash", "-c", beside("sidecar/tls").Replace(line))
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if _, exited := errors.AsType[*exec.ExitError](err); err != nil && !exited {
		t.Fatal(err)
	}
	if stdout.Len() == 0 && err != nil {
		t.Fatalf("%s: %v\n%s", line, err, stderr.String())
	}
	return away.Replace(stdout.String())
}

var exits = regexp.MustCompile(`# exit (\d+)`)

// TestLabReadme runs the commands of the labs' READMEs, in order and in one shell. Each must exit 0, or with the code
// that a comment beside it says, and in the end nothing may be left. Two shells are at work at a time, as two people would be.
func TestLabReadme(t *testing.T) {
	if testing.Short() {
		t.Log("-short leaves out what needs Docker")
		return
	}
	t.Parallel()
	engine(t)
	type readme struct {
		lab   string
		wants []string
	}
	people := map[string][]readme{
		"first": {
			{"adapter/health", []string{"maintenance\n", `"restarts": 1`, "3 of 3 claims passed", "not restarted in"}},
			{"adapter/slowlog", []string{`"argv":["debug","sleep","0.05"]`, `"event":"lost","lost":`, "3 of 3 claims passed", "stopped: 0 of 8"}},
			{"adapter/logs", []string{`"log.unparsed":"not logfmt"`, `"2026-07-01T10:00:00.5Z"`, "2 of 2 claims passed", "variant line-by-line"}},
			{"sidecar/topz", []string{"2 of 2 claims passed", "variant separate-pid"}},
			{"sidecar/logs", []string{"2 of 2 claims passed", "variant hoards"}},
			{"sidecar/paas", []string{"1 of 1 claims passed", "variant reclone"}},
			{"serving/cache", []string{"; hit; ttl=", "trouble, as told", "1 object purged", "20 200", "2 of 2 claims passed", "variant cache-everything"}},
			{"adapter/metrics", []string{"redis_up 0", "3 of 3 claims passed", "variant dies-with-app"}},
			{"serving/scatter", []string{`"id": "Genesis 1:3"`, `"partial": true`, "2 of 2 claims passed", "variant wait-for-all", "1 of 1 claims passed"}},
			{"serving/replicated", []string{`"why": "unhealthy"`, `"visits":3`, "spare-1", "2 of 2 claims passed", "variant stop-at-once"}},
		},
		"second": {
			{"sidecar/tls", []string{`"connected":true`, "6.6.6.6, ", "3 of 3 claims passed"}},
			{"ambassador/shard", []string{
				"redis-a: user:1000", "not supported over shards", "timed out", "22.32 % of the keys move", "3 of 3 claims passed", "[1000 0 0] of 1000 keys",
			}},
			{"ambassador/split", []string{
				"X-Split-Reason: header", "<h1>The New Shop</h1>", "X-Split-Reason: ip_hash",
				`"experiment": 1`, "2 of 2 claims passed", "least p = ", "production in 0 of",
			}},
			{"sidecar/config", []string{"3 of 3 claims passed", "variant no-check"}},
			{"sidecar/content", []string{"1 of 1 claims passed", "variant no-limits"}},
			{"serving/election", []string{"X-Owner: node-", "elector_owner 1", `"verdict":"accepted"`, "2 of 2 claims passed", "variant bad-clock"}},
			{"ambassador/balance", []string{"2 of 2 claims passed", "variant at-once"}},
			{"adapter/format", []string{`"price":"-12.34"`, `"reason":"quote"`, "2 of 2 claims passed", "variant fail-whole"}},
			{"ambassador/broker", []string{"redis-development", "broker_ambassador_registry_stale", "2 of 2 claims passed", "variant memory-only"}},
		},
	}
	for _, l := range labs.Catalog {
		if !slices.ContainsFunc(append(people["first"], people["second"]...), func(r readme) bool { return r.lab == l.Name }) {
			t.Errorf("nobody runs the commands of %s", l.Name)
		}
	}
	for person, readmes := range people {
		t.Run(person, func(t *testing.T) {
			t.Parallel()
			for _, r := range readmes {
				t.Run(r.lab, func(t *testing.T) { labReadme(t, r.lab, r.wants) })
			}
		})
	}
}

func labReadme(t *testing.T, lab string, wants []string) {
	out := typeReadme(t, lab)
	if lab == "sidecar/tls" {
		serial := regexp.MustCompile(`(?m)^serial ([0-9a-f]+)$`).FindStringSubmatch(out)
		if serial == nil {
			t.Fatalf("new-cert printed no serial:\n%s", out)
		}
		wants = append(wants, `"serial": "`+serial[1])
	}
	for _, want := range wants {
		if !strings.Contains(out, want) {
			t.Errorf("no %s in the output:\n%s", want, out)
		}
	}
	t.Log(out)
}

// typeReadme is what the commands of a lab's README print.
func typeReadme(t *testing.T, lab string) string {
	t.Helper()
	typed := beside(lab)
	var b strings.Builder
	for _, block := range blocks(readDoc(t, path.Join("labs", lab, "README.md"))) {
		if block.language != "sh" {
			continue
		}
		for i, line := range strings.Split(strings.TrimSpace(block.text), "\n") {
			want := "0"
			if m := exits.FindStringSubmatch(line); m != nil {
				want = m[1]
			}
			fmt.Fprintf(&b, "echo %s\n%s\ncode=$?; [ $code = %s ] || { echo \"line %d: exit code $code, want %s\"; exit 1; }\n",
				quote("$ "+line), typed.Replace(line), want, block.line+i, want)
		}
	}
	out, err := exec.Command("bash", "-c", freePorts(t, b.String())).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return string(out)
}

func quote(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }

// freePorts puts free ports in the place of those that a README chooses.
func freePorts(t *testing.T, text string) string {
	t.Helper()
	return regexp.MustCompile(`_PORT=\d+`).ReplaceAllStringFunc(text, func(string) string {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		return fmt.Sprintf("_PORT=%d", ln.Addr().(*net.TCPAddr).Port)
	})
}

// TestExampleLab brings the lab of docs/writing-a-lab.md up, verifies it, and requires that its variant breaks it.
func TestExampleLab(t *testing.T) {
	if testing.Short() {
		t.Log("-short leaves out what needs Docker")
		return
	}
	dir := exampleLab(t)
	run(t, dir, "go", "build", "-buildvcs=false", "-o", "lab.bin", "./lab")
	cmd := exec.Command("./lab.bin", "test", "demo/shop", "-o", "json")
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "DISTLAB_ROOT="+dir)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("lab test demo/shop: %v\n%s%s", err, stdout.String(), stderr.String())
	}
	var result struct {
		Verdict  string
		Variants []struct{ OK bool }
	}
	if err := json.Unmarshal(stdout.Bytes(), &result); err != nil {
		t.Fatal(err)
	}
	if result.Verdict != "pass" || len(result.Variants) != 1 || !result.Variants[0].OK {
		t.Errorf("%s", stdout.String())
	}
}
