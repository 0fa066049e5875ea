package main

import (
	"bytes"
	"encoding/json"
	"io"
	"strings"
)

// differences are the fields in which two answers differ: status, type, and
// body, or the paths of a JSON body, such as body.items.price: the place in a
// list is left out.
func differences(a, b page) map[string]bool {
	diff := map[string]bool{}
	if a.status != b.status {
		diff["status"] = true
	}
	if a.kind != b.kind {
		diff["type"] = true
	}
	if bytes.Equal(a.body, b.body) {
		return diff
	}
	x, okX := parseJSON(a)
	y, okY := parseJSON(b)
	if !okX || !okY {
		diff["body"] = true
		return diff
	}
	differ(diff, "body", x, y)
	return diff
}

func parseJSON(p page) (v any, ok bool) {
	if p.kind != "application/json" && !strings.HasSuffix(p.kind, "+json") {
		return nil, false
	}
	d := json.NewDecoder(bytes.NewReader(p.body))
	d.UseNumber()
	if d.Decode(&v) != nil {
		return nil, false
	}
	_, err := d.Token()
	return v, err == io.EOF
}

// differ adds the paths below one at which x and y differ. JSON nests no
// deeper than encoding/json allows.
func differ(diff map[string]bool, path string, x, y any) {
	switch x := x.(type) {
	case map[string]any:
		y, ok := y.(map[string]any)
		if !ok {
			diff[path] = true
			return
		}
		for name, v := range x {
			if other, ok := y[name]; ok {
				differ(diff, path+"."+name, v, other)
			} else {
				diff[path+"."+name] = true
			}
		}
		for name := range y {
			if _, ok := x[name]; !ok {
				diff[path+"."+name] = true
			}
		}
	case []any:
		y, ok := y.([]any)
		if !ok || len(x) != len(y) {
			diff[path] = true
			return
		}
		for i := range x {
			differ(diff, path, x[i], y[i])
		}
	default:
		switch y.(type) {
		case map[string]any, []any:
			diff[path] = true
		default:
			if x != y {
				diff[path] = true
			}
		}
	}
}
