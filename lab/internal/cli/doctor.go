package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// finding is one thing that the doctor looked at. `doctor -o json` prints a list of them; names and IDs are stable.
type finding struct {
	ID     string  `json:"id"`
	Status quality `json:"status"`
	Fact   string  `json:"fact"`
	Remedy string  `json:"remedy"`
}

type quality string

const (
	fine   quality = "ok"
	warned quality = "warn" // labs run, though something is missing or will be soon
	failed quality = "fail" // labs cannot run
)

func good(id, format string, args ...any) finding {
	return finding{ID: id, Status: fine, Fact: fmt.Sprintf(format, args...)}
}

func warn(id, remedy, format string, args ...any) finding {
	return finding{ID: id, Status: warned, Fact: fmt.Sprintf(format, args...), Remedy: remedy}
}

func bad(id, remedy, format string, args ...any) finding {
	return finding{ID: id, Status: failed, Fact: fmt.Sprintf(format, args...), Remedy: remedy}
}

// How long a look may take. The engine is waited for first, what it knows is asked all at once: some ten seconds in
// all, also with an engine that hangs.
const (
	engineWait = 5 * time.Second
	lookWait   = 4 * time.Second
)

// order is that of the findings, from the ground up. What could not be looked at, for want of an engine, is not among them.
var order = []string{
	"clone", "engine", "engine-api", "architecture", "limits", "disk", "memory", "go", "images", "registry",
	"subnets", "leftovers", "compose-plugin",
}

func (a *app) doctor() *cobra.Command {
	var out format
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Whether labs can run here, and what to do where they cannot",
		Long: `Looks at the engine, this machine and this clone, and changes nothing: ✓ is well, ! may give trouble, ✗ keeps labs from
running. Each finding has an ID that stays. The exit code is 0 only if labs can run, else 3.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			list := a.examine(cmd.Context())
			if err := cmd.Context().Err(); err != nil {
				return context.Cause(cmd.Context())
			}
			if out == "json" {
				if err := a.json(list); err != nil {
					return err
				}
			} else {
				a.findingsText(list)
			}
			var ill []string
			for _, f := range list {
				if f.Status == failed {
					ill = append(ill, f.ID)
				}
			}
			if len(ill) > 0 {
				fmt.Fprintf(a.stderr, "lab: labs cannot run here: %s\n", strings.Join(ill, ", "))
				return quietExit(exitCannotRun)
			}
			fmt.Fprintln(a.stderr, "labs can run here")
			return nil
		},
	}
	out.flag(cmd, "text", "json")
	return cmd
}

// look is one examination. It may give several findings, or none where there is nothing to say.
type look struct {
	id   string
	late quality // what it means when there is no answer in time
	look func(context.Context) []finding
}

// grace is what a look that minds its context has for its answer after the time is up.
const grace = 2 * time.Second

// examine makes every finding. It does not go through connect, which would put right what it is to report.
func (a *app) examine(ctx context.Context) []finding {
	d := &doctor{}
	d.root, d.rootErr = a.findRoot()
	d.labs = a.labs
	// The engine's answer decides what else can be asked.
	list := together(ctx, engineWait+time.Second, []look{
		{"engine", failed, d.connect},
		{"clone", failed, d.clone},
		{"compose-plugin", warned, d.composePlugin},
		{"go", warned, d.findGo},
	})
	looks := []look{{"disk", warned, d.disk}, {"memory", warned, d.memory}, {"go", warned, d.goVersion}}
	if d.engine != nil {
		looks = append(looks, []look{
			{"engine-api", failed, d.api},
			{"limits", warned, d.limits},
			{"images", warned, d.images},
			{"leftovers", warned, d.leftovers},
		}...)
	}
	list = append(list, together(ctx, lookWait, looks)...)
	for i := range list {
		list[i].Remedy = typed(list[i].Remedy)
	}
	slices.SortStableFunc(list, func(a, b finding) int { return slices.Index(order, a.ID) - slices.Index(order, b.ID) })
	return list
}

// together makes several looks at once. One that takes too long is a finding itself, and is left behind: a hanging
// file system or engine lets go of nobody.
func together(ctx context.Context, wait time.Duration, looks []look) []finding {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	type answer struct {
		i    int
		list []finding
	}
	answers := make(chan answer, len(looks))
	for i, l := range looks {
		go func() { answers <- answer{i, l.look(ctx)} }()
	}
	var out []finding
	waiting := map[int]bool{}
	for i := range looks {
		waiting[i] = true
	}
	late := time.After(wait + grace)
	for len(waiting) > 0 {
		select {
		case a := <-answers:
			out = append(out, a.list...)
			delete(waiting, a.i)
		case <-late:
			for i := range waiting {
				out = append(out, finding{ID: looks[i].id, Status: looks[i].late, Fact: fmt.Sprintf("no answer within %v", wait)})
			}
			return out
		}
	}
	return out
}

func (a *app) findingsText(list []finding) {
	width := 0
	for _, f := range list {
		width = max(width, len(f.ID))
	}
	marks := map[quality]string{fine: "✓", warned: "!", failed: "✗"}
	colors := map[quality]string{fine: "\x1b[32m", warned: "\x1b[33m", failed: "\x1b[31m"}
	indent := strings.Repeat(" ", width+4)
	for _, f := range list {
		mark := marks[f.Status]
		if a.color {
			mark = colors[f.Status] + mark + plainly
		}
		fmt.Fprintf(a.stdout, "%s %-*s  %s\n", mark, width, f.ID, strings.ReplaceAll(f.Fact, "\n", "\n"+indent))
		if f.Remedy != "" {
			fmt.Fprintf(a.stdout, "%s→ %s\n", indent, strings.ReplaceAll(f.Remedy, "\n", "\n"+indent+"→ "))
		}
	}
}
