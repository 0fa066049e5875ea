package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// TestMain: with CONFIG_SIDECAR_TEST set the test's binary is the program itself, or an app that reads a file.
func TestMain(m *testing.M) {
	switch os.Getenv("CONFIG_SIDECAR_TEST") {
	case "main":
		main()
	case "app":
		hup := make(chan os.Signal, 1)
		signal.Notify(hup, syscall.SIGHUP)
		fmt.Println("ready")
		for range hup {
			text, err := os.ReadFile(os.Getenv("APP_FILE"))
			fmt.Printf("%q %v\n", text, err)
		}
	default:
		os.Exit(m.Run())
	}
}

// program runs the program, and gives the messages of its log one by one.
func program(t *testing.T, settings ...string) (cmd *exec.Cmd, next func(msg string) map[string]any) {
	t.Helper()
	cmd = exec.Command(os.Args[0])
	cmd.Env = append([]string{"CONFIG_SIDECAR_TEST=main", "ADMIN_ADDR=127.0.0.1:0", "RETRY_MIN=20ms", "RETRY_MAX=200ms", "MIN_WAIT=20ms"}, settings...)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(40*time.Second, func() { cmd.Process.Kill() })
	t.Cleanup(func() { timer.Stop(); cmd.Process.Kill(); cmd.Wait() })
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

// TestProcess: a real program follows a real source and signals a real process, which reads what it should; the
// process with the same name that is not in the PID file is left alone, and no version is lost when it is killed.
func TestProcess(t *testing.T) {
	var text atomic.Value
	text.Store("one")
	src := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		tag := fmt.Sprintf("%q", text.Load())
		for begun := time.Now(); r.Header.Get("If-None-Match") == tag && time.Since(begun) < 20*time.Second && r.Context().Err() == nil; {
			time.Sleep(5 * time.Millisecond)
			tag = fmt.Sprintf("%q", text.Load())
		}
		w.Header().Set("ETag", tag)
		fmt.Fprintf(w, `{"version": 1, "files": {"app.conf": %s}}`, tag)
	}))
	defer src.CloseClientConnections()
	dir := t.TempDir()
	dest, pidFile := filepath.Join(dir, "config"), filepath.Join(dir, "pid")
	name := fmt.Sprintf("app%d", os.Getpid())
	run := func() (*exec.Cmd, *bufio.Reader) {
		app := &exec.Cmd{Path: os.Args[0], Args: []string{name}, Env: []string{"CONFIG_SIDECAR_TEST=app", "APP_FILE=" + filepath.Join(dest, "app.conf")}}
		out, err := app.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := app.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { app.Process.Kill(); app.Wait() })
		lines := bufio.NewReader(out)
		if line, err := lines.ReadString('\n'); err != nil || line != "ready\n" {
			t.Fatal(line, err)
		}
		return app, lines
	}
	otherApp, other := run()
	app, lines := run()
	settings := []string{
		"SOURCE=" + src.URL, "DEST_DIR=" + dest, "TELL=SIGHUP", "TARGET_PROCESS=" + name, "TARGET_PID_FILE=" + pidFile, "TARGET_AGE=10ms",
	}
	cmd, next := program(t, settings...)
	next("ready")
	if err := os.WriteFile(pidFile, fmt.Appendln(nil, app.Process.Pid), 0o644); err != nil {
		t.Fatal(err)
	}
	if line := next("app told"); line["pid"] != float64(app.Process.Pid) {
		t.Errorf("%v, want %d", line, app.Process.Pid)
	}
	expect := func(want string) {
		t.Helper()
		if line, err := lines.ReadString('\n'); err != nil || line != want+"\n" {
			t.Errorf("the app has read %s %v, want %s", line, err, want)
		}
	}
	expect(`"one" <nil>`)
	text.Store("two")
	next("app told")
	expect(`"two" <nil>`)
	// Killed between the signal and the note of it, it would tell the app once more.
	waitFor(t, "the note that the app was told", func() bool {
		state, _ := os.ReadFile(filepath.Join(dest, stateFile))
		now, _ := os.ReadFile(filepath.Join(dest, "app.conf"))
		return string(now) == "two" && strings.Contains(strings.SplitAfterN(string(state), "}", 2)[0], `"told": true`)
	})
	cmd.Process.Kill()
	cmd.Wait()
	text.Store("three")
	cmd, next = program(t, settings...)
	if line := next("configuration in place"); line["told"] != true {
		t.Errorf("%v", line)
	}
	next("app told")
	expect(`"three" <nil>`)
	cmd.Process.Signal(syscall.SIGUSR1)
	next("rolling back")
	next("app told")
	expect(`"two" <nil>`)
	cmd.Process.Signal(syscall.SIGUSR2)
	next("hold released")
	next("app told")
	expect(`"three" <nil>`)
	cmd.Process.Signal(syscall.SIGTERM)
	next("stopped")
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	otherApp.Process.Kill()
	if said, err := io.ReadAll(other); err != nil || len(said) > 0 {
		t.Errorf("the other process was told: %s %v", said, err)
	}
}

// TestExitCodes: bad settings are 2 and say what to set; once is 0 or 1, and truly so.
func TestExitCodes(t *testing.T) {
	src := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/bad" {
			fmt.Fprint(w, "<html>")
			return
		}
		fmt.Fprint(w, `{"version": 5, "files": {"a": "1"}}`)
	}))
	defer src.Close()
	dest := filepath.Join(t.TempDir(), "config")
	ok := []string{"SOURCE=" + src.URL, "DEST_DIR=" + dest}
	for _, tt := range []struct {
		args     []string
		settings []string
		code     int
		says     string
	}{
		{nil, nil, 2, "SOURCE: required"},
		{nil, append(ok, "TELL=SIGHUP"), 2, "to whom? set TARGET_PROCESS"},
		{nil, append(ok, "TARGET_PROCESS=a"), 2, "set TELL=SIGHUP"},
		{nil, append(ok, "CONFIRM_URL=http://h/"), 2, "one needs the other"},
		{nil, append(ok, "ROLLBACK=true"), 2, "set CONFIRM_URL"},
		{nil, append(ok, "MIN_WAIT=2s"), 2, "not less than"},
		{nil, append(ok, "CONFIRM_URL=http://h/", "CONFIRM_TEXT={{"), 2, "CONFIRM_TEXT:1"},
		{nil, append(ok, "SOURCE_FILE=../a"), 2, "SOURCE_FILE"},
		{nil, append(ok, "DEST_DIR=/proc/nowhere"), 1, "/proc/nowhere"},
		{nil, append(ok, "SOURCE_CA_PATH=/nowhere"), 1, "SOURCE_CA_PATH"},
		{[]string{"once"}, ok, 0, "version 5 is in " + dest},
		{[]string{"once"}, ok, 0, "version 5 is in " + dest},
		{[]string{"once"}, append(ok, "SOURCE="+src.URL+"/bad"), 1, "not JSON like"},
		{[]string{"once"}, append(ok, "CHECK_COMMAND=false", "TEMPLATE_DIR="+t.TempDir()), 1, "no file in it"},
		{[]string{"once"}, append(ok, "CHECK_COMMAND=false", "DEST_DIR="+dest+"2"), 1, "refused: check: exit status 1"},
		{[]string{"once"}, append(ok, "TELL=SIGHUP"), 2, "to whom?"},
		{[]string{"once", "x"}, ok, 2, "takes no arguments"},
		{[]string{"read"}, nil, 2, "usage: config-sidecar read"},
		{[]string{"read", "-for", "1ms", dest, "a"}, nil, 0, `"files":["6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b"]`},
		{[]string{"read", "-for", "1ms", dest, "gone"}, nil, 0, `"absent":`},
	} {
		var out bytes.Buffer
		cmd := exec.Command(os.Args[0], tt.args...)
		cmd.Env = append([]string{"CONFIG_SIDECAR_TEST=main", "ADMIN_ADDR=127.0.0.1:0", "PATH=" + os.Getenv("PATH")}, tt.settings...)
		cmd.Stdout, cmd.Stderr = &out, &out
		timer := time.AfterFunc(30*time.Second, func() { cmd.Process.Kill() })
		cmd.Run()
		timer.Stop()
		if code := cmd.ProcessState.ExitCode(); code != tt.code || !strings.Contains(out.String(), tt.says) {
			t.Errorf("%v %v: %d %s, want %d %s", tt.args, tt.settings, code, out.String(), tt.code, tt.says)
		}
	}
}
