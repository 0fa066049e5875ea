package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// odd are names that a process may give itself: 15 bytes, any but NUL.
var odd = []string{
	"two words", "a) R 1 (b c\n", "((", "))", ") S 1 1", "\n\n\n", "<b>x</b>", `"},x="`, `\`, "\x1b[2J", "\u202etxt.exe",
	"\xff\xfe", "é̂", "{{.}}", "'--", "&lt;", " ", "\t\t", "=HYPERLINK()", "\u200b\ufeff", "\u2028",
}

func TestScanOddNames(t *testing.T) {
	p := newProc(t)
	for i, name := range odd {
		p.put(fake{pid: 10 + i, parent: 1, name: name, own: 7 + i, start: 100, resident: 3, command: name + "\x00" + name + "\x00"})
	}
	scan := p.scan()
	if len(scan.Processes) != len(odd) {
		t.Fatalf("%d processes, want %d", len(scan.Processes), len(odd))
	}
	for i, got := range scan.Processes {
		if got.Name != odd[i] || got.Parent != 1 || got.State != "S" || got.Threads != 3 || got.Start != 100 {
			t.Errorf("%q: %+v", odd[i], got)
		}
		if got.Own != time.Duration(7+i)*tick || got.Resident != 3*uint64(os.Getpagesize()) || got.UID != 65532 {
			t.Errorf("%q: own %v, resident %d, user %d", odd[i], got.Own, got.Resident, got.UID)
		}
		if diff := cmp.Diff([]string{odd[i], odd[i]}, got.Command); diff != "" {
			t.Errorf("%q: %s", odd[i], diff)
		}
	}
}

// A process may end at any point of a look: then it is no row, and the others are.
func TestScanVanishing(t *testing.T) {
	for _, file := range []string{"stat", "cmdline", "status"} {
		p := newProc(t)
		p.put(fake{pid: 1, name: "first", start: 1}, fake{pid: 5, name: "going", start: 2}, fake{pid: 9, name: "last", start: 3})
		if err := os.RemoveAll(p.dir + "/5/" + file); err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, q := range p.scan().Processes {
			names = append(names, q.Name)
		}
		if !slices.Equal(names, []string{"first", "last"}) {
			t.Errorf("without %s: %q", file, names)
		}
	}
	p := newProc(t)
	p.put(fake{pid: 5, name: "bare", start: 2})
	for _, file := range []string{"cgroup", "io", "fd"} { // a kernel may be built without
		if err := os.RemoveAll(p.dir + "/5/" + file); err != nil {
			t.Fatal(err)
		}
	}
	if got := p.scan().Processes[0]; got.Name != "bare" || !slices.Equal(got.Denied, []string{"cgroup", "io", "files"}) {
		t.Errorf("%+v", got)
	}
	p.end(5)
	if _, err := p.scanner().Scan(); err == nil {
		t.Error("no process at all is no error")
	}
}

// A zombie and a kernel's thread have no command line and no executable. They are rows all the same.
func TestScanWithoutCommand(t *testing.T) {
	p := newProc(t)
	p.put(fake{pid: 2, name: "kthreadd", start: 1})
	p.write("2/cmdline", "")
	if err := os.Remove(p.dir + "/2/exe"); err != nil {
		t.Fatal(err)
	}
	got := p.scan().Processes[0]
	if len(got.Denied) != 0 || got.Executable != "" || got.command("full") != "[kthreadd]" {
		t.Errorf("%+v shown as %s", got, got.command("full"))
	}
}

func TestScanBounds(t *testing.T) {
	p := newProc(t)
	p.put(fake{pid: 1, name: "a", command: strings.Repeat("x", 1<<20)}, fake{pid: 2, name: "b"}, fake{pid: 3, name: "c"})
	s := p.scanner()
	s.Most = 2
	scan, err := s.Scan()
	if err != nil || len(scan.Processes) != 2 || scan.LeftOut != 1 {
		t.Fatalf("%d processes, %d left out, %v", len(scan.Processes), scan.LeftOut, err)
	}
	if n := len(scan.Processes[0].Command[0]); n != maxCommand {
		t.Errorf("%d bytes of a command line", n)
	}
	if shown := scan.Processes[0].command("full"); len(shown) > maxShown+len("…") {
		t.Errorf("%d bytes shown", len(shown))
	}
}

// What the kernel refuses to another user is denied, field by field; the rest of the row is there. The scan is that of a
// process without rights: this test, started again as one.
func TestScanDenied(t *testing.T) {
	const variable = "TOPZ_TEST_SCAN"
	if os.Getenv(variable) != "" {
		s := &Scanner{Proc: "/proc", Environment: []string{"PATH"}, Most: 100000}
		if err := s.Open(); err != nil {
			t.Fatal(err)
		}
		scan, err := s.Scan()
		if err != nil {
			t.Fatal(err)
		}
		json.NewEncoder(os.Stdout).Encode(scan.Processes)
		os.Exit(0)
	}
	target := os.Getpid()
	cmd := exec.Command("/proc/self/exe", "-test.run", "^TestScanDenied$")
	cmd.Env = []string{variable + "=1"}
	if os.Getuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65532, Gid: 65532}}
	} else {
		target = 1
	}
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var list []*Process
	if err := json.Unmarshal(out, &list); err != nil {
		t.Fatal(err)
	}
	seen := map[int]*Process{}
	for _, p := range list {
		seen[p.PID] = p
	}
	them := seen[target]
	if them == nil {
		t.Fatalf("process %d of another user is no row", target)
	}
	if diff := cmp.Diff([]string{"io", "executable", "environment"}, slices.DeleteFunc(them.Denied, func(s string) bool { return s == "files" })); diff != "" {
		t.Errorf("denied (-want +got)\n%s", diff)
	}
	if them.Name == "" || them.Start == 0 && target != 1 || them.Resident == 0 || them.Read != nil || them.Environment["PATH"] != "" {
		t.Errorf("%+v", them)
	}
	own := list[len(list)-1]
	for _, p := range list {
		if p.UID == 65532 && len(p.Denied) == 0 {
			own = p
		}
	}
	if os.Getuid() == 0 && (len(own.Denied) != 0 || own.Read == nil || own.Files == nil || own.Executable == "") {
		t.Errorf("of its own user: %+v", own)
	}
}

func TestContainer(t *testing.T) {
	long := "0e5b763370e7177449f11d1ebabe31f91618aaa00992276a0021b4427eff35c6"
	for cgroup, want := range map[string]string{
		"9:name=systemd:/docker/" + long + "\n4:memory:/docker/" + long + "\n0::/docker/" + long + "\n": long[:12],
		"1:name=systemd:/init.scope\n4:memory:/docker/" + long + "\n":                                   long[:12],
		"0::/../" + long + "\n": long[:12],
		"0::/\n":                "self",
		"0::/system.slice/docker-" + long + ".scope\n":                         long[:12],
		"0::/kubepods.slice/kubepods-pod1.slice/cri-containerd-" + long + "\n": long[:12],
		"0::/user.slice/a:b\n": "a:b",
		"0::/evil\x1b[2J\n":    `evil\x1b[2J`,
		"":                     "",
		"nonsense\n":           "",
		"0::\n":                "",
	} {
		if got := container(cgroup); got != want {
			t.Errorf("%q is container %q, want %q", cgroup, got, want)
		}
	}
}

func FuzzScan(f *testing.F) {
	f.Add("5 (x) S 1 1 1 0 -1 0 0 0 0 0 1 2 3 4 20 0 1 0 5 6 7", "a\x00b", "Uid:\t1\t2\t3\t4\n", "0::/x\n")
	f.Add("5 (a) R 1 (b c\n) S", "", "Uid:", "::::")
	f.Add("", "\x00\x00", "Uid:\t-1 99999999999999999999", "4:memory:")
	f.Add(")(", "\xff", "\n\n", "0::/..\n")
	f.Fuzz(func(t *testing.T, stat, cmdline, status, cgroup string) {
		p := newProc(t)
		p.put(fake{pid: 1, name: "init", start: 1}, fake{pid: 5, name: "x", start: 2})
		for name, text := range map[string]string{"stat": stat, "cmdline": cmdline, "status": status, "cgroup": cgroup, "io": status} {
			p.write("5/"+name, text)
		}
		s := sampler(p)
		s.sample()
		s.sample()
		if s.Latest() == nil || s.Latest().Rows[0].Name != "init" {
			t.Fatal("one process hides another")
		}
	})
}
