package cli

import (
	"encoding/json"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"distlab/lab/internal/compose"
	"distlab/lab/internal/stack"
)

// statusJSON is what `status -o json` prints, a list of it. The names are stable.
type statusJSON struct {
	Lab       string         `json:"lab"`
	Instance  string         `json:"instance"`
	Variant   string         `json:"variant"`
	State     string         `json:"state"`
	Endpoints []endpointJSON `json:"endpoints"`
}

type endpointJSON struct {
	Service string `json:"service"`
	Port    int    `json:"port"`
	Address string `json:"address"`
	URL     string `json:"url"`
}

func (a *app) status() *cobra.Command {
	var out format
	cmd := &cobra.Command{
		Use:   "status",
		Short: "What is up, and where",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			e, err := a.connect(ctx)
			if err != nil {
				return err
			}
			stacks, err := e.Overviews(ctx)
			if err != nil {
				return err
			}
			list := []statusJSON{}
			for _, o := range stacks {
				list = append(list, a.statusOf(cmd, o))
			}
			if out == "json" {
				enc := json.NewEncoder(a.stdout)
				enc.SetIndent("", "  ")
				return enc.Encode(list)
			}
			return a.statusText(stacks, list)
		},
	}
	out.flag(cmd, "text", "json")
	return cmd
}

// statusOf adds to a stack's published ports the URLs that its compose file gives them.
func (a *app) statusOf(cmd *cobra.Command, o stack.Overview) statusJSON {
	s := statusJSON{Lab: o.Lab, Instance: o.Instance, Variant: o.Variant, State: o.State(), Endpoints: []endpointJSON{}}
	urls := map[string]string{}
	// The clone that it came from may be gone or changed; the ports are known all the same.
	if p, err := compose.Load(cmd.Context(), compose.Source{Root: o.Root, Lab: o.Lab, Instance: o.Instance}, nil); err == nil {
		for _, e := range p.Meta.Endpoints {
			urls[fmt.Sprintf("%s:%d", e.Service, e.Port)] = endpointURL(o, e)
		}
	}
	for _, m := range o.Members {
		for _, p := range m.Ports {
			s.Endpoints = append(s.Endpoints, endpointJSON{
				Service: m.Service, Port: p.Private, Address: p.Address, URL: urls[fmt.Sprintf("%s:%d", m.Service, p.Private)],
			})
		}
	}
	return s
}

func (a *app) statusText(stacks []stack.Overview, list []statusJSON) error {
	if len(stacks) == 0 {
		fmt.Fprintln(a.stderr, typed("nothing is up\nhint: lab list, lab up LAB"))
		return nil
	}
	for i, o := range stacks {
		name := o.Lab
		if o.Instance != "" {
			name += " (" + o.Instance + ")"
		}
		if o.Variant != "" {
			name += ", variant " + o.Variant
		}
		if o.Owner != "" {
			name += fmt.Sprintf(", of process %d", o.Owner.PID())
		}
		fmt.Fprintf(a.stdout, "%s: %s\n", name, list[i].State)
		tw := tabwriter.NewWriter(a.stdout, 0, 8, 2, ' ', 0)
		for _, m := range o.Members {
			state := m.Status
			if m.Health != "" {
				state += ", " + m.Health
			}
			fmt.Fprintf(tw, "  %s\t%s\t%s\n", strings.TrimSpace(m.Name), state, m.Image)
		}
		if err := tw.Flush(); err != nil {
			return err
		}
		for _, what := range o.Missing {
			fmt.Fprintf(a.stdout, "  ! %s\n", what)
		}
		if list[i].State != "up" && list[i].State != "starting" && o.Owner == "" {
			fmt.Fprintf(a.stdout, "  → %s mends it\n", typed("lab up "+o.Name()))
		}
		for _, e := range list[i].Endpoints {
			url := e.URL
			if url == "" {
				url = e.Address
			}
			fmt.Fprintf(a.stdout, "  %s:%d → %s\n", e.Service, e.Port, url)
		}
	}
	return nil
}
