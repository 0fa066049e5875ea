package cgroup

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// group makes a mounted group of names and contents.
func group(files ...string) fstest.MapFS {
	dir := fstest.MapFS{}
	for i := 0; i < len(files); i += 2 {
		dir[files[i]] = &fstest.MapFile{Data: []byte(files[i+1])}
	}
	return dir
}

// As a container with --cpus 0.5 and -m 64m has it, under each version.
var (
	first = []string{
		"cpuacct/cpuacct.usage", "2500000000\n", "cpu/cpu.cfs_quota_us", "50000\n", "cpu/cpu.cfs_period_us", "100000\n",
		"cpu/cpu.stat", "nr_periods 20\nnr_throttled 7\nthrottled_time 1500000000\nnr_bursts 0\nburst_time 0\n",
		"memory/memory.usage_in_bytes", "5000000\n", "memory/memory.limit_in_bytes", "67108864\n",
		"memory/memory.stat", "cache 100\ntotal_inactive_file 1000000\n", "pids/pids.current", "9\n", "pids/pids.max", "128\n",
	}
	second = []string{
		"cgroup.controllers", "cpu memory pids\n", "cpu.max", "50000 100000\n",
		"cpu.stat", "usage_usec 2500000\nuser_usec 1\nsystem_usec 2\nnr_periods 20\nnr_throttled 7\nthrottled_usec 1500000\n",
		"memory.current", "5000000\n", "memory.max", "67108864\n", "memory.stat", "anon 1\ninactive_file 1000000\n",
		"pids.current", "9\n", "pids.max", "128\n",
	}
	same = Usage{
		CPU: CPU{
			Known: true, Used: 2500 * time.Millisecond, Limit: 0.5, Periods: 20, Throttled: 7,
			ThrottledTime: 1500 * time.Millisecond,
		},
		Memory: Memory{Known: true, Used: 5000000, Working: 4000000, Limit: 64 << 20},
		Tasks:  Tasks{Known: true, Current: 9, Limit: 128},
	}
)

func TestVersionsAgree(t *testing.T) {
	for version, files := range map[int][]string{1: first, 2: second} {
		got, err := Read(group(files...))
		if err != nil {
			t.Fatal(err)
		}
		want := same
		want.Version = version
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("version %d (-want +got)\n%s", version, diff)
		}
	}
}

func TestUnlimited(t *testing.T) {
	for name, dir := range map[string]fs.FS{
		"v1": group(append(first, "cpu/cpu.cfs_quota_us", "-1\n", "memory/memory.limit_in_bytes", "9223372036854771712\n",
			"pids/pids.max", "max\n")...),
		"v2": group(append(second, "cpu.max", "max 100000\n", "memory.max", "max\n", "pids.max", "max\n")...),
	} {
		u, err := Read(dir)
		if err != nil || u.CPU.Limit != 0 || u.Memory.Limit != 0 || u.Tasks.Limit != 0 || !u.CPU.Known {
			t.Errorf("%s: %+v, %v", name, u, err)
		}
	}
}

// What is not there is unknown, and not 0; what is refused or broken is an error.
func TestParts(t *testing.T) {
	only, err := Read(group("memory/memory.usage_in_bytes", "7\n"))
	if err != nil || only.CPU.Known || only.Tasks.Known || !only.Memory.Known || only.Memory.Working != 7 {
		t.Errorf("memory alone: %+v, %v", only, err)
	}
	if _, err := Read(group()); !errors.Is(err, ErrNone) {
		t.Errorf("nothing: %v", err)
	}
	for name, dir := range map[string]fs.FS{
		"no number":    group(append(second, "memory.current", "much\n")...),
		"negative":     group(append(first, "cpuacct/cpuacct.usage", "-5\n")...),
		"beyond 2^64":  group(append(first, "pids/pids.current", "99999999999999999999\n")...),
		"endless":      group(append(second, "cpu.stat", strings.Repeat("usage_usec 1\n", 9000))...),
		"a folder":     fstest.MapFS{"cgroup.controllers": {Mode: fs.ModeDir}},
		"a pipe":       fstest.MapFS{"cgroup.controllers": {Mode: fs.ModeNamedPipe}},
		"more working": group(append(second, "memory.stat", "inactive_file 6000000\n")...),
	} {
		u, err := Read(dir)
		if name == "more working" {
			if err != nil || u.Memory.Working != 0 {
				t.Errorf("%s: %+v, %v", name, u.Memory, err)
			}
			continue
		}
		if err == nil {
			t.Errorf("%s: %+v and no error", name, u)
		}
	}
}

func TestRefused(t *testing.T) {
	if os.Getuid() == 0 {
		// The superuser is refused nothing; a folder in place of the file is what can be had.
		t.Log("as root a refusal is a folder in the place of a file")
	}
	dir := t.TempDir()
	for _, name := range []string{dir + "/cgroup.controllers", dir + "/cpu.stat"} {
		if err := os.WriteFile(name, nil, 0o000); err != nil {
			t.Fatal(err)
		}
	}
	if os.Getuid() == 0 {
		os.Remove(dir + "/cpu.stat")
		os.Mkdir(dir+"/cpu.stat", 0o000)
	}
	if u, err := Read(os.DirFS(dir)); err == nil {
		t.Errorf("%+v and no error", u)
	}
}

// On a machine with control groups the test's own can be read, whatever the version.
func TestOwn(t *testing.T) {
	u, err := Read(os.DirFS("/sys/fs/cgroup"))
	if errors.Is(err, ErrNone) {
		return // the host's root group has other files
	}
	if err != nil {
		t.Fatal(err)
	}
	if u.CPU.Known && u.CPU.Used <= 0 {
		t.Errorf("%+v", u)
	}
}

func TestHolds(t *testing.T) {
	for name, test := range map[string]struct {
		dir  fs.FS
		want bool
		err  error
	}{
		"v2":      {group("cgroup.procs", "1\n7\n70\n"), true, nil},
		"v1":      {group("memory/cgroup.procs", "7\n"), true, nil},
		"partial": {group("cpuacct/cgroup.procs", "17\n70\n"), false, nil},
		"other":   {group("cgroup.procs", "0\n0\n"), false, nil},
		"none":    {group(), false, ErrNone},
	} {
		got, err := Holds(test.dir, 7)
		if got != test.want || !errors.Is(err, test.err) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add("2500000000\n", "nr_periods 20\n", "50000 100000", "max")
	f.Add("-1", "throttled_usec 18446744073709551615", "0 0", "9223372036854771712")
	f.Add("", "\x00", " ", "\n")
	f.Fuzz(func(t *testing.T, a, b, c, d string) {
		for _, dir := range []fs.FS{
			group("cgroup.controllers", "", "cpu.stat", b, "cpu.max", c, "memory.current", a, "memory.max", d, "memory.stat", b),
			group("cpuacct/cpuacct.usage", a, "cpu/cpu.stat", b, "cpu/cpu.cfs_quota_us", c, "cpu/cpu.cfs_period_us", d,
				"memory/memory.usage_in_bytes", a, "memory/memory.limit_in_bytes", d),
		} {
			u, err := Read(dir)
			if err != nil && u != (Usage{}) {
				t.Errorf("an error and %+v", u)
			}
			if u.CPU.Used < 0 || u.CPU.ThrottledTime < 0 || u.CPU.Limit < 0 || u.Memory.Working > u.Memory.Used {
				t.Errorf("%+v", u)
			}
		}
	})
}
