package cli

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"distlab/lab/internal/compose"
	"distlab/lab/internal/public"
)

func (a *app) list() *cobra.Command {
	var out format
	cmd := &cobra.Command{
		Use:   "list",
		Short: "The labs",
		Long:  "Every lab of the catalog, with how many claims it makes, how many variants break them, and which known programs keep them. Needs no Docker.",
		Args:  noArgs,
		RunE: func(*cobra.Command, []string) error {
			root, err := a.findRoot()
			if err != nil {
				return err
			}
			// One lab's broken file does not hide the others; it decides the exit code all the same.
			list, broken := a.catalog(root)
			if out == "json" {
				return errors.Join(a.json(list), broken)
			}
			return errors.Join(a.listText(list), broken)
		},
	}
	out.flag(cmd, "text", "json")
	return cmd
}

// catalog asks no engine: it is for a person who looks around, perhaps before Docker is there.
func (a *app) catalog(root string) ([]public.Lab, error) {
	var errs []error
	list := []public.Lab{}
	for _, l := range a.labs {
		m, err := compose.ReadMeta(compose.Source{Root: root, Lab: l.Name})
		if err != nil {
			errs = append(errs, err)
		}
		e := public.Lab{Lab: l.Name, Title: m.Title, Pattern: m.Pattern, Says: m.Says, Claims: []string{}, Variants: []string{}, StandIns: []string{}}
		for _, c := range l.Claims {
			e.Claims = append(e.Claims, c.ID)
		}
		for _, v := range l.Variants {
			if v.StandIn() {
				e.StandIns = append(e.StandIns, v.Name)
			} else {
				e.Variants = append(e.Variants, v.Name)
			}
		}
		list = append(list, e)
	}
	return list, errors.Join(errs...)
}

func (a *app) listText(list []public.Lab) error {
	tw := tabwriter.NewWriter(a.stdout, 0, 8, 2, ' ', 0)
	fmt.Fprintln(tw, "LAB\tCLAIMS\tVARIANTS\tSTAND-INS\tTITLE")
	for _, e := range list {
		fmt.Fprintf(tw, "%s\t%d\t%d\t%s\t%s\n", e.Lab, len(e.Claims), len(e.Variants), cmp.Or(strings.Join(e.StandIns, ", "), "-"), e.Title)
	}
	return tw.Flush()
}

// json prints data for programs.
func (a *app) json(v any) error {
	enc := json.NewEncoder(a.stdout)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}
