package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// filter is one condition on a field: its value is, is at least or is at most another.
type filter struct {
	field int
	op    string // "", gte, lte
	want  value
	kind  string
}

// filter reads name=text, name.gte=text or name.lte=text. The text is as the API writes values; nothing is null.
func (s *Schema) filter(name, text string) (filter, error) {
	name, op, _ := strings.Cut(name, ".")
	i := slices.IndexFunc(s.Fields, func(f Field) bool { return f.Name == name })
	if i < 0 {
		return filter{}, fmt.Errorf("there is no such field")
	}
	f := &s.Fields[i]
	out := filter{field: i, op: op, kind: f.Type, want: value{null: text == "", text: text}}
	switch {
	case op != "" && op != "gte" && op != "lte":
		return out, fmt.Errorf("want %s, %s.gte or %s.lte", name, name, name)
	case op != "" && (f.Type == "string" || f.Type == "boolean" || text == ""):
		return out, fmt.Errorf("%s: only numbers and dates are more or less than a value", name)
	case text == "":
		return out, nil
	}
	from := From{Layout: "YYYY-MM-DD", layout: time.DateOnly, True: []string{"true"}, False: []string{"false"}}
	var err error
	out.want.text, err = f.read(&from, text)
	return out, err
}

func (f filter) matches(v value) bool {
	switch {
	case f.op == "":
		return v == f.want
	case v.null:
		return false
	}
	c := strings.Compare(v.text, f.want.text)
	if f.kind != "date" {
		c = compare(v.text, f.want.text)
	}
	return f.op == "gte" && c >= 0 || f.op == "lte" && c <= 0
}

// compare orders two decimals of the same scale, exactly.
func compare(a, b string) int {
	aa, am := strings.CutPrefix(a, "-")
	bb, bm := strings.CutPrefix(b, "-")
	switch {
	case am && !bm:
		return -1
	case bm && !am:
		return 1
	case am:
		aa, bb = bb, aa
	}
	return cmp.Or(cmp.Compare(len(aa), len(bb)), strings.Compare(aa, bb))
}
