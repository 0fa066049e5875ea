package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"distlab/lab/check"
	"distlab/lab/internal/hint"
)

func (a *app) imagesSave() *cobra.Command {
	var force, bench bool
	cmd := &cobra.Command{
		Use:   "save FILE [LAB…]",
		Short: "Write the images that labs need into one archive, for a machine without a registry",
		Long: `Makes the images that are missing, and writes all of them as one tar archive, which lab images load and docker load read.
FILE - is standard output. An existing file is not replaced without --force.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usagef("see: lab images save --help", "which file?")
			}
			return nil
		},
		ValidArgsFunction: func(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
			if len(args) == 0 {
				return nil, cobra.ShellCompDirectiveDefault
			}
			return a.completeLabs(cmd, args, word)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			labs, err := a.chosen(args[1:], len(args) == 1)
			if err != nil {
				return err
			}
			if err := a.mayWrite(args[0], force); err != nil {
				return err
			}
			return a.saveImages(cmd.Context(), args[0], labs, bench)
		},
	}
	cmd.Flags().BoolVar(&force, "force", false, "replace FILE")
	benchFlag(cmd, &bench)
	return cmd
}

// mayWrite is asked before the images are made, which takes a while.
func (a *app) mayWrite(file string, force bool) error {
	if file == "-" {
		if f, ok := a.stdout.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
			return usagef("redirect it, or name a file", "an archive of images does not go to a terminal")
		}
		return nil
	}
	info, err := os.Stat(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if dir := filepath.Dir(file); !isDir(dir) {
			return hint.Wrap(fmt.Errorf("save images to %s: no folder %s", file, dir), "mkdir -p %s", dir)
		}
		return nil
	case err != nil:
		return fmt.Errorf("save images: %w", err)
	case info.IsDir():
		return usagef("name a file in it: "+filepath.Join(file, "images.tar"), "%s is a folder", file)
	case info.Mode().IsRegular() && !force:
		return hint.New(file+" is there already", "another name, or --force to replace it")
	}
	return nil
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

func (a *app) saveImages(ctx context.Context, file string, labs []check.Lab, bench bool) error {
	im, err := a.imageStore(ctx)
	if err != nil {
		return err
	}
	d := a.display()
	defer d.close(true)
	im.Report = d.image
	needs, err := a.needs(ctx, im, labs, bench)
	if err != nil {
		return err
	}
	if _, err := im.Ensure(ctx, needs); err != nil {
		return err
	}
	if needs, err = a.needs(ctx, im, labs, bench); err != nil { // where each is now
		return err
	}
	name := file
	if file == "-" {
		name = "standard output"
	}
	d.set(name, fmt.Sprintf("writing %d images", len(needs)), false, false)
	size, err := writeWhole(file, a.stdout, func(w io.Writer) error { return im.Save(ctx, needs, w) })
	if err != nil {
		d.set(name, "not written", true, true)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return err
	}
	d.set(name, fmt.Sprintf("%d images, %.1f MB", len(needs), float64(size)/1e6), true, false)
	return nil
}

// writeWhole writes a file that is there complete or not at all, and gives its size. "-" is stdout; a device or a pipe is
// written as it is.
func writeWhole(file string, stdout io.Writer, fill func(io.Writer) error) (int64, error) {
	if file == "-" {
		return counted(stdout, fill)
	}
	if info, err := os.Stat(file); err == nil && !info.Mode().IsRegular() {
		f, err := os.OpenFile(file, os.O_WRONLY, 0)
		if err != nil {
			return 0, fmt.Errorf("save images: %w", err)
		}
		n, err := counted(f, fill)
		return n, errors.Join(err, f.Close())
	}
	f, err := os.CreateTemp(filepath.Dir(file), ".images-*.tar")
	if err != nil {
		return 0, fmt.Errorf("save images: %w", err)
	}
	n, err := counted(f, fill)
	if err = errors.Join(err, f.Chmod(0o644), f.Close()); err == nil {
		err = os.Rename(f.Name(), file)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return n, err
}

func counted(w io.Writer, fill func(io.Writer) error) (int64, error) {
	c := &counter{w: w}
	err := fill(c)
	return c.n, err
}

type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

func (a *app) imagesLoad() *cobra.Command {
	return &cobra.Command{
		Use:   "load FILE",
		Short: "Read an archive of images",
		Long:  "Gives the engine the images of an archive of lab images save or docker save, and prints their names. FILE - is standard input.",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usagef("see: lab images load --help", "lab images load takes one file, not %d", len(args))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			r := os.Stdin
			if args[0] != "-" {
				f, err := os.Open(args[0])
				if err != nil {
					return hint.Wrap(fmt.Errorf("load images: %w", err), "lab images save FILE makes one")
				}
				defer f.Close()
				r = f
			} else if term.IsTerminal(int(os.Stdin.Fd())) {
				return usagef("lab images load - <FILE", "an archive of images does not come from a terminal")
			}
			im, err := a.imageStore(cmd.Context())
			if err != nil {
				return err
			}
			refs, err := im.Load(cmd.Context(), r)
			for _, ref := range refs {
				fmt.Fprintln(a.stdout, ref)
			}
			const remedy = "lab images save FILE makes an archive that can be loaded"
			if err == nil && len(refs) == 0 {
				return hint.New("load images: "+args[0]+" has none in it", remedy)
			}
			if hint.Of(err) == "" {
				return hint.Wrap(err, remedy)
			}
			return err
		},
	}
}
