package main

import (
	"strings"
)

// quoted takes a string in quotes, in which a backslash keeps a quote from ending it, from the front of a text.
func quoted(s string) (value, rest string, ok bool) {
	if len(s) == 0 || s[0] != '"' {
		return "", s, false
	}
	escaped := false
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			escaped = true
			i++
		case '"':
			value = s[1:i]
			if escaped {
				value = unescape(value)
			}
			return value, s[i+1:], true
		}
	}
	return "", s, false
}

// unescape undoes what servers do: \" and \\, \n and \t, and \xhh.
func unescape(s string) string {
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			b = append(b, s[i])
			continue
		}
		i++
		switch c := s[i]; c {
		case 'n':
			b = append(b, '\n')
		case 't':
			b = append(b, '\t')
		case 'r':
			b = append(b, '\r')
		case 'b':
			b = append(b, '\b')
		case 'v':
			b = append(b, '\v')
		case 'f':
			b = append(b, '\f')
		case '"', '\\':
			b = append(b, c)
		case 'x':
			if i+2 < len(s) && nibble(s[i+1]) >= 0 && nibble(s[i+2]) >= 0 {
				b = append(b, byte(nibble(s[i+1])<<4|nibble(s[i+2])))
				i += 2
				continue
			}
			fallthrough
		default:
			b = append(b, '\\', c)
		}
	}
	return string(b)
}

func nibble(c byte) int {
	if c < '0' {
		return -1
	}
	return strings.IndexByte("0123456789abcdef", c|0x20)
}

// parseAccess reads the common and the combined log of Apache and nginx: host ident user [time] "request" status bytes, and
// "referer" "user agent". A user may have spaces, a request need not have three parts; what comes after is kept as it is.
func parseAccess(c *Clock, line string, e *Event) bool {
	host, rest, ok := strings.Cut(line, " ")
	if !ok || host == "" || host[0] == '[' || host[0] == '{' || host[0] == '<' {
		return false
	}
	ident, rest, ok := strings.Cut(rest, " ")
	if !ok {
		return false
	}
	var user, at string
	for from := 0; ; {
		i := strings.Index(rest[from:], " [")
		if i < 0 {
			return false
		}
		i += from
		if j := i + 28; len(rest) > j+2 && rest[j] == ']' && c.access(rest[i+2:j], e) {
			user, at, rest = rest[:i], rest[i+2:j], rest[j+1:]
			break
		}
		from = i + 1
	}
	_ = at
	if len(rest) < 2 {
		return false
	}
	request, rest, ok := quoted(rest[1:])
	if !ok || len(rest) < 5 || rest[0] != ' ' {
		return false
	}
	status := rest[1:4]
	if _, ok := digits(status, 3); !ok || rest[4] != ' ' {
		return false
	}
	size, rest, _ := strings.Cut(rest[5:], " ")
	if size != "-" && !isInt(size) {
		return false
	}
	e.Attrs = make([]Attr, 0, 12)
	e.Body = request
	e.add("client.address", host)
	if ident != "-" {
		e.add("client.ident", ident)
	}
	if user != "-" && user != `""` {
		e.add("user.name", user)
	}
	method, target, _ := strings.Cut(request, " ")
	if target, version, three := strings.Cut(target, " HTTP/"); three && method != "" {
		e.add("http.request.method", method)
		e.add("url.path", target)
		e.add("network.protocol.version", version)
	}
	e.number("http.response.status_code", status)
	if size == "-" {
		size = "0"
	}
	e.number("http.response.body.size", size)
	if referer, after, ok := quoted(rest); ok {
		rest = strings.TrimPrefix(after, " ")
		if referer != "-" && referer != "" {
			e.add("http.request.header.referer", referer)
		}
		if agent, after, ok := quoted(rest); ok {
			rest = strings.TrimPrefix(after, " ")
			if agent != "-" && agent != "" {
				e.add("user_agent.original", agent)
			}
		}
	}
	if rest != "" {
		e.add("http.access.more", rest)
	}
	switch {
	case status >= "500":
		e.Level, e.Severity = "ERROR", 17
	case status >= "400":
		e.Level, e.Severity = "WARN", 13
	default:
		e.Level, e.Severity = "INFO", 9
	}
	return true
}

// parseApacheError reads [Wed Nov 25 00:25:51.624097 2026] [module:level] [pid 1:tid 2] [client 1.2.3.4:5] AH00489: message. Its time
// is local and has no zone.
func parseApacheError(c *Clock, line string, e *Event) bool {
	if len(line) < 30 || line[0] != '[' || line[4] != ' ' {
		return false
	}
	end := strings.IndexByte(line, ']')
	if end < 25 || month(line[5:]) == 0 {
		return false
	}
	if rest, ok := c.stamp(line[5:end], e); !ok || rest != "" {
		return false
	}
	rest := line[end+1:]
	for first := true; strings.HasPrefix(rest, " ["); first = false {
		end := strings.IndexByte(rest, ']')
		if end < 0 {
			break
		}
		field := rest[2:end]
		switch kind, value, _ := strings.Cut(field, " "); {
		case first:
			module, level, ok := strings.Cut(field, ":")
			if !ok {
				module, level = "", field
			}
			if severity(level) == 0 && !strings.HasPrefix(level, "trace") {
				return false
			}
			e.Level, e.Severity = level, max(1, severity(level))
			if module != "" {
				e.add("apache.module", module)
			}
		case kind == "pid":
			pid, tid, _ := strings.Cut(value, ":tid ")
			e.number("process.pid", pid)
			if tid != "" {
				e.number("thread.id", tid)
			}
		case kind == "client" || kind == "remote":
			host := value
			if i := strings.LastIndexByte(value, ':'); i > 0 && isInt(value[i+1:]) {
				host = value[:i]
				e.number("client.port", value[i+1:])
			}
			e.add("client.address", host)
		default:
			e.Body = strings.TrimPrefix(rest, " ")
			return e.Level != ""
		}
		rest = rest[end+1:]
	}
	e.Body = unescape(strings.TrimPrefix(rest, " "))
	return e.Level != ""
}
