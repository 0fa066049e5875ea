package cli

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

func (a *app) version() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Which lab this is",
		Args:  noArgs,
		RunE: func(*cobra.Command, []string) error {
			rev := "unknown revision"
			if info, ok := debug.ReadBuildInfo(); ok {
				for _, s := range info.Settings {
					if s.Key == "vcs.revision" {
						rev = s.Value[:min(12, len(s.Value))]
					}
				}
			}
			fmt.Fprintf(a.stdout, "lab %s, %s, %s/%s\n", rev, runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return nil
		},
	}
}
