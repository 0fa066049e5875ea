package images_test

import (
	"path/filepath"
	"strings"
	"testing"

	"distlab/lab/internal/images"
)

// TestRedisFromDebian makes the substitute of redis:8.0, or finds it again, and uses it as the public image documents.
func TestRedisFromDebian(t *testing.T) {
	docker := engine(t)
	root, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	im := &images.Images{Root: root, Docker: docker}
	env, err := im.Ensure(t.Context(), []images.Need{{Ref: "images.test/redis:8.0", Variable: "REDIS_IMAGE", Recipe: "redis"}})
	if err != nil {
		t.Fatal(err)
	}
	ref := env["REDIS_IMAGE"]
	if !strings.HasPrefix(ref, "distlab/debian-redis:8.") {
		t.Fatalf("environment %v", env)
	}
	for _, test := range []struct {
		name, want string
		command    []string
	}{
		{"another command", "redis-cli 8.", []string{"redis-cli", "--version"}},
		{"options mean the server", "Redis server v=8.", []string{"--version"}},
		{"the user", "uid=999(redis) gid=999(redis)", []string{"id", "redis"}},
		{"the volume", "999 999 /data", []string{"stat", "-c", "%u %g %n", "/data"}},
		{
			"the server, as redis, open to its network", "999\nPONG\nprotected-mode\nno", []string{"sh", "-c", `
				docker-entrypoint.sh redis-server --daemonize yes --pidfile /tmp/pid --logfile /tmp/log
				until redis-cli ping >/dev/null 2>&1; do :; done
				stat -c %u /proc/$(cat /tmp/pid) && redis-cli ping && redis-cli config get protected-mode`},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := run(t, docker, ref, test.command...); !strings.Contains(got, test.want) {
				t.Errorf("%q printed %q, want %q", test.command, got, test.want)
			}
		})
	}
}
