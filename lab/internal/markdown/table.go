package markdown

import (
	"slices"
	"strings"

	tables "github.com/yuin/goldmark/extension/ast"
)

// table aligns columns. One that is too wide for the terminal becomes a list of its rows, whose cells can wrap.
func (r *markdown) table(t *tables.Table, first, rest string) {
	var rows [][]string
	for row := t.FirstChild(); row != nil; row = row.NextSibling() {
		var cells []string
		for cell := row.FirstChild(); cell != nil; cell = cell.NextSibling() {
			if row == t.FirstChild() {
				cells = append(cells, r.style(boldly, r.plain(cell)))
			} else {
				cells = append(cells, strings.Join(r.words(cell), " "))
			}
		}
		rows = append(rows, cells)
	}
	widths := columns(rows)
	total := Width(first) - 2
	for _, w := range widths {
		total += w + 2
	}
	if total > r.width && len(rows) > 1 {
		r.tableAsList(t, rows[0], first, rest)
		return
	}
	if Width(strings.Join(rows[0], "")) == 0 {
		rows = rows[1:] // a head without a word
	}
	for _, cells := range rows {
		line := first
		for i, s := range cells {
			line += s + strings.Repeat(" ", widths[i]-Width(s)+2)
		}
		r.line(strings.TrimRight(line, " "))
		first = rest
	}
}

func columns(rows [][]string) []int {
	var widths []int
	for _, cells := range rows {
		for i, s := range cells {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], Width(s))
		}
	}
	return widths
}

// tableAsList names a row by its first cell, and each further cell by its column.
func (r *markdown) tableAsList(t *tables.Table, head []string, first, rest string) {
	for row := t.FirstChild().NextSibling(); row != nil; row = row.NextSibling() {
		i := 0
		for cell := row.FirstChild(); cell != nil; cell = cell.NextSibling() {
			mark, words := "  ", r.words(cell)
			switch {
			case i == 0:
				mark = "• "
			case len(words) > 0 && i < len(head) && Width(head[i]) > 0:
				words = slices.Concat([]string{head[i] + ":"}, words)
			}
			if len(words) > 0 {
				r.wrap(words, first+mark, rest+"  ")
				first = rest
			}
			i++
		}
	}
}
