package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestCheck: the subcommand says what is good of each file, and all that is wrong.
func TestCheck(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := file("good.yml", "alpha:\n  listen: 127.0.0.1:7000\n  servers:\n    - a:1:1\n    - b:1:1\n")
	bad := file("bad.yml", "alpha:\n  listen: 127.0.0.1\n  tiemout: 1\n  servers:\n    - a:1:0\n")
	for _, tt := range []struct {
		args      []string
		code      int
		out, errs string
	}{
		{[]string{good}, 0, good + ": pool alpha: 2 servers\n", ""},
		{[]string{good, bad}, 1, good + ": pool alpha: 2 servers\n", strings.Join([]string{
			bad + `:2: pool "alpha": listen "127.0.0.1": not an address like :6379, or a socket like /run/redis.sock 0660`,
			bad + `:3: pool "alpha": unknown key "tiemout"`,
			bad + `:5: pool "alpha": server "a:1:0": weight 0: a server without weight gets no keys; leave it out`,
		}, "\n") + "\n"},
		{[]string{bad + "x"}, 1, "", "open " + bad + "x: no such file or directory\n"},
		{nil, 2, "", "usage: check FILE...\n"},
		{[]string{"-h"}, 0, "", "usage: check FILE...\n"},
	} {
		var out, errs strings.Builder
		if code := runCheck(context.Background(), tt.args, &out, &errs); code != tt.code || out.String() != tt.out || errs.String() != tt.errs {
			t.Errorf("check %v: exit code %d, want %d\n%s%s\nwant\n%s%s", tt.args, code, tt.code, out.String(), errs.String(), tt.out, tt.errs)
		}
	}
}
