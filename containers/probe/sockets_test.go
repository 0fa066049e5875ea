package main

import (
	"encoding/json"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestSockets finds what listens, and not what is connected or was closed.
func TestSockets(t *testing.T) {
	var addrs []string
	for _, at := range []string{"127.0.0.1:0", "0.0.0.0:0", "[::1]:0", "[::]:0"} {
		ln, err := net.Listen("tcp", at)
		if err != nil {
			t.Logf("%s: %v", at, err) // a machine without IPv6
			continue
		}
		defer ln.Close()
		addrs = append(addrs, ln.Addr().String())
	}
	conn, err := net.Dial("tcp", addrs[0])
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ended, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended.Close()
	stdout, stderr, code := runProbe(t, "sockets")
	var a socketsAnswer
	if err := json.Unmarshal([]byte(stdout), &a); err != nil || code != 0 {
		t.Fatalf("exit code %d, %s: %v", code, stderr, err)
	}
	for _, want := range addrs {
		if !slices.Contains(a.Listening, want) {
			t.Errorf("%s is not among %q", want, a.Listening)
		}
	}
	for _, never := range []string{conn.LocalAddr().String(), ended.Addr().String()} {
		if slices.Contains(a.Listening, never) {
			t.Errorf("%s does not listen, and is among %q", never, a.Listening)
		}
	}
}

func TestListeners(t *testing.T) {
	const head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
	for _, tt := range []struct {
		table string
		want  []string // nil: an error
	}{
		{head, []string{}},
		{head + "   0: 0100007F:1F90 00000000:0000 0A 0 0\n   1: 00000000:20FB 00000000:0000 0A\n   2: 0100007F:1F90 0100007F:C35A 01\n", []string{"127.0.0.1:8080", "0.0.0.0:8443"}},
		{head + "   0: 00000000000000000000000000000000:20FB 0:0 0A\n   1: 00000000000000000000000001000000:0050 0:0 0A\n", []string{"[::]:8443", "[::1]:80"}},
		{head + "   0: 0100007F:1F90\n", nil},
		{head + "   0: 0100007F 00000000:0000 0A\n", nil},
		{head + "   0: xx:1F90 00000000:0000 0A\n", nil},
		{head + "   0: 0100:1F90 00000000:0000 0A\n", nil},
	} {
		got, err := listeners(strings.NewReader(tt.table))
		if (err == nil) != (tt.want != nil) || len(got)+len(tt.want) > 0 && cmp.Diff(tt.want, got) != "" {
			t.Errorf("%q: %q, %v; want %q", tt.table, got, err, tt.want)
		}
	}
}
