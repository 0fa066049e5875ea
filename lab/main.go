// Lab runs, proves and breaks the patterns of distributed systems; `lab --help` says how.
package main

import (
	"os"

	"distlab/lab/internal/cli"
	"distlab/labs"
)

func main() { os.Exit(cli.Main(labs.Catalog, os.Args[1:])) }
