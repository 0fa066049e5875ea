package stack

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestReadCgroup reads the files of both versions, under the names that both drivers give the groups.
func TestReadCgroup(t *testing.T) {
	const id = "0123456789ab"
	v2 := map[string]string{"cpu.stat": "usage_usec 1500000\nuser_usec 1\n", "memory.stat": "anon 4096\nfile 9\n"}
	for _, c := range []struct {
		name  string
		files map[string]string
		want  Usage
		err   bool
	}{
		{"version 2, cgroupfs", under("docker/"+id, v2), Usage{1500 * time.Millisecond, 4096}, false},
		{"version 2, systemd", under("system.slice/docker-"+id+".scope", v2), Usage{1500 * time.Millisecond, 4096}, false},
		{"version 1", map[string]string{
			"cpuacct/docker/" + id + "/cpuacct.usage": "2000000000\n",
			"memory/docker/" + id + "/memory.stat":    "cache 1\nrss 2\ntotal_cache 3\ntotal_rss 8192\n",
		}, Usage{2 * time.Second, 8192}, false},
		{"another container", under("docker/ffff", v2), Usage{}, true},
		{"no memory", map[string]string{"docker/" + id + "/cpu.stat": "usage_usec 1\n"}, Usage{}, true},
		{"no number", under("docker/"+id, map[string]string{"cpu.stat": "usage_usec x\n", "memory.stat": "anon 1\n"}), Usage{}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			root := t.TempDir()
			for name, text := range c.files {
				file := filepath.Join(root, name)
				if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(text), 0o644)); err != nil {
					t.Fatal(err)
				}
			}
			got, err := readCgroup(root, id)
			if (err != nil) != c.err || !c.err && got != c.want {
				t.Errorf("%+v, %v; want %+v", got, err, c.want)
			}
		})
	}
}

func under(dir string, files map[string]string) map[string]string {
	out := map[string]string{}
	for name, text := range files {
		out[dir+"/"+name] = text
	}
	return out
}

func TestBusy(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"cpu  100 20 30 4000 500 6 7 8 900 1000\ncpu0 1 1 1 1 1 1 1 1 1 1\n": 1710 * time.Millisecond,
		"cpu0 100 20 30 4000 500 6 7 8\n":                                    0,
		"cpu  100 20 30\n":                                                   0,
		"cpu  100 20 30 4000 500 6 seven 8\n":                                0,
		"":                                                                   0,
	} {
		if got, ok := busy(text); got != want || ok != (want > 0) {
			t.Errorf("%q: %v, %v, want %v", text, got, ok, want)
		}
	}
}
