package compose

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"

	"distlab/lab/internal/hint"
)

// Lint reports every way in which a lab's compose file breaks the rules that all labs keep; docs/writing-a-lab.md
// has them with their reasons.
func (p *Project) Lint() error {
	var errs []error
	say := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	for _, name := range slices.Sorted(maps.Keys(p.Services)) {
		lintService(p.Services[name], say)
		if !p.Bench {
			lintHealth(p.Services[name], say)
		}
	}
	if p.Bench {
		p.lintBench(say)
	} else {
		p.lintMeta(say)
	}
	p.lintWritten(say)
	if len(errs) == 0 {
		return nil
	}
	return hint.Wrap(fmt.Errorf("compose file of %s breaks the rules of a lab:\n%w", p.Lab, errors.Join(errs...)),
		"the rules and their reasons are in docs/writing-a-lab.md")
}

func lintService(s types.ServiceConfig, say func(string, ...any)) {
	if s.ContainerName != "" {
		say("service %s: container_name keeps a second instance from running beside the first", s.Name)
	}
	for _, port := range s.Ports {
		if port.HostIP != "127.0.0.1" && port.HostIP != "::1" {
			say("service %s: port %d is not published on loopback: write 127.0.0.1:${PORT:-}:%d", s.Name, port.Target, port.Target)
		}
	}
	if s.MemLimit == 0 || s.CPUS == 0 {
		say("service %s: has no memory or CPU limit (mem_limit, cpus)", s.Name)
	}
	if ours(s.Image) {
		lintOurs(s, say)
	}
}

func lintHealth(s types.ServiceConfig, say func(string, ...any)) {
	if !ours(s.Image) && (s.HealthCheck == nil || s.HealthCheck.Disable) {
		say("service %s: a third-party image needs a health check in the compose file", s.Name)
	}
}

// lintBench holds what a comparison needs: health checks are processes too, and would be counted with the subject's work;
// ports that are published lead load past the network that is measured.
func (p *Project) lintBench(say func(string, ...any)) {
	for _, name := range slices.Sorted(maps.Keys(p.Services)) {
		s := p.Services[name]
		if s.HealthCheck == nil || !s.HealthCheck.Disable {
			say("service %s: in a comparison health checks are off (healthcheck: {disable: true})", name)
		}
		if len(s.Ports) > 0 {
			say("service %s: in a comparison nothing is published", name)
		}
	}
}

// lintOurs holds the hardening that our own images are made for. They bring their own health check.
func lintOurs(s types.ServiceConfig, say func(string, ...any)) {
	if s.Build == nil {
		say("service %s: image %s needs a build section, so that plain docker compose can make it", s.Name, s.Image)
	}
	if !s.ReadOnly {
		say("service %s: is not read_only", s.Name)
	}
	if !slices.Contains(s.CapDrop, "ALL") {
		say("service %s: does not drop all capabilities (cap_drop: [ALL])", s.Name)
	}
	if !slices.ContainsFunc(s.SecurityOpt, func(o string) bool { return strings.HasPrefix(o, "no-new-privileges") }) {
		say("service %s: lacks security_opt no-new-privileges", s.Name)
	}
	if s.Privileged {
		say("service %s: is privileged", s.Name)
	}
}

// ours: a substitute from Debian's packages has our prefix, and is held to what the image is that it stands in for.
func ours(image string) bool {
	return strings.HasPrefix(image, "distlab/") && !strings.HasPrefix(image, "distlab/debian-")
}

var placeholder = regexp.MustCompile(`\{([a-z][a-z0-9-]*)(?::(\d+))?\}`)

func (p *Project) lintMeta(say func(string, ...any)) {
	m := p.Meta
	if m.Title == "" || m.Pattern == "" || m.Says == "" {
		say("x-lab: needs a title, a pattern and a sentence (says)")
	}
	if len(m.Endpoints) == 0 || len(m.Try) == 0 {
		say("x-lab: needs endpoints to open and commands to try")
	}
	for _, e := range m.Endpoints {
		if !p.publishes(e.Service, e.Port) {
			say("x-lab: endpoint %s:%d is not published by the service", e.Service, e.Port)
		}
		if !strings.Contains(e.URL, "{address}") || e.Says == "" {
			say("x-lab: endpoint %s:%d needs a url with {address} and a sentence (says)", e.Service, e.Port)
		}
	}
	for _, c := range m.Try {
		if c.Run == "" || c.Says == "" {
			say("x-lab: a command to try needs run and says")
		}
		for _, match := range placeholder.FindAllStringSubmatch(c.Run, -1) {
			var port int
			_, _ = fmt.Sscan(match[2], &port)
			if match[2] != "" && !p.publishes(match[1], port) {
				say("x-lab: command %q: %s is not a published port of a service", c.Run, match[0])
			}
			if _, ok := p.Services[match[1]]; match[2] == "" && !ok {
				say("x-lab: command %q: %s is not a service", c.Run, match[0])
			}
		}
	}
}

func (p *Project) publishes(service string, port int) bool {
	for _, pc := range p.Services[service].Ports {
		if int(pc.Target) == port {
			return true
		}
	}
	return false
}
