package main

import (
	"bufio"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// asProgram makes the test binary the program itself: signals and exit codes
// need a process.
const asProgram = "LEGACY_APP_TEST"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
	}
	os.Exit(m.Run())
}

type logLine struct{ Msg, Address, Error string }

// start starts the program; its log comes line by line, and ends with it.
func start(t *testing.T, vars ...string) (*exec.Cmd, <-chan logLine) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append([]string{asProgram + "=1", "ADMIN_ADDR=127.0.0.1:0", "LISTEN_ADDR=127.0.0.1:0"}, vars...)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := make(chan logLine, 100)
	go func() {
		defer close(lines)
		for s := bufio.NewScanner(stderr); s.Scan(); {
			var line logLine
			json.Unmarshal(s.Bytes(), &line)
			lines <- line
		}
	}()
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	return cmd, lines
}

// await is the next line with a message; without one, all of the log is read.
func await(t *testing.T, lines <-chan logLine, msg string) logLine {
	t.Helper()
	deadline := time.After(patience)
	for {
		select {
		case line, ok := <-lines:
			if !ok {
				if msg != "" {
					t.Fatalf("ended without logging %q", msg)
				}
				return line
			}
			if line.Msg == msg {
				return line
			}
		case <-deadline:
			t.Fatalf("did not log %q", msg)
		}
	}
}

func versionOf(t *testing.T, addr string) Version {
	t.Helper()
	resp, err := http.Get("http://" + addr + "/version")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var v Version
	if err := json.NewDecoder(resp.Body).Decode(&v); err != nil {
		t.Fatal(err)
	}
	return v
}

// A SIGHUP changes the settings and not the process; a bad file changes nothing.
func TestHangupReloads(t *testing.T) {
	path := filepath.Join(t.TempDir(), "site.conf")
	writeFile(t, path, "title = One")
	cmd, log := start(t, "SETTINGS_PATH="+path)
	addr := await(t, log, "listening").Address
	one := versionOf(t, addr)
	if one.Title != "One" || one.PID != cmd.Process.Pid || one.SettingsLoads != 1 || one.Refused != "" {
		t.Errorf("at first: %+v", one)
	}

	writeFile(t, path, "title = Two")
	if v := versionOf(t, addr); v.Title != "One" {
		t.Errorf("it read the file without being told: %+v", v)
	}
	hangup := func(msg string) Version {
		t.Helper()
		if err := cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		await(t, log, msg)
		return versionOf(t, addr)
	}
	two := hangup("settings loaded")
	if two.Title != "Two" || two.PID != one.PID || !two.Started.Equal(one.Started) || two.SettingsLoads != 2 || two.SettingsSHA256 != sum("title = Two") {
		t.Errorf("after SIGHUP: %+v", two)
	}
	writeFile(t, path, "title = Three\nnonsense")
	if v := hangup("settings refused"); v.Title != "Two" || v.SettingsLoads != 2 || v.Refused != "settings: "+path+`:2: "nonsense" is not key = value` {
		t.Errorf("after a bad file: %+v", v)
	}
	writeFile(t, path, "title = Two")
	if v := hangup("settings loaded"); v.Refused != "" || v.SettingsLoads != 3 {
		t.Errorf("after the file was put right: %+v", v)
	}

	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	await(t, log, "stopped")
	if cmd.Wait(); cmd.ProcessState.ExitCode() != 0 {
		t.Errorf("after SIGTERM: %s", cmd.ProcessState)
	}
}

func TestStartFails(t *testing.T) {
	dir := t.TempDir()
	bad := filepath.Join(dir, "bad.conf")
	writeFile(t, bad, "# the shop\nslow = now")
	for _, tt := range []struct{ name, setting, says string }{
		{"bad settings file", "SETTINGS_PATH=" + bad, bad + `:2: slow = "now": not a duration`},
		{"no settings file", "SETTINGS_PATH=" + filepath.Join(dir, "none"), "no such file or directory"},
		{"no data folder", "DATA_DIR=" + filepath.Join(dir, "none"), "no such file or directory"},
		{"an address of another host", "LISTEN_ADDR=192.0.2.1:1", "cannot assign requested address"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cmd, log := start(t, tt.setting)
			if line := await(t, log, "start failed"); !strings.Contains(line.Error, tt.says) {
				t.Errorf("error %q, want %q in it", line.Error, tt.says)
			}
			await(t, log, "")
			if cmd.Wait(); cmd.ProcessState.ExitCode() != 1 {
				t.Errorf("%s, want exit code 1", cmd.ProcessState)
			}
		})
	}
}
