package pool

import (
	"path/filepath"
	"testing"
	"time"

	"distlab/containers/internal/env"
	"distlab/containers/shard-ambassador/ring"

	"github.com/google/go-cmp/cmp"
)

// load is the pools of some variables.
func load(t *testing.T, vars map[string]string) ([]Pool, error) {
	t.Helper()
	var s Settings
	if err := env.Load(&s, func(name string) (string, bool) { v, ok := vars[name]; return v, ok }); err != nil {
		return nil, err
	}
	return s.Pools()
}

func TestSettings(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pools.yml")
	write(t, file, book)
	one := Default()
	one.Name, one.Listen, one.Redis = "redis", Listen{Addr: tcp(":6379")}, true
	one.Servers = []Server{{tcp("redis-a:6379"), 1, "a"}, {tcp("redis-b:6379"), 2, "redis-b:6379"}}
	all := Pool{
		Name: "alpha", Listen: Listen{Addr{"unix", "/run/a.sock"}, 0o600}, ClientConnections: 9, Hash: ring.MD5, HashTag: "{}",
		Distribution: ring.Modula, Timeout: 400 * time.Millisecond, Backlog: 7, TCPKeepAlive: true, Preconnect: true, Redis: true,
		RedisAuth: "s3cret", RedisDB: 2, ServerConnections: 3, AutoEjectHosts: true, ServerRetryTimeout: time.Second,
		ServerFailureLimit: 1, Servers: []Server{{Addr{"unix", "/run/b.sock"}, 1, "b"}},
		Extras: Extras{FailFast, Whole, true, 2 * time.Second, false, []Reply{"OOM", "BUSY"}},
	}
	extras := []string{"EJECT", "MGET_ERRORS", "HASH_BYTES", "CONNECT_TIMEOUT", "PROBE", "FAILURE_REPLIES"}
	vars := map[string]string{
		"SERVERS": "/run/b.sock:1 b", "POOL_NAME": "alpha", "LISTEN_ADDR": "/run/a.sock 0600", "HASH": "md5", "HASH_TAG": "{}",
		"DISTRIBUTION": "modula", "TIMEOUT": "400ms", "CLIENT_CONNECTIONS": "9", "BACKLOG": "7", "TCPKEEPALIVE": "true",
		"PRECONNECT": "true", "REDIS_AUTH": "s3cret", "REDIS_DB": "2", "SERVER_CONNECTIONS": "3", "AUTO_EJECT_HOSTS": "true",
		"SERVER_RETRY_TIMEOUT": "1s", "SERVER_FAILURE_LIMIT": "1",
		"EJECT": "fail_fast", "MGET_ERRORS": "whole", "HASH_BYTES": "unsigned", "CONNECT_TIMEOUT": "2s", "PROBE": "false",
		"FAILURE_REPLIES": "OOM,BUSY",
	}
	fromFile, err := ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	fileVars := map[string]string{"POOL_FILE": file, "HASH": "md5", "TIMEOUT": "9s"} // these two are not the file's affair
	for _, name := range extras {
		fileVars[name] = vars[name]
	}
	fromFile[0].Extras = all.Extras
	for _, tt := range []struct {
		name string
		vars map[string]string
		want []Pool
	}{
		{"defaults", map[string]string{"SERVERS": "redis-a:6379:1 a, redis-b:6379:2,"}, []Pool{one}},
		{"all", vars, []Pool{all}},
		{"a file, and what it does not say", fileVars, fromFile},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := load(t, tt.vars)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("pools (-want +got):\n%s", diff)
			}
		})
	}
}

func TestSettingsErrors(t *testing.T) {
	for _, tt := range []struct {
		name string
		vars map[string]string
		want string
	}{
		{"nothing", nil, "SERVERS: required, or POOL_FILE (host:port:weight of each server)"},
		{"both", map[string]string{"SERVERS": "a:1:1", "POOL_FILE": "x"}, "SERVERS and POOL_FILE are both set, only one is allowed"},
		{"a bad server", map[string]string{"SERVERS": "a:1:1,b:1:0"}, `SERVERS="a:1:1,b:1:0": "b:1:0": weight 0: a server without weight gets no keys; leave it out`},
		{"one name twice", map[string]string{"SERVERS": "a:1:1,a:1:2"}, `SERVERS: two servers are named "a:1"`},
		{"a bad tag", map[string]string{"SERVERS": "a:1:1", "HASH_TAG": "{"}, `HASH_TAG="{": not two characters, such as {}`},
		{"a bad address", map[string]string{"SERVERS": "a:1:1", "LISTEN_ADDR": "6379"}, `LISTEN_ADDR="6379": not an address like :6379, or a socket like /run/redis.sock 0660`},
		{"a bad hash", map[string]string{"SERVERS": "a:1:1", "DISTRIBUTION": "none"}, `DISTRIBUTION="none": not one of ketama, modula, random`},
		{"no file", map[string]string{"POOL_FILE": "/nonexistent/x"}, "open /nonexistent/x: no such file or directory"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := load(t, tt.vars); err == nil || err.Error() != tt.want {
				t.Errorf("error\n%v\nwant\n%s", err, tt.want)
			}
		})
	}
}

// TestDefaultsAgree: a pool of the environment and one of a file have the same defaults.
func TestDefaultsAgree(t *testing.T) {
	got, err := load(t, map[string]string{"SERVERS": "a:1:1"})
	if err != nil {
		t.Fatal(err)
	}
	want := Default()
	want.Name, want.Listen, want.Redis, want.Servers = got[0].Name, got[0].Listen, true, got[0].Servers
	if diff := cmp.Diff([]Pool{want}, got); diff != "" {
		t.Errorf("pool (-want +got):\n%s", diff)
	}
}
