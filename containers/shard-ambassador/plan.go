package main

import (
	"context"
	"fmt"
	"io"

	"distlab/containers/internal/daemon"
	"distlab/containers/shard-ambassador/plan"
	"distlab/containers/shard-ambassador/pool"
)

// planCommand is for before a change of the pool file.
var planCommand = daemon.Command{
	Name:    "plan",
	Summary: plan.Summary,
	Run: func(_ context.Context, args []string, stdout, stderr io.Writer) int {
		return plan.Main(args, stdout, stderr)
	},
}

// checkCommand is twemproxy's -t.
var checkCommand = daemon.Command{
	Name:    "check",
	Summary: "read pool files and say what is wrong with them: check FILE...",
	Run:     runCheck,
}

func runCheck(_ context.Context, args []string, stdout, stderr io.Writer) int {
	if len(args) == 0 || args[0] == "-h" || args[0] == "--help" {
		fmt.Fprintln(stderr, "usage: check FILE...")
		if len(args) == 0 {
			return 2
		}
		return 0
	}
	code := 0
	for _, path := range args {
		pools, err := pool.ReadFile(path)
		if err != nil {
			fmt.Fprintln(stderr, err)
			code = 1
			continue
		}
		for _, p := range pools {
			fmt.Fprintf(stdout, "%s: pool %s: %d servers\n", path, p.Name, len(p.Servers))
		}
	}
	return code
}

// movedShare is the share of keys that another server has after a change.
func movedShare(from, to pool.Pool) (float64, error) {
	changes, err := plan.Compare([]pool.Pool{from}, []pool.Pool{to})
	if err != nil {
		return 0, err
	}
	return changes[0].Moved, nil
}
