package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"distlab/lab/internal/hint"
	"distlab/lab/internal/stack"
)

func hintUp(err error) error { return hint.Wrap(err, "bring one up: lab list, lab up LAB") }

func (a *app) down() *cobra.Command {
	var instance string
	var all bool
	cmd := &cobra.Command{
		Use:               "down LAB… | --all",
		Short:             "Take a lab away, and leave nothing",
		Long:              "Removes the lab's containers, networks and volumes. --all takes every stack of distlab on this engine, tests included.",
		ValidArgsFunction: a.completeLabs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkInstance(instance); err != nil {
				return err
			}
			if all && instance != "" {
				return usagef("", "either --all or --name, not both")
			}
			if all {
				if len(args) > 0 {
					return usagef("", "either --all or the names of labs, not both")
				}
				return a.downAll(cmd.Context())
			}
			labs, err := a.chosen(args, false)
			if err != nil {
				return err
			}
			d := a.display()
			defer d.close(true)
			for _, lab := range labs {
				r, err := a.runner(cmd.Context(), lab, instance, d)
				if err != nil {
					return err
				}
				if err := a.downProject(cmd.Context(), r.Engine, r.Project(), r.Name(), d); err != nil {
					return err
				}
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&instance, "name", "", "the instance, where it is not the first")
	cmd.Flags().BoolVar(&all, "all", false, "every stack of distlab")
	return cmd
}

func (a *app) downAll(ctx context.Context) error {
	e, err := a.connect(ctx)
	if err != nil {
		return err
	}
	stacks, err := e.Overviews(ctx)
	if err != nil {
		return err
	}
	d := a.display()
	defer d.close(true)
	var errs []error // one that is in use does not keep the others up
	for _, o := range stacks {
		name := o.Lab
		if o.Instance != "" {
			name += " (" + o.Instance + ")"
		}
		errs = append(errs, a.downProject(ctx, e, o.Project, name, d))
	}
	if len(stacks) == 0 {
		fmt.Fprintln(a.stderr, "nothing was up")
	}
	return errors.Join(errs...)
}

func (a *app) downProject(ctx context.Context, e *stack.Engine, project, name string, d *display) error {
	lock, err := e.Lock(ctx, project, "down")
	if err != nil {
		return err
	}
	defer lock.Release()
	begun := time.Now()
	there, err := e.Exists(ctx, project)
	if err != nil {
		return err
	}
	if !there {
		d.line("%s was not up", name)
		return nil
	}
	if err := e.Down(ctx, project, d.service(name)); err != nil {
		return err
	}
	d.clear()
	d.line("%s is down (%s)", name, seconds(time.Since(begun)))
	return nil
}
