package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// TestMain: with RESTARTER_TEST set the test's binary is the program itself, or a process for it to end.
func TestMain(m *testing.M) {
	switch os.Getenv("RESTARTER_TEST") {
	case "main":
		main()
	case "deaf":
		signal.Ignore(syscall.SIGTERM)
		fallthrough
	case "victim":
		// As a server does that rewrites its title: what was its name stays in the kernel's alone.
		if comm := os.Getenv("RESTARTER_TEST_COMM"); comm != "" {
			os.WriteFile("/proc/self/comm", []byte(comm), 0)
		}
		fmt.Println("ready")
		select {}
	default:
		os.Exit(m.Run())
	}
}

// lines runs the program, and gives the messages of its log one by one.
func lines(t *testing.T, settings ...string) (cmd *exec.Cmd, next func(msg string) map[string]any) {
	t.Helper()
	cmd = exec.Command(os.Args[0])
	cmd.Env = append([]string{"RESTARTER_TEST=main", "ADMIN_ADDR=127.0.0.1:0", "PERIOD=20ms", "TERMINATION_GRACE_PERIOD=100ms"}, settings...)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	// Its log ends when it does, and it does at the latest when patience does.
	timer := time.AfterFunc(30*time.Second, func() { cmd.Process.Kill() })
	t.Cleanup(func() { timer.Stop() })
	log := bufio.NewScanner(stderr)
	return cmd, func(msg string) map[string]any {
		t.Helper()
		var seen []string
		for log.Scan() {
			var line map[string]any
			if json.Unmarshal(log.Bytes(), &line) == nil && line["msg"] == msg {
				return line
			}
			seen = append(seen, log.Text())
		}
		t.Fatalf("never said %q:\n%s", msg, strings.Join(seen, "\n"))
		return nil
	}
}

// TestProcess: a real process, told to be dead by a real server, is ended. One that is stopped cannot heed SIGTERM.
func TestProcess(t *testing.T) {
	for _, tt := range []struct {
		name    string
		title   string // after the name, as redis-server has it
		deaf    bool
		stopped bool
		want    string
	}{
		{"willing", "", false, false, "stop"},
		{"deaf", "", true, false, "kill"},
		{"stopped", "", false, true, "kill"},
		{"retitled", " *:6379", false, false, "stop"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var dead atomic.Bool
			health := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				if dead.Load() {
					http.Error(w, "it is dead", http.StatusServiceUnavailable)
				}
			}))
			defer health.Close()
			name := fmt.Sprintf("%s%d", tt.name[:4], os.Getpid())
			target, ended := victim(t, name+tt.title, tt.deaf, "RESTARTER_TEST_COMM="+name)
			cmd, next := lines(t, "LIVENESS_URL="+health.URL, "TARGET_PROCESS=other,"+name)
			if line := next("target found"); line["pid"] != float64(target.Process.Pid) {
				t.Fatalf("found %v, want %d", line, target.Process.Pid)
			}
			next("state changed") // alive
			if tt.stopped {
				if err := target.Process.Signal(syscall.SIGSTOP); err != nil {
					t.Fatal(err)
				}
			}
			dead.Store(true)
			if line := next("restarting target"); line["reason"] != "503 Service Unavailable: it is dead" {
				t.Errorf("%v", line)
			}
			if line := next("target ended"); line["signal"] != tt.want {
				t.Errorf("%v, want %s", line, tt.want)
			}
			if err := <-ended; err == nil {
				t.Error("it ended by itself")
			}
			next("target absent")
			if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			next("stopped")
		})
	}
}

// TestHeld: SIGUSR1 keeps it from ending anything, SIGUSR2 lets it.
func TestHeld(t *testing.T) {
	health := httptest.NewServer(http.NotFoundHandler())
	defer health.Close()
	name := fmt.Sprintf("victim-held-%d", os.Getpid())
	victim(t, name, false)
	cmd, next := lines(t, "LIVENESS_URL="+health.URL, "TARGET_PROCESS="+name, "PERIOD=1s", "FAILURE_THRESHOLD=1", "STARTUP_FAILURE_THRESHOLD=2")
	next("target found")
	cmd.Process.Signal(syscall.SIGUSR1)
	next("hold switched")
	next("restart held")
	cmd.Process.Signal(syscall.SIGUSR2)
	next("hold switched")
	next("target ended")
}
