package main

import (
	"strconv"
	"strings"
)

// negotiate is the form of an answer that a client likes best, of json and text, after RFC 9110, 12.5.1; "": it likes
// neither. Where it does not care it is json. What cannot be read is not a wish.
func negotiate(accept []string) string {
	line := strings.Join(accept, ",")
	if strings.TrimSpace(line) == "" {
		return "json"
	}
	json, text := like{}, like{}
	for item := range strings.SplitSeq(line, ",") {
		kind, params, _ := strings.Cut(item, ";")
		q, ok := quality(params)
		if !ok {
			continue
		}
		switch strings.ToLower(strings.TrimSpace(kind)) {
		case "*/*":
			json.wish(1, q)
			text.wish(1, q)
		case "application/*":
			json.wish(2, q)
		case "text/*":
			text.wish(2, q)
		case "application/json":
			json.wish(3, q)
		case "text/plain":
			text.wish(3, q)
		}
	}
	switch {
	case json.q == 0 && text.q == 0:
		return ""
	case text.q > json.q:
		return "text"
	}
	return "json"
}

// like is how much a form is wished for, and by how narrow a range: the narrowest counts.
type like struct {
	narrow int
	q      float64
}

func (l *like) wish(narrow int, q float64) {
	if narrow > l.narrow || narrow == l.narrow && q > l.q {
		l.narrow, l.q = narrow, q
	}
}

// quality is the weight among an item's parameters.
func quality(params string) (float64, bool) {
	for p := range strings.SplitSeq(params, ";") {
		name, value, _ := strings.Cut(p, "=")
		if !strings.EqualFold(strings.TrimSpace(name), "q") {
			continue
		}
		value = strings.TrimSpace(value)
		q, err := strconv.ParseFloat(value, 64)
		if err != nil || len(value) > 5 || !(q >= 0 && q <= 1) {
			return 0, false
		}
		return q, true
	}
	return 1, true
}
