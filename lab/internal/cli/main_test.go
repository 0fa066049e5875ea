package cli

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"distlab/lab/check"
	"distlab/lab/internal/hint"
)

// catalog is what the `lab` of these tests knows; its files are in testdata/clone.
func catalog() []check.Lab {
	measure := func(context.Context, *check.Stack) (check.Result, error) {
		return check.Result{}, errors.New("not here")
	}
	return []check.Lab{
		{
			Name: "sidecar/tls",
			Claims: []check.Claim{
				{ID: "https", Says: "the service answers over HTTPS", Measure: measure},
				{ID: "plaintext-closed", Says: "its own port refuses everyone else", Measure: measure},
			},
			Variants: []check.Variant{
				{Name: "open", Says: "the service listens on every address", Breaks: []string{"plaintext-closed"}},
			},
			Bench: &check.Bench{
				Says:     "two of a kind",
				Subjects: []check.Subject{{Name: "ours", Service: "app", Role: check.Ours, Says: "as it is"}},
				Workloads: []check.Workload{
					{ID: "small", Says: "small answers", Load: check.Wrk{Connections: 1}, Targets: []check.Target{{Subject: "ours", At: "http://app:80/"}}},
					{ID: "download", Says: "a large one", Load: check.Transfer{Connections: 1, Down: 1}, Targets: []check.Target{{Subject: "ours", At: "http://app:80/"}}},
				},
			},
		},
		{Name: "sidecar/split", Claims: []check.Claim{{ID: "half", Says: "each side gets half", Measure: measure}}},
		{Name: "ambassador/split", Claims: []check.Claim{{ID: "half", Says: "each side gets half", Measure: measure}}},
	}
}

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"lab": func() {
		// Root may use every socket; the tests of permissions want somebody who may not.
		if os.Getenv("LAB_TEST_NOBODY") != "" && os.Geteuid() == 0 {
			if err := syscall.Setuid(65534); err != nil {
				panic(err)
			}
		}
		os.Exit(Main(catalog(), os.Args[1:]))
	}})
}

var update = flag.Bool("rewrite", false, "write the scripts' golden files anew")

func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		Setup:               setup,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		UpdateScripts:       *update,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits":  exits,
			"engine": engine,
		},
	})
}

// setup gives a script a clone of its own, a home of its own and an engine that is not there: nothing that these tests
// do reaches a real one.
func setup(env *testscript.Env) error {
	clone := filepath.Join(env.WorkDir, "clone")
	if err := makeClone(clone); err != nil {
		return err
	}
	// Somebody else must be able to come here too.
	for _, dir := range []string{filepath.Dir(env.WorkDir), env.WorkDir} {
		if err := os.Chmod(dir, 0o755); err != nil {
			return err
		}
	}
	home := filepath.Join(env.WorkDir, "home")
	for k, v := range map[string]string{
		"DISTLAB_ROOT": clone, "HOME": home,
		"DOCKER_HOST": "unix://" + filepath.Join(env.WorkDir, "nowhere.sock"),
		"START":       strings.Replace(hint.Here(hint.Service("start")), "scripts/", "clone/scripts/", 1),
	} {
		env.Setenv(k, v)
	}
	return nil
}

func makeClone(dir string) error {
	if err := os.CopyFS(dir, os.DirFS("testdata/clone")); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "go.mod"), []byte("module distlab\n\ngo 1.26.0\n"), 0o644)
}

// exits runs a command and requires its exit code, which testscript's exec does not look at:
//
//	exits 64 lab nope
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits code command…")
	}
	code := 0
	err := ts.Exec(args[1], args[2:]...)
	if e, ok := errors.AsType[*exec.ExitError](err); ok {
		code = e.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if strconv.Itoa(code) != args[0] {
		ts.Fatalf("exit code %d, want %s", code, args[0])
	}
}

// engine makes a Docker engine that is no good, and points the script at it:
//
//	engine hangs    accepts and never answers
//	engine denies   may not be connected to
func engine(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: engine hangs|denies")
	}
	path := ts.MkAbs("engine.sock")
	stop, err := badEngine(path, args[0] == "denies")
	ts.Check(err)
	ts.Defer(stop)
	ts.Setenv("DOCKER_HOST", "unix://"+path)
}

// badEngine listens, and leaves everyone who comes without an answer.
func badEngine(path string, denies bool) (stop func(), err error) {
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	if denies {
		if err := os.Chmod(path, 0); err != nil {
			return nil, err
		}
	}
	return func() { l.Close() }, nil
}

// command is `lab` as a process, in a clone of its own, with an engine that is not there.
func command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	dir := t.TempDir()
	if err := makeClone(filepath.Join(dir, "clone")); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "lab", args...) // testscript.Main has put it on the path
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "DISTLAB_ROOT="+filepath.Join(dir, "clone"), "HOME="+dir,
		"DOCKER_HOST=unix://"+filepath.Join(dir, "nowhere.sock"))
	return cmd
}

// TestHangingEngine bounds the wait for an engine that accepts and never answers. All wait at the same time.
func TestHangingEngine(t *testing.T) {
	t.Parallel()
	sock := filepath.Join(t.TempDir(), "s")
	stop, err := badEngine(sock, false)
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	want := "lab: no answer from Docker at unix://" + sock + " within 10s\n" +
		"hint: the engine hangs: restart it (" + hint.Here(hint.Service("restart")) + ")\n"
	begun := time.Now()
	var all sync.WaitGroup
	for _, args := range [][]string{
		{"status"}, {"down", "tls"}, {"down", "--all"}, {"verify", "tls"}, {"up", "tls"}, {"logs", "tls"}, {"images"}, {"gc"},
	} {
		cmd := command(t, args...)
		cmd.Env = append(cmd.Env, "DOCKER_HOST=unix://"+sock)
		all.Go(func() {
			out, _ := cmd.CombinedOutput()
			if got := string(out); got != want {
				t.Errorf("%v: got\n%swant\n%s", args, got, want)
			}
			if code := cmd.ProcessState.ExitCode(); code != exitCannotRun {
				t.Errorf("%v: exit code %d", args, code)
			}
			if took := time.Since(begun); took > 30*time.Second {
				t.Errorf("%v: took %v", args, took)
			}
		})
	}
	all.Wait()
}

// TestInterrupted ends a command while it waits.
func TestInterrupted(t *testing.T) {
	for _, args := range [][]string{{"status"}, {"doctor"}, {"up", "tls"}} {
		t.Run(args[0], func(t *testing.T) {
			t.Parallel()
			cmd := command(t, args...)
			sock := filepath.Join(cmd.Dir, "s")
			l, err := net.Listen("unix", sock)
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			cmd.Env = append(cmd.Env, "DOCKER_HOST=unix://"+sock)
			begun := time.Now()
			var out bytes.Buffer
			cmd.Stdout, cmd.Stderr = &out, &out
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			asked := make(chan error, 1)
			go func() {
				c, err := l.Accept() // which it does once it waits for us
				if err == nil {
					defer c.Close()
					err = cmd.Process.Signal(os.Interrupt)
				}
				asked <- err
				_, _ = l.Accept()
			}()
			_ = cmd.Wait() // the exit code says it all
			if err := <-asked; err != nil {
				t.Fatal(err)
			}
			if got := out.String(); got != "lab: interrupted\n" {
				t.Errorf("said %q", got)
			}
			if code := cmd.ProcessState.ExitCode(); code != exitInterrupted {
				t.Errorf("exit code %d", code)
			}
			if took := time.Since(begun); took > 8*time.Second {
				t.Errorf("took %v", took)
			}
		})
	}
}
