package cli

import (
	"slices"

	"github.com/spf13/cobra"

	"distlab/lab/internal/images"
)

func (a *app) build() *cobra.Command {
	return &cobra.Command{
		Use:   "build [CONTAINER…]",
		Short: "Build containers' images, where they changed",
		Long:  "Compiles on this machine for the engine's architecture and builds the images distlab/NAME:dev. Without a name: all.",
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			root, err := a.findRoot()
			if err != nil {
				return err
			}
			im := &images.Images{Root: root}
			all, err := im.Containers()
			if err != nil {
				return err
			}
			for _, arg := range args {
				if !slices.Contains(all, arg) {
					return usagef(didYouMean(arg, all, "they are the folders of containers/"), "no container is named %q", arg)
				}
			}
			if len(args) == 0 {
				args = all
			}
			e, err := a.connect(ctx)
			if err != nil {
				return err
			}
			d := a.display()
			defer d.close(true)
			im.Docker, im.Report = e.Docker, d.image
			if err := im.Build(ctx, args...); err != nil {
				return err
			}
			d.line("%d images are as their sources", len(args))
			return nil
		},
	}
}
