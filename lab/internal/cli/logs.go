package cli

import (
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"distlab/lab/internal/stack"
)

func (a *app) logs() *cobra.Command {
	var instance, tail string
	var follow bool
	cmd := &cobra.Command{
		Use:   "logs LAB [SERVICE]",
		Short: "What a lab's containers have written",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) < 1 || len(args) > 2 {
				return usagef("see: lab logs --help", "lab logs takes a lab and at most one service")
			}
			return nil
		},
		ValidArgsFunction: a.completeLabs,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			lab, err := a.lab(args[0])
			if err != nil {
				return err
			}
			if err := checkInstance(instance); err != nil {
				return err
			}
			if n, err := strconv.Atoi(tail); tail != "all" && (err != nil || n < 0) {
				return usagef("", "--tail %q: a number of lines, or all", tail)
			}
			d := a.display()
			defer d.close(false)
			r, err := a.runner(ctx, lab, instance, d)
			if err != nil {
				return err
			}
			o, err := r.Status(ctx)
			if err != nil {
				return err
			}
			service := ""
			if len(args) == 2 {
				service = args[1]
				var names []string
				for _, m := range o.Members {
					names = append(names, m.Service)
				}
				if !slices.Contains(names, service) {
					return usagef(didYouMean(service, slices.Compact(names), "see: lab status"), "%s has no service %q", lab.Name, service)
				}
			}
			d.close(false)
			return r.Engine.Tail(ctx, a.stdout, r.Project(), stack.TailOptions{Service: service, Follow: follow, Tail: tail})
		},
	}
	cmd.Flags().StringVar(&instance, "name", "", "the instance, where it is not the first")
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on with what is written from now")
	cmd.Flags().StringVar(&tail, "tail", "all", "only the last N lines of each container")
	return cmd
}
