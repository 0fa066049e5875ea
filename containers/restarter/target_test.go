package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// stat is a line as the kernel writes it.
func stat(pid int, name, state string, start uint64) string {
	return fmt.Sprintf("%d (%s) %s 0 1 1 0 -1 4194560 %s%d 1000 200\n", pid, name, state, strings.Repeat("7 ", 12), start)
}

// proc makes a folder like /proc. The command line has spaces for its zero bytes.
func proc(t *testing.T, stats map[int]string, lines map[int]string) string {
	t.Helper()
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "sys"), 0o755); err != nil {
		t.Fatal(err)
	}
	for pid, text := range stats {
		dir := filepath.Join(root, fmt.Sprint(pid))
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		line := strings.ReplaceAll(lines[pid], " ", "\x00")
		for name, data := range map[string]string{"stat": text, "cmdline": line} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(data), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	return root
}

func TestFind(t *testing.T) {
	root := proc(t, map[int]string{
		1:  stat(1, "pause", "S", 10),
		7:  stat(7, "mysqld", "S", 50), // somebody's, run later
		8:  stat(8, "mysqld", "S", 40),
		9:  stat(9, "a) S 3 (b", "S", 60),
		11: stat(11, "very-long-name-", "R", 60),
		12: stat(12, "ended", "Z", 60),
		13: stat(13, "connection", "S", 60), // it changed its name
		14: "rubbish",
		15: stat(15, "mysqld", "Z", 1),
	}, map[int]string{
		1: "/pause", 7: "mysqld --help", 8: "/usr/sbin/mysqld --skip-log-bin", 11: "./very-long-name-of-a-server x", 13: "/opt/server",
	})
	for _, tt := range []struct {
		names string
		want  int
	}{
		{"mysqld", 8},
		{"mariadbd,mysqld", 8},
		{"server,mysqld", 13},
		{"mysqld,server", 8},
		{"a) S 3 (b", 9},
		{"very-long-name-of-a-server", 11},
		{"pause", 1},
		{"ended", 0},
		{"mysql", 0},
	} {
		got, ok, err := (&Processes{Root: root, Names: strings.Split(tt.names, ",")}).Find()
		if err != nil || got.PID != tt.want || ok != (tt.want != 0) {
			t.Errorf("%s: %+v, %t, %v, want process %d", tt.names, got, ok, err, tt.want)
		}
	}
}

func TestParseStat(t *testing.T) {
	got, state, err := parseStat([]byte(stat(42, "the app", "T", 77)))
	if diff := cmp.Diff(Process{PID: 42, Name: "the app", Start: 77}, got); err != nil || state != 'T' || diff != "" {
		t.Errorf("%c %v (-want +got)\n%s", state, err, diff)
	}
	for _, bad := range []string{"", "1 (x", "1 (x) S", "x (y) S 0" + strings.Repeat(" 1", 30), "1 (x) S" + strings.Repeat(" y", 30)} {
		if _, _, err := parseStat([]byte(bad)); err == nil {
			t.Errorf("%q: no error", bad)
		}
	}
}

func FuzzParseStat(f *testing.F) {
	f.Add([]byte(stat(42, "the app", "T", 77)))
	f.Add([]byte(")("))
	f.Fuzz(func(_ *testing.T, text []byte) { parseStat(text) })
}

// victim is a real process of that name, and how it ended. It ignores SIGTERM if told so.
func victim(t *testing.T, name string, deaf bool) (*exec.Cmd, <-chan error) {
	t.Helper()
	cmd := &exec.Cmd{Path: os.Args[0], Args: []string{name}, Env: []string{"RESTARTER_TEST=victim"}}
	if deaf {
		cmd.Env = []string{"RESTARTER_TEST=deaf"}
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ready := make([]byte, 1)
	_, err = out.Read(ready)
	ended, over := make(chan error, 1), make(chan struct{})
	go func() { ended <- cmd.Wait(); close(over) }()
	t.Cleanup(func() { cmd.Process.Kill(); <-over })
	if err != nil {
		t.Fatal(err)
	}
	return cmd, ended
}

// TestSignal signals a real process, and not the next one of its number.
func TestSignal(t *testing.T) {
	name := fmt.Sprintf("victim-%d", os.Getpid())
	cmd, ended := victim(t, name, false)
	p := &Processes{Root: "/proc", Names: []string{name}}
	found, ok, err := p.Find()
	if err != nil || !ok || found.PID != cmd.Process.Pid {
		t.Fatalf("%+v %t %v, want process %d", found, ok, err, cmd.Process.Pid)
	}
	if err := p.Signal(found, 0); err != nil {
		t.Error(err)
	}
	other := found
	other.Start++
	if err := p.Signal(other, syscall.SIGKILL); !errors.Is(err, errGone) {
		t.Errorf("a later process of that number: %v", err)
	}
	if err := p.Signal(found, syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	<-ended
	if p.Alive(found) {
		t.Error("it ended, and is called alive")
	}
	if err := p.Signal(found, syscall.SIGTERM); !errors.Is(err, errGone) {
		t.Errorf("a process that has ended: %v", err)
	}
	if err := p.Signal(Process{PID: 1, Start: start(t, p, 1)}, 0); !errors.Is(err, errFirst) {
		t.Errorf("process 1: %v", err)
	}
}

func start(t *testing.T, p *Processes, pid int) uint64 {
	t.Helper()
	proc, ok := p.read(pid)
	if !ok {
		t.Fatalf("no process %d", pid)
	}
	return proc.Start
}
