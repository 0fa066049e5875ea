package main

import (
	"strconv"
	"strings"
)

// syslogLevels are the words of severities 0 to 7, and syslogSeverity OpenTelemetry's numbers of them.
var (
	syslogLevels   = [...]string{"emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"}
	syslogSeverity = [...]int{21, 19, 18, 17, 13, 10, 9, 5}
)

// parseSyslog reads RFC 5424, and RFC 3164 as it is found: without a priority, host or tag, too.
func parseSyslog(c *Clock, line string, e *Event) bool {
	rest := line
	if strings.HasPrefix(line, "<") {
		end := strings.IndexByte(line, '>')
		if end < 2 || end > 4 {
			return false
		}
		pri, ok := digits(line[1:], end-1)
		if !ok || pri > 191 {
			return false
		}
		e.Level, e.Severity = syslogLevels[pri&7], syslogSeverity[pri&7]
		e.number("syslog.facility", strconv.Itoa(pri>>3))
		rest = line[end+1:]
		if strings.HasPrefix(rest, "1 ") {
			return parse5424(c, rest[2:], e)
		}
	}
	if after, ok := c.stamp(rest, e); ok && strings.HasPrefix(after, " ") {
		rest = after[1:]
	} else if after, ok := c.iso(rest, e); ok && strings.HasPrefix(after, " ") && rest != line {
		rest = after[1:]
	} else {
		// RFC 3164, 4.3.3: without a time all is content; a priority alone says that it is syslog.
		e.Body = rest
		return rest != line
	}
	if host, after, ok := strings.Cut(rest, " "); ok && host != "" && !strings.HasSuffix(host, ":") && !strings.ContainsAny(host, "[]") {
		e.add("host.name", host)
		rest = after
	}
	tag := 0
	for tag < len(rest) && tag < 48 && (word(rest[tag]) || strings.IndexByte("./()", rest[tag]) >= 0) {
		tag++
	}
	if tag > 0 && tag < len(rest) && (rest[tag] == ':' || rest[tag] == '[') {
		name, after := rest[:tag], rest[tag:]
		if after[0] == '[' {
			pid, behind, ok := strings.Cut(after[1:], "]")
			if !ok {
				e.Body = rest
				return true
			}
			e.number("process.pid", pid)
			after = behind
		}
		e.add("syslog.appname", name)
		rest = strings.TrimPrefix(strings.TrimPrefix(after, ":"), " ")
	}
	e.Body = rest
	return true
}

// parse5424 reads what follows the version: TIMESTAMP HOST APP PROCID MSGID SD MSG, a dash where there is none.
func parse5424(c *Clock, s string, e *Event) bool {
	at, s, ok := strings.Cut(s, " ")
	if !ok {
		return false
	}
	if at != "-" {
		rest, ok := c.iso(at, e)
		if !ok || rest != "" || e.Zone == "" {
			return false
		}
	}
	for _, field := range []struct {
		key string
		max int
	}{{"host.name", 255}, {"syslog.appname", 48}, {"process.pid", 128}, {"syslog.msgid", 32}} {
		var value string
		if value, s, ok = strings.Cut(s, " "); !ok && field.key != "syslog.msgid" || value == "" || len(value) > field.max {
			return false
		}
		if value != "-" {
			e.number(field.key, value)
		}
	}
	if strings.HasPrefix(s, "-") {
		s = s[1:]
	} else if s, ok = structured(s, e); !ok {
		return false
	}
	if s != "" && s[0] != ' ' {
		return false
	}
	e.Body = strings.TrimPrefix(strings.TrimPrefix(s, " "), "\ufeff")
	return true
}

// structured reads [id name="value" ...][...]. In a value a backslash stands before a quote, a backslash and a closing bracket.
func structured(s string, e *Event) (rest string, ok bool) {
	if !strings.HasPrefix(s, "[") {
		return s, false
	}
	for strings.HasPrefix(s, "[") {
		n := strings.IndexAny(s, " ]")
		if n < 2 {
			return s, false
		}
		id := s[1:n]
		for s = s[n:]; strings.HasPrefix(s, " "); {
			name, after, ok := strings.Cut(strings.TrimLeft(s, " "), `="`)
			if !ok || name == "" || len(name) > 32 || strings.ContainsAny(name, " ]\"") {
				return s, false
			}
			var value strings.Builder
			i := 0
			for ; i < len(after) && after[i] != '"'; i++ {
				if after[i] == '\\' && i+1 < len(after) && strings.IndexByte(`"\]`, after[i+1]) >= 0 {
					i++
				}
				value.WriteByte(after[i])
			}
			if i == len(after) {
				return s, false
			}
			e.add("syslog.sd."+id+"."+name, value.String())
			s = after[i+1:]
		}
		if !strings.HasPrefix(s, "]") {
			return s, false
		}
		s = s[1:]
	}
	return s, true
}

// parseKlog reads I1125 00:25:51.624097    1755 file.go:12] message. It has no year, and no zone.
func parseKlog(c *Clock, line string, e *Event) bool {
	if len(line) < 22 || line[5] != ' ' || strings.IndexByte("IWEF", line[0]) < 0 {
		return false
	}
	var w wall
	var mo, d bool
	w.mo, mo = digits(line[1:], 2)
	w.d, d = digits(line[3:], 2)
	rest, ok := clockTime(line[6:], &w)
	head, message, has := strings.Cut(rest, "] ")
	if !has {
		head, has = strings.CutSuffix(rest, "]")
	}
	if !mo || !d || !ok || !has || c.set(e, w, nil, "", true) != nil {
		return false
	}
	id, where, ok := strings.Cut(strings.TrimLeft(head, " "), " ")
	file, number, colon := strings.Cut(where, ":")
	if !ok || !isInt(id) || !colon || !isInt(number) {
		return false
	}
	e.level(map[byte]string{'I': "INFO", 'W': "WARNING", 'E': "ERROR", 'F': "FATAL"}[line[0]])
	e.number("thread.id", id)
	e.add("code.file.path", file)
	e.number("code.line.number", number)
	e.Body = message
	return true
}
