package main

import (
	"fmt"
	"regexp"
	"strings"
)

// Rule names the group of the processes whose command line it matches.
type Rule struct {
	Group   string
	Command *regexp.Regexp
}

// UnmarshalText parses web=^nginx.
func (r *Rule) UnmarshalText(text []byte) error {
	name, expr, ok := strings.Cut(string(text), "=")
	if !ok || name == "" || expr == "" {
		return fmt.Errorf("not a group and a regular expression like web=^nginx")
	}
	re, err := regexp.Compile(expr)
	if err != nil {
		return err
	}
	r.Group, r.Command = name, re
	return nil
}

// SettingType names the type in the documentation.
func (*Rule) SettingType() (name, want string) { return "group", "a group like web=^nginx" }

// maxGroup bounds the name of a group: it is a label of metrics.
const maxGroup = 64

// groups names each process's group: the first rule that matches; else that of its parent, if a rule made that; else
// its container, called by the name of the oldest process there; else its own name.
func groups(processes []*Process, rules []Rule, by string) map[id]string {
	names := make(map[id]string, len(processes))
	byPID := make(map[int]*Process, len(processes))
	oldest := map[string]*Process{}
	matched := map[id]string{}
	for _, p := range processes {
		byPID[p.PID] = p
		if o := oldest[p.Container]; o == nil || p.Start < o.Start || p.Start == o.Start && p.PID < o.PID {
			oldest[p.Container] = p
		}
		line := strings.Join(p.Command, " ")
		for _, r := range rules {
			if r.Command.MatchString(line) {
				matched[p.id()] = r.Group
				break
			}
		}
	}
	for _, p := range processes {
		name, ok := matched[p.id()]
		for up, n := p, 0; !ok && n < len(processes); n++ {
			if up = byPID[up.Parent]; up == nil {
				break
			}
			name, ok = matched[up.id()]
		}
		switch {
		case ok:
		case by == "container" && p.Container != "":
			name = oldest[p.Container].Name
		default:
			name = p.Name
		}
		if strings.HasPrefix(name, "runc:[") { // a container that is being started: it has the name of its maker still
			name = "starting"
		}
		names[p.id()] = clip(visible(name), maxGroup)
	}
	return names
}
