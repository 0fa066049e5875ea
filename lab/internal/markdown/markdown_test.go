package markdown

import (
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestMarkdown(t *testing.T) {
	for _, c := range []struct{ name, doc, want string }{
		{"prose is filled", "One two\nthree four five six seven.\n", "One two three four\nfive six seven.\n"},
		{"a hard break stays", "One  \ntwo\\\nthree\n", "One\ntwo\nthree\n"},
		{"a long word stays whole", "See https://example.com/a/long/way now\n", "See\nhttps://example.com/a/long/way\nnow\n"},
		{"headings", "# One *two*\n\nText\n\n## Three\n", "# One two\n\nText\n\n## Three\n"},
		{"looks within a word", "a**b**c `d e`, f\n", "abc `d e`, f\n"},
		{"escapes", "\\*a\\* &lt;b&gt; c_d\n", "*a* <b> c_d\n"},
		{"links", "[a b](https://x.org), [c](../d.md), <https://y.org>\n", "a b (https://x.org),\nc, https://y.org\n"},
		{"code keeps its lines", "```sh\na   b\n\n  c\n```\n", "    a   b\n    \n      c\n"},
		{"diagrams go", "a\n\n```mermaid\nflowchart\n```\n\nb\n", "a\n\nb\n"},
		{"HTML goes", "a\n\n<!-- b -->\n\nc <br> d\n", "a\n\nc d\n"},
		{"lists", "- one two three four five\n- six\n  - seven\n", "• one two three four\n  five\n• six\n  • seven\n"},
		{"numbers", "3. a\n4. b\n", "3. a\n4. b\n"},
		{"loose lists", "- a\n\n- b\n\n  c\n", "• a\n\n• b\n\n  c\n"},
		{"code in a list", "1. a\n   ```\n   b\n   ```\n2. c\n", "1. a\n       b\n2. c\n"},
		{"quotes", "> one two three four five\n", "│ one two three four\n│ five\n"},
		{"rules", "a\n\n---\n\nb\n", "a\n\n────────────────────\n\nb\n"},
		{"a table", "| a | b |\n|---|---|\n| c d | `e` |\n", "a    b\nc d  `e`\n"},
		{"a table without a head", "| | |\n|---|---|\n| c | e |\n", "c  e\n"},
		{"a wide table", "| a | b |\n|---|---|\n| c | one two three four five |\n", "• c\n  b: one two three\n  four five\n"},
		{"nothing", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, Render(c.doc, 20, false)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestMarkdownColor holds that colour changes looks alone: the same lines, as wide, but for the marks it stands in for.
func TestMarkdownColor(t *testing.T) {
	doc := "# Head\n\nSome **bold** and *italic* words, [a link](https://x.org) too.\n\n- one\n- two three four five six seven eight\n\n> quote\n"
	colored := Render(doc, 40, true)
	if !strings.Contains(colored, "\x1b[1mbold\x1b[0m") || !strings.Contains(colored, "\x1b[1;34mHead\x1b[0m") {
		t.Errorf("no colour: %q", colored)
	}
	bare := regexp.MustCompile(`\x1b\[[0-9;]*m`).ReplaceAllString(colored, "")
	if diff := cmp.Diff(strings.Replace(Render(doc, 40, false), "# Head", "Head", 1), bare); diff != "" {
		t.Errorf("(-plain +coloured):\n%s", diff)
	}
}

func TestMarkdownWidth(t *testing.T) {
	doc := strings.Repeat("word ", 100)
	for width, want := range map[int]int{10: 19, 40: 39, 80: 79, 300: 99} {
		longest := 0
		for line := range strings.Lines(Render(doc, width, true)) {
			longest = max(longest, Width(strings.TrimRight(line, "\n")))
		}
		if longest != want {
			t.Errorf("width %d: the longest line has %d columns, want %d", width, longest, want)
		}
	}
}

func FuzzMarkdown(f *testing.F) {
	f.Add("# a\n\n- b\n  - `c`\n\n| a |\n|---|\n| b |\n\n> 1. d", 20)
	f.Fuzz(func(_ *testing.T, doc string, width int) {
		Render(doc, width, true)
	})
}
