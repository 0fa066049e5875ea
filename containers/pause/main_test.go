package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// as makes the test binary one of the processes of a pod: signals, orphans
// and exit codes need real ones.
const as = "PAUSE_TEST"

const patience = 20 * time.Second

// PR_SET_CHILD_SUBREAPER makes orphans below a process its children, as they
// are PID 1's: so the test needs no PID namespace, and no rights.
const prSetChildSubreaper = 36

func TestMain(m *testing.M) {
	switch os.Getenv(as) {
	case "pause":
		if _, _, errno := syscall.RawSyscall(syscall.SYS_PRCTL, prSetChildSubreaper, 1, 0); errno != 0 {
			fmt.Fprintln(os.Stderr, "prctl:", errno)
			os.Exit(3)
		}
		os.Exit(podThen(run))
	case "app":
		// An app that dies before the child that it started.
		fmt.Println(self("orphan", os.Stdin).Pid)
		os.Exit(0)
	case "orphan":
		// Lives until its stdin ends.
		bufio.NewReader(os.Stdin).ReadByte()
		os.Exit(0)
	case "":
		os.Exit(m.Run())
	}
}

// podThen starts an app, if POD asks for it, and runs the program.
func podThen(run func([]string) int) int {
	if os.Getenv("POD") != "" {
		self("app", os.Stdin)
	}
	return run(os.Args[1:])
}

// self starts the test binary as another process of the pod.
func self(role string, stdin *os.File) *os.Process {
	exe, err := os.Executable()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(3)
	}
	p, err := os.StartProcess(exe, []string{role}, &os.ProcAttr{
		Env:   []string{as + "=" + role},
		Files: []*os.File{stdin, os.Stdout, os.Stderr},
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(3)
	}
	return p
}

func pause(args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = []string{as + "=pause"}
	return cmd
}

// until waits for a condition that nothing announces.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); !ok(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %s", what, patience)
		}
	}
}

// ignores says whether a process ignores a signal, from its mask in /proc.
func ignores(t *testing.T, pid int, sig syscall.Signal) bool {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		name, mask, _ := strings.Cut(line, ":")
		if name != "SigIgn" {
			continue
		}
		bits, err := strconv.ParseUint(strings.TrimSpace(mask), 16, 64)
		if err != nil {
			t.Fatal(err)
		}
		return bits>>(sig-1)&1 == 1
	}
	return false
}

func TestSignals(t *testing.T) {
	// Under nohup SIGHUP is ignored from the start, and would say nothing. What is caught here is not ignored in a child.
	caught := make(chan os.Signal, 1)
	signal.Notify(caught, syscall.SIGHUP)
	defer signal.Stop(caught)
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		t.Run(sig.String(), func(t *testing.T) {
			cmd := pause()
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			defer cmd.Process.Kill()
			// SIGHUP is ignored after the others are caught: a signal that comes
			// before would be its death.
			until(t, "SIGHUP ignored", func() bool { return ignores(t, cmd.Process.Pid, syscall.SIGHUP) })
			cmd.Process.Signal(syscall.SIGHUP)
			cmd.Process.Signal(syscall.SIGCHLD)
			cmd.Process.Signal(sig)
			if err := cmd.Wait(); err != nil {
				t.Errorf("%s: %v", sig, err)
			}
		})
	}
}

// The app's child becomes an orphan, and then ends: neither may be left a
// zombie.
func TestReapsOrphans(t *testing.T) {
	cmd := pause()
	cmd.Env = append(cmd.Env, "POD=1")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdout.Close()
	stdout.SetReadDeadline(time.Now().Add(patience))
	cmd.Stdout, cmd.Stderr = w, os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill()
	w.Close()
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	orphan, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatal(err)
	}
	children := func() []string {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", cmd.Process.Pid, cmd.Process.Pid))
		if err != nil {
			t.Fatal(err)
		}
		return strings.Fields(string(text))
	}
	until(t, "the orphan is its only child", func() bool {
		c := children()
		return len(c) == 1 && c[0] == strconv.Itoa(orphan)
	})
	stdin.Close()
	until(t, "the orphan is reaped", func() bool { return errors.Is(syscall.Kill(orphan, 0), syscall.ESRCH) })
	cmd.Process.Signal(syscall.SIGTERM)
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

func TestArguments(t *testing.T) {
	for _, tt := range []struct {
		arg            string
		code           int
		stdout, stderr string
	}{
		{"-h", 0, usage, ""},
		{"--help", 0, usage, ""},
		{"health", 2, "", "pause: takes no arguments, not \"health\"\nhint: pause -h\n"},
	} {
		var out, errs strings.Builder
		cmd := pause(tt.arg)
		cmd.Stdout, cmd.Stderr = &out, &errs
		if err := cmd.Run(); cmd.ProcessState == nil {
			t.Fatal(err)
		}
		if code := cmd.ProcessState.ExitCode(); code != tt.code || out.String() != tt.stdout || errs.String() != tt.stderr {
			t.Errorf("%s: exit code %d\n%s\n%s", tt.arg, code, out.String(), errs.String())
		}
	}
}
