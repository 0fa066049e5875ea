package cli

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"distlab/lab/check"
	"distlab/lab/internal/compose"
	"distlab/lab/internal/runner"
	"distlab/lab/internal/stack"
)

func (a *app) up() *cobra.Command {
	var instance, variant string
	cmd := &cobra.Command{
		Use:   "up LAB",
		Short: "Start a lab, and say what to try",
		Long: `Makes the images that are missing, starts the lab's containers, and waits until all are healthy.
A lab that is up already is left as it is; what is missing is repaired. Ctrl-C takes away what was started.`,
		Args:              oneLab,
		ValidArgsFunction: a.completeLabs,
		RunE: func(cmd *cobra.Command, args []string) error {
			lab, err := a.lab(args[0])
			if err != nil {
				return err
			}
			if variant != "" {
				if _, err := variantOf(lab, variant); err != nil {
					return err
				}
			}
			if err := checkInstance(instance); err != nil {
				return err
			}
			return a.upLab(cmd.Context(), lab, instance, variant)
		},
	}
	cmd.Flags().StringVar(&instance, "name", "", "start a further instance of the lab under this name")
	cmd.Flags().StringVar(&variant, "variant", "", "start it broken, as one of its variants")
	return cmd
}

func (a *app) upLab(ctx context.Context, lab check.Lab, instance, variant string) error {
	d := a.display()
	defer d.close(true)
	r, err := a.runner(ctx, lab, instance, d)
	if err != nil {
		return err
	}
	if err := r.Lock(ctx, "up"); err != nil {
		return err
	}
	defer r.Unlock()
	begun := time.Now()
	p, err := r.Up(ctx, variant)
	if err != nil {
		if ctx.Err() != nil {
			d.line("took away what was started")
		}
		return err
	}
	d.close(true)
	took := time.Since(begun)
	return a.welcome(ctx, r, p, took)
}

// welcome is what a person needs next: where to look, what to try, and the next verbs.
func (a *app) welcome(ctx context.Context, r *runner.Runner, p *compose.Project, took time.Duration) error {
	o, err := r.Status(ctx)
	if err != nil {
		return err
	}
	w := a.stdout
	broken := ""
	if o.Variant != "" {
		broken = ", broken as " + o.Variant
		if v, ok := r.Lab.Variant(o.Variant); ok && v.StandIn() {
			broken = ", with " + v.Name + " in our container's place"
		}
	}
	fmt.Fprintf(w, "%s is up (%s)%s: %s\n", r.Name(), seconds(took), broken, p.Meta.Title)
	fmt.Fprintln(w)
	width := 0
	for _, e := range p.Meta.Endpoints {
		width = max(width, len(endpointURL(o, e)))
	}
	for _, e := range p.Meta.Endpoints {
		fmt.Fprintf(w, "  %-*s  %s\n", width, endpointURL(o, e), e.Says)
	}
	fmt.Fprintln(w, "\ntry")
	for _, c := range p.Meta.Try {
		fmt.Fprintf(w, "  # %s\n  %s\n", c.Says, fill(o, c.Run))
	}
	fmt.Fprintln(w, "\nnext")
	name := r.Lab.Name
	if r.Instance != "" {
		name += " --name " + r.Instance
	}
	next := []string{"lab verify " + name}
	switch {
	case o.Variant != "":
		next = append(next, "lab up "+name+"   # whole again")
	case len(r.Lab.Variants) > 0:
		next = append(next, "lab up "+name+" --variant "+r.Lab.Variants[0].Name)
	}
	for _, line := range append(next, "lab down "+name) {
		fmt.Fprintf(w, "  %s\n", typed(line))
	}
	return nil
}

func endpointURL(o stack.Overview, e compose.Endpoint) string {
	return strings.ReplaceAll(e.URL, "{address}", published(o, e.Service, e.Port))
}

// published is where a service's port can be reached from here.
func published(o stack.Overview, service string, port int) string {
	for _, m := range o.Members {
		for _, p := range m.Ports {
			if m.Service == service && p.Private == port {
				return p.Address
			}
		}
	}
	return net.JoinHostPort("unpublished", strconv.Itoa(port))
}

// fill puts addresses and container names into a command to try.
func fill(o stack.Overview, command string) string {
	for _, m := range o.Members {
		for _, p := range m.Ports {
			command = strings.ReplaceAll(command, fmt.Sprintf("{%s:%d}", m.Service, p.Private), p.Address)
		}
		if m.Number == 1 {
			command = strings.ReplaceAll(command, "{"+m.Service+"}", m.Name)
		}
	}
	return command
}
