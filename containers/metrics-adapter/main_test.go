package main

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// TestMain: with METRICS_ADAPTER_TEST set the test's binary is the program itself.
func TestMain(m *testing.M) {
	if os.Getenv("METRICS_ADAPTER_TEST") != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// TestBadSettings: exit code 2 and one clear line.
func TestBadSettings(t *testing.T) {
	for _, c := range []struct {
		settings []string
		want     string
	}{
		{[]string{"SOURCE=mysql"}, "SOURCE"},
		{[]string{"TARGET=6379"}, "is not a Redis"},
		{[]string{"ALLOWED_TARGETS=a:1,b"}, "is not a Redis"},
		{[]string{"SOURCE=nginx", "TARGET=web:80"}, "is not an nginx"},
		{[]string{"SOURCE=nginx", "TARGET=unix:relative:/"}, "is not an nginx"},
		{[]string{"SOURCE=nginx", "REDIS_PASSWORD=x"}, "nginx gets none"},
		{[]string{"REDIS_PASSWORD=x", "REDIS_PASSWORD_PATH=/y"}, "two passwords"},
		{[]string{"TLS_CA_PATH=/x"}, "in the clear"},
		{[]string{"TIMEOUT=0s"}, "TIMEOUT"},
	} {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append([]string{"METRICS_ADAPTER_TEST=1", "LISTEN_ADDR=127.0.0.1:0", "ADMIN_ADDR=127.0.0.1:0"}, c.settings...)
		out, err := cmd.CombinedOutput()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != 2 || !strings.Contains(string(out), c.want) || strings.Count(string(out), "\n") != 1 {
			t.Errorf("%v: %v\n%s", c.settings, err, out)
		}
	}
}

// TestWrongFiles: a file that is not there is a failure at the start.
func TestWrongFiles(t *testing.T) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = []string{"METRICS_ADAPTER_TEST=1", "LISTEN_ADDR=127.0.0.1:0", "ADMIN_ADDR=127.0.0.1:0", "REDIS_TLS=true", "TLS_CA_PATH=/nowhere"}
	time.AfterFunc(20*time.Second, func() { cmd.Process.Kill() })
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 || !strings.Contains(string(out), "TLS_CA_PATH") {
		t.Errorf("%v\n%s", err, out)
	}
}
