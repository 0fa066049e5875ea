package main

import (
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// visible shows a name that a process chose for itself: what is not printable is written as in a Go string, and so is the
// backslash that does it. The result is one line of valid UTF-8 in which nothing moves the cursor, ends a line, turns
// the direction of writing or hides.
func visible(s string) string {
	var b strings.Builder
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		switch {
		case r == '\\':
			b.WriteString(`\\`)
		case r == utf8.RuneError && n == 1:
			b.WriteString(`\x`)
			b.WriteString(strconv.FormatUint(uint64(s[0])|0x100, 16)[1:])
		case unicode.IsPrint(r):
			b.WriteRune(r)
		default:
			quoted := strconv.QuoteRune(r)
			b.WriteString(quoted[1 : len(quoted)-1])
		}
		s = s[n:]
	}
	return b.String()
}

// clip shortens a text to at most n bytes, on the border of a rune.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "…"
}

// maxShown bounds the command line that is shown.
const maxShown = 512

// secrets are what command lines should not hold and do: a value after a flag or in an assignment whose name speaks of
// one, and the password in a URL.
var secrets = []*regexp.Regexp{
	regexp.MustCompile(`(?i)((?:^|[\s{,"'])[-\w.]*(?:passwd|password|secret|token|api-?key|credential)[-\w.]*["']?(?:\s*[=:]\s*|\s+))[^\s-]\S*`),
	regexp.MustCompile(`([a-zA-Z][a-zA-Z0-9+.-]*://[^/\s:@]*:)[^/\s@]+(?:@)`),
}

// redacted hides them.
func redacted(command string) string {
	command = secrets[0].ReplaceAllString(command, "${1}***")
	return secrets[1].ReplaceAllString(command, "${1}***@")
}

// command is how a process's command line is shown: one line, in brackets the name of one that has none.
func (p *Process) command(mode string) string {
	switch {
	case len(p.Command) == 0:
		return "[" + visible(p.Name) + "]"
	case mode == "name":
		return visible(p.Name)
	}
	line := strings.Join(p.Command, " ")
	if mode == "redacted" {
		line = redacted(line)
	}
	return clip(visible(line), maxShown)
}
