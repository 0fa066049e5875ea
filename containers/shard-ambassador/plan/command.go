package plan

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"text/tabwriter"

	"distlab/containers/shard-ambassador/pool"
)

// Summary is the line of the subcommand in -h.
const Summary = "say what a change of the pool file would move: plan OLD NEW; -h lists its flags"

// Main is the subcommand: two pool files in, the share of keys that would move
// out. It is 0, or 1 where more would move than -max allows or a file cannot
// be read, or 2 after a mistake on the command line.
func Main(args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("plan", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		fmt.Fprintln(stderr, "usage: plan [-o text|json] [-keys FILE] [-max PERCENT] OLD NEW\nOLD and NEW are pool files.")
		flags.PrintDefaults()
	}
	format := flags.String("o", "text", "text or json")
	keys := flags.String("keys", "", "file of keys, one a line, to count instead of the hash's values; - is standard input")
	most := flags.Float64("max", 100, "exit 1 if more than this percentage of a pool's keys would move")
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	case flags.NArg() != 2:
		flags.Usage()
		return 2
	case *format != "text" && *format != "json":
		fmt.Fprintf(stderr, "plan: -o %s: not text or json\n", *format)
		return 2
	}
	changes, err := compareFiles(flags.Arg(0), flags.Arg(1), *keys)
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	if *format == "json" {
		err = writeJSON(stdout, changes)
	} else {
		err = Text(stdout, changes)
	}
	if err != nil {
		fmt.Fprintf(stderr, "plan: %v\n", err)
		return 1
	}
	code := 0
	for _, c := range changes {
		if 100*c.Moved > *most {
			fmt.Fprintf(stderr, "plan: pool %q: %s of the keys would move, more than %v %%\n", c.Pool, percent(c.Moved), *most)
			code = 1
		}
	}
	return code
}

func compareFiles(before, after, keys string) ([]Change, error) {
	old, oldErr := pool.ReadFile(before)
	fresh, newErr := pool.ReadFile(after)
	if err := errors.Join(oldErr, newErr); err != nil {
		return nil, err
	}
	switch keys {
	case "":
		return Compare(old, fresh)
	case "-":
		return CompareKeys(old, fresh, os.Stdin)
	}
	file, err := os.Open(keys)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return CompareKeys(old, fresh, file)
}

func writeJSON(w io.Writer, changes []Change) error {
	out := json.NewEncoder(w)
	out.SetIndent("", "  ")
	return out.Encode(changes)
}

// Text prints changes for people.
func Text(w io.Writer, changes []Change) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for i, c := range changes {
		if i > 0 {
			fmt.Fprintln(tw)
		}
		switch c.What {
		case Added:
			fmt.Fprintf(tw, "pool %s: new\n", c.Pool)
			continue
		case Removed:
			fmt.Fprintf(tw, "pool %s: gone, with all of its keys\n", c.Pool)
			continue
		}
		fmt.Fprintf(tw, "pool %s: %s of the keys move (%s)\n", c.Pool, percent(c.Moved), c.how())
		for _, note := range c.Notes {
			fmt.Fprintf(tw, "  note: %s\n", note)
		}
		fmt.Fprint(tw, "\n  SERVER\tADDRESS\tBEFORE\tAFTER\n")
		for _, s := range c.Servers {
			fmt.Fprintf(tw, "  %s\t%s\t%s\t%s\n", s.Name, s.Address, percent(s.Before), percent(s.After))
		}
		if len(c.Moves) > 0 {
			fmt.Fprint(tw, "\n  FROM\tTO\tSHARE\n")
		}
		for _, m := range c.Moves {
			fmt.Fprintf(tw, "  %s\t%s\t%s\n", m.From, m.To, percent(m.Share))
		}
	}
	return tw.Flush()
}

// how tells how much the shares can be trusted.
func (c Change) how() string {
	switch c.Method {
	case Sampled:
		return fmt.Sprintf("sampled with %d keys", c.Keys)
	case Given:
		return fmt.Sprintf("of the %d keys given", c.Keys)
	}
	return "exact, for keys that hash evenly"
}

// percent has two digits after the point, so that a small move is not nothing.
func percent(share float64) string {
	if share > 0 && share < 0.0001 {
		return "<0.01 %"
	}
	return fmt.Sprintf("%.2f %%", 100*share)
}
