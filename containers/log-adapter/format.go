package main

import (
	"regexp"
	"strings"
	"time"
)

// Format understands one kind of log.
type Format struct {
	Name string

	// Parse fills the event from a line, or says that the line does not begin an event of this format.
	Parse func(c *Clock, line string, e *Event) bool

	// Joins says that an event may have more lines: what begins none belongs to the one before.
	Joins bool
}

// formats are those that can be told. Detection tries those of [detected], in its order: what more lines look like by chance comes
// later.
var formats = map[string]*Format{
	"trace":        {Name: "trace", Parse: parseHead, Joins: true},
	"access":       {Name: "access", Parse: parseAccess},
	"apache-error": {Name: "apache-error", Parse: parseApacheError},
	"logfmt":       {Name: "logfmt", Parse: parseLogfmt},
	"json":         {Name: "json", Parse: parseJSON},
	"klog":         {Name: "klog", Parse: parseKlog, Joins: true},
	"syslog":       {Name: "syslog", Parse: parseSyslog},
}

var detected = []string{"json", "syslog", "apache-error", "access", "klog", "trace", "logfmt"}

// groups are the names that a pattern's groups may have besides fields' own.
const patternTime, patternLevel, patternMessage = "time", "level", "message"

// newPattern is a format of one's own: an RE2 expression for the line that begins an event. Its groups time, level and message are
// what they say, any other is a field. layout is Go's, for the time; without it the usual ones are tried.
func newPattern(re *regexp.Regexp, layout string) *Format {
	names := re.SubexpNames()
	return &Format{Name: "pattern", Joins: true, Parse: func(c *Clock, line string, e *Event) bool {
		m := re.FindStringSubmatchIndex(line)
		if m == nil {
			return false
		}
		e.Body = line
		for i, name := range names {
			if name == "" || m[2*i] < 0 {
				continue
			}
			value := line[m[2*i]:m[2*i+1]]
			switch name {
			case patternTime:
				if !c.layout(layout, value, e) {
					e.add("time", value)
				}
			case patternLevel:
				e.level(value)
			case patternMessage:
				e.Body = value
			default:
				e.number(name, value)
			}
		}
		return true
	}}
}

// layout reads a time of one's own form.
func (c *Clock) layout(layout, value string, e *Event) bool {
	if layout == "" {
		if c.any(value, e) == nil {
			return true
		}
		rest, ok := c.stamp(value, e)
		return ok && rest == ""
	}
	t, err := time.Parse(layout, value)
	if err != nil {
		return false
	}
	// time.Parse makes a zone of any name. What the layout has of one is looked at as everywhere else.
	var loc *time.Location
	name := ""
	switch {
	case strings.Contains(layout, "-07") || strings.Contains(layout, "Z07"):
		loc, name = t.Location(), t.Format("-07:00")
	case strings.Contains(layout, "MST"):
		abbr, _ := t.Zone()
		if h, known := abbreviations[abbr]; known {
			loc, name = time.FixedZone(abbr, h*3600), abbr
		}
	}
	w := wall{t.Year(), int(t.Month()), t.Day(), t.Hour(), t.Minute(), t.Second(), t.Nanosecond()}
	return c.set(e, w, loc, name, !strings.Contains(layout, "06")) == nil
}
