package main

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"distlab/containers/internal/daemon"
	"distlab/containers/internal/env"

	"github.com/google/go-cmp/cmp"
)

// configOf reads settings as the program does.
func configOf(t *testing.T, settings ...string) config {
	t.Helper()
	var cfg config
	check(t, env.Load(&cfg, func(name string) (string, bool) {
		for _, s := range settings {
			if value, ok := strings.CutPrefix(s, name+"="); ok {
				return value, true
			}
		}
		return "", false
	}))
	check(t, cfg.Check())
	return cfg
}

// TestLimits: each setting reaches the limit that is named like it.
func TestLimits(t *testing.T) {
	p := configOf(t, "SELF_SIGNED=true", "MAX_CONNECTIONS=1", "MAX_REQUESTS=14", "MAX_STREAMS=2", "MAX_HEADER_BYTES=3KiB",
		"HANDSHAKE_TIMEOUT=4s", "HEADER_TIMEOUT=5s", "BODY_TIMEOUT=6s", "SEND_TIMEOUT=7s", "IDLE_TIMEOUT=8s",
		"TUNNEL_TIMEOUT=9s", "CLOSE_TIMEOUT=10s", "CONNECT_TIMEOUT=11s", "RESPONSE_TIMEOUT=12s", "APP_IDLE_TIMEOUT=13s",
	).proxy(nil, nil, nil)
	want := Limits{
		Connections: 1, Requests: 14, Streams: 2, HeaderBytes: 3 << 10,
		Handshake: 4 * time.Second, Header: 5 * time.Second, Body: 6 * time.Second, Send: 7 * time.Second, Idle: 8 * time.Second,
		Tunnel: 9 * time.Second, Connect: 11 * time.Second, Response: 12 * time.Second, ServerIdle: 13 * time.Second,
	}
	if diff := cmp.Diff(want, p.Limits); diff != "" || p.HalfClose != 10*time.Second {
		t.Errorf("half-close %s, limits (-want +got):\n%s", p.HalfClose, diff)
	}
}

// TestDefaultLimits: no default is "no limit", but for those that say so.
func TestDefaultLimits(t *testing.T) {
	p := configOf(t, "SELF_SIGNED=true").proxy(nil, nil, nil)
	l := p.Limits
	for name, set := range map[string]bool{
		"connections": l.Connections > 0, "requests": l.Requests > 0, "header bytes": l.HeaderBytes > 0, "handshake": l.Handshake > 0, "header": l.Header > 0,
		"body": l.Body > 0, "send": l.Send > 0, "idle": l.Idle > 0, "half-close": p.HalfClose > 0, "connect": l.Connect > 0, "response": l.Response > 0,
	} {
		if !set {
			t.Errorf("no limit by default: %s", name)
		}
	}
}

func TestFit(t *testing.T) {
	type limits struct{ connections, requests int }
	tests := []struct {
		name string
		has  daemon.Resources
		ask  limits
		want limits
	}{
		{"all there is", daemon.Resources{}, limits{20000, 10000}, limits{20000, 10000}},
		{"much", daemon.Resources{Memory: 8 << 30, Files: 1 << 20}, limits{20000, 10000}, limits{20000, 10000}},
		{"64 MiB", daemon.Resources{Memory: 64 << 20}, limits{20000, 10000}, limits{682, 170}},
		{"64 MiB, less asked", daemon.Resources{Memory: 64 << 20}, limits{100, 10}, limits{100, 10}},
		{"next to no memory", daemon.Resources{Memory: 1 << 20}, limits{20000, 10000}, limits{14, 3}},
		{"1024 files", daemon.Resources{Files: 1024}, limits{20000, 10000}, limits{384, 384}},
		{"next to no files", daemon.Resources{Files: 10}, limits{20000, 10000}, limits{1, 1}},
		{"no limit", daemon.Resources{Memory: 64 << 20, Files: 1024}, limits{0, 0}, limits{0, 0}},
	}
	for _, tt := range tests {
		connections, requests := tt.has.Fit(tt.ask.connections, tt.ask.requests, cost)
		if (limits{connections, requests}) != tt.want {
			t.Errorf("%s: %d connections and %d requests, want %v", tt.name, connections, requests, tt.want)
		}
	}
}

// TestOptionalAccess: optional without lists lets in every certificate of the
// CA, with lists only theirs.
func TestOptionalAccess(t *testing.T) {
	files, _ := writePairFiles(t, t.TempDir(), "localhost")
	base := []string{"CERT_PATH=" + files.Cert, "KEY_PATH=" + files.Key, "CLIENT_AUTH=optional", "CLIENT_CA_PATH=" + files.Cert}
	for name, tt := range map[string]struct {
		settings []string
		all      bool
	}{
		"no list":  {base, true},
		"a list":   {append(base, "ALLOW_CN=bob"), false},
		"required": {append(base, "CLIENT_AUTH=required", "ALLOW_CN=bob"), false},
	} {
		c, err := configOf(t, tt.settings...).certificates(nil, nil)
		check(t, err)
		if c.Access.All != tt.all {
			t.Errorf("%s: all are let in: %v", name, c.Access.All)
		}
	}
}

// TestSelfSignedBesideFolder: one is made only while the folder has none.
func TestSelfSignedBesideFolder(t *testing.T) {
	dir := t.TempDir()
	cfg := configOf(t, "CERTS_DIR="+dir, "SELF_SIGNED=true")
	log := (&Certificates{}).log()
	c, err := cfg.certificates(log, nil)
	check(t, err)
	if c.Memory == nil {
		t.Error("none was made for an empty folder")
	}
	check(t, os.Mkdir(filepath.Join(dir, "a"), 0o700))
	_, serial := writePairFiles(t, filepath.Join(dir, "a"), "a.example")
	c, err = cfg.certificates(log, nil)
	check(t, err)
	if c.Memory != nil || c.Default() != serial {
		t.Errorf("one was made beside the folder's: %v", c.Memory)
	}
}

// TestAppCheck: changes are told, once each, and a kick does not wait.
func TestAppCheck(t *testing.T) {
	ln := must(net.Listen("tcp", "127.0.0.1:0"))
	defer ln.Close()
	var up atomic.Bool
	type change struct {
		ok  bool
		err string
	}
	changes := make(chan change, 10)
	a := &AppCheck{
		Interval: time.Hour,
		Dial: func(context.Context) (net.Conn, error) {
			if !up.Load() {
				return nil, errors.New("away")
			}
			return net.Dial("tcp", ln.Addr().String())
		},
		Changed: func(ok bool, err error) {
			text := ""
			if err != nil {
				text = err.Error()
			}
			changes <- change{ok, text}
		},
	}
	go a.Run(t.Context())
	next := func() change {
		select {
		case c := <-changes:
			return c
		case <-time.After(patience):
			t.Fatal("no change")
			panic(nil)
		}
	}
	if got := next(); got != (change{false, "away"}) {
		t.Errorf("first %v", got)
	}
	up.Store(true) // while it is away, it is looked for often
	if got := next(); got != (change{true, ""}) {
		t.Errorf("then %v", got)
	}
	a.Kick()
	up.Store(false)
	a.Kick()
	if got := next(); got != (change{false, "away"}) {
		t.Errorf("after a kick %v", got)
	}
	if len(changes) > 0 {
		t.Errorf("and then %v", <-changes)
	}
}
