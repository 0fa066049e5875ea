package main

import (
	"strings"
	"testing"

	"distlab/containers/internal/daemon"
	"distlab/containers/internal/env"
)

// load reads settings as the program does; vars is NAME=value.
func load(t *testing.T, vars ...string) config {
	t.Helper()
	var cfg config
	check(t, env.Load(&cfg, func(name string) (string, bool) {
		for _, v := range vars {
			if key, value, _ := strings.Cut(v, "="); key == name {
				return value, true
			}
		}
		return "", false
	}))
	return cfg
}

const twoArms = "ARMS=production=http://web:8080 weight=9, experiment=http://exp:8080 weight=1"

func TestContradictions(t *testing.T) {
	for _, good := range [][]string{
		{twoArms},
		{"ARMS_PATH=/etc/splitter/arms"},
		{twoArms, "MIRROR=http://shadow:80", "COMPARE=production", "COMPARE_NOISE=h2c://copy"},
		{twoArms, "FALLBACK_ON=error,http_429,non_idempotent"},
		{twoArms, "OVERRIDE_QUERY=arm", "OVERRIDE_TOKEN=t", "HEALTH_PATH=/healthz?deep=1"},
	} {
		if err := load(t, good...).Check(); err != nil {
			t.Errorf("%v: %v", good, err)
		}
	}
	tests := []struct {
		want string
		vars []string
	}{
		{"ARMS: no arm", nil},
		{"ARMS_PATH: in place of ARMS", []string{twoArms, "ARMS_PATH=/a"}},
		{"declared twice", []string{"ARMS=a=http://a, a=http://b"}},
		{"no arm has a weight", []string{"ARMS=a=http://a weight=0"}},
		{`FALLBACK_ON: "http_200"`, []string{twoArms, "FALLBACK_ON=http_200"}},
		{`FALLBACK_ON: "503"`, []string{twoArms, "FALLBACK_ON=503"}},
		{"STICKY_COOKIE", []string{twoArms, "STICKY=cookie", "STICKY_COOKIE=a;b"}},
		{"STICKY_SAME_SITE", []string{twoArms, "STICKY=cookie", "STICKY_SAME_SITE=none"}},
		{"ARM_HEADER", []string{twoArms, "ARM_HEADER=X Arm"}},
		{"OVERRIDE_TOKEN: means nothing", []string{twoArms, "OVERRIDE_TOKEN=t"}},
		{"MIRROR: ", []string{twoArms, "MIRROR=shadow:80"}},
		{"COMPARE: means nothing", []string{twoArms, "COMPARE=production"}},
		{"no such arm", []string{twoArms, "MIRROR=http://shadow", "COMPARE=other"}},
		{"COMPARE_NOISE: means nothing", []string{twoArms, "MIRROR=http://shadow", "COMPARE_NOISE=http://a"}},
		{"HEALTH_PATH", []string{twoArms, "HEALTH_PATH=http://web/"}},
	}
	for _, tt := range tests {
		if err := load(t, tt.vars...).Check(); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v: %v, want %q", tt.vars, err, tt.want)
		}
	}
	bad := load(t, twoArms, "ARM_HEADER=X Arm", "FALLBACK_ON=503").Check()
	if n := strings.Count(bad.Error(), "\n") + 1; n != 2 {
		t.Errorf("%d lines for two mistakes: %v", n, bad)
	}
}

func TestFit(t *testing.T) {
	tests := []struct {
		name                  string
		has                   daemon.Resources
		vars                  []string
		connections, requests int
	}{
		{"unknown", daemon.Resources{}, nil, 20000, 10000},
		{"plenty", daemon.Resources{Memory: 64 << 30, Files: 1 << 20}, nil, 20000, 10000},
		{"64 MiB", daemon.Resources{Memory: 64 << 20}, nil, 1365, 113},
		{"64 MiB and a mirror", daemon.Resources{Memory: 64 << 20}, []string{"MIRROR=http://m"}, 1109, 92},
		{"tiny", daemon.Resources{Memory: 1 << 20}, nil, 28, 2},
		{"few files", daemon.Resources{Files: 1024}, nil, 512, 256},
		{"none asked", daemon.Resources{Memory: 64 << 20}, []string{"MAX_CONNECTIONS=0", "MAX_REQUESTS=0"}, 0, 0},
	}
	for _, tt := range tests {
		cfg := load(t, append(tt.vars, twoArms)...)
		connections, requests := tt.has.Fit(cfg.MaxConnections, cfg.MaxRequests, cfg.cost())
		if connections != tt.connections || requests != tt.requests {
			t.Errorf("%s: %d connections, %d requests", tt.name, connections, requests)
		}
	}
}
