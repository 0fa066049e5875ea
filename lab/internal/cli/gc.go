package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"distlab/lab/internal/images"
)

func (a *app) gc() *cobra.Command {
	return &cobra.Command{
		Use:   "gc",
		Short: "Remove what nobody needs any more",
		Long: `Heals faults that ended commands left, removes stacks whose owner is gone or that have expired, networks and volumes
without a stack, and images of ours that a newer build has replaced. What is up stays.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			root, err := a.findRoot()
			if err != nil {
				return err
			}
			e, err := a.connect(ctx) // which heals and reaps, and says so
			if err != nil {
				return err
			}
			im := &images.Images{Root: root, Docker: e.Docker}
			n, freed, err := im.Prune(ctx)
			if err != nil {
				return err
			}
			fmt.Fprintf(a.stderr, "removed %d replaced images, %.1f MB\n", n, float64(freed)/1e6)
			return nil
		},
	}
}
