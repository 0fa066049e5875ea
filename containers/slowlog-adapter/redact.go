package main

import (
	"fmt"
	"slices"
	"strings"
)

// alwaysRedacted have secrets among their arguments, whatever the settings say. Redis itself hides some of them since
// 6.2, older ones none, and none of CONFIG SET's but the passwords.
var alwaysRedacted = []string{"AUTH", "HELLO", "CONFIG", "ACL", "MIGRATE"}

// Redact names the commands whose arguments are not shown.
type Redact map[string]bool

// newRedact adds commands to those that are always redacted: GET, or acl|setuser with its subcommand, in either case;
// * is every command.
func newRedact(more ...string) Redact {
	r := Redact{}
	for _, list := range [][]string{alwaysRedacted, more} {
		for _, name := range list {
			r[strings.ToUpper(name)] = true
		}
	}
	return r
}

// args are an entry's arguments as they may be shown, and whether some are hidden. Of a redacted command only its name
// is left, and of one that is named with its subcommand both: not even how long the others are.
func (r Redact) args(args []string) ([]string, bool) {
	keep := 0
	switch {
	case len(args) == 0:
		return args, false
	case r["*"] || r[strings.ToUpper(args[0])]:
		keep = 1
	case len(args) > 1 && r[strings.ToUpper(args[0]+"|"+args[1])]:
		keep = 2
	default:
		return args, false
	}
	if len(args) == keep {
		return args, false
	}
	return append(slices.Clone(args[:keep]), "(redacted)"), true
}

// redactName is an item of REDACT. A mistake here would show what must not be shown: it is better refused.
type redactName string

// UnmarshalText takes a command's name, with a subcommand after a bar, or *.
func (n *redactName) UnmarshalText(text []byte) error {
	_, want := n.SettingType()
	s := string(text)
	name, sub, two := strings.Cut(s, "|")
	if s != "*" && (!word(name) || two && !word(sub)) {
		return fmt.Errorf("not %s", want)
	}
	*n = redactName(s)
	return nil
}

// SettingType names the type in the documentation.
func (*redactName) SettingType() (name, want string) {
	return "command", "a command like GET or client|setname, or *"
}

// word: commands of modules have dots: FT.SEARCH.
func word(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '.' && r != '-' && r != '_'
	})
}
