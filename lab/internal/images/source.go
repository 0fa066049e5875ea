package images

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/moby/moby/api/types/image"

	"distlab/lab/internal/hint"
)

// flags make a binary small and the same wherever it is compiled, so that equal sources give equal digests.
var flags = []string{"-trimpath", "-buildvcs=false", "-ldflags=-s -w"}

// source is a folder of containers/ on its way to an image.
type source struct {
	name string // pause
	root string // of the repository
	arch string // to compile for

	// sources is a digest of all that the binary and the image are made from. It costs a millisecond, where asking
	// go whether a binary is stale costs a third of a second.
	sources string
}

// memo is what the last compilation gave. It spares the next one as long as the sources stay the same; lost, it
// costs one run of go build, never a rebuilt image.
type memo struct {
	Sources string `json:"sources"`
	Digest  string `json:"digest"` // of the binary and the rest of the image, as in the image's label
}

func (im *Images) source(name, arch string) (*source, error) {
	s := &source{name: name, root: im.Root, arch: arch}
	if _, err := os.Stat(s.path("Dockerfile")); err != nil {
		known, _ := im.Containers()
		return nil, hint.Wrap(fmt.Errorf("no container %q: %w", name, err), "there are: %s", strings.Join(known, ", "))
	}
	var err error
	if s.sources, err = s.fingerprint(); err != nil {
		return nil, fmt.Errorf("read the sources of %s: %w", name, err)
	}
	return s, nil
}

// Containers are the folders of containers/ that become images.
func (im *Images) Containers() ([]string, error) {
	found, err := filepath.Glob(filepath.Join(im.Root, "containers", "*", "Dockerfile"))
	if err != nil {
		return nil, err
	}
	for i, file := range found {
		found[i] = filepath.Base(filepath.Dir(file))
	}
	return found, nil
}

func (s *source) ref() string             { return prefix + s.name + tag }
func (s *source) path(file string) string { return filepath.Join(s.root, "containers", s.name, file) }
func (s *source) bin() string             { return filepath.Join(s.root, ".lab", "bin", s.arch) }
func (s *source) binary() string          { return filepath.Join(s.bin(), s.name) }
func (s *source) memoFile() string        { return s.binary() + ".json" }
func (s *source) recalls() (m memo) {
	if text, err := os.ReadFile(s.memoFile()); err == nil {
		_ = json.Unmarshal(text, &m) // what cannot be read is not remembered
	}
	return m
}

// isIn tells whether have was made from these sources, as far as is known without compiling.
func (s *source) isIn(have *image.InspectResponse) bool {
	m := s.recalls()
	return have != nil && m.Sources == s.sources && m.Digest == label(have, labelDigest)
}

// fingerprint hashes the files of the container and of what containers share (they import nothing else of this
// module), the modules' versions, the compiler and its flags.
func (s *source) fingerprint() (string, error) {
	h := sha256.New()
	fmt.Fprintln(h, s.arch, flags, compiler())
	for _, file := range []string{"go.mod", "go.sum"} {
		if err := hashFile(h, s.root, filepath.Join(s.root, file)); err != nil {
			return "", err
		}
	}
	for _, dir := range []string{s.path("."), filepath.Join(s.root, "containers", "internal")} {
		err := walk(dir, func(file string) error { return hashFile(h, s.root, file) })
		if err != nil {
			return "", err
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// compiler identifies the go command without running it.
func compiler() string {
	path, err := exec.LookPath("go")
	if err != nil {
		return ""
	}
	if path, err = filepath.EvalSymlinks(path); err != nil {
		return ""
	}
	info, err := os.Stat(path)
	if err != nil {
		return ""
	}
	return fmt.Sprint(path, info.Size(), info.ModTime().UnixNano())
}

// walk visits, in lexical order, the files below dir that an image can depend on: no tests and no documentation. A dir that
// does not exist has none.
func walk(dir string, visit func(file string) error) error {
	return filepath.WalkDir(dir, func(file string, entry fs.DirEntry, err error) error {
		if err != nil {
			if file == dir && errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			return err
		}
		switch name := entry.Name(); {
		case entry.IsDir() && (name == "testdata" || strings.HasPrefix(name, ".")):
			return fs.SkipDir
		case entry.IsDir(), strings.HasSuffix(name, "_test.go"), strings.HasSuffix(name, ".md"), strings.HasPrefix(name, "."):
			return nil
		}
		return visit(file)
	})
}

func hashFile(h io.Writer, root, file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	name, err := filepath.Rel(root, file)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(h, "%s %d\n%s", filepath.ToSlash(name), len(text), text)
	return err
}

// compile makes the binaries of all sources in one go build, which shares what they have in common, and moves
// each into place whole, so that nobody reads half of one.
func (im *Images) compile(ctx context.Context, sources []*source) (err error) {
	if len(sources) == 0 {
		return nil
	}
	first := sources[0]
	var names, packages []string
	for _, s := range sources {
		names = append(names, s.name)
		packages = append(packages, "./containers/"+s.name)
	}
	done := im.step(strings.Join(names, ", "), Compile, "for "+first.arch)
	defer func() { done("", err) }()

	if err := os.MkdirAll(first.bin(), 0o755); err != nil {
		return diskError(fmt.Errorf("compile: %w", err))
	}
	fresh, err := os.MkdirTemp(first.bin(), ".fresh-")
	if err != nil {
		return diskError(fmt.Errorf("compile: %w", err))
	}
	defer os.RemoveAll(fresh)

	args := slices.Concat([]string{"build", "-o", fresh + "/"}, flags, packages)
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = im.Root
	cmd.Env = append(os.Environ(), "GOOS=linux", "GOARCH="+first.arch, "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		text := strings.TrimSpace(string(out))
		if text == "" {
			text = err.Error()
		}
		return diskError(fmt.Errorf("compile %s:\n%s", strings.Join(names, ", "), text))
	}
	for _, s := range sources {
		if err := os.Rename(filepath.Join(fresh, s.name), s.binary()); err != nil {
			return fmt.Errorf("compile %s: %w", s.name, err)
		}
	}
	return nil
}
