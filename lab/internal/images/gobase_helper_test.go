package images

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/moby/moby/api/types/build"
	"github.com/moby/moby/client"
	"github.com/moby/patternmatcher"

	"distlab/lab/internal/hint"
)

// goBaseRef is the image that stands in for golang:… in the `build` stage where no registry can be reached.
const goBaseRef = prefix + "go-local" + tag

// goBaseDockerfile compiles what the containers import once, with the flags of their Dockerfiles, so that their builds find it done.
const goBaseDockerfile = `FROM %s
COPY go /usr/local/go
COPY mod /go/pkg/mod
COPY go.mod go.sum /imports/
ENV PATH=/usr/local/go/bin:/usr/local/bin:/usr/bin:/bin GOPATH=/go \
    GOTOOLCHAIN=local GOPROXY=off GOSUMDB=off GOFLAGS=-buildvcs=false
RUN cd /imports && CGO_ENABLED=0 go build -trimpath %s
`

// GoBase makes an image with this machine's Go, its standard library, and the modules that containers/ needs, out of
// which the default target of a container can be built without any network:
//
//	docker build --network none --build-arg GO_IMAGE=distlab/go-local:dev -f containers/pause/Dockerfile .
//
// It returns that image's reference.
func (im *Images) GoBase(ctx context.Context) (ref string, err error) {
	arch, err := im.engineArch(ctx)
	if err != nil {
		return "", err
	}
	if runtime.GOOS != "linux" || runtime.GOARCH != arch {
		return "", hint.New(fmt.Sprintf("this machine's Go is for %s/%s, the engine is linux/%s", runtime.GOOS, runtime.GOARCH, arch),
			"docker pull golang, or bring it along with docker load")
	}
	im.building.Lock()
	defer im.building.Unlock()
	debian, err := im.debianImage(ctx, goBaseRef, "debian")
	if err != nil {
		return "", err
	}
	files, digest, err := im.goBaseFiles(ctx, debian)
	if err != nil {
		return "", fmt.Errorf("build %s: %w", goBaseRef, err)
	}
	have, err := im.inspect(ctx, goBaseRef)
	if err != nil || label(have, labelDigest) == digest {
		return goBaseRef, err
	}
	done := im.step(goBaseRef, BuildImage, "from this machine's Go")
	err = im.engineBuild(ctx, files, client.ImageBuildOptions{
		Tags:   []string{goBaseRef},
		Labels: map[string]string{labelDigest: digest},
	})
	done("", err)
	im.sweep(ctx)
	return goBaseRef, err
}

// goBaseFiles are the toolchain and the modules, with a digest of what they are rather than of their quarter of a gigabyte.
func (im *Images) goBaseFiles(ctx context.Context, debian string) (found files, digest string, err error) {
	var env struct{ GOROOT, GOMODCACHE, GOVERSION, GOTOOLDIR string }
	out, err := im.goCommand(ctx, "env", "-json", "GOROOT", "GOMODCACHE", "GOVERSION", "GOTOOLDIR")
	if err != nil {
		return nil, "", err
	}
	if err := json.Unmarshal(out, &env); err != nil {
		return nil, "", err
	}
	out, err = im.goCommand(ctx, "list", "-deps", "-f",
		`{{if .Standard}}{{.ImportPath}}{{else if not .Module.Main}}{{.ImportPath}} {{.Module.Dir}}{{end}}`, "./containers/...")
	if err != nil {
		return nil, "", err
	}
	var imports, modules []string
	for line := range strings.Lines(string(out)) {
		imported, module, _ := strings.Cut(strings.TrimSpace(line), " ")
		if strings.HasPrefix(imported, "vendor/") {
			continue // the standard library's own; cannot be named
		}
		imports = append(imports, imported)
		if module != "" {
			modules = append(modules, module)
		}
	}
	slices.Sort(modules)
	modules = slices.Compact(modules)

	// Not of the imports: one more of them is a little more for a build to compile, and no reason to make all this again.
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %s %s %s\n%s", env.GOVERSION, compiler(), modules, debian, goBaseDockerfile))
	found = files{
		{name: "Dockerfile", text: fmt.Appendf(nil, goBaseDockerfile, debian, strings.Join(imports, " ")), mode: 0o644},
		{name: "go.mod", path: filepath.Join(im.Root, "go.mod"), mode: 0o644},
		{name: "go.sum", path: filepath.Join(im.Root, "go.sum"), mode: 0o644},
	}
	for _, part := range []string{"VERSION", "go.env", "bin/go", "pkg/include", "src", "lib"} {
		if err := found.addTree(path.Join("go", part), filepath.Join(env.GOROOT, part)); err != nil {
			return nil, "", err
		}
	}
	for _, tool := range []string{"asm", "compile", "link", "cgo"} {
		if err := found.addTree(path.Join("go/pkg/tool/linux_"+runtime.GOARCH, tool), filepath.Join(env.GOTOOLDIR, tool)); err != nil {
			return nil, "", err
		}
	}
	return found, hex.EncodeToString(sum[:])[:32], found.addModules(env.GOMODCACHE, modules)
}

func (im *Images) goCommand(ctx context.Context, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = im.Root
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go %s: %w\n%s", args[0], err, strings.TrimSpace(stderr.String()))
	}
	return out, nil
}

// addTree adds the file or tree at from, but for tests, what belongs to the go command's own sources, and what is not there.
func (f *files) addTree(name, from string) error {
	from, err := filepath.EvalSymlinks(from) // Debian's GOROOT is made of them
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return filepath.WalkDir(from, func(source string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, source)
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if entry.Name() == "testdata" || name == "go/src" && rel == "cmd" {
				return fs.SkipDir
			}
			return nil
		}
		info, err := os.Stat(source)
		if err != nil || !info.Mode().IsRegular() || strings.HasSuffix(rel, "_test.go") {
			return err
		}
		*f = append(*f, file{name: path.Join(name, filepath.ToSlash(rel)), path: source, mode: info.Mode()})
		return nil
	})
}

// addModules adds modules of the module cache, and what go keeps beside them to know that they are whole: of the modules
// themselves the hash, of all others of go.mod, whose code is not needed, the go.mod file.
func (f *files) addModules(cache string, dirs []string) error {
	for _, dir := range dirs {
		rel, err := filepath.Rel(cache, dir)
		if err != nil {
			return err
		}
		if err := f.addTree(path.Join("mod", filepath.ToSlash(rel)), dir); err != nil {
			return err
		}
		module, version, _ := strings.Cut(filepath.ToSlash(rel), "@")
		hash := path.Join("cache/download", module, "@v", version+".ziphash")
		if err := f.addTree(path.Join("mod", hash), filepath.Join(cache, filepath.FromSlash(hash))); err != nil {
			return err
		}
	}
	return filepath.WalkDir(filepath.Join(cache, "cache", "download"), func(source string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || filepath.Ext(source) != ".mod" {
			return err
		}
		rel, err := filepath.Rel(cache, source)
		*f = append(*f, file{name: path.Join("mod", filepath.ToSlash(rel)), path: source, mode: 0o644})
		return err
	})
}

// BuildDefault builds a container as a person without Go would: its default target, compiled inside the build from the
// context that .dockerignore leaves, on top of goImage and without a network. The builder is BuildKit, or the classic one.
func (im *Images) BuildDefault(ctx context.Context, container, goImage, ref string, builder build.BuilderVersion) error {
	found, err := im.defaultContext(container)
	if err != nil {
		return fmt.Errorf("build %s: %w", ref, err)
	}
	done := im.step(ref, BuildImage, "the default target of "+container)
	ids, err := im.engineBuildWith(ctx, found, client.ImageBuildOptions{
		Tags:      []string{ref},
		BuildArgs: map[string]*string{"GO_IMAGE": &goImage},
		Version:   builder,
	})
	done("", err)
	for _, id := range ids[:max(0, len(ids)-1)] { // stages that the classic builder leaves behind, the one with Go in it among them
		_, _ = im.Docker.ImageRemove(ctx, id, client.ImageRemoveOptions{PruneChildren: true})
	}
	return err
}

// defaultContext is the repository as .dockerignore lets a build see it.
func (im *Images) defaultContext(container string) (files, error) {
	found := files{{name: "Dockerfile", path: filepath.Join(im.Root, "containers", container, "Dockerfile"), mode: 0o644}}
	text, err := os.ReadFile(filepath.Join(im.Root, ".dockerignore"))
	if err != nil {
		return nil, err
	}
	var patterns []string
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			patterns = append(patterns, line)
		}
	}
	ignored, err := patternmatcher.New(patterns)
	if err != nil {
		return nil, fmt.Errorf(".dockerignore: %w", err)
	}
	return found, filepath.WalkDir(im.Root, func(source string, entry fs.DirEntry, err error) error {
		if err != nil || source == im.Root {
			return err
		}
		if name := entry.Name(); entry.IsDir() {
			if name == ".git" || name == ".lab" {
				return fs.SkipDir
			}
			return nil
		}
		rel, err := filepath.Rel(im.Root, source)
		if err != nil {
			return err
		}
		if out, err := ignored.MatchesOrParentMatches(rel); err != nil || out || !entry.Type().IsRegular() {
			return err
		}
		found = append(found, file{name: filepath.ToSlash(rel), path: source, mode: 0o644})
		return nil
	})
}
