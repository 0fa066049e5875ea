package distlab_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"distlab/labs"
)

var update = flag.Bool("update", false, "write the README's transcript anew")

// documents are the Markdown files of the repository.
func documents(t *testing.T) map[string]string {
	t.Helper()
	docs := map[string]string{}
	err := fs.WalkDir(os.DirFS("."), ".", func(name string, d fs.DirEntry, err error) error {
		base := path.Base(name)
		switch {
		case err != nil:
			return err
		case d.IsDir() && name != "." && (strings.HasPrefix(base, ".") || base == "testdata"):
			return fs.SkipDir
		case d.IsDir() || path.Ext(name) != ".md":
			return nil
		}
		docs[name] = readDoc(t, name)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(docs) == 0 {
		t.Fatal("no documents")
	}
	return docs
}

func readDoc(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// block is a fenced block of a document. Mark is the comment before it: <!-- file: main.go -->.
type block struct {
	language, mark, text string
	line                 int // of its first line, from 1
}

var fence = regexp.MustCompile("(?m)^(?:<!-- (.+) -->\n)?```(\\S*)\n((?:.*\n)*?)```$")

func blocks(doc string) []block {
	var list []block
	for _, m := range fence.FindAllStringSubmatchIndex(doc, -1) {
		b := block{language: doc[m[4]:m[5]], text: doc[m[6]:m[7]], line: 1 + strings.Count(doc[:m[6]], "\n")}
		if m[2] >= 0 {
			b.mark = doc[m[2]:m[3]]
		}
		list = append(list, b)
	}
	return list
}

// prose is a document without its fenced blocks.
func prose(doc string) string { return fence.ReplaceAllString(doc, "") }

var (
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ +(.+)$`)
	notWord = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
)

// anchors are the fragments that a document's headings make.
func anchors(doc string) map[string]bool {
	all := map[string]bool{}
	for _, m := range heading.FindAllStringSubmatch(prose(doc), -1) {
		text := strings.ToLower(notWord.ReplaceAllString(m[1], ""))
		all[strings.ReplaceAll(text, " ", "-")] = true
	}
	return all
}

// TestLinks: a link inside the repository leads to a file, and its fragment to a heading.
func TestLinks(t *testing.T) {
	docs := documents(t)
	for name, doc := range docs {
		for _, m := range link.FindAllStringSubmatch(prose(doc), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			file, fragment, _ := strings.Cut(m[1], "#")
			target := path.Join(path.Dir(name), file)
			if file == "" {
				target = name
			}
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s: link to %s: %v", name, m[1], err)
			} else if fragment != "" && !anchors(docs[target])[fragment] {
				t.Errorf("%s: link to %s: no such heading", name, m[1])
			}
		}
	}
}

var (
	script     = regexp.MustCompile(`(?:^|[^\w/.-])(?:\./)?(scripts/[a-z][\w./-]*[\w])`)
	code       = regexp.MustCompile("`([^`\n]+)`")
	verbInCode = regexp.MustCompile(`(?:^|[\s;&|(])(?:\S*scripts/)?lab ([a-z]+)`)
	verbInHelp = regexp.MustCompile(`(?m)^  ([a-z]+) {2,}\S`)
)

// TestCommands: every script that a document names is there, and every verb of lab is one.
func TestCommands(t *testing.T) {
	out, err := exec.Command("go", "run", "./lab", "--help").CombinedOutput()
	if err != nil {
		t.Fatalf("go run ./lab --help: %v\n%s", err, out)
	}
	verbs := map[string]bool{}
	_, commands, _ := strings.Cut(string(out), "Commands:")
	for _, m := range verbInHelp.FindAllStringSubmatch(commands, -1) {
		verbs[m[1]] = true
	}
	if !verbs["verify"] {
		t.Fatalf("no verbs in the help:\n%s", out)
	}
	for name, doc := range documents(t) {
		for _, m := range script.FindAllStringSubmatch(doc, -1) {
			if _, err := os.Stat(m[1]); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		var texts []string
		for _, b := range blocks(doc) {
			if b.language == "sh" {
				texts = append(texts, strings.Split(b.text, "\n")...)
			}
		}
		for _, m := range code.FindAllStringSubmatch(prose(doc), -1) {
			texts = append(texts, m[1])
		}
		for _, text := range texts {
			text, _, _ = strings.Cut(text, " #")
			for _, m := range verbInCode.FindAllStringSubmatch(text, -1) {
				if !verbs[m[1]] {
					t.Errorf("%s: %q: lab has no verb %q", name, text, m[1])
				}
			}
		}
	}
}

// section is what stands below a heading, to the next one of the same level or higher.
func section(t *testing.T, doc, title string) string {
	t.Helper()
	level := strings.IndexFunc(title, func(r rune) bool { return r != '#' })
	_, rest, found := strings.Cut(doc, "\n"+title+"\n")
	if !found {
		t.Fatalf("no section %q", title)
	}
	if end := regexp.MustCompile(fmt.Sprintf(`(?m)^#{1,%d} `, level)).FindStringIndex(rest); end != nil {
		rest = rest[:end[0]]
	}
	return rest
}

// rows are the cells of a Markdown table's rows, without its head.
func rows(text string) [][]string {
	var list [][]string
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "|") {
			var cells []string
			for _, cell := range strings.Split(strings.Trim(line, "|"), " | ") {
				cells = append(cells, strings.TrimSpace(cell))
			}
			list = append(list, cells)
		}
	}
	return list[min(2, len(list)):]
}

// bare is the text of a cell that may be a link.
func bare(cell string) string {
	if m := regexp.MustCompile(`^\[([^]]+)\]`).FindStringSubmatch(cell); m != nil {
		return m[1]
	}
	return cell
}

// TestCatalogTable: the README says that exactly the labs of the catalog are there.
func TestCatalogTable(t *testing.T) {
	var want, got []string
	for _, l := range labs.Catalog {
		want = append(want, l.Name)
	}
	for _, row := range rows(section(t, readDoc(t, "README.md"), "## The catalog")) {
		switch state := row[len(row)-1]; state {
		case "there":
			got = append(got, bare(row[0]))
		case "to come":
		default:
			t.Errorf("%s: state %q, want \"there\" or \"to come\"", row[0], state)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("labs that are there (-catalog +README):\n%s", diff)
	}
}

// TestContainersTable: the README lists every container, and no other.
func TestContainersTable(t *testing.T) {
	files, err := filepath.Glob("containers/*/Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	var want, got []string
	for _, f := range files {
		want = append(want, filepath.Base(filepath.Dir(f)))
	}
	for _, row := range rows(section(t, readDoc(t, "README.md"), "## The containers")) {
		got = append(got, bare(row[0]))
	}
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("containers (-folders +README):\n%s", diff)
	}
}

// TestLabTables: a lab's README has a row for each of its claims, and a word on each of its variants.
func TestLabTables(t *testing.T) {
	for _, l := range labs.Catalog {
		doc := readDoc(t, path.Join("labs", l.Name, "README.md"))
		var want, got []string
		for _, c := range l.Claims {
			want = append(want, "`"+c.ID+"`")
		}
		for _, row := range rows(section(t, doc, "## What the claims prove")) {
			got = append(got, row[0])
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: claims (-lab.go +README):\n%s", l.Name, diff)
		}
		for _, v := range l.Variants {
			if !strings.Contains(section(t, doc, "## Break it"), "**"+v.Name+"**") {
				t.Errorf("%s: the README does not say how variant %s breaks it", l.Name, v.Name)
			}
		}
	}
}

// lintMessages are the rules of lab/internal/compose, as patterns of what lint says when one is broken.
func lintMessages(t *testing.T) map[string]*regexp.Regexp {
	t.Helper()
	verb := regexp.MustCompile(`%[a-z]`)
	messages := map[string]*regexp.Regexp{}
	for _, name := range []string{"lint.go", "written.go"} {
		file, err := parser.ParseFile(token.NewFileSet(), "lab/internal/compose/"+name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok || len(call.Args) == 0 {
				return true
			}
			f, isName := call.Fun.(*ast.Ident)
			text, isText := call.Args[0].(*ast.BasicLit)
			if !isName || !isText || f.Name != "say" && f.Name != "here" {
				return true
			}
			message, err := strconv.Unquote(text.Value)
			if err != nil {
				t.Fatal(err)
			}
			message = strings.TrimPrefix(strings.TrimPrefix(message, "service %s: "), "x-lab: ")
			if !regexp.MustCompile(`[a-z]{2}`).MatchString(verb.ReplaceAllString(message, "")) {
				return true // an error of another's, passed on
			}
			pattern := ""
			for i, part := range verb.Split(message, -1) {
				if i > 0 {
					pattern += ".+"
				}
				pattern += regexp.QuoteMeta(part)
			}
			messages[message] = regexp.MustCompile("^" + pattern + "$")
			return true
		})
	}
	return messages
}

// TestLintRules: docs/writing-a-lab.md has every rule that lint holds a compose file to, and no other.
func TestLintRules(t *testing.T) {
	unseen := lintMessages(t)
	if len(unseen) == 0 {
		t.Fatal("no rules found")
	}
	for _, row := range rows(section(t, readDoc(t, "docs/writing-a-lab.md"), "### The rules")) {
		said := strings.Trim(row[0], "`")
		known := false
		for message, pattern := range unseen {
			if pattern.MatchString(said) {
				known = true
				delete(unseen, message)
			}
		}
		if !known {
			t.Errorf("lint never says %q, or an earlier row has it", said)
		}
		if len(row) != 3 || row[1] == "" || row[2] == "" {
			t.Errorf("rule %q: needs what to write, and why", said)
		}
	}
	for message := range unseen {
		t.Errorf("the rule is not explained: %s", message)
	}
}

// files are the blocks of a document that are marked as files.
func files(t *testing.T, name string) map[string]string {
	t.Helper()
	found := map[string]string{}
	for _, b := range blocks(readDoc(t, name)) {
		if file, ok := strings.CutPrefix(b.mark, "file: "); ok {
			found[file] = b.text
		}
	}
	if len(found) == 0 {
		t.Fatalf("%s: no blocks marked <!-- file: … -->", name)
	}
	return found
}

// worktree is a copy of the repository, but for what git does not keep, with files added. The example of a document is
// compiled and run in it, as its reader would in a clone.
func worktree(t *testing.T, added map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	list, err := exec.Command("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard").Output()
	if err != nil {
		t.Fatalf("git ls-files: %v", err)
	}
	for _, name := range strings.Split(strings.TrimRight(string(list), "\x00"), "\x00") {
		data, err := os.ReadFile(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed, and git was not told
		}
		if err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		writeFile(t, filepath.Join(dir, name), data, info.Mode().Perm())
	}
	for name, text := range added {
		writeFile(t, filepath.Join(dir, name), []byte(text), 0o644)
	}
	return dir
}

func writeFile(t *testing.T, name string, data []byte, mode fs.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, data, mode); err != nil {
		t.Fatal(err)
	}
}

func run(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// exampleLab is a clone with the lab of docs/writing-a-lab.md in it.
func exampleLab(t *testing.T) string {
	t.Helper()
	return worktree(t, files(t, "docs/writing-a-lab.md"))
}

// TestExampleLabCompiles vets the lab of docs/writing-a-lab.md and holds its folder to what every lab's is held to.
func TestExampleLabCompiles(t *testing.T) {
	dir := exampleLab(t)
	run(t, dir, "go", "vet", "./labs/...")
	run(t, dir, "go", "test", "./labs")
}

// TestExampleContainer holds the container of docs/writing-a-container.md to the contract of all containers.
func TestExampleContainer(t *testing.T) {
	dir := worktree(t, files(t, "docs/writing-a-container.md"))
	out := run(t, dir, "go", "test", "-v", "-run", "^(TestFolder|TestDockerfile|TestReadme|TestProgram)$/^hello$", "./containers")
	for _, name := range []string{"TestFolder", "TestDockerfile", "TestReadme", "TestProgram"} {
		if !strings.Contains(out, "--- PASS: "+name+"/hello") {
			t.Errorf("%s/hello did not run:\n%s", name, out)
		}
	}
	run(t, dir, "go", "test", "./containers/hello")
	run(t, dir, "go", "vet", "./containers/hello")
}

// What follows needs Docker. A missing engine is a failure; -short leaves these tests out.

// instance is where the documents' commands are run: beside the lab that a person may have up.
const instance = "docs"

// beside turns a command of the documents into the same one for that instance. away takes it out of an output.
var (
	beside = strings.NewReplacer(
		"sidecar/tls", "sidecar/tls --name "+instance,
		"labs/sidecar/tls", "labs/sidecar/tls", // a folder
		"distlab-sidecar-tls-", "distlab-sidecar-tls-"+instance+"-",
		"adapter/slowlog", "adapter/slowlog --name "+instance,
		"labs/adapter/slowlog", "labs/adapter/slowlog",
		"distlab-adapter-slowlog-", "distlab-adapter-slowlog-"+instance+"-",
		"sidecar-tls_default", "distlab-docs-plain_default",
		"docker compose ", "docker compose --project-name distlab-docs-plain ",
	)
	away = strings.NewReplacer(
		" ("+instance+")", "",
		" --name "+instance, "",
		"distlab-sidecar-tls-"+instance+"-", "distlab-sidecar-tls-",
	)
)

var tool = sync.OnceValue(func() error {
	out, err := exec.Command("scripts/lab", "build").CombinedOutput()
	if err != nil {
		return fmt.Errorf("scripts/lab build: %w\n%s", err, out)
	}
	return nil
})

// engine prepares the instance, and takes it away in the end; nothing may be left then.
func engine(t *testing.T) {
	t.Helper()
	if err := tool(); err != nil {
		t.Fatal(err)
	}
	clean := func() {
		run(t, ".", "scripts/lab", "down", "sidecar/tls", "--name", instance)
		run(t, ".", "docker", "compose", "--project-name", "distlab-docs-plain", "down", "--volumes")
	}
	clean()
	t.Cleanup(func() {
		for _, kind := range []string{"container", "network", "volume"} {
			for _, project := range []string{"distlab-sidecar-tls-" + instance, "distlab-docs-plain"} {
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
	cmd := exec.Command("bash", "-c", beside.Replace(line))
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
// that a comment beside it says, and in the end nothing may be left.
func TestLabReadme(t *testing.T) {
	if testing.Short() {
		t.Log("-short leaves out what needs Docker")
		return
	}
	engine(t)
	for lab, wants := range map[string][]string{
		"sidecar/tls":     {`"connected":true`, "6.6.6.6, ", "3 of 3 claims passed"},
		"adapter/slowlog": {`"argv":["debug","sleep","0.05"]`, `"event":"lost","lost":`, "3 of 3 claims passed", "0 of 8 entries"},
	} {
		t.Run(lab, func(t *testing.T) {
			out := typeReadme(t, path.Join("labs", lab, "README.md"))
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
		})
	}
}

// typeReadme is what the commands of a README print.
func typeReadme(t *testing.T, name string) string {
	t.Helper()
	var b strings.Builder
	for _, block := range blocks(readDoc(t, name)) {
		if block.language != "sh" {
			continue
		}
		for i, line := range strings.Split(strings.TrimSpace(block.text), "\n") {
			want := "0"
			if m := exits.FindStringSubmatch(line); m != nil {
				want = m[1]
			}
			fmt.Fprintf(&b, "echo %s\n%s\ncode=$?; [ $code = %s ] || { echo \"line %d: exit code $code, want %s\"; exit 1; }\n",
				quote("$ "+line), beside.Replace(line), want, block.line+i, want)
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
