package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"go/version"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/shirou/gopsutil/v4/mem"
)

// clone looks whether the folder that the labs come from is there, and can be written: binaries and runs are kept in it.
func (d *doctor) clone(context.Context) []finding {
	if d.rootErr != nil {
		return []finding{bad("clone", remedy(d.rootErr), "%v", d.rootErr)}
	}
	if err := writable(filepath.Join(d.root, ".lab")); err != nil {
		return []finding{bad("clone", "binaries and runs are kept there: make it yours, or work in a clone that is", "%v", err)}
	}
	return []finding{good("clone", "%s", d.root)}
}

// writable tries it: permissions, read-only file systems and quotas do not all show otherwise.
func writable(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("cannot write: %w", err)
	}
	f, err := os.CreateTemp(dir, ".doctor-*")
	if err != nil {
		return fmt.Errorf("cannot write: %w", err)
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

func (d *doctor) composePlugin(ctx context.Context) []finding {
	const id = "compose-plugin"
	out, err := run(ctx, "", "docker", "compose", "version", "--short")
	if err != nil {
		if old, oldErr := run(ctx, "", "docker-compose", "version", "--short"); oldErr == nil && strings.HasPrefix(old, "1.") {
			return []finding{warn(id, "labs run without; to have it for yourself: scripts/setup compose",
				"docker compose does not answer; docker-compose %s is Compose v1, which cannot read the labs' files", old)}
		}
		return []finding{warn(id, "labs run without; to have it for yourself: scripts/setup compose", "docker compose does not answer: %v", err)}
	}
	return []finding{good(id, "docker compose %s", out)}
}

// findGo remembers which Go is there; what that means is known once the images have been looked at.
func (d *doctor) findGo(ctx context.Context) []finding {
	d.goRelease, d.goErr = run(ctx, os.TempDir(), "go", "env", "GOVERSION")
	return nil
}

// fetchesItself is the first Go that gets the release which go.mod names.
const fetchesItself = "go1.21"

var goDirective = regexp.MustCompile(`(?m)^go (\S+)$`)

// goVersion judges the Go that was found: without one, labs run whose images are there already.
func (d *doctor) goVersion(ctx context.Context) []finding {
	const id = "go"
	if d.root == "" {
		return nil
	}
	data, err := os.ReadFile(filepath.Join(d.root, "go.mod"))
	if err != nil {
		return []finding{bad(id, "", "%v", err)}
	}
	want := "go1.26"
	if m := goDirective.FindSubmatch(data); m != nil {
		want = "go" + string(m[1])
	}
	const install = "scripts/setup go"
	switch {
	case d.goErr == nil && version.Compare(d.goRelease, want) >= 0:
		return []finding{good(id, "%s", d.goRelease)}
	case d.goErr == nil && version.Compare(d.goRelease, fetchesItself) >= 0:
		return []finding{warn(id, install, "%s is older than %s, and fetches that one when it is first needed, if it can", d.goRelease, want)}
	}
	fact := "no Go: "
	if d.goErr == nil {
		fact = d.goRelease + " is older than " + want
	} else {
		fact += d.goErr.Error()
	}
	if build, known := d.toBuild(ctx); known && build == 0 {
		return []finding{warn(id, install, "%s; all images are built, so labs run, but a change could not be", fact)}
	}
	return []finding{bad(id, install+"; or bring the images along: lab images save, lab images load", "%s; images must be built", fact)}
}

// run is a command's output, or its error with what it said.
func run(ctx context.Context, dir, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	// The Go that is there, not one that it would have to fetch.
	cmd.Env = append(os.Environ(), "GOTOOLCHAIN=local")
	cmd.WaitDelay = time.Second
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if errors.Is(err, exec.ErrNotFound) {
		return "", fmt.Errorf("%s is not installed", name)
	}
	if said := strings.TrimSpace(stderr.String()); err != nil && said != "" {
		first, _, _ := strings.Cut(said, "\n")
		err = errors.New(first)
	}
	return strings.TrimSpace(string(out)), err
}

// What labs need of a disk and of memory. Below the first it may become tight, below the second nothing can be built.
const (
	diskTight   = 5e9
	diskFull    = 1e9
	memoryTight = 2e9
)

// disk looks where the images and where the clone's own things go. Another machine's disk cannot be seen from here.
func (d *doctor) disk(ctx context.Context) []finding {
	const id = "disk"
	type place struct{ what, dir string }
	var places []place
	if info, err := d.information(ctx); err == nil && d.local() && isDir(info.DockerRootDir) {
		places = append(places, place{"images", info.DockerRootDir})
	}
	if d.root != "" {
		places = append(places, place{"the clone", d.root})
	}
	var facts []string
	least := -1.0
	for _, p := range places {
		var st syscall.Statfs_t
		if err := syscall.Statfs(p.dir, &st); err != nil {
			continue
		}
		free := float64(st.Bavail) * float64(st.Bsize)
		facts = append(facts, fmt.Sprintf("%.1f GB free for %s (%s)", free/1e9, p.what, p.dir))
		if least < 0 || free < least {
			least = free
		}
	}
	const room = "make room: lab gc, docker system prune, go clean -cache; then df -h"
	return judged(id, room, strings.Join(facts, ", "), least, diskFull, diskTight)
}

func judged(id, remedy, fact string, have, full, tight float64) []finding {
	switch {
	case have < 0:
		return nil // nothing could be looked at
	case have < full:
		return []finding{bad(id, remedy, "%s", fact)}
	case have < tight:
		return []finding{warn(id, remedy, "%s", fact)}
	}
	return []finding{good(id, "%s", fact)}
}

// memory is what is available here, or with an engine elsewhere what that machine has at all.
func (d *doctor) memory(ctx context.Context) []finding {
	const id = "memory"
	const room = "stop what is not needed: lab status, lab down --all"
	if !d.local() && d.engine != nil {
		info, err := d.information(ctx)
		if err != nil {
			return nil
		}
		return judged(id, room, fmt.Sprintf("the engine's machine has %.1f GB", float64(info.MemTotal)/1e9), float64(info.MemTotal), 0, memoryTight)
	}
	m, err := mem.VirtualMemoryWithContext(ctx)
	if err != nil {
		return []finding{warn(id, "", "%v", err)}
	}
	fact := fmt.Sprintf("%.1f of %.1f GB available", float64(m.Available)/1e9, float64(m.Total)/1e9)
	return judged(id, room, fact, float64(m.Available), 0, memoryTight)
}
