package procs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// stat is a line as the kernel writes it.
func stat(pid, parent int, name, state string, start uint64) string {
	return fmt.Sprintf("%d (%s) %s %d 1 1 0 -1 4194560 %s%d 1000 200\n", pid, name, state, parent, strings.Repeat("7 ", 12), start)
}

// fake is a process of a made-up /proc. The command line has bars for its zero bytes.
type fake struct {
	stat, line, exe string
}

// proc makes a folder like /proc.
func proc(t *testing.T, all map[int]fake) Table {
	t.Helper()
	root := t.TempDir()
	write := func(data string, elem ...string) {
		path := filepath.Join(append([]string{root}, elem...)...)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(data), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("x", "sys", "kernel")
	write("cpu 1 2\nbtime 1000000\nprocesses 7\n", "stat")
	for pid, f := range all {
		write(f.stat, fmt.Sprint(pid), "stat")
		write(strings.ReplaceAll(f.line, "|", "\x00"), fmt.Sprint(pid), "cmdline")
		if f.exe != "" {
			if err := os.Symlink(f.exe, filepath.Join(root, fmt.Sprint(pid), "exe")); err != nil {
				t.Fatal(err)
			}
		}
	}
	return Table{Root: root, self: 900}
}

func TestFind(t *testing.T) {
	table := proc(t, map[int]fake{
		1:  {stat(1, 0, "pause", "S", 10), "/pause|", "/pause"},
		7:  {stat(7, 0, "mysqld", "S", 50), "mysqld|--help|", ""}, // somebody's, run later
		8:  {stat(8, 0, "mysqld", "S", 40), "/usr/sbin/mysqld|--skip-log-bin|", ""},
		9:  {stat(9, 0, "a) S 3 (b", "S", 60), "", ""},
		11: {stat(11, 0, "very-long-name-", "R", 60), "./very-long-name-of-a-server|x|", ""},
		12: {stat(12, 0, "ended", "Z", 60), "", ""},
		13: {stat(13, 0, "connection", "S", 60), "/opt/server|", ""}, // it changed the kernel's name
		14: {"rubbish", "", ""},
		15: {stat(15, 0, "mysqld", "Z", 1), "", ""},
		// Titles as they are seen of the real ones: redis-server 8.0 (whose program is redis-check-rdb), postgres 17, nginx.
		20: {stat(20, 0, "redis-server", "S", 60), "redis-server *:6379||||", "/usr/bin/redis-check-rdb"},
		30: {stat(30, 0, "postgres", "S", 60), "postgres|-D|/data|", ""},
		31: {stat(31, 30, "postgres", "S", 61), "postgres: checkpointer ||", ""},
		32: {stat(32, 30, "postgres", "S", 62), "postgres: app shop 10.1.2.3(5) /idle||", ""},
		40: {stat(40, 0, "nginx", "S", 60), "nginx: master process nginx -g daemon off;|", "/usr/sbin/nginx"},
		41: {stat(41, 40, "nginx", "S", 60), "nginx: worker process|", "/usr/sbin/nginx"},
		// Titles that leave nothing of the name but the executable's; one that was upgraded meanwhile.
		50: {stat(50, 0, "main", "S", 60), "(ready)|", "/usr/lib/app/app-server"},
		51: {stat(51, 0, "main", "S", 60), "-|", "/usr/bin/old-server (deleted)"},
		// A script, and a shell that waits for what it started.
		60: {stat(60, 0, "python3", "S", 60), "python3|/srv/web.py|--port|80|", "/usr/bin/python3.11"},
		61: {stat(61, 0, "sh", "S", 60), "sh|-c|exec-not worker --queue a|", "/bin/dash"},
		62: {stat(62, 61, "worker", "S", 61), "worker|--queue|a|", "/usr/bin/worker"},
		// Two of a name in two containers, the younger with the lower number.
		70: {stat(70, 0, "shop", "S", 90), "/shop|", "/shop"},
		71: {stat(71, 0, "shop", "S", 80), "/shop|", "/shop"},
		// The caller, and the app's own program as it runs it to check a file.
		900: {stat(900, 0, "shop", "S", 5), "/shop|", "/sidecar"},
		901: {stat(901, 900, "sh", "S", 6), "sh|", "/bin/dash"},
		902: {stat(902, 901, "shop", "S", 6), "/shop|check|", "/shop"},
	})
	for _, tt := range []struct {
		sel  Selector
		want []int
		err  error
	}{
		{sel: Selector{}, want: nil},
		{sel: Selector{Names: []string{"mysqld"}}, want: []int{8, 7}},
		{sel: Selector{Names: []string{"mariadbd", "mysqld"}}, want: []int{8, 7}},
		{sel: Selector{Names: []string{"server", "mysqld"}}, want: []int{13}},
		{sel: Selector{Names: []string{"connection"}}, want: []int{13}},
		{sel: Selector{Names: []string{"a) S 3 (b"}}, want: []int{9}},
		{sel: Selector{Names: []string{"very-long-name-of-a-server"}}, want: []int{11}},
		{sel: Selector{Names: []string{"very-long-name-of-another"}}, want: nil},
		{sel: Selector{Names: []string{"ended"}}, want: nil},
		{sel: Selector{Names: []string{"mysql"}}, want: nil},
		{sel: Selector{Names: []string{""}}, want: nil},
		{sel: Selector{Names: []string{"."}}, want: nil}, // the base name of nothing
		{sel: Selector{Names: []string{"redis-server"}}, want: []int{20}},
		{sel: Selector{Names: []string{"redis-check-rdb"}}, want: []int{20}},
		{sel: Selector{Names: []string{"postgres"}}, want: []int{30}},
		{sel: Selector{Names: []string{"nginx"}}, want: []int{40}},
		{sel: Selector{Names: []string{"app-server"}}, want: []int{50}},
		{sel: Selector{Names: []string{"old-server"}}, want: []int{51}},
		{sel: Selector{Names: []string{"shop"}}, want: []int{71, 70}},
		{sel: Selector{Command: regexp.MustCompile(`^python3 /srv/web\.py`)}, want: []int{60}},
		{sel: Selector{Command: regexp.MustCompile(`worker --queue a$`)}, want: []int{61, 62}}, // two programs
		{sel: Selector{Command: regexp.MustCompile(`worker`), Names: []string{"worker"}}, want: []int{62}},
		{sel: Selector{Command: regexp.MustCompile(`^nginx: worker`)}, want: []int{41}}, // asked for, its parent is none of them
		{sel: Selector{Names: []string{"pause"}}, err: ErrFirst},
		{sel: Selector{Names: []string{"pause"}, First: true}, want: []int{1}},
		{sel: Selector{Command: regexp.MustCompile(`^/(pause|shop)`)}, want: []int{71, 70}}, // never process 1 by accident
		{sel: Selector{Command: regexp.MustCompile(`^/(pause|shop)`), First: true}, want: []int{1, 71, 70}},
	} {
		got, err := table.Find(tt.sel)
		var pids []int
		for _, p := range got {
			pids = append(pids, p.PID)
		}
		if diff := cmp.Diff(tt.want, pids); diff != "" || !errors.Is(err, tt.err) || err == nil && tt.err != nil {
			t.Errorf("%+v: %v, %v, want %v, %v", tt.sel, pids, err, tt.want, tt.err)
		}
	}
	if _, err := (Table{Root: filepath.Join(table.Root, "nowhere")}).Find(Selector{Names: []string{"x"}}); err == nil {
		t.Error("no error where there is no /proc")
	}
}

// TestPIDFile: the file names a process, and not the next one of its number.
func TestPIDFile(t *testing.T) {
	table := proc(t, map[int]fake{
		1:   {stat(1, 0, "pause", "S", 1), "/pause|", ""},
		8:   {stat(8, 0, "shop", "S", 500*ticks), "/shop|", ""},
		9:   {stat(9, 0, "shop", "S", 400*ticks), "/shop|", ""},
		10:  {stat(10, 0, "shop", "Z", 400*ticks), "", ""},
		900: {stat(900, 0, "sidecar", "S", 5), "/sidecar|", ""},
	})
	file := filepath.Join(t.TempDir(), "pid")
	born := time.Unix(1000000+500, 0) // process 8, by the boot time above
	for _, tt := range []struct {
		text    string
		written time.Time
		sel     Selector
		want    int
		err     string
	}{
		{"8\n", born.Add(time.Second), Selector{}, 8, ""},
		{"8", born.Add(time.Hour), Selector{}, 8, ""},
		{" 8 \nsomething else\n", born, Selector{}, 8, ""},
		{"8\n", born.Add(-time.Second), Selector{}, 8, ""},     // as exact as the boot time is
		{"8\n", born.Add(-3 * time.Second), Selector{}, 0, ""}, // of the one before
		{"8\n", born, Selector{Names: []string{"shop"}}, 8, ""},
		{"8\n", born, Selector{Names: []string{"other"}}, 0, ""},
		{"8\n", born, Selector{Command: regexp.MustCompile("^/other")}, 0, ""},
		{"9\n", born, Selector{Names: []string{"shop"}}, 9, ""}, // not the oldest of the name: the one that is named
		{"10\n", born, Selector{}, 0, ""},
		{"77\n", born, Selector{}, 0, ""},
		{"900\n", born, Selector{}, 0, ""},
		{"1\n", born, Selector{}, 0, ErrFirst.Error()},
		{"1\n", born, Selector{First: true}, 1, ""},
		{"", born, Selector{}, 0, "not the number of a process"},
		{"-8\n", born, Selector{}, 0, "not the number of a process"},
		{"0\n", born, Selector{}, 0, "not the number of a process"},
		{"eight\n", born, Selector{}, 0, "not the number of a process"},
		{strings.Repeat("8", 1<<20), born, Selector{}, 0, "not the number of a process"},
	} {
		if err := os.WriteFile(file, []byte(tt.text), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(file, time.Time{}, tt.written); err != nil {
			t.Fatal(err)
		}
		tt.sel.PIDFile = file
		got, err := table.Find(tt.sel)
		pid := 0
		if len(got) == 1 {
			pid = got[0].PID
		}
		if pid != tt.want || len(got) > 1 || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%.20q written %v: %v, %v, want %d, %q", tt.text, tt.written.Sub(born), got, err, tt.want, tt.err)
		}
	}
	if got, err := table.Find(Selector{PIDFile: file + "-not-there"}); err != nil || len(got) > 0 {
		t.Errorf("no file: %v, %v", got, err)
	}
}

func TestParseStat(t *testing.T) {
	got, state, err := parseStat([]byte(stat(42, 7, "the app", "T", 77)))
	if got.PID != 42 || got.comm != "the app" || got.Start != 77 || got.parent != 7 || err != nil || state != 'T' {
		t.Errorf("%+v %c %v", got, state, err)
	}
	for _, bad := range []string{
		"", "1 (x", "1 (x) S", "x (y) S 0" + strings.Repeat(" 1", 30), "1 (x) S" + strings.Repeat(" y", 30), "1 (x) Sleep 0" + strings.Repeat(" 1", 30),
	} {
		if _, _, err := parseStat([]byte(bad)); err == nil {
			t.Errorf("%q: no error", bad)
		}
	}
}

func FuzzParseStat(f *testing.F) {
	f.Add([]byte(stat(42, 7, "the app", "T", 77)))
	f.Add([]byte(")("))
	f.Fuzz(func(_ *testing.T, text []byte) { parseStat(text) })
}
