package stack

import (
	"context"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/compose-spec/compose-go/v2/types"
	"github.com/docker/compose/v5/pkg/api"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"distlab/lab/check"
	"distlab/lab/internal/compose"
)

// list are the containers that carry all these labels (key=value or key), stopped ones too, sorted by service and
// replica number.
func (e *Engine) list(ctx context.Context, labels ...string) ([]container.Summary, error) {
	res, err := e.Docker.ContainerList(ctx, client.ContainerListOptions{
		All:     true,
		Filters: make(client.Filters).Add("label", labels...),
	})
	if err != nil {
		return nil, e.explain(ctx, fmt.Errorf("list containers: %w", err))
	}
	slices.SortFunc(res.Items, func(a, b container.Summary) int {
		if c := strings.Compare(a.Labels[api.ServiceLabel], b.Labels[api.ServiceLabel]); c != 0 {
			return c
		}
		return number(a) - number(b)
	})
	return res.Items, nil
}

func inProject(project string) string { return api.ProjectLabel + "=" + project }

func number(c container.Summary) int {
	n, err := strconv.Atoi(c.Labels[api.ContainerNumberLabel])
	if err != nil {
		return 0
	}
	return n
}

func name(c container.Summary) string {
	if len(c.Names) == 0 {
		return c.ID[:12]
	}
	return strings.TrimPrefix(c.Names[0], "/")
}

func describe(c container.Summary) check.Container {
	out := check.Container{ID: c.ID, Name: name(c), Service: c.Labels[api.ServiceLabel], Number: number(c)}
	for _, p := range c.Ports {
		if p.PublicPort != 0 && p.Type == "tcp" {
			out.Ports = append(out.Ports, check.Port{
				Private: int(p.PrivatePort),
				Address: net.JoinHostPort(p.IP.String(), strconv.Itoa(int(p.PublicPort))),
			})
		}
	}
	return out
}

// containers are a project's service containers; one-off ones such as probes are not among them.
func (e *Engine) containers(ctx context.Context, project string) ([]container.Summary, error) {
	all, err := e.list(ctx, inProject(project), api.ServiceLabel)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(all, func(c container.Summary) bool { return c.Labels[api.OneoffLabel] == "True" }), nil
}

func (e *Engine) state(ctx context.Context, id string) (check.State, error) {
	res, err := e.Docker.ContainerInspect(ctx, id, client.ContainerInspectOptions{})
	if err != nil {
		return check.State{}, e.explain(ctx, fmt.Errorf("inspect container: %w", err))
	}
	c := res.Container
	st := check.State{
		Status: string(c.State.Status), ExitCode: c.State.ExitCode, OOMKilled: c.State.OOMKilled,
		Restarts: c.RestartCount, Networks: map[string]string{},
	}
	if c.State.Health != nil && c.State.Health.Status != container.NoHealthcheck {
		st.Health = string(c.State.Health.Status)
	}
	if t, err := time.Parse(time.RFC3339Nano, c.State.StartedAt); err == nil {
		st.StartedAt = t
	}
	if c.NetworkSettings != nil {
		for network, ep := range c.NetworkSettings.Networks {
			addr := ""
			if ep.IPAddress.IsValid() {
				addr = ep.IPAddress.String()
			}
			st.Networks[network] = addr
		}
	}
	return st, nil
}

// Member is one container of a stack as `lab status` tells of it.
type Member struct {
	check.Container
	Status   string // running, exited, …
	ExitCode int    // where it has ended
	OneShot  bool   // it ends by itself: another service waits for that
	Health   string
	Image    string
}

// Overview is one stack as found in the engine.
type Overview struct {
	Project  string
	Lab      string
	Instance string
	Variant  string
	Root     string
	Owner    Owner
	Session  string // of the owner: it lives as long as that holds a lock
	Expires  time.Time
	Members  []Member
	Missing  []string // what it should have and has not, in words
}

// State is the stack in a word: up (all run, none unhealthy), starting, partial or down.
func (o Overview) State() string {
	running, starting, bad := 0, 0, 0
	for _, m := range o.Members {
		switch {
		case m.OneShot && m.Status == "exited" && m.ExitCode == 0:
			running++
		case m.Status == "running" && m.Health == "starting":
			starting++
		case m.Status == "running" && m.Health != "unhealthy":
			running++
		default:
			bad++
		}
	}
	switch {
	case (bad > 0 || len(o.Missing) > 0) && running+starting > 0:
		return "partial"
	case bad > 0:
		return "down"
	case starting > 0:
		return "starting"
	}
	return "up"
}

// Name is the stack as a person names it.
func (o Overview) Name() string {
	if o.Instance == "" {
		return o.Lab
	}
	return o.Lab + " --name " + o.Instance
}

// Overviews are all stacks of distlab in the engine, by project name.
func (e *Engine) Overviews(ctx context.Context) ([]Overview, error) {
	all, err := e.list(ctx, compose.LabelLab, api.ServiceLabel)
	if err != nil {
		return nil, err
	}
	byProject := map[string][]container.Summary{}
	for _, c := range all {
		if c.Labels[api.OneoffLabel] != "True" {
			byProject[c.Labels[api.ProjectLabel]] = append(byProject[c.Labels[api.ProjectLabel]], c)
		}
	}
	var out []Overview
	for _, project := range slices.Sorted(maps.Keys(byProject)) {
		o := overview(project, byProject[project])
		if o.Missing, err = e.missing(ctx, o, byProject[project]); err != nil {
			return nil, err
		}
		out = append(out, o)
	}
	return out, nil
}

// Overview is one stack; it has no members where there is none.
func (e *Engine) Overview(ctx context.Context, project string) (Overview, error) {
	all, err := e.containers(ctx, project)
	if err != nil || len(all) == 0 {
		return Overview{Project: project}, err
	}
	o := overview(project, all)
	o.Missing, err = e.missing(ctx, o, all)
	return o, err
}

func overview(project string, all []container.Summary) Overview {
	labels := all[0].Labels
	o := Overview{
		Project: project, Lab: labels[compose.LabelLab], Instance: labels[compose.LabelInstance], Root: labels[compose.LabelRoot],
		Owner: Owner(labels[compose.LabelOwner]), Session: labels[compose.LabelSession], Expires: expires(labels),
	}
	oneShot := map[string]bool{}
	for _, c := range all {
		// "pod:service_started:false,setup:service_completed_successfully:false"
		for dependency := range strings.SplitSeq(c.Labels[api.DependenciesLabel], ",") {
			if part := strings.Split(dependency, ":"); len(part) > 1 && part[1] == types.ServiceConditionCompletedSuccessfully {
				oneShot[part[0]] = true
			}
		}
	}
	for _, c := range all {
		// A variant that replaced part of the stack shows on that part.
		if v := c.Labels[compose.LabelVariant]; v != "" {
			o.Variant = v
		}
		m := Member{
			Container: describe(c), Status: string(c.State), Health: healthOf(c), Image: c.Image,
			OneShot: oneShot[c.Labels[api.ServiceLabel]],
		}
		_, _ = fmt.Sscanf(c.Status, "Exited (%d)", &m.ExitCode) // a list has it nowhere else
		o.Members = append(o.Members, m)
	}
	return o
}

// healthOf reads a container's health from its status line, which is where engines before API 1.52 keep it in a
// list: "Up 3 seconds (health: starting)", "(healthy)", "(unhealthy)".
func healthOf(c container.Summary) string {
	if c.Health != nil && c.Health.Status != "" && c.Health.Status != container.NoHealthcheck {
		return string(c.Health.Status)
	}
	switch {
	case strings.Contains(c.Status, "(healthy)"):
		return "healthy"
	case strings.Contains(c.Status, "(unhealthy)"):
		return "unhealthy"
	case strings.Contains(c.Status, "(health: starting)"):
		return "starting"
	}
	return ""
}
