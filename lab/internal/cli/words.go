package cli

import (
	"io"
	"strings"

	"github.com/spf13/cobra"

	"distlab/lab/check"
)

// help is cobra's verb of that name, which takes an unknown one for a success.
func help(root *cobra.Command) *cobra.Command {
	return &cobra.Command{
		Use:   "help [VERB]",
		Short: "Help about a verb",
		ValidArgsFunction: func(_ *cobra.Command, args []string, word string) (names []string, _ cobra.ShellCompDirective) {
			for _, c := range root.Commands() {
				if len(args) == 0 && c.IsAvailableCommand() && strings.HasPrefix(c.Name(), word) {
					names = append(names, c.Name())
				}
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(_ *cobra.Command, args []string) error {
			cmd, _, err := root.Find(args)
			if err != nil || len(args) > 0 && cmd == root {
				return unknownVerb(args[0])
			}
			cmd.InitDefaultHelpFlag() // so that it is among the flags
			return cmd.Help()
		},
	}
}

// completion gives cobra's verb of that name our words and exit code for a wrong command line.
func completion(root *cobra.Command) {
	root.InitDefaultCompletionCmd()
	for _, c := range root.Commands() {
		if c.Name() != "completion" {
			continue
		}
		var shells []string
		for _, shell := range c.Commands() {
			shells = append(shells, shell.Name())
			shell.Args = noArgs
			if shell.Name() == "bash" {
				shell.Long = "Prints the script. For this shell alone: source <(" + typed("lab completion") + " bash)"
				shell.RunE = func(cmd *cobra.Command, _ []string) error {
					_, err := io.WriteString(cmd.OutOrStdout(), bashCompletion)
					return err
				}
			}
		}
		all := strings.Join(shells, ", ")
		c.Use = "completion SHELL"
		c.Short = "A script that completes lab's words in a shell: " + all
		c.Long = "Prints a script for one of " + all + ". For this shell alone, in bash: source <(" + typed("lab completion") + " bash)"
		c.Args = cobra.ArbitraryArgs
		c.RunE = func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usagef("one of: "+all, "which shell?")
			}
			return usagef(didYouMean(args[0], shells, "one of: "+all), "no completion for the shell %q", args[0])
		}
	}
}

// bashCompletion does without the package bash-completion, which cobra's script wants, and without a lab in the PATH: bash goes by
// the last part of a command, and the script asks whatever was typed.
const bashCompletion = `# bash completion for lab, as lab or by a path such as scripts/lab
_lab() {
  local IFS=$'\n' word=${COMP_WORDS[COMP_CWORD]} line
  COMPREPLY=()
  while read -r line; do
    line=${line%%$'\t'*}
    case $line in :*) ;; "$word"*) COMPREPLY+=("$line") ;; esac
  done < <("${COMP_WORDS[0]}" __complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}
complete -o default -F _lab lab
`

// completeFlags offers a lab's variants and claims to the shell, once the lab is on the command line.
func (a *app) completeFlags(cmd *cobra.Command) {
	offer := func(flag string, of func(check.Lab) []string) {
		if cmd.Flags().Lookup(flag) == nil {
			return
		}
		_ = cmd.RegisterFlagCompletionFunc(flag, func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			if len(args) != 1 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			l, err := a.lab(args[0])
			if err != nil {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return of(l), cobra.ShellCompDirectiveNoFileComp
		})
	}
	offer("variant", func(l check.Lab) (names []string) {
		for _, v := range l.Variants {
			names = append(names, v.Name+"\t"+v.Says)
		}
		return names
	})
	offer("claim", func(l check.Lab) (ids []string) {
		for _, c := range l.Claims {
			ids = append(ids, c.ID+"\t"+c.Says)
		}
		return ids
	})
}
