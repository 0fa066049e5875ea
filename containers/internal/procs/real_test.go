package procs

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"
)

// TestMain: with PROCS_TEST set the test's binary is a process to find. PROCS_TEST_TITLE is its title, which it writes
// over its arguments as setproctitle does, and PROCS_TEST_COMM the name that it gives to the kernel.
func TestMain(m *testing.M) {
	mode := os.Getenv("PROCS_TEST")
	if mode == "" {
		os.Exit(m.Run())
	}
	if title := os.Getenv("PROCS_TEST_TITLE"); title != "" {
		// Go leaves the arguments where the kernel put them: all in a row, and the environment after them.
		first, last := os.Args[0], os.Args[len(os.Args)-1]
		begin := unsafe.Pointer(unsafe.StringData(first))
		size := uintptr(unsafe.Pointer(unsafe.StringData(last))) - uintptr(begin) + uintptr(len(last))
		area := unsafe.Slice((*byte)(begin), size)
		clear(area[copy(area, title):])
	}
	if comm := os.Getenv("PROCS_TEST_COMM"); comm != "" {
		os.WriteFile("/proc/self/comm", []byte(comm), 0)
	}
	switch mode {
	case "heeds":
		signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP)
	case "ignores":
		signal.Ignore(syscall.SIGHUP)
	case "forks":
		_, _ = victim("idle", os.Args[0])
	}
	fmt.Println("ready")
	time.Sleep(time.Hour) // until it is ended: nothing waits for it
}

// victim starts a process with that first argument, which is ready.
func victim(mode, arg0 string, vars ...string) (*exec.Cmd, error) {
	cmd := &exec.Cmd{
		Path: "/proc/self/exe", Args: []string{arg0, strings.Repeat("-", 64)}, Env: append([]string{"PROCS_TEST=" + mode}, vars...),
		SysProcAttr: &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL},
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	_, err = out.Read(make([]byte, 1))
	return cmd, err
}

// start is a victim that ends with the test, and how it ended.
func start(t *testing.T, mode, arg0 string, vars ...string) (pid int, ended <-chan error) {
	t.Helper()
	cmd, err := victim(mode, arg0, vars...)
	if err != nil {
		t.Fatal(err)
	}
	end, over := make(chan error, 1), make(chan struct{})
	go func() { end <- cmd.Wait(); close(over) }()
	t.Cleanup(func() { cmd.Process.Kill(); <-over })
	return cmd.Process.Pid, end
}

// here is this namespace, in which the test's own children may be found.
var here = Table{self: -1}

// TestRealTitles finds real processes that have rewritten what the kernel shows of them.
func TestRealTitles(t *testing.T) {
	own := fmt.Sprintf("srv%d", os.Getpid())
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, mode, arg0, title, comm string
		find                          string
	}{
		{"as it was started", "idle", "/usr/sbin/" + own, "", "", own},
		{"redis-server 8", "idle", "/usr/sbin/" + own, own + " *:6379", own, own},
		{"postgres", "forks", "/usr/lib/postgresql/" + own, own + ": app shop /idle", own, own},
		{"only the title has it", "idle", own, own, "other", own},
		{"nothing has it but the program", "idle", "x", "(ready) /", "other", filepath.Base(exe)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			pid, _ := start(t, tt.mode, tt.arg0, "PROCS_TEST_TITLE="+tt.title, "PROCS_TEST_COMM="+tt.comm)
			found, err := here.Find(Selector{Names: []string{tt.find}})
			var pids []int
			for _, p := range found {
				if p.PID != os.Getpid() { // the test's own program has that name too
					pids = append(pids, p.PID)
				}
			}
			if tt.find == filepath.Base(exe) {
				// It is a child of this process and of the same program, so that only its parent would be told.
				e, _ := here.read(pid)
				if !e.is(tt.find) || e.arg0() == tt.find || e.comm == tt.find {
					t.Errorf("%+v", e)
				}
				return
			}
			if err != nil || len(pids) != 1 || pids[0] != pid {
				t.Errorf("%v %v, want process %d", found, err, pid)
			}
		})
	}
}

// TestSignal signals a real process, and not the next one of its number.
func TestSignal(t *testing.T) {
	name := fmt.Sprintf("victim-%d", os.Getpid())
	pid, ended := start(t, "idle", name)
	list, err := here.Find(Selector{Names: []string{name}})
	if err != nil || len(list) != 1 || list[0].PID != pid {
		t.Fatalf("%+v %v, want process %d", list, err, pid)
	}
	found := list[0]
	if err := here.Signal(found, 0); err != nil {
		t.Error(err)
	}
	other := found
	other.Start++
	if err := here.Signal(other, syscall.SIGKILL); !errors.Is(err, ErrGone) {
		t.Errorf("a later process of that number: %v", err)
	}
	if err := here.Signal(found, syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	<-ended
	if here.Alive(found) {
		t.Error("it ended, and is called alive")
	}
	if err := here.Signal(found, syscall.SIGTERM); !errors.Is(err, ErrGone) {
		t.Errorf("a process that has ended: %v", err)
	}
	if _, err := here.Heeds(found, syscall.SIGHUP); !errors.Is(err, ErrGone) {
		t.Errorf("what a process heeds that has ended: %v", err)
	}
}

// TestSelf: a program that starts itself, or has children of the name, finds none of them.
func TestSelf(t *testing.T) {
	name := fmt.Sprintf("child-%d", os.Getpid())
	start(t, "forks", name)
	if found, err := (Table{}).Find(Selector{Names: []string{name}}); err != nil || len(found) > 0 {
		t.Errorf("its own children: %v %v", found, err)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	found, err := (Table{}).Find(Selector{Names: []string{filepath.Base(exe)}})
	for _, p := range found {
		if p.PID == os.Getpid() {
			t.Errorf("itself: %v %v", found, err)
		}
	}
}

// TestHeeds: whether a signal would end a process is known before it is sent.
func TestHeeds(t *testing.T) {
	name := fmt.Sprintf("heeds-%d", os.Getpid())
	for mode, want := range map[string]bool{"heeds": true, "ignores": true} {
		pid, _ := start(t, mode, name)
		e, _ := here.read(pid)
		if got, err := here.Heeds(e.Process, syscall.SIGHUP); got != want || err != nil {
			t.Errorf("%s SIGHUP: %t, %v", mode, got, err)
		}
		if got, err := here.Heeds(e.Process, syscall.SIGKILL); got || err != nil {
			t.Errorf("%s SIGKILL: %t, %v", mode, got, err)
		}
	}
	// A process that has asked for nothing: Go's runtime asks for all signals, a shell's command for none.
	cmd := exec.Command("sleep", "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { cmd.Process.Kill(); cmd.Wait() }()
	// The kernel closes the descriptor by which Start knows that the program runs a moment before it forgets the handlers.
	for patience := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		e, ok := here.read(cmd.Process.Pid)
		got, err := here.Heeds(e.Process, syscall.SIGHUP)
		if !got && err == nil && ok {
			break
		}
		if time.Now().After(patience) {
			t.Fatalf("sleep: %t, %v", got, err)
		}
	}
}
