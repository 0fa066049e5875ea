// Package markdown renders Markdown for a terminal: headings, lists, tables and code, as wide as there is room.
package markdown

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	tables "github.com/yuin/goldmark/extension/ast"
	"github.com/yuin/goldmark/text"
)

// widest is how long a line of prose is at most: a wide terminal does not make it easier to read.
const widest = 100

// The looks of a terminal. Everything ends with the one that ends all.
const (
	plainly = "\x1b[0m"
	boldly  = "\x1b[1m"
	faintly = "\x1b[2m"
	italic  = "\x1b[3m"
	heading = "\x1b[1;34m"
	coded   = "\x1b[36m"
)

// Render lays a document out for a terminal of that width. The libraries that do this load the syntax of every
// programming language when the process starts, which takes longer than most of our verbs do.
func Render(doc string, width int, color bool) string {
	source := []byte(doc)
	md := goldmark.New(goldmark.WithExtensions(extension.Table))
	r := &markdown{source: source, width: max(20, min(width, widest)), color: color}
	r.blocks(md.Parser().Parse(text.NewReader(source)), "", "")
	return r.out.String()
}

type markdown struct {
	source []byte
	width  int
	color  bool
	out    strings.Builder
}

func (r *markdown) style(look, s string) string {
	if !r.color || look == "" || s == "" {
		return s
	}
	return look + s + plainly
}

// blocks renders a node's children, with an empty line between them. The first line begins with first, the others with rest.
func (r *markdown) blocks(parent ast.Node, first, rest string) {
	list, isList := parent.(*ast.List)
	n := 0
	for c := parent.FirstChild(); c != nil; c = c.NextSibling() {
		if skipped(r.source, c) {
			continue
		}
		tight := isList && list.IsTight || isTextBlock(c) || inTightItem(c)
		if n > 0 && !tight {
			r.line(strings.TrimRight(rest, " "))
		}
		r.block(c, first, rest)
		first = rest
		n++
	}
}

func isTextBlock(n ast.Node) bool { return n.Kind() == ast.KindTextBlock }

// inTightItem is so for a list within an item of a list without empty lines.
func inTightItem(n ast.Node) bool {
	item, ok := n.Parent().(*ast.ListItem)
	if !ok {
		return false
	}
	list, ok := item.Parent().(*ast.List)
	return ok && list.IsTight
}

// skipped are blocks that say nothing on a terminal: diagrams for a browser, HTML and its comments.
func skipped(source []byte, n ast.Node) bool {
	if code, ok := n.(*ast.FencedCodeBlock); ok {
		return string(code.Language(source)) == "mermaid"
	}
	return n.Kind() == ast.KindHTMLBlock
}

func (r *markdown) line(s string) { r.out.WriteString(s + "\n") }

func (r *markdown) block(n ast.Node, first, rest string) {
	switch n := n.(type) {
	case *ast.Heading:
		title := r.plain(n)
		if !r.color {
			title = strings.Repeat("#", n.Level) + " " + title
		}
		r.line(first + r.style(heading, title))
	case *ast.List:
		r.list(n, first, rest)
	case *ast.FencedCodeBlock, *ast.CodeBlock:
		for i := range n.Lines().Len() {
			segment := n.Lines().At(i)
			r.line(first + "    " + r.style(coded, strings.TrimRight(string(segment.Value(r.source)), "\r\n")))
			first = rest
		}
	case *ast.Blockquote:
		r.blocks(n, first+r.style(faintly, "│ "), rest+r.style(faintly, "│ "))
	case *ast.ThematicBreak:
		r.line(first + r.style(faintly, strings.Repeat("─", max(3, r.width-Width(first)))))
	case *tables.Table:
		r.table(n, first, rest)
	default:
		r.wrap(r.words(n), first, rest)
	}
}

func (r *markdown) list(l *ast.List, first, rest string) {
	number, n := l.Start, 0
	for item := l.FirstChild(); item != nil; item = item.NextSibling() {
		mark := "• "
		if l.IsOrdered() {
			mark = fmt.Sprintf("%d. ", number)
			number++
		}
		if n > 0 && !l.IsTight {
			r.line(strings.TrimRight(rest, " "))
		}
		if item.FirstChild() == nil {
			r.line(first + strings.TrimSpace(mark))
		}
		r.blocks(item, first+mark, rest+strings.Repeat(" ", Width(mark)))
		first = rest
		n++
	}
}

// wrap fills lines with words. A word that is longer than a line stays whole: it is a URL or a command to paste.
func (r *markdown) wrap(words []string, first, rest string) {
	line, used := first, Width(first)
	begun := false
	for _, w := range words {
		if w == "\n" {
			r.line(strings.TrimRight(line, " "))
			line, used, begun = rest, Width(rest), false
			continue
		}
		if begun && used+1+Width(w) > r.width {
			r.line(line)
			line, used, begun = rest, Width(rest), false
		}
		if begun {
			line, used = line+" ", used+1
		}
		line, used, begun = line+w, used+Width(w), true
	}
	if begun || len(words) == 0 {
		r.line(strings.TrimRight(line, " "))
	}
}

// Width is how many columns a string takes, escape codes apart.
func Width(s string) int {
	n := 0
	for s != "" {
		if rest, ok := strings.CutPrefix(s, "\x1b["); ok {
			_, s, _ = strings.Cut(rest, "m")
			continue
		}
		_, size := utf8.DecodeRuneInString(s)
		s = s[size:]
		n++
	}
	return n
}
