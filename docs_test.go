package distlab_test

import (
	"errors"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
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
			if b.language == "sh" || b.language == "text" {
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
			where := "## Break it"
			if v.StandIn() {
				where = "## With the program you know"
			}
			if !strings.Contains(section(t, doc, where), "**"+v.Name+"**") {
				t.Errorf("%s: the README has no word on variant %s under %s", l.Name, v.Name, where)
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
