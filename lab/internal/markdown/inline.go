package markdown

import (
	"strings"

	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/util"
)

// span is a piece of text of one look.
type span struct {
	look, text string
	whole      bool // it does not break at its spaces: code
}

// words are a block's text as styled words; "\n" is a line break that its author wants. A word may be of several looks.
func (r *markdown) words(n ast.Node) []string {
	var spans []span
	r.inline(n, "", &spans)
	var words []string
	open := false // the last word goes on: no space has come since
	for _, s := range spans {
		if s.text == "\n" {
			words, open = append(words, "\n"), false
			continue
		}
		parts := []string{s.text}
		if !s.whole {
			parts = strings.Split(s.text, " ")
		}
		for i, part := range parts {
			open = open && i == 0
			if part == "" {
				continue
			}
			if styled := r.style(s.look, part); open {
				words[len(words)-1] += styled
			} else {
				words = append(words, styled)
			}
			open = true
		}
	}
	return words
}

// plain is a block's text without looks.
func (r *markdown) plain(n ast.Node) string {
	was := r.color
	r.color = false
	defer func() { r.color = was }()
	return strings.Join(r.words(n), " ")
}

func (r *markdown) inline(n ast.Node, look string, out *[]span) {
	add := func(look, text string) { *out = append(*out, span{look: look, text: text}) }
	for c := n.FirstChild(); c != nil; c = c.NextSibling() {
		switch c := c.(type) {
		case *ast.Text:
			add(look, r.text(c))
			if c.HardLineBreak() {
				add("", "\n")
			} else if c.SoftLineBreak() {
				add("", " ")
			}
		case *ast.String:
			add(look, string(c.Value))
		case *ast.CodeSpan:
			*out = append(*out, span{look: coded, text: r.code(c), whole: true})
		case *ast.Emphasis:
			inner := look + italic
			if c.Level > 1 {
				inner = look + boldly
			}
			r.inline(c, inner, out)
		case *ast.Link:
			r.inline(c, look, out)
			if target := string(c.Destination); strings.Contains(target, "://") {
				add(faintly, " ("+target+")")
			}
		case *ast.AutoLink:
			add(look, string(c.URL(r.source)))
		case *ast.RawHTML:
			// Nothing to see.
		default:
			r.inline(c, look, out)
		}
	}
}

// text is what an author meant: without backslashes before punctuation, with entities as their characters.
func (r *markdown) text(t *ast.Text) string {
	value := t.Segment.Value(r.source)
	if !t.IsRaw() {
		value = util.UnescapePunctuations(util.ResolveEntityNames(util.ResolveNumericReferences(value)))
	}
	return strings.ReplaceAll(string(value), "\t", " ")
}

// code keeps the backticks where colour cannot stand in for them.
func (r *markdown) code(n ast.Node) string {
	var b strings.Builder
	for c := n.FirstChild(); c != nil; c = c.NextSibling() {
		if t, ok := c.(*ast.Text); ok {
			b.Write(t.Segment.Value(r.source))
		}
	}
	s := strings.ReplaceAll(b.String(), "\n", " ")
	if r.color {
		return s
	}
	return "`" + s + "`"
}
