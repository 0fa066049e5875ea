package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"distlab/containers/internal/daemon"
	"distlab/containers/internal/env"

	"github.com/prometheus/client_golang/prometheus"
)

// onceCommand is the sidecar as an init container: the files are there before the app starts, or it does not.
var onceCommand = daemon.Command{
	Name: "once", Summary: "bring the files into place, tell nobody, and exit: 0 they are there, 1 they are not; for an init container",
	Run: func(ctx context.Context, args []string, stdout, stderr io.Writer) int {
		if len(args) > 0 {
			fmt.Fprintf(stderr, "config-sidecar: once takes no arguments, not %q\n", args[0])
			return 2
		}
		var cfg config
		err := env.Load(&cfg, os.LookupEnv)
		if err == nil {
			err = cfg.validate()
		}
		if err != nil {
			fmt.Fprintln(stderr, err)
			return 2
		}
		if err := once(ctx, cfg, stdout, stderr); err != nil {
			fmt.Fprintf(stderr, "config-sidecar: %v\n", err)
			return 1
		}
		return 0
	},
}

func once(ctx context.Context, cfg config, stdout, stderr io.Writer) error {
	source, err := cfg.source()
	if err != nil {
		return err
	}
	s := cfg.sidecar(slog.New(slog.NewJSONHandler(stderr, &slog.HandlerOptions{Level: cfg.LogLevel})))
	s.Ready, s.Metrics = func(bool, string) {}, newMetrics(prometheus.NewRegistry())
	if err := s.Open(); err != nil {
		return err
	}
	set, err := source.Next(ctx, "")
	if err != nil {
		return fmt.Errorf("%s: %w", cfg.Source.String(), err)
	}
	s.set = &set
	if err := s.apply(ctx); err != nil {
		return err
	}
	fmt.Fprintf(stdout, "version %s is in %s\n", set.Version, cfg.DestDir)
	return nil
}

// readCommand reads as an app does that reads right, which shows whether it can: each line is a set of files as it was
// found, and how often. A set that nobody has written is a mix, or half of one.
var readCommand = daemon.Command{
	Name: "read", Summary: "read files of a folder over and over, and print each set that was seen: read -for 5s /config FILE…",
	Run: func(ctx context.Context, args []string, stdout, stderr io.Writer) int {
		flags := flag.NewFlagSet("config-sidecar read", flag.ContinueOnError)
		flags.SetOutput(stderr)
		length := flags.Duration("for", 5*time.Second, "how long")
		if err := flags.Parse(args); err != nil || flags.NArg() < 2 {
			fmt.Fprintln(stderr, "usage: config-sidecar read [-for 5s] FOLDER FILE…")
			return 2
		}
		ctx, cancel := context.WithTimeout(ctx, *length)
		defer cancel()
		seen, lost := reading(ctx, flags.Arg(0), flags.Args()[1:])
		enc := json.NewEncoder(stdout)
		for _, s := range seen {
			if err := enc.Encode(s); err != nil {
				return 1
			}
		}
		if err := enc.Encode(Seen{Lost: lost}); err != nil {
			return 1
		}
		return 0
	},
}

// Seen is a set of files as a reader found it. The last line has no files, and says how many reads led nowhere: the
// folder went away meanwhile, because two newer versions came.
type Seen struct {
	Files []string `json:"files,omitempty"` // the SHA-256 of each, in the order of the arguments
	Count int      `json:"count"`
	Lost  int      `json:"lost"`
}

// mostSeen bounds what is kept.
const mostSeen = 10000

// reading resolves the link once for each read, and takes all files from where it leads to.
func reading(ctx context.Context, folder string, names []string) (seen []*Seen, lost int) {
	known := map[string]*Seen{}
	for ctx.Err() == nil {
		sums, err := readOnce(folder, names)
		if err != nil {
			lost++
			continue
		}
		key := fmt.Sprint(sums)
		if known[key] == nil {
			if len(seen) == mostSeen {
				break
			}
			known[key] = &Seen{Files: sums}
			seen = append(seen, known[key])
		}
		known[key].Count++
	}
	return seen, lost
}

func readOnce(folder string, names []string) (sums []string, err error) {
	first, err := filepath.EvalSymlinks(filepath.Join(folder, filepath.FromSlash(names[0])))
	if err != nil {
		return nil, err
	}
	for range strings.Count(names[0], "/") + 1 {
		first = filepath.Dir(first)
	}
	for _, name := range names {
		text, err := os.ReadFile(filepath.Join(first, name))
		if err != nil {
			return nil, err
		}
		sum := sha256.Sum256(text)
		sums = append(sums, hex.EncodeToString(sum[:]))
	}
	return sums, nil
}
