package main

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
)

// known takes a field that means something in every log: its time, its level, its message. The first of a meaning counts, later
// ones are fields.
func (e *Event) known(c *Clock, key, value string) bool {
	switch key {
	case "time", "ts", "timestamp", "@timestamp", "Timestamp", "t":
		if !e.Time.IsZero() {
			return false
		}
		return c.any(value, e) == nil
	case "level", "lvl", "severity", "log.level", "loglevel", "levelname", "SeverityText":
		if e.Level != "" || severity(value) == 0 {
			return false
		}
		e.level(value)
		return true
	case "msg", "message", "Body", "event":
		if e.Body != "" || key == "event" {
			return false
		}
		e.Body = value
		return true
	}
	return false
}

// parseLogfmt reads key=value pairs. A value with spaces is in quotes and escaped as in Go; a key alone is true. A line is taken
// for logfmt if it is nothing but pairs and one of them says what all logs say, or if there are three.
func parseLogfmt(c *Clock, line string, e *Event) bool {
	pairs, bare, known := 0, 0, 0
	e.Attrs = make([]Attr, 0, 8)
	for s := line; ; {
		s = strings.TrimLeft(s, " \t")
		if s == "" {
			break
		}
		n := 0
		for n < len(s) && s[n] > ' ' && s[n] != '=' && s[n] != '"' {
			n++
		}
		if n == 0 || n < len(s) && s[n] == '"' {
			return false
		}
		key := s[:n]
		if s = s[n:]; s == "" || s[0] != '=' {
			bare++
			e.Attrs = append(e.Attrs, Attr{key, "true", true})
			continue
		}
		s = s[1:]
		var value string
		if strings.HasPrefix(s, `"`) {
			text, rest, ok := quoted(s)
			if !ok || rest != "" && rest[0] != ' ' && rest[0] != '\t' {
				return false
			}
			value = text
			if raw := s[:len(s)-len(rest)]; strings.IndexByte(raw, '\\') >= 0 {
				if text, err := strconv.Unquote(raw); err == nil {
					value = text
				}
			}
			s = rest
		} else {
			n := strings.IndexAny(s, " \t")
			if n < 0 {
				n = len(s)
			}
			if value, s = s[:n], s[n:]; strings.IndexByte(value, '"') >= 0 {
				return false
			}
		}
		pairs++
		if e.known(c, key, value) {
			known++
		} else {
			e.number(key, value)
		}
	}
	return pairs > 0 && bare <= pairs && (known > 0 || pairs > 2)
}

// parseJSON reads an object. Its fields keep their order and values their form; a line that is not one whole object is none.
func parseJSON(c *Clock, line string, e *Event) bool {
	if !strings.HasPrefix(strings.TrimLeft(line, " \t"), "{") {
		return false
	}
	d := json.NewDecoder(strings.NewReader(line))
	if _, err := d.Token(); err != nil {
		return false
	}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return false
		}
		name, ok := key.(string)
		var raw json.RawMessage
		if err := d.Decode(&raw); err != nil || !ok {
			return false
		}
		value := string(raw)
		text := raw[0] == '"'
		if text && json.Unmarshal(raw, &value) != nil {
			return false
		}
		switch {
		case raw[0] != '{' && raw[0] != '[' && e.known(c, name, value):
		case text:
			e.add(name, value)
		default:
			var flat bytes.Buffer
			if json.Compact(&flat, raw) != nil {
				return false
			}
			e.Attrs = append(e.Attrs, Attr{name, flat.String(), true})
		}
	}
	if _, err := d.Token(); err != nil {
		return false
	}
	return strings.TrimSpace(line[d.InputOffset():]) == ""
}
