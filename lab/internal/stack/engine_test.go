package stack_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/client"

	"distlab/lab/check"
	"distlab/lab/internal/compose"
	"distlab/lab/internal/images"
	"distlab/lab/internal/stack"
)

// one is a stack of one app, for this package's tests.
const one = `
name: stack-one
x-lab:
  title: One app
  pattern: none
  says: An app answers.
  endpoints: [{service: app, port: 8080, url: "http://{address}/", says: the app}]
  try: [{says: a page, run: "curl http://{app:8080}/"}]
services:
  app:
    image: distlab/legacy-app:dev
    build: {context: ., dockerfile: containers/legacy-app/Dockerfile}
    environment: {LISTEN_ADDR: "0.0.0.0:8080"}
    ports: ["127.0.0.1:${HTTP_PORT:-}:8080"]
    volumes: ["data:/data"]
    read_only: true
    cap_drop: [ALL]
    security_opt: ["no-new-privileges:true"]
    mem_limit: 64m
    cpus: 1
volumes:
  data:
    driver_opts: {type: tmpfs, device: tmpfs, o: "uid=65532,gid=65532"}
`

// bring starts the stack, and takes it away in the end.
func bring(t *testing.T) (*stack.Engine, *stack.Driver) {
	t.Helper()
	if testing.Short() {
		t.SkipNow()
	}
	e, err := stack.Connect(t.Context())
	if err != nil {
		t.Fatalf("%v (-short leaves out what needs Docker)", err)
	}
	root, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	if err := (&images.Images{Root: root, Docker: e.Docker}).Build(t.Context(), "legacy-app", "probe"); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	src := compose.Source{Root: dir, Lab: "stack/one", Instance: "engine-test"}
	if err := os.MkdirAll(src.Dir(), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(src.Files()[0], []byte(one), 0o644); err != nil {
		t.Fatal(err)
	}
	p, err := compose.Load(t.Context(), src, nil)
	if err != nil {
		t.Fatal(err)
	}
	lock, err := e.Lock(t.Context(), src.Project(), "go test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		defer lock.Release()
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := e.Down(ctx, src.Project(), nil); err != nil {
			t.Error(err)
		}
		if there, err := e.Exists(ctx, src.Project()); err != nil || there {
			t.Errorf("something is left: %v, %v", there, err)
		}
	})
	if err := e.Up(t.Context(), p, stack.UpOptions{Owned: true}); err != nil {
		t.Fatal(err)
	}
	return e, &stack.Driver{Engine: e, Project: src.Project(), Lock: lock}
}

// TestFaults does every fault to a real container, within claims: each must be seen, and healed afterwards.
func TestFaults(t *testing.T) {
	_, d := bring(t)
	ok := check.Decide(true, "done").Of(1)
	claims := map[string]func(context.Context, *check.Stack) (check.Result, error){
		"stop": func(ctx context.Context, s *check.Stack) (check.Result, error) {
			_, err := s.Stop(ctx, "app")
			return ok, errors.Join(err, expect(ctx, s, "exited", 0))
		},
		"kill": func(ctx context.Context, s *check.Stack) (check.Result, error) {
			_, err := s.Kill(ctx, "app")
			return ok, errors.Join(err, expect(ctx, s, "exited", 137))
		},
		"pause": func(ctx context.Context, s *check.Stack) (check.Result, error) {
			_, err := s.Pause(ctx, "app")
			return ok, errors.Join(err, expect(ctx, s, "paused", 0))
		},
		"disconnect": func(ctx context.Context, s *check.Stack) (check.Result, error) {
			before, err := s.HTTP(ctx, check.Outside, "http://app:8080/about")
			if err != nil || before.Status != http.StatusOK {
				return check.Result{}, errors.Join(err, errors.New("before: "+before.Error))
			}
			f, err := s.Disconnect(ctx, "app", "default")
			if err != nil {
				return check.Result{}, err
			}
			during, err := s.HTTP(ctx, check.Outside, "-timeout", "2s", "http://app:8080/about")
			if err != nil || during.Error == "" {
				return check.Result{}, errors.Join(err, errors.New("reachable though disconnected"))
			}
			if err := f.Heal(ctx); err != nil {
				return check.Result{}, err
			}
			after, err := s.HTTP(ctx, check.Outside, "http://app:8080/about") // by its old name
			return check.Decide(after.Status == http.StatusOK, "%d %s", after.Status, after.Error).Of(1), err
		},
		"signal": func(ctx context.Context, s *check.Stack) (check.Result, error) {
			_, err := s.Signal(ctx, "app", "SIGHUP", func(ctx context.Context) (string, error) {
				logs, err := s.Logs(ctx, "app", time.Time{})
				return fmt.Sprintf("settings loaded %d times", strings.Count(logs, "settings loaded")), err
			})
			return ok, err
		},
		"freeze": func(ctx context.Context, s *check.Stack) (check.Result, error) {
			_, err := s.Signal(ctx, "app", "SIGSTOP", func(ctx context.Context) (string, error) {
				a, err := s.HTTP(ctx, check.Outside, "-timeout", "1s", "http://app:8080/about")
				return fmt.Sprintf("status %d", a.Status), err
			}, check.Back("SIGCONT"))
			return ok, err
		},
		"run": func(ctx context.Context, s *check.Stack) (check.Result, error) {
			looks := 0
			see := func(context.Context) (string, error) { looks++; return fmt.Sprint(looks), nil }
			version := []string{"/legacy-app", "version"}
			_, err := s.Run(ctx, "app", "a version", version, version, see)
			return ok, err
		},
		"write": func(ctx context.Context, s *check.Stack) (check.Result, error) {
			f, err := s.Write(ctx, "app", map[string][]byte{"/data/a": []byte("first")})
			if err != nil {
				return check.Result{}, err
			}
			_, err = s.Write(ctx, "app", map[string][]byte{"/data/a": []byte("second")})
			if err != nil {
				return check.Result{}, err
			}
			data, err := s.ReadFile(ctx, "app", "/data/a")
			return check.Decide(string(data) == "second" && f.Receipt().During != "", "%q", data).Of(1), err
		},
	}
	s := check.NewStack(d, 1)
	for name, measure := range claims {
		lab := check.Lab{Name: "stack/one", Claims: []check.Claim{{ID: name, Says: name, Measure: measure}}}
		rep := check.Run(t.Context(), lab, s, check.Options{})
		c := rep.Claims[0]
		if c.Verdict != check.Pass {
			t.Errorf("%s: %s, %s %s", name, c.Verdict, c.Measured, c.Detail)
		}
		for _, f := range c.Faults {
			t.Logf("%s: %q → %q → %q", f.Fault, f.Before, f.During, f.After)
			if f.During == f.Before || f.After == "" {
				t.Errorf("%s: not proven and healed", name)
			}
			if name != "signal" && name != "run" && name != "write" && f.After != f.Before {
				t.Errorf("%s: after healing it is %q, before it was %q", name, f.After, f.Before)
			}
		}
		st, err := s.State(t.Context(), "app")
		if err != nil || st.Status != "running" || st.Health != "healthy" {
			t.Errorf("%s: afterwards the app is %+v, %v", name, st, err)
		}
	}
}

func expect(ctx context.Context, s *check.Stack, status string, code int) error {
	st, err := s.State(ctx, "app")
	if err == nil && (st.Status != status || status == "exited" && st.ExitCode != code) {
		return errors.New("it is " + st.Status)
	}
	return err
}

// TestNoEffect: a fault that changes nothing makes its claim inconclusive, whatever the claim says.
func TestNoEffect(t *testing.T) {
	_, d := bring(t)
	lab := check.Lab{Name: "stack/one", Claims: []check.Claim{{
		ID: "same", Says: "a file is written with what it had",
		Timeout: 20 * time.Second,
		Measure: func(ctx context.Context, s *check.Stack) (check.Result, error) {
			if _, err := s.Write(ctx, "app", map[string][]byte{"/data/b": []byte("x")}); err != nil {
				return check.Result{}, err
			}
			_, _ = s.Write(ctx, "app", map[string][]byte{"/data/b": []byte("x")})
			return check.Decide(true, "all is well").Of(1), nil
		},
	}}}
	rep := check.Run(t.Context(), lab, check.NewStack(d, 1), check.Options{})
	if c := rep.Claims[0]; c.Verdict != check.Inconclusive || !strings.Contains(c.Detail, "no effect") {
		t.Errorf("%s: %s", c.Verdict, c.Detail)
	}
}

// TestRunIsUndone: what a killed command has run is undone in the container that has its place by then, and not while
// it does not run.
func TestRunIsUndone(t *testing.T) {
	e, d := bring(t)
	app, err := d.Containers(t.Context(), "app")
	if err != nil || len(app) != 1 {
		t.Fatal(app, err)
	}
	left := func(undo string) {
		t.Helper()
		journal := fmt.Sprintf(`{"faults": [{"container": "of old", "was_up": true,
			"replica": {"project": %q, "service": "app", "number": 1}, "action": {"kind": "run", "undo": ["/legacy-app", %q]}}]}`,
			d.Project, undo)
		if err := e.Leave(t.Context(), d.Project, journal); err != nil {
			t.Fatal(err)
		}
	}
	left("no-such-command")
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if done, err := e.HealHeld(ctx, d.Project); len(done) > 0 || err == nil || !strings.Contains(err.Error(), "exit code 2") {
		t.Errorf("an undo that fails: %q, %v", done, err)
	}
	if _, err := e.Docker.ContainerRemove(t.Context(), d.Project+".left-by-a-test", client.ContainerRemoveOptions{}); err != nil {
		t.Fatal(err)
	}
	left("version")
	if _, err := e.Docker.ContainerStop(t.Context(), app[0].ID, client.ContainerStopOptions{}); err != nil {
		t.Fatal(err)
	}
	if done, err := e.HealHeld(t.Context(), d.Project); len(done) > 0 || err != nil {
		t.Errorf("while it does not run: %q, %v", done, err)
	}
	if _, err := e.Docker.ContainerStart(t.Context(), app[0].ID, client.ContainerStartOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []int{1, 0} {
		if done, err := e.HealHeld(t.Context(), d.Project); len(done) != want || err != nil {
			t.Errorf("when it runs: %q, %v; want %d", done, err, want)
		}
	}
}

func TestExecLogsAndProbe(t *testing.T) {
	e, d := bring(t)
	s := check.NewStack(d, 1)
	out, err := s.Exec(t.Context(), "app", "/legacy-app", "health")
	if err != nil || out.ExitCode != 0 {
		t.Errorf("health: %+v, %v", out, err)
	}
	out, err = s.Exec(t.Context(), "app", "/legacy-app", "no-such-command")
	if err != nil || out.ExitCode != 2 || out.Stderr == "" {
		t.Errorf("a wrong command: %+v, %v", out, err)
	}
	logs, err := s.Logs(t.Context(), "app", time.Time{})
	if err != nil || !strings.Contains(logs, "listening") {
		t.Errorf("logs: %q, %v", logs, err)
	}
	in, err := s.HTTP(t.Context(), check.Inside("app"), "http://127.0.0.1:8080/about")
	if err != nil || in.Status != http.StatusOK {
		t.Errorf("inside: %+v, %v", in, err)
	}
	if _, err := s.HTTP(t.Context(), check.Outside, "-no-such-flag"); err == nil || !strings.Contains(err.Error(), "no-such-flag") {
		t.Errorf("a probe that cannot do its work: %v", err)
	}
	all, err := e.Docker.ContainerList(t.Context(), client.ContainerListOptions{
		All: true, Filters: make(client.Filters).Add("label", "com.docker.compose.oneoff=True").Add("label", "com.docker.compose.project="+d.Project),
	})
	if err != nil || len(all.Items) != 0 {
		t.Errorf("%d probes are left, %v", len(all.Items), err)
	}
}

// TestLabels: everything that is created says which lab it is of, so that it can be found and taken away.
func TestLabels(t *testing.T) {
	e, d := bring(t)
	filter := make(client.Filters).Add("label", compose.LabelLab+"=stack/one").Add("label", compose.LabelOwner)
	cs, err := e.Docker.ContainerList(t.Context(), client.ContainerListOptions{Filters: filter})
	if err != nil || len(cs.Items) != 1 {
		t.Errorf("%d labelled containers, %v", len(cs.Items), err)
	}
	ns, err := e.Docker.NetworkList(t.Context(), client.NetworkListOptions{Filters: filter})
	if err != nil || len(ns.Items) != 1 {
		t.Errorf("%d labelled networks, %v", len(ns.Items), err)
	}
	vs, err := e.Docker.VolumeList(t.Context(), client.VolumeListOptions{Filters: filter})
	if err != nil || len(vs.Items) != 1 {
		t.Errorf("%d labelled volumes, %v", len(vs.Items), err)
	}
	left, err := e.Leftovers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range left {
		if l.Project == d.Project {
			t.Errorf("a stack whose owner runs counts as left over: %s", l.Why)
		}
	}
}
