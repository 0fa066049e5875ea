package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"distlab/containers/internal/env"
)

func TestWithAddress(t *testing.T) {
	for line, want := range map[string]struct{ address, rest, err string }{
		"":                               {},
		"--address=0.0.0.0:8080":         {address: "0.0.0.0:8080"},
		"/server --address=0.0.0.0:8080": {address: "0.0.0.0:8080"},
		"/server --addr 0.0.0.0:1":       {address: "0.0.0.0:1"},
		"-addr=:1":                       {address: ":1"},
		"--address=:1 health":            {address: ":1", rest: "health"},
		"health --address=:1":            {rest: "health --address=:1"},
		"--help":                         {rest: "--help"},
		"server":                         {rest: "server"},
		"--address":                      {err: "--address needs an address, such as 0.0.0.0:8080"},
		"--addr=":                        {err: "--addr needs an address, such as 0.0.0.0:8080"},
		"--addresses=:1":                 {rest: "--addresses=:1"},
	} {
		var set string
		rest, err := withAddress(strings.Fields(line), func(name, value string) error { set = value; return nil })
		got := struct{ address, rest, err string }{set, strings.Join(rest, " "), ""}
		if err != nil {
			got.err = err.Error()
		}
		if got != want {
			t.Errorf("%q: %+v, want %+v", line, got, want)
		}
	}
}

func TestGroups(t *testing.T) {
	p := newProc(t)
	p.put(
		fake{pid: 1, name: "pause", start: 1, container: "a"},
		fake{pid: 5, name: "nginx", command: "nginx: master\x00", start: 9, container: "b"},
		fake{pid: 6, parent: 5, name: "cgi", start: 10, container: "b"},
		fake{pid: 7, parent: 1, name: "late", start: 11, container: "b"},
		fake{pid: 8, name: "runc:[2:INIT]", start: 12, container: "c"},
		fake{pid: 9, parent: 9, name: "self-made", start: 13, container: "d"},
	)
	name := func(rules []Rule, by string) (got []string) {
		scan := p.scan()
		names := groups(scan.Processes, rules, by)
		for _, q := range scan.Processes {
			got = append(got, names[q.id()])
		}
		return got
	}
	rule := Rule{"web", regexp.MustCompile("^nginx")}
	for _, test := range []struct {
		rules []Rule
		by    string
		want  []string
	}{
		{nil, "container", []string{"pause", "nginx", "nginx", "nginx", "starting", "self-made"}},
		{nil, "name", []string{"pause", "nginx", "cgi", "late", "starting", "self-made"}},
		{[]Rule{rule}, "name", []string{"pause", "web", "web", "late", "starting", "self-made"}},
		{[]Rule{{"all", regexp.MustCompile(".")}}, "container", []string{"all", "all", "all", "all", "all", "all"}},
	} {
		if diff := cmp.Diff(test.want, name(test.rules, test.by)); diff != "" {
			t.Errorf("%v by %s (-want +got)\n%s", test.rules, test.by, diff)
		}
	}
}

// Ever new names make no ever new groups, and no total ever falls.
func TestTotals(t *testing.T) {
	p := newProc(t)
	s := sampler(p)
	s.GroupBy, s.Totals.Most = "name", 3
	p.put(fake{pid: 1, name: "init", own: 500, read: 900, start: 1})
	s.sample()
	for n := range 20 {
		p.put(fake{pid: 1, name: "init", own: 500 + 2*n, read: 900 + uint64(n), start: 1})
		p.put(fake{pid: 50, name: fmt.Sprintf("odd-%d", n), own: 10, start: 100 + n})
		s.sample()
	}
	all := s.Totals.all()
	if len(all) != 4 {
		t.Errorf("%d groups", len(all))
	}
	if got := all["init"]; got.CPU != 38*tick || got.Read != 19 || got.Processes != 1 || got.Begun != 0 {
		t.Errorf("init: %+v", got)
	}
	if got := all[otherGroups]; got.Begun != 18 || got.CPU != 180*tick {
		t.Errorf("other: %+v", got)
	}
	if got := all["odd-0"]; got.Processes != 0 || got.CPU != 10*tick {
		t.Errorf("odd-0 has ended, and keeps its total: %+v", got)
	}
}

func TestLifetime(t *testing.T) {
	p := newProc(t)
	s := sampler(p)
	s.Meter.Lifetime = true
	p.put(fake{pid: 1, name: "x", own: 450, start: 10000}) // 4.5 s in 900 s: the machine is up for 1000 s
	s.sample()
	if got := s.Latest().Rows[0].CPU; got == nil || got.String() != "0.5" {
		t.Errorf("%v %%", got)
	}
}

// The containers of a look, with the control group that lies behind a process's root, and one that may not be read.
func TestContainers(t *testing.T) {
	p := newProc(t)
	p.put(fake{pid: 1, name: "app", start: 1, container: "a"}, fake{pid: 2, parent: 1, name: "kid", start: 2, container: "a"},
		fake{pid: 3, name: "other", start: 3, container: "b"}, fake{pid: 4, name: "wrong", start: 3, container: "c"})
	put := func(pid int, files ...string) {
		for i := 0; i < len(files); i += 2 {
			p.write(fmt.Sprintf("%d/root/sys/fs/cgroup/%s", pid, files[i]), files[i+1])
		}
	}
	group := func(used, periods, throttled int) []string {
		return []string{
			"cgroup.controllers", "cpu", "cgroup.procs", "1\n2\n", "cpu.max", "25000 100000", "memory.current", "1000", "memory.max", "4000",
			"cpu.stat", fmt.Sprintf("usage_usec %d\nnr_periods %d\nnr_throttled %d\nthrottled_usec 7\n", used, periods, throttled),
		}
	}
	put(1, group(1000000, 10, 5)...)
	put(4, group(1, 1, 1)...)
	if err := os.MkdirAll(filepath.Join(p.dir, "3/root"), 0o755); err != nil {
		t.Fatal(err)
	}
	// A link out of the root leads nowhere.
	if err := os.Symlink("/sys", filepath.Join(p.dir, "3/root/sys")); err != nil {
		t.Fatal(err)
	}
	s := sampler(p)
	s.sample()
	first := s.containersAt
	put(1, group(1250000, 20, 10)...)
	s.sample()
	list := s.Latest().Containers
	if len(list) != 3 {
		t.Fatalf("%d containers", len(list))
	}
	a, b, c := list[0], list[1], list[2]
	if a.ID != "a" || a.Group != "app" || a.Processes != 2 || a.Cgroup != "v2" || *a.CPU.Limit != 0.25 || *a.Memory.Limit != 4000 {
		t.Errorf("%+v %+v %+v", a, a.CPU, a.Memory)
	}
	over := s.containersAt.Sub(first).Seconds()
	if got, want := float64(*a.CPU.Percent), 25/over; got < want*0.999 || got > want*1.001 {
		t.Errorf("%v %% of a processor, want %v", got, want)
	}
	if *a.CPU.ThrottledPercent != 50 || *a.Memory.Percent != 25 {
		t.Errorf("throttled %v %%, memory %v %%", *a.CPU.ThrottledPercent, *a.Memory.Percent)
	}
	if b.Cgroup != "unknown" || b.CPU != nil || b.Error == "" {
		t.Errorf("through a link: %+v", b)
	}
	if c.Cgroup != "unknown" || c.Error != errNotOwn.Error() {
		t.Errorf("in another group: %+v", c)
	}
}

// However much a look takes, looking takes a twentieth of a processor at most; that others have the processor does not count.
func TestPause(t *testing.T) {
	s := &Sampler{Interval: time.Second}
	const ms = time.Millisecond
	for _, test := range []struct{ took, used, want time.Duration }{
		{0, 0, time.Second},
		{10 * ms, 10 * ms, 990 * ms},
		{100 * ms, 100 * ms, 2 * time.Second},
		{time.Minute, time.Minute, 20 * time.Minute},
		{900 * ms, 3 * ms, 100 * ms},
		{2 * time.Second, 3 * ms, 60 * ms},
	} {
		if got := s.pause(test.took, test.used, false); got != test.want {
			t.Errorf("after %v, %v used: %v, want %v", test.took, test.used, got, test.want)
		}
	}
	if got := s.pause(0, 0, true); got != soon {
		t.Errorf("after the first: %v", got)
	}
	before := threadTime()
	for end := time.Now().Add(50 * ms); time.Now().Before(end); {
		runtime.KeepAlive(end)
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if runtime.GOOS == "linux" && threadTime() == 0 && before == 0 {
		t.Error("this thread has no time")
	}
}

// A /proc that cannot be read is said once, makes it unready, and is forgotten when it can.
func TestSamplerFails(t *testing.T) {
	p := newProc(t)
	p.put(fake{pid: 1, name: "x"})
	s := sampler(p)
	var ready []string
	s.Ready = func(ok bool, reason string) { ready = append(ready, fmt.Sprint(ok, reason != "")) }
	s.sample()
	s.sample()
	p.end(1)
	s.sample()
	p.put(fake{pid: 1, name: "x"})
	s.sample()
	if diff := cmp.Diff([]string{"true false", "false true", "true false"}, ready); diff != "" {
		t.Error(diff)
	}
}

func TestRun(t *testing.T) {
	p := newProc(t)
	p.put(fake{pid: 1, name: "x"})
	s := sampler(p)
	s.Interval = 10 * time.Millisecond
	ready := make(chan bool, 100)
	s.Ready = func(ok bool, _ string) {
		select {
		case ready <- ok:
		default:
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	if first, second := <-ready, <-ready; !first || !second {
		t.Error("unready")
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestSettings(t *testing.T) {
	for vars, want := range map[string]string{
		"INTERVAL=10ms":        "less than",
		"COMMANDS=some":        "not one of full, redacted, name",
		"GROUPS=web":           "not a group and a regular expression like web=^nginx",
		"GROUPS=web=(":         "error parsing regexp",
		"CPU=ps":               "not one of window, live, lifetime",
		"MAX_GROUPS=0":         "not between",
		"LISTEN_ADDR=nonsense": "not a listen address",
	} {
		name, value, _ := strings.Cut(vars, "=")
		var cfg config
		err := env.Load(&cfg, func(n string) (string, bool) { return value, n == name })
		if err == nil || !strings.Contains(err.Error(), want) && !strings.Contains(err.Error(), "between") {
			t.Errorf("%s: %v", vars, err)
		}
	}
}
