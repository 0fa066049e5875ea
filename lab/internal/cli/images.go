package cli

import (
	"context"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/compose-spec/compose-go/v2/types"
	"github.com/spf13/cobra"

	"distlab/lab/check"
	"distlab/lab/internal/compose"
	"distlab/lab/internal/images"
	"distlab/lab/internal/public"
)

func (a *app) images() *cobra.Command {
	var out format
	var bench bool
	cmd := &cobra.Command{
		Use:   "images [LAB…]",
		Short: "The images that labs need, and where they are",
		Long: `Every image that the labs need, all of them or those named: present, to build (ours, missing or older than its sources),
to pull, or substituted by one made from Debian packages. Changes nothing and asks no registry.`,
		Args:              cobra.ArbitraryArgs,
		ValidArgsFunction: a.completeLabs,
		RunE: func(cmd *cobra.Command, args []string) error {
			labs, err := a.chosen(args, len(args) == 0)
			if err != nil {
				return err
			}
			im, err := a.imageStore(cmd.Context())
			if err != nil {
				return err
			}
			needs, err := a.needs(cmd.Context(), im, labs, bench)
			if err != nil {
				return err
			}
			if out == "json" {
				return a.json(imagesJSON(needs))
			}
			return a.imagesText(needs)
		},
	}
	out.flag(cmd, "text", "json")
	benchFlag(cmd, &bench)
	cmd.AddCommand(a.imagesSave(), a.imagesLoad())
	return cmd
}

func (a *app) imageStore(ctx context.Context) (*images.Images, error) {
	root, err := a.findRoot()
	if err != nil {
		return nil, err
	}
	e, err := a.connect(ctx)
	if err != nil {
		return nil, err
	}
	return &images.Images{Root: root, Docker: e.Docker}, nil
}

func benchFlag(cmd *cobra.Command, bench *bool) {
	cmd.Flags().BoolVar(bench, "bench", false, "those of lab bench, too")
}

// needs are the images of labs, with bench those of their comparisons too, and the probe's.
func (a *app) needs(ctx context.Context, im *images.Images, labs []check.Lab, bench bool) ([]images.Need, error) {
	var projects []*types.Project
	add := func(l check.Lab, bench bool) error {
		p, err := compose.Load(ctx, compose.Source{Root: im.Root, Lab: l.Name, Bench: bench}, nil)
		if err == nil {
			projects = append(projects, p.Project)
		}
		return err
	}
	for _, l := range labs {
		if err := add(l, false); err != nil {
			return nil, err
		}
		if bench && l.Bench != nil {
			if err := add(l, true); err != nil {
				return nil, err
			}
		}
	}
	return im.Needs(ctx, projects...)
}

func imagesJSON(needs []images.Need) []public.Image {
	list := []public.Image{}
	for _, n := range needs {
		list = append(list, public.Image{
			Image: n.Ref, State: string(n.State), Use: n.Use, Container: n.Container, Variable: n.Variable, Recipe: n.Recipe,
			Labs: n.Labs, Detail: n.Detail,
		})
	}
	return list
}

func (a *app) imagesText(needs []images.Need) error {
	tw := tabwriter.NewWriter(a.stdout, 0, 8, 2, ' ', 0)
	fmt.Fprintln(tw, "IMAGE\tSTATE\tLABS\tNOTE")
	for _, n := range needs {
		note := n.Detail
		if n.Use != "" {
			note = "uses " + n.Use + ", " + note
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\n", n.Ref, n.State, strings.Join(n.Labs, ", "), note)
	}
	return tw.Flush()
}
