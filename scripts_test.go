package distlab_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// wrapper is a clone with scripts/lab, and a PATH with nothing in it but what every Debian has and what says that it was called. The
// tool itself is one of those, and is as new as its sources.
type wrapper struct {
	t           *testing.T
	clone, path string
}

func newWrapper(t *testing.T, stale bool) wrapper {
	t.Helper()
	dir := t.TempDir()
	b := wrapper{t, filepath.Join(dir, "clone"), filepath.Join(dir, "bin")}
	text, err := os.ReadFile("scripts/lab")
	if err != nil {
		t.Fatal(err)
	}
	b.write("scripts/lab", string(text))
	for _, name := range []string{"go.mod", "go.sum", "lab/main.go", "labs/catalog.go"} {
		b.write(name, "")
	}
	if !stale {
		b.write(".lab/bin/lab", "#!/bin/sh\necho the tool: $*\n")
		b.write(".lab/bin/lab.stamp", "")
		later := time.Now().Add(time.Hour)
		if err := os.Chtimes(filepath.Join(b.clone, ".lab/bin/lab.stamp"), later, later); err != nil {
			t.Fatal(err)
		}
	}
	b.write("scripts/setup", "#!/bin/sh\necho setup: $*; [ \"$SETUP_FAILS\" != \"$1\" ]\n")
	for _, name := range []string{
		"bash", "sh", "env", "find", "cat", "cp", "mv", "wc", "mkdir", "touch", "readlink", "dirname", "flock", "sleep",
	} {
		path, err := exec.LookPath(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(os.MkdirAll(b.path, 0o755), os.Symlink(path, filepath.Join(b.path, name))); err != nil {
			t.Fatal(err)
		}
	}
	b.stub("apt-get", "")
	return b
}

func (b wrapper) write(name, text string) {
	b.t.Helper()
	file := filepath.Join(b.clone, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(text), 0o755)); err != nil {
		b.t.Fatal(err)
	}
}

func (b wrapper) stub(name, script string) {
	b.t.Helper()
	_ = os.Remove(filepath.Join(b.path, name))
	if err := os.WriteFile(filepath.Join(b.path, name), []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
		b.t.Fatal(err)
	}
}

func (b wrapper) command(env []string, args ...string) (*exec.Cmd, *bytes.Buffer) {
	cmd := exec.Command(filepath.Join(b.clone, "scripts", "lab"), args...)
	cmd.Env = append([]string{"PATH=" + b.path, "DOCKER_HOST=unix:///nowhere"}, env...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	return cmd, &out
}

// TestBareMachine: what a lab needs is brought before anything else, and before minutes of compiling, as root on Debian; the user
// of another machine is told by the tool. What cannot be brought ends nothing that may do without.
func TestBareMachine(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("scripts/lab installs as root alone")
	}
	for _, c := range []struct {
		name, verb string
		stale      bool
		have       string
		env        []string
		want       string
		code       int
	}{
		{name: "up", verb: "up", want: "setup: mmdebstrap|the tool: up x"},
		{name: "test", verb: "test", want: "setup: mmdebstrap|the tool: test x"},
		{name: "it is there", verb: "up", have: "mmdebstrap", want: "the tool: up x"},
		{name: "nothing to start", verb: "explain", want: "the tool: explain x"},
		{name: "help", verb: "--help", want: "the tool: --help x"},
		{
			name: "no mirror", verb: "up", env: []string{"SETUP_FAILS=mmdebstrap"},
			want: "setup: mmdebstrap|lab: going on without mmdebstrap|the tool: up x",
		},
		{name: "no engine", verb: "up", env: []string{"DOCKER_HOST="}, want: "setup: engine|setup: mmdebstrap|the tool: up x"},
		{name: "no engine to be had", verb: "up", env: []string{"DOCKER_HOST=", "SETUP_FAILS=engine"}, want: "setup: engine", code: 3},
		{name: "all before the compiler", verb: "up", stale: true, env: []string{"SETUP_FAILS=go"}, want: "setup: mmdebstrap|setup: go", code: 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newWrapper(t, c.stale)
			if c.have != "" {
				b.stub(c.have, "")
			}
			if c.name == "no engine" || c.name == "no engine to be had" {
				b.stub("docker", "exit 1")
			}
			// What this machine has is not to be found.
			b.replace("/var/run/docker", "/nowhere/docker")
			b.replace("/usr/local/go/bin", "/nowhere")
			cmd, out := b.command(c.env, c.verb, "x")
			err := cmd.Run()
			got := strings.ReplaceAll(strings.TrimSpace(out.String()), "\n", "|")
			if got != c.want || cmd.ProcessState.ExitCode() != c.code {
				t.Errorf("exit code %d, %v: %q, want %d, %q", cmd.ProcessState.ExitCode(), err, got, c.code, c.want)
			}
		})
	}
}

func (b wrapper) replace(old, with string) {
	b.t.Helper()
	text, err := os.ReadFile(filepath.Join(b.clone, "scripts/lab"))
	if err != nil {
		b.t.Fatal(err)
	}
	b.write("scripts/lab", strings.ReplaceAll(string(text), old, with))
}

// TestInterruptedWrapper: a signal while scripts/lab looks around ends the command, also where what it runs then does not mind.
func TestInterruptedWrapper(t *testing.T) {
	for _, s := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		// Under nohup it is ignored, here and in what is started here, but not once somebody has asked for it.
		minded := make(chan os.Signal, 1)
		signal.Notify(minded, s)
		defer signal.Stop(minded)
		b := newWrapper(t, false)
		b.stub("find", "trap '' INT TERM HUP; echo looking; while [ ! -e "+b.clone+"/go ]; do sleep 0.01; done")
		cmd, out := b.command(nil, "explain", "x")
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		b.stub("find", "trap '' INT TERM HUP; echo looking >&3; while [ ! -e "+b.clone+"/go ]; do sleep 0.01; done")
		cmd.ExtraFiles = []*os.File{w}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		w.Close()
		if _, err := r.Read(make([]byte, 8)); err != nil { // it looks
			t.Fatal(err)
		}
		if err := syscall.Kill(-cmd.Process.Pid, s); err != nil {
			t.Fatal(err)
		}
		b.write("go", "")
		_ = cmd.Wait()
		if code := cmd.ProcessState.ExitCode(); code != 130 || out.String() != "lab: interrupted\n" {
			t.Errorf("%v: exit code %d, %q", s, code, out)
		}
	}
}

// TestBuildTellsHowFar: the compiler's packages are counted, what else it says is passed on, and its failure is the command's.
func TestBuildTellsHowFar(t *testing.T) {
	for _, c := range []struct {
		name, builds, want string
		code               int
	}{
		{
			"built", "echo a >&2; echo b.org/c >&2; echo '#!/bin/sh' > $out; echo 'echo the tool' >> $out; chmod +x $out",
			"lab: building the tool; the first time takes minutes|lab: building the tool: 1 of 3 packages, T s|the tool", 0,
		},
		{
			"broken", "echo a >&2; echo '# distlab/lab' >&2; echo 'lab/main.go:1:1: no' >&2; exit 1",
			"lab: building the tool; the first time takes minutes|lab: building the tool: 1 of 3 packages, T s|# distlab/lab|lab/main.go:1:1: no", 3,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := newWrapper(t, true)
			b.replace("/usr/local/go/bin", "/nowhere")
			b.stub("chmod", "exec /bin/chmod \"$@\"")
			b.stub("go", "case $1 in list) echo a; echo b.org/c; echo d; exit;; esac\nout="+b.clone+"/.lab/bin/lab.next\n"+c.builds)
			cmd, out := b.command(nil, "explain", "x")
			err := cmd.Run()
			got := strings.ReplaceAll(strings.TrimSpace(out.String()), "\n", "|")
			got = regexp.MustCompile(`\d+ s\b`).ReplaceAllString(got, "T s")
			if got != c.want || cmd.ProcessState.ExitCode() != c.code {
				t.Errorf("exit code %d, %v: %q, want %d, %q", cmd.ProcessState.ExitCode(), err, got, c.code, c.want)
			}
		})
	}
}

// TestMutants: each mutant applies to what is there, and says what it breaks and who must see it. One that does not proves nothing.
func TestMutants(t *testing.T) {
	patches, err := filepath.Glob("labs/*/*/mutants/*.patch")
	if err != nil || len(patches) == 0 {
		t.Fatalf("%v, %d patches", err, len(patches))
	}
	for _, patch := range patches {
		text, err := os.ReadFile(patch)
		if err != nil {
			t.Fatal(err)
		}
		if head, _, _ := strings.Cut(string(text), "\n\n"); !strings.HasPrefix(head, "breaks: ") || !strings.Contains(head, "\nseen by: ") {
			t.Errorf("%s begins with %q", patch, head)
		}
		if out, err := exec.Command("git", "apply", "--check", patch).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", patch, err, out)
		}
	}
}
