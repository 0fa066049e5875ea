package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
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
			err = cfg.Check()
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
		until := flags.String("until", "", "until the first file has this SHA-256, if that is earlier")
		if err := flags.Parse(args); err != nil || flags.NArg() < 2 {
			fmt.Fprintln(stderr, "usage: config-sidecar read [-for 5s] [-until SHA256] FOLDER FILE…")
			return 2
		}
		ctx, cancel := context.WithTimeout(ctx, *length)
		defer cancel()
		seen, absent, lost := reading(ctx, flags.Arg(0), flags.Args()[1:], *until)
		enc := json.NewEncoder(stdout)
		for _, s := range seen {
			if err := enc.Encode(s); err != nil {
				return 1
			}
		}
		if err := enc.Encode(Seen{Absent: absent, Lost: lost}); err != nil {
			return 1
		}
		return 0
	},
}

// Seen is a set of files as a reader found it. The last line has no files, and says how many reads found nothing there, and
// how many led nowhere: the folder went away meanwhile, because several newer versions came.
type Seen struct {
	Files  []string `json:"files,omitempty"` // the SHA-256 of each, in the order of the arguments
	Count  int      `json:"count"`
	Absent int      `json:"absent"`
	Lost   int      `json:"lost"`
}

// mostSeen bounds what is kept.
const mostSeen = 10000

// reading resolves the link once for each read, and takes all files from where it leads to. It is quick, for what it
// looks for lasts microseconds: only what differs from the read before is hashed.
func reading(ctx context.Context, folder string, names []string, until string) (seen []*Seen, absent, lost int) {
	known := map[string]*Seen{}
	last, now := make([][]byte, len(names)), make([][]byte, len(names))
	var current *Seen
	for ctx.Err() == nil {
		switch err := readOnce(folder, names, now); {
		case errors.Is(err, errNothing):
			absent++
			continue
		case err != nil:
			lost++
			continue
		}
		if current == nil || !slices.EqualFunc(last, now, bytes.Equal) {
			var sums []string
			for _, text := range now {
				sum := sha256.Sum256(text)
				sums = append(sums, hex.EncodeToString(sum[:]))
			}
			key := fmt.Sprint(sums)
			if known[key] == nil {
				if len(seen) == mostSeen {
					break
				}
				known[key] = &Seen{Files: sums}
				seen = append(seen, known[key])
			}
			current = known[key]
			last, now = now, last
		}
		current.Count++
		if current.Files[0] == until {
			break
		}
	}
	return seen, absent, lost
}

// errNothing says that what an app opens is not there.
var errNothing = errors.New("nothing there")

// readOnce reads each file into its place in texts, whose memory it uses again.
func readOnce(folder string, names []string, texts [][]byte) error {
	// This walks the links one by one, where open(2) does it in one go: a reader that is put aside amid them, for longer than
	// two versions last, is led to one that is gone. That is no absence of a file.
	led, _ := os.Readlink(filepath.Join(folder, link))
	first, err := filepath.EvalSymlinks(filepath.Join(folder, filepath.FromSlash(names[0])))
	if now, _ := os.Readlink(filepath.Join(folder, link)); err != nil && now != led {
		return err
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errNothing, err)
	}
	for range strings.Count(names[0], "/") + 1 {
		first = filepath.Dir(first)
	}
	for i, name := range names {
		if err := readInto(filepath.Join(first, name), &texts[i]); err != nil {
			return err
		}
	}
	return nil
}

func readInto(path string, text *[]byte) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	buf := bytes.NewBuffer((*text)[:0])
	_, err = buf.ReadFrom(f)
	*text = buf.Bytes()
	return err
}
