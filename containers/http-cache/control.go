package main

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Control is the directives of a Cache-Control field: names in lower case, and what they are given, "" for nothing.
type Control map[string]string

// longest is RFC 9111's for a number that is too large (section 1.2.2).
const longest = 1<<31 - 1

// twice stands for a directive that is given two values. No number is so written: what it rules is stale (section
// 4.2.1).
const twice = "?"

// ParseControl reads all lines of a Cache-Control field. What is no directive is passed over, as far as the next comma.
func ParseControl(lines []string) Control {
	c := Control{}
	for _, line := range lines {
		for line != "" {
			var name, value string
			name, value, line = directive(line)
			if name == "" {
				continue
			}
			if old, there := c[name]; there && old != value {
				value = twice
			}
			c[name] = value
		}
	}
	return c
}

// directive reads one, and returns what comes behind its comma.
func directive(s string) (name, value, rest string) {
	s = strings.TrimLeft(s, " \t,")
	end := strings.IndexAny(s, "=,")
	if end < 0 {
		return word(s), "", ""
	}
	if name = word(s[:end]); s[end] == ',' {
		return name, "", s[end+1:]
	}
	s = strings.TrimLeft(s[end+1:], " \t")
	if !strings.HasPrefix(s, `"`) {
		value, rest, _ = strings.Cut(s, ",")
		return name, strings.TrimSpace(value), rest
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\' && i+1 < len(s):
			i++
			b.WriteByte(s[i])
		case c == '"':
			_, rest, _ = strings.Cut(s[i+1:], ",")
			return name, b.String(), rest
		default:
			b.WriteByte(c)
		}
	}
	return name, twice, "" // a quotation without an end
}

// word is a directive's name, or "" for what cannot be one.
func word(s string) string {
	s = strings.TrimSpace(s)
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || strings.IndexByte(`"(),/:;<=>?@[\]{}`, c) >= 0 {
			return ""
		}
	}
	return strings.ToLower(s)
}

// Has is whether the directive is there.
func (c Control) Has(name string) bool { _, ok := c[name]; return ok }

// Seconds is a directive's number. One that is there and is none counts as zero: invalid freshness is none.
func (c Control) Seconds(name string) (d time.Duration, there bool) {
	value, there := c[name]
	if !there {
		return 0, false
	}
	return delta(value), true
}

// delta is RFC 9111's delta-seconds; what is none is 0.
func delta(s string) time.Duration {
	if s == "" || strings.Trim(s, "0123456789") != "" {
		return 0
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n > longest {
		n = longest
	}
	return time.Duration(n) * time.Second
}

// targeted reads RFC 9213's CDN-Cache-Control, a dictionary of structured fields (RFC 8941) and stricter than
// Cache-Control. One that breaks its rules is passed over whole.
func targeted(lines []string) (Control, bool) {
	text := strings.TrimSpace(strings.Join(lines, ","))
	if text == "" {
		return nil, false
	}
	c := Control{}
	for part := range strings.SplitSeq(text, ",") {
		part, _, _ = strings.Cut(strings.TrimSpace(part), ";")
		name, value, given := strings.Cut(part, "=")
		if name == "" || name != strings.ToLower(name) || word(name) != name || given && value == "" {
			return nil, false
		}
		switch {
		case value == "?0":
			delete(c, name)
			continue
		case value == "?1":
			value = ""
		case strings.HasSuffix(name, "max-age") || strings.HasPrefix(name, "stale-"):
			if value == "" || strings.Trim(value, "0123456789") != "" || len(value) > 15 {
				return nil, false
			}
		}
		c[name] = value
	}
	return c, true
}

// date is a date in one of HTTP's formats. Anything else, "0" above all, is long past (section 5.3).
func date(h http.Header, name string) (t time.Time, there bool) {
	values := h[name]
	if len(values) == 0 {
		return time.Time{}, false
	}
	t, err := http.ParseTime(values[0])
	if err != nil || len(values) > 1 && values[1] != values[0] {
		return time.Time{}, true
	}
	return t, true
}
