package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"distlab/containers/internal/daemon"
)

// weightsCommand edits the arms file, for people and scripts that can exec into
// the container: there is no shell in the image. The running splitter sees the
// change as any other.
var weightsCommand = daemon.Command{
	Name:    "weights",
	Summary: "write new weights into the file of ARMS_PATH: weights production=5 experiment=5",
	Run: func(_ context.Context, args []string, _, stderr io.Writer) int {
		path := os.Getenv("ARMS_PATH")
		if path == "" || len(args) == 0 {
			fmt.Fprintln(stderr, "usage: splitter weights ARM=WEIGHT...  with ARMS_PATH set")
			return 2
		}
		weights := map[string]int{}
		for _, arg := range args {
			arm, value, _ := strings.Cut(arg, "=")
			n, err := strconv.Atoi(value)
			if err != nil {
				fmt.Fprintf(stderr, "%s: not like experiment=5\n", arg)
				return 2
			}
			weights[arm] = n
		}
		if err := rewriteArms(path, weights); err != nil {
			fmt.Fprintf(stderr, "arms file %s: %v\n", path, err)
			return 1
		}
		return 0
	},
}

func rewriteArms(path string, weights map[string]int) error {
	text, err := readArms(path)
	if err != nil {
		return err
	}
	text, err = editWeights(text, weights)
	if err != nil {
		return err
	}
	return replaceFile(path, text)
}

// editWeights changes weights and leaves all else as it is, comments too.
func editWeights(text string, weights map[string]int) (string, error) {
	arms, err := parseArms(text)
	if err != nil {
		return "", err
	}
	if arms, err = withWeights(arms, weights); err != nil {
		return "", err
	}
	if err := checkArms(arms); err != nil {
		return "", err
	}
	var b strings.Builder
	for line := range strings.Lines(text) {
		arm, comment, hash := strings.Cut(strings.TrimRight(line, "\r\n"), "#")
		name, _, _ := strings.Cut(strings.TrimSpace(arm), "=")
		weight, ok := weights[name]
		if !ok {
			b.WriteString(line)
			continue
		}
		var words []string
		for _, word := range strings.Fields(arm) {
			if !strings.HasPrefix(word, "weight=") {
				words = append(words, word)
			}
		}
		words = append(words[:1], append([]string{fmt.Sprintf("weight=%d", weight)}, words[1:]...)...)
		b.WriteString(strings.Join(words, " "))
		if hash {
			b.WriteString(" #" + comment)
		}
		b.WriteByte('\n')
	}
	return b.String(), nil
}

// replaceFile renames a new file over the old one, so that nobody sees half of
// it; where the folder cannot be written, it writes into the old one.
func replaceFile(path, text string) error {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".arms-*")
	if err != nil {
		if errors.Is(err, os.ErrPermission) || strings.Contains(err.Error(), "read-only") {
			return os.WriteFile(path, []byte(text), 0o644)
		}
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.WriteString(text)
	if chmod := f.Chmod(0o644); err == nil {
		err = chmod
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if errors.Is(err, os.ErrPermission) || err != nil && strings.Contains(err.Error(), "busy") {
		return os.WriteFile(path, []byte(text), 0o644) // a mount of the one file
	}
	return err
}
