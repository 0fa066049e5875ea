package images_test

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"distlab/lab/internal/images"
)

// engine connects to the real Docker; without one, the test fails, for a test that is skipped proves nothing.
func engine(t *testing.T) *client.Client {
	t.Helper()
	if testing.Short() {
		t.Skip("needs Docker")
	}
	docker, err := client.New(client.FromEnv)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { docker.Close() })
	if _, err := docker.Ping(t.Context(), client.PingOptions{}); err != nil {
		t.Fatalf("%v\nhint: this test needs Docker: scripts/setup installs and starts it; go test -short leaves it out", err)
	}
	return docker
}

// repo is a small repository of its own with the named containers, copies of testdata's; images of those names are removed
// when the test ends.
func repo(t *testing.T, docker *client.Client, names ...string) string {
	t.Helper()
	root := t.TempDir()
	write(t, root, "go.mod", read(t, "testdata/repo/go.mod.txt"))
	write(t, root, "go.sum", "")
	write(t, root, "containers/internal/greet/greet.go", read(t, "testdata/repo/containers/internal/greet/greet.go"))
	for _, name := range names {
		for _, file := range []string{"main.go", "page.txt", "Dockerfile"} {
			text := read(t, "testdata/repo/containers/images-test/"+file)
			write(t, root, "containers/"+name+"/"+file, strings.ReplaceAll(text, "images-test", name))
		}
		if docker != nil {
			t.Cleanup(func() { remove(t, docker, "distlab/"+name+":dev") })
		}
	}
	return root
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func write(t *testing.T, root, file, text string) {
	t.Helper()
	file = filepath.Join(root, file)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, docker *client.Client, ref string) {
	_, _ = docker.ImageRemove(lasting(t), ref, client.ImageRemoveOptions{Force: true, PruneChildren: true})
}

// events collects what an Images reports.
type events struct {
	mu   sync.Mutex
	list []images.Event
}

func (e *events) add(event images.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.list = append(e.list, event)
}

// ended are the steps that ended since the last call, as "build distlab/x:dev done".
func (e *events) ended() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	var got []string
	for _, event := range e.list {
		if event.Phase == images.Done || event.Phase == images.Failed {
			got = append(got, strings.TrimSpace(string(event.Step)+" "+event.Ref)+" "+string(event.Phase))
		}
	}
	e.list = nil
	return got
}

// run runs an image to its end and returns what it printed.
func run(t *testing.T, docker *client.Client, ref string, command ...string) string {
	t.Helper()
	ctx := lasting(t)
	made, err := docker.ContainerCreate(ctx, client.ContainerCreateOptions{
		Config:     &container.Config{Image: ref, Cmd: command},
		HostConfig: &container.HostConfig{NetworkMode: "none"},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer docker.ContainerRemove(lasting(t), made.ID, client.ContainerRemoveOptions{Force: true, RemoveVolumes: true})
	waiting := docker.ContainerWait(ctx, made.ID, client.ContainerWaitOptions{Condition: container.WaitConditionNextExit})
	if _, err := docker.ContainerStart(ctx, made.ID, client.ContainerStartOptions{}); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-waiting.Error:
		t.Fatal(err)
	case <-waiting.Result:
	case <-time.After(30 * time.Second):
		t.Fatalf("%s does not end", ref)
	}
	logs, err := docker.ContainerLogs(ctx, made.ID, client.ContainerLogsOptions{ShowStdout: true, ShowStderr: true})
	if err != nil {
		t.Fatal(err)
	}
	defer logs.Close()
	var out bytes.Buffer
	if _, err := stdcopy.StdCopy(&out, &out, logs); err != nil && err != io.EOF {
		t.Fatal(err)
	}
	return out.String()
}

func id(t *testing.T, docker *client.Client, ref string) string {
	t.Helper()
	have, err := docker.ImageInspect(lasting(t), ref)
	if err != nil {
		t.Fatal(err)
	}
	return have.ID
}

func exists(t *testing.T, docker *client.Client, ref string) bool {
	t.Helper()
	_, err := docker.ImageInspect(lasting(t), ref)
	return err == nil
}

func chmod(t *testing.T, file string) {
	t.Helper()
	if err := os.Chmod(file, 0o755); err != nil {
		t.Fatal(err)
	}
}

func archiveOf(t *testing.T, im *images.Images, needs ...images.Need) io.Reader {
	t.Helper()
	var archive bytes.Buffer
	if err := im.Save(t.Context(), needs, &archive); err != nil {
		t.Fatal(err)
	}
	return &archive
}
