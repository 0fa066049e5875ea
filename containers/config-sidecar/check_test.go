package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestCheck: what a check may do, and what becomes of it.
func TestCheck(t *testing.T) {
	for _, tt := range []struct {
		name, script string
		timeout      time.Duration
		want         string // of the error; empty: good
	}{
		{"yes", "exit 0", time.Minute, ""},
		{"yes, and a word", "echo good", time.Minute, ""},
		{"no", "echo line 3: no >&2; exit 7", time.Minute, "exit status 7: line 3: no"},
		{"no, with the folder in it", "echo $CONFIG_DIR/site.conf:3; exit 1", time.Minute, "exit status 1: site.conf:3"},
		{"what it is told", `test "$CONFIG_VERSION" = 7 && test "$PWD" = "$CONFIG_DIR" && test "$1" = "$CONFIG_DIR/a" && test -z "$SECRET"`, time.Minute, ""},
		{"hangs", "echo begun; sleep 100", 300 * time.Millisecond, "not done after 300ms: begun"},
		{"hangs and heeds nothing", "trap '' TERM INT HUP; echo begun; while :; do sleep 1; done", 300 * time.Millisecond, "not done after"},
		{"leaves a child that holds the output", "sleep 100 & exit 0", time.Minute, ""},
		{"forks and hangs", "sleep 100 & sleep 100 & wait", 300 * time.Millisecond, "not done after"},
		{"floods", "head -c 3000000 /dev/zero | tr '\\0' x; exit 1", time.Minute, "exit status 1: xxx"},
		{"floods without end", "while :; do echo xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx; done", 500 * time.Millisecond, "not done after"},
		{"bytes that are no text", `printf 'a\377\033[31mb\n\nc'; exit 1`, time.Minute, "exit status 1: a [31mb c"},
		{"killed", "kill -9 $$", time.Minute, "signal: killed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("SECRET", "s3cret")
			dir := t.TempDir()
			pids := filepath.Join(dir, "pids")
			c := &Check{Command: []string{"sh", "-c", "echo $$ >" + pids + "; " + tt.script, "sh", "{dir}/a"}, Timeout: tt.timeout}
			begun := time.Now()
			err := c.Run(t.Context(), dir, "7")
			switch {
			case tt.want == "" && err != nil, tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("%v, want %q", err, tt.want)
			case err != nil && len(err.Error()) > 600:
				t.Errorf("a reason of %d bytes", len(err.Error()))
			}
			if took := time.Since(begun); tt.timeout < time.Minute && took > 30*time.Second {
				t.Errorf("it took %v", took)
			}
			text, err := os.ReadFile(pids)
			if err != nil {
				t.Fatal(err)
			}
			group, err := strconv.Atoi(strings.TrimSpace(string(text)))
			if err != nil {
				t.Fatal(err)
			}
			// Nothing of its group lives: a zombie that nobody reaps may.
			waitFor(t, "the end of what it started", func() bool { return syscall.Kill(-group, 0) != nil || onlyZombies(group) })
		})
	}
	for _, command := range []string{"/nowhere/check", "/"} {
		if err := (&Check{Command: []string{command}, Timeout: time.Minute}).Run(t.Context(), t.TempDir(), ""); err == nil || !strings.Contains(err.Error(), "cannot be run") {
			t.Errorf("%s: %v", command, err)
		}
	}
}

// onlyZombies says whether all processes of a group have ended.
func onlyZombies(group int) bool {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		text, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
		if len(fields) > 2 && fields[2] == fmt.Sprint(group) && fields[0] != "Z" {
			return false
		}
	}
	return true
}
