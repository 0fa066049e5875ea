package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"distlab/lab/check"
	"distlab/lab/internal/compose"
)

// lab finds a lab by its full name or by its unique last part.
func (a *app) lab(name string) (check.Lab, error) {
	var found []check.Lab
	var names []string
	for _, l := range a.labs {
		if l.Name == name {
			return l, nil
		}
		if _, last, _ := strings.Cut(l.Name, "/"); last == name {
			found = append(found, l)
		}
		names = append(names, l.Name)
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		if a.uncataloged(name) {
			return check.Lab{}, usagef("add a line to labs/catalog.go; docs/writing-a-lab.md says how",
				"labs/%s is a folder, but no lab of the catalog", name)
		}
		return check.Lab{}, usagef(didYouMean(name, names, "see: lab list"), "no lab is named %q", name)
	}
	var full []string
	for _, l := range found {
		full = append(full, l.Name)
	}
	return check.Lab{}, usagef("say which: "+strings.Join(full, ", "), "%q names %d labs", name, len(found))
}

// uncataloged says whether a lab has a folder and the catalog does not know it.
func (a *app) uncataloged(name string) bool {
	root, err := a.findRoot()
	if err != nil || name == "" || !filepath.IsLocal(name) {
		return false
	}
	_, err = os.Stat(compose.Source{Root: root, Lab: name}.Files()[0])
	return err == nil
}

// chosen are the labs of a command line: those named, or all with --all.
func (a *app) chosen(args []string, all bool) ([]check.Lab, error) {
	switch {
	case all && len(args) > 0:
		return nil, usagef("", "either --all or the names of labs, not both")
	case all:
		return a.labs, nil
	case len(args) == 0:
		return nil, usagef("name a lab, or say --all; see: lab list", "which lab?")
	}
	var out []check.Lab
	for _, arg := range args {
		l, err := a.lab(arg)
		if err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(out, func(o check.Lab) bool { return o.Name == l.Name }) {
			out = append(out, l)
		}
	}
	return out, nil
}

func variantOf(l check.Lab, name string) (check.Variant, error) {
	if v, ok := l.Variant(name); ok {
		return v, nil
	}
	var names []string
	for _, v := range l.Variants {
		names = append(names, v.Name)
	}
	return check.Variant{}, usagef(didYouMean(name, names, "see: lab explain "+l.Name), "%s has no variant %q", l.Name, name)
}

func checkClaims(l check.Lab, ids []string) error {
	for _, id := range ids {
		if _, ok := l.Claim(id); ok {
			continue
		}
		var all []string
		for _, c := range l.Claims {
			all = append(all, c.ID)
		}
		return usagef(didYouMean(id, all, "see: lab explain "+l.Name), "%s has no claim %q", l.Name, id)
	}
	return nil
}

func checkInstance(name string) error {
	if compose.ValidInstance(name) {
		return nil
	}
	return usagef("lower-case letters, digits and dashes, at most 31", "--name %q cannot name an instance", name)
}

// didYouMean offers the nearest words, or else says where all of them are.
func didYouMean(word string, all []string, otherwise string) string {
	type near struct {
		word string
		d    int
	}
	var list []near
	for _, w := range all {
		d := distance(word, w)
		if _, last, ok := strings.Cut(w, "/"); ok {
			d = min(d, distance(word, last))
		}
		// Of a short word, half may be wrong; a single letter is near to nothing.
		if d <= max(min(2, (len(word)+1)/2), len(word)/3) || len(word) > 2 && strings.Contains(w, word) {
			list = append(list, near{w, d})
		}
	}
	slices.SortStableFunc(list, func(a, b near) int { return a.d - b.d })
	if len(list) == 0 {
		if len(all) > 0 && len(all) <= 8 {
			return "there are: " + strings.Join(all, ", ")
		}
		return otherwise
	}
	var words []string
	for _, n := range list[:min(3, len(list))] {
		words = append(words, n.word)
	}
	return fmt.Sprintf("did you mean %s? %s", strings.Join(words, " or "), otherwise)
}

// distance is Levenshtein's.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(diagonal+cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// completeLabs offers the labs' names to the shell.
func (a *app) completeLabs(_ *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	var names []string
	for _, l := range a.labs {
		names = append(names, l.Name)
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// oneLab takes exactly one lab.
func oneLab(cmd *cobra.Command, args []string) error {
	if len(args) != 1 {
		return usagef("see: "+cmd.CommandPath()+" --help", "%s takes one lab, not %d", cmd.CommandPath(), len(args))
	}
	return nil
}

func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usagef("see: "+cmd.CommandPath()+" --help", "%s takes no argument: %q", cmd.CommandPath(), args[0])
	}
	return nil
}

// format is the -o flag.
type format string

func (f *format) flag(cmd *cobra.Command, allowed ...string) {
	cmd.Flags().StringVarP((*string)(f), "output", "o", allowed[0], "form of the output: "+strings.Join(allowed, ", "))
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(allowed, cobra.ShellCompDirectiveNoFileComp))
	before := cmd.PreRunE
	cmd.PreRunE = func(cmd *cobra.Command, args []string) error {
		if !slices.Contains(allowed, string(*f)) {
			return usagef("one of: "+strings.Join(allowed, ", "), "unknown output %q", string(*f))
		}
		if before != nil {
			return before(cmd, args)
		}
		return nil
	}
}
