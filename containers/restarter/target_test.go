package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"distlab/containers/internal/procs"
)

// TestFindFirst: where the server itself owns the namespace, it is found and cannot be ended; what somebody runs in
// its container is not taken for it.
func TestFindFirst(t *testing.T) {
	root := t.TempDir()
	for pid, start := range map[int]int{1: 10, 9: 20} {
		dir := filepath.Join(root, fmt.Sprint(pid))
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		stat := fmt.Sprintf("%d (db) S 0 1 1 0 -1 4194560 %s%d 1000 200\n", pid, strings.Repeat("7 ", 12), start)
		if err := os.WriteFile(filepath.Join(dir, "stat"), []byte(stat), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	n := &Namespace{Table: procs.Table{Root: root}, Names: []string{"db"}}
	found, ok, err := n.Find()
	if !ok || err != nil || found.PID != 1 {
		t.Errorf("%+v %t %v", found, ok, err)
	}
	if err := n.Signal(found, 0); !errors.Is(err, errFirst) {
		t.Errorf("process 1: %v", err)
	}
	if _, ok, err := (&Namespace{Table: n.Table, Names: []string{"other"}}).Find(); ok || err != nil {
		t.Errorf("nobody of that name: %t %v", ok, err)
	}
}

// victim is a real process of that name, and how it ended. It ignores SIGTERM if told so.
func victim(t *testing.T, name string, deaf bool, vars ...string) (*exec.Cmd, <-chan error) {
	t.Helper()
	cmd := &exec.Cmd{Path: os.Args[0], Args: []string{name}, Env: append([]string{"RESTARTER_TEST=victim"}, vars...)}
	if deaf {
		cmd.Env[0] = "RESTARTER_TEST=deaf"
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
