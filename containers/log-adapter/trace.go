package main

import (
	"strings"
)

// parseHead reads the line that a logger begins a record with, in any of the usual layouts of Java, Kotlin, Python, Go and .NET: a
// time, and a level among the next words; or a level in the form of .NET's console (fail: Shop.Orders[0]) and of Python's logging
// (ERROR:root:late). What begins no record belongs to the one before: a message may have any lines.
func parseHead(c *Clock, line string, e *Event) bool {
	s := strings.TrimPrefix(line, "[")
	if len(s) == 0 || s[0] < '0' || s[0] > '9' {
		return parseLevelHead(line, e)
	}
	rest, ok := c.iso(s, e)
	if !ok {
		var w wall
		if rest, ok = clockTime(s, &w); !ok || rest == "" || rest[0] != ' ' && rest[0] != ']' {
			return false
		}
		// logback without a date: today's, or yesterday's just before midnight.
		now := c.Now().In(c.Zone)
		w.y, w.mo, w.d = now.Year(), int(now.Month()), now.Day()
		if c.set(e, w, nil, "", false) != nil {
			return false
		}
		if d := e.Time.Sub(now).Hours(); d > 12 || d < -12 {
			at := now.AddDate(0, 0, map[bool]int{true: -1, false: 1}[d > 0])
			w.y, w.mo, w.d = at.Year(), int(at.Month()), at.Day()
			if c.set(e, w, nil, "", false) != nil {
				return false
			}
		}
	}
	if rest != "" && strings.IndexByte(" \t]|:", rest[0]) < 0 {
		return false
	}
	rest = strings.TrimLeft(rest, " \t]|:-")
	e.Body = rest
	// A level stands among the first words, in brackets or not.
	for n, s := 0, rest; n < 6 && s != ""; n++ {
		w, after, _ := strings.Cut(s, " ")
		bare := strings.Trim(w, "[]():|,-")
		if e.Level == "" && len(bare) > 2 && severity(bare) > 0 && (bare[0] < 'a' || w != bare || n == 0) {
			e.level(bare)
		}
		s = strings.TrimLeft(after, " ")
	}
	if i := strings.IndexByte(rest, '['); i >= 0 && i < 64 {
		if name, _, ok := strings.Cut(rest[i+1:], "]"); ok && name != "" && severity(name) == 0 && len(name) < 80 {
			e.add("thread.name", name)
		}
	}
	return true
}

func parseLevelHead(line string, e *Event) bool {
	w, rest, ok := strings.Cut(line, ":")
	if !ok || len(w) < 4 || len(w) > 8 {
		return false
	}
	switch w {
	case "trce", "dbug", "info", "warn", "fail", "crit":
		open := strings.IndexByte(rest, '[')
		if !strings.HasPrefix(rest, " ") || open < 2 || !strings.HasSuffix(rest, "]") || !isInt(rest[open+1:len(rest)-1]) {
			return false
		}
		e.add("code.namespace", rest[1:open])
	case "DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL":
		name, message, ok := strings.Cut(rest, ":")
		if !ok || name == "" || strings.ContainsAny(name, " \t/") {
			return false
		}
		e.add("code.namespace", name)
		rest = message
	default:
		return false
	}
	e.level(w)
	e.Body = strings.TrimPrefix(rest, " ")
	return true
}

// What a line is to a trace.
const (
	plain     = iota
	goesOn    // it can only be the rest of something
	begins    // it begins a trace, whatever was before
	mayBegin  // it does if a frame follows
	pyBegins  // Python's, unless a trace before it goes on with it
	chains    // Python says that the next trace is of this event too
	emptyLine // between the parts of a trace, or after it
)

const (
	pyHead  = "Traceback (most recent call last):"
	pyGroup = "  + Exception Group Traceback (most recent call last):"
)

// classify says what a line is to a trace, by its look alone.
func classify(line string) int {
	switch {
	case strings.TrimSpace(line) == "":
		return emptyLine
	case line == pyHead || line == pyGroup:
		return pyBegins
	case line[0] == ' ' || line[0] == '\t' || line[0] == '}':
		return goesOn
	case strings.HasPrefix(line, "Caused by: ") || strings.HasPrefix(line, "Suppressed: ") || strings.HasPrefix(line, "at ") ||
		strings.HasPrefix(line, "... ") || strings.HasPrefix(line, "goroutine ") || strings.HasPrefix(line, "created by ") ||
		strings.HasPrefix(line, "--- End of ") || strings.HasPrefix(line, "exit status "):
		return goesOn
	case line == "The above exception was the direct cause of the following exception:" ||
		line == "During handling of the above exception, another exception occurred:":
		return chains
	case strings.HasPrefix(line, "panic: ") || strings.HasPrefix(line, "fatal error: ") ||
		strings.HasPrefix(line, "Exception in thread \"") || strings.HasPrefix(line, "Unhandled exception. "):
		return begins
	}
	class, message := class(line)
	switch {
	case class == "":
		return plain
	case strings.ContainsRune(class, '.') && errorName(class) && (message || class == line):
		return begins
	case strings.ContainsAny(class, ".$") || errorName(class):
		return mayBegin
	}
	return plain
}

func errorName(class string) bool {
	return strings.HasSuffix(class, "Exception") || strings.HasSuffix(class, "Error") || strings.HasSuffix(class, "Throwable")
}

// class is the name of a class at the front of a line, if nothing or a colon follows.
func class(line string) (name string, message bool) {
	n := 0
	for n < len(line) && (line[n] == '.' || line[n] == '$' || line[n] == '_' || line[n] == '/' || line[n] == '`' || line[n] == '@' ||
		word(line[n]) && line[n] != '-') {
		n++
	}
	if n == 0 || line[0] >= '0' && line[0] <= '9' || line[0] == '.' || n < len(line) && !strings.HasPrefix(line[n:], ":") ||
		n+1 < len(line) && line[n+1] != ' ' {
		return "", false
	}
	return strings.TrimSuffix(line[:n], "."), n < len(line)
}

// frame says that a line is one of a JVM's or .NET's trace.
func frame(line string) bool {
	return strings.HasPrefix(line, "\tat ") || strings.HasPrefix(line, "   at ") || strings.HasPrefix(line, "    at ")
}

// exception fills in what a trace is about, from the lines of an event.
func exception(lines []string, e *Event, known bool) {
	for i, line := range lines {
		kind := classify(line)
		if i == 0 && known {
			if len(lines) > 1 && frame(lines[1]) && e.inHead(lines) {
				return
			}
			continue
		}
		switch {
		case kind == pyBegins:
			e.python(lines[i:])
		case kind == begins && (i == 0 || len(lines) > i+1), kind == mayBegin && i+1 < len(lines) && frame(lines[i+1]):
			line = strings.TrimPrefix(line, "Unhandled exception. ")
			if rest, ok := strings.CutPrefix(line, "Exception in thread \""); ok {
				thread, after, _ := strings.Cut(rest, "\" ")
				e.add("thread.name", thread)
				line = after
			}
			kind, message, _ := strings.Cut(line, ": ")
			for _, more := range lines[i+1:] { // of a message of several lines
				if kind == "panic" || classify(more) != plain {
					break
				}
				message += "\n" + more
			}
			e.exception(kind, message, lines[i:])
		default:
			continue
		}
		return
	}
}

// inHead finds an exception that the logger has written at the end of a record's first line.
func (e *Event) inHead(lines []string) bool {
	for s := e.Body; s != ""; {
		if kind, _ := class(s); strings.ContainsRune(kind, '.') && errorName(kind) {
			_, message, _ := strings.Cut(s, ": ")
			e.exception(kind, message, append([]string{s}, lines[1:]...))
			return true
		}
		_, s, _ = strings.Cut(s, " ")
	}
	return false
}

func (e *Event) exception(kind, message string, lines []string) {
	e.add("exception.type", kind)
	if message != "" {
		e.add("exception.message", message)
	}
	e.add("exception.stacktrace", strings.Join(lines, "\n"))
	if e.Severity == 0 {
		e.Level, e.Severity = "ERROR", 17
	}
}

// python takes type and message from the last line at the margin that follows a frame.
func (e *Event) python(lines []string) {
	margin := ""
	if lines[0] == pyGroup {
		margin = "  | "
	}
	kind, message := "", ""
	for i := 1; i < len(lines); i++ {
		before, inside := strings.CutPrefix(lines[i-1], margin)
		s, ok := strings.CutPrefix(lines[i], margin)
		if !ok || !inside && i > 1 || s == "" || s[0] == ' ' || classify(s) == chains || s == pyHead {
			continue
		}
		if strings.HasPrefix(before, " ") {
			kind, message, _ = strings.Cut(s, ": ")
		} else if kind != "" && before != "" && margin == "" {
			message += "\n" + s
		}
	}
	if kind != "" {
		e.exception(kind, message, lines)
	}
}
