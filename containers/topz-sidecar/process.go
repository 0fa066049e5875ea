package main

import (
	"cmp"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/prometheus/procfs"
)

// tick is the unit of /proc's processor time: USER_HZ is 100 on every platform of Go.
const tick = 10 * time.Millisecond

// Process is one process as one look at /proc found it. What the kernel refuses to show is nil, or empty, and named in
// Denied: another user's process still has a name, a processor time and a memory.
type Process struct {
	PID, Parent int
	Name        string   // as the process calls itself: any bytes but NUL
	Command     []string // empty: a zombie, or a kernel's own
	State       string
	UID         int // -1: unknown
	Threads     int
	Start       uint64        // ticks since the machine's boot; with the PID it tells a process from all others
	Own         time.Duration // processor time, its own
	Reaped      time.Duration // that of children that have ended and were waited for, with theirs
	Resident    uint64
	Read, Wrote *uint64 // bytes from and to storage
	Files       *int    // open descriptors
	Executable  string
	Environment map[string]string // only what was asked for
	Container   string            // ID of its container, from its control group; empty: unknown
	At          time.Time         // when its processor time was read
	Denied      []string
}

// id tells processes apart: a PID is used again.
type id struct {
	pid   int
	start uint64
}

func (p *Process) id() id { return id{p.PID, p.Start} }

// Scanner looks at all processes of a PID namespace, without any right but that of their user.
type Scanner struct {
	Proc        string   // where /proc is mounted
	Environment []string // variables to show
	Most        int      // processes that are looked at; the rest is counted

	fs procfs.FS
}

// Scan is one look at all of them, in the order of their PIDs.
type Scan struct {
	At        time.Time
	Processes []*Process
	LeftOut   int // beyond Most
}

// Open checks that there is a /proc.
func (s *Scanner) Open() (err error) {
	s.fs, err = procfs.NewFS(s.Proc)
	return err
}

// Scan looks once. A process that ends meanwhile is left out: it is no error, and no row.
func (s *Scanner) Scan() (Scan, error) {
	scan := Scan{At: time.Now()}
	all, err := s.fs.AllProcs()
	if err != nil {
		return scan, err
	}
	slices.SortFunc(all, func(a, b procfs.Proc) int { return cmp.Compare(a.PID, b.PID) })
	if n := len(all) - s.Most; n > 0 {
		all, scan.LeftOut = all[:s.Most], n
	}
	for _, proc := range all {
		p := &Process{PID: proc.PID, UID: -1}
		if err := s.look(p, proc); err != nil {
			continue
		}
		scan.Processes = append(scan.Processes, p)
	}
	if len(scan.Processes) == 0 {
		return scan, errors.New("no process can be seen, not even this one")
	}
	return scan, nil
}

// look reads what there is to know of a process. Its error says that the process is gone.
func (s *Scanner) look(p *Process, proc procfs.Proc) error {
	text, at, err := s.timed(p)
	p.At = at
	if denied(err) { // hidepid: the process can be seen to be there, and nothing else
		p.Name, p.Denied = "?", []string{"stat"}
		return nil
	}
	if err == nil {
		err = p.parse(text)
	}
	if err == nil {
		text, err = s.file(p, "cmdline", maxCommand)
	}
	if err == nil {
		p.Command = arguments(text)
		text, err = s.file(p, "status", maxStatus)
	}
	if err == nil {
		p.UID = uid(text)
		s.guarded(p, proc)
	}
	return err
}

// prompt is how long a reading takes at most: where it takes longer the processor was given to others in between, and nobody
// knows which of the two times the reading is of.
const prompt = time.Millisecond

// timed reads a process's stat, and is the time to which that belongs.
func (s *Scanner) timed(p *Process) (text string, at time.Time, err error) {
	for range 3 {
		begun := time.Now()
		text, err = bounded(s.path(p, "stat"), maxStat)
		at = time.Now()
		if at.Sub(begun) < prompt || err != nil {
			break
		}
	}
	return text, at, err
}

var errStat = errors.New("not a process's stat")

// parse reads stat. The name stands in parentheses, raw, and may have parentheses, blanks and line breaks of its own: what
// follows the last parenthesis is the kernel's (proc_pid_stat(5)). This is not left to procfs, whose parser panics where
// that parenthesis comes first.
func (p *Process) parse(stat string) error {
	open, end := strings.IndexByte(stat, '('), strings.LastIndexByte(stat, ')')
	if open < 0 || end < open {
		return errStat
	}
	fields := strings.Fields(stat[end+1:])
	if len(fields) < 22 {
		return errStat
	}
	var bad error
	// number is a field by its number in the manual: the first after the name is 3.
	number := func(n int) uint64 {
		x, err := strconv.ParseInt(fields[n-3], 10, 63)
		if err != nil {
			bad = errStat
		}
		return uint64(max(x, 0))
	}
	ticks := func(a, b int) time.Duration { return time.Duration(min(number(a)+number(b), 1<<52)) * tick }
	p.Name, p.State = stat[open+1:end], fields[0]
	p.Parent, p.Threads, p.Start = int(number(4)), int(number(20)), number(22)
	p.Own, p.Reaped = ticks(14, 15), ticks(16, 17)
	p.Resident = min(number(24), 1<<50) * uint64(os.Getpagesize())
	return bad
}

// guarded reads what the kernel may refuse, or have no file for: most of it is for a process of the same user alone.
func (s *Scanner) guarded(p *Process, proc procfs.Proc) {
	parts := []struct {
		name string
		read func() error
	}{
		{"cgroup", func() error {
			text, err := bounded(s.path(p, "cgroup"), maxStatus)
			p.Container = container(text)
			return err
		}},
		{"io", func() error {
			io, err := proc.IO()
			if err == nil {
				p.Read, p.Wrote = &io.ReadBytes, &io.WriteBytes
			}
			return err
		}},
		{"files", func() error {
			n, err := proc.FileDescriptorsLen()
			if err == nil {
				p.Files = &n
			}
			return err
		}},
		{"executable", func() (err error) {
			p.Executable, err = os.Readlink(s.path(p, "exe"))
			if errors.Is(err, fs.ErrNotExist) { // a zombie has none
				err = nil
			}
			return err
		}},
		{"environment", func() error {
			if len(s.Environment) == 0 {
				return nil
			}
			text, err := bounded(s.path(p, "environ"), maxEnvironment)
			p.Environment = chosen(text, s.Environment)
			return err
		}},
	}
	for _, part := range parts {
		if part.read() != nil {
			p.Denied = append(p.Denied, part.name)
		}
	}
}

// Bounds of what a process wrote itself: a command line may have megabytes.
const (
	maxStat        = 4 << 10
	maxCommand     = 4 << 10
	maxStatus      = 16 << 10
	maxEnvironment = 128 << 10
)

func (s *Scanner) path(p *Process, name string) string {
	return filepath.Join(s.Proc, strconv.Itoa(p.PID), name)
}

// file reads a file that everyone may read, unless /proc is mounted with hidepid.
func (s *Scanner) file(p *Process, name string, most int64) (string, error) {
	text, err := bounded(s.path(p, name), most)
	if denied(err) {
		p.Denied = append(p.Denied, name)
		return "", nil
	}
	return text, err
}

func bounded(path string, most int64) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, most))
	return string(text), err
}

func denied(err error) bool {
	return errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EACCES) || errors.Is(err, syscall.EPERM)
}

func arguments(text string) []string {
	text = strings.TrimRight(text, "\x00")
	if text == "" {
		return nil
	}
	return strings.Split(text, "\x00")
}

// uid is the effective user of a process, from its status.
func uid(status string) int {
	for line := range strings.Lines(status) {
		rest, ok := strings.CutPrefix(line, "Uid:")
		if !ok {
			continue
		}
		if ids := strings.Fields(rest); len(ids) > 1 {
			if n, err := strconv.Atoi(ids[1]); err == nil {
				return n
			}
		}
	}
	return -1
}

// chosen are the variables of an environment that were asked for.
func chosen(text string, names []string) map[string]string {
	found := map[string]string{}
	for entry := range strings.SplitSeq(text, "\x00") {
		if name, value, ok := strings.Cut(entry, "="); ok && slices.Contains(names, name) {
			found[name] = value
		}
	}
	return found
}

var hexID = regexp.MustCompile(`[0-9a-f]{64}`)

// container makes an ID of a process's control group: the first 12 digits, as engines print it. Version 1 has a line for
// each controller, version 2 one that begins with 0::, hybrid hosts both.
func container(cgroup string) string {
	path := ""
	for line := range strings.Lines(cgroup) {
		parts := strings.SplitN(strings.TrimRight(line, "\n"), ":", 3)
		if len(parts) == 3 && (path == "" || parts[1] == "memory") {
			path = parts[2]
		}
	}
	base := filepath.Base(path)
	if long := hexID.FindString(base); long != "" {
		return long[:12]
	}
	switch base {
	case ".":
		return ""
	case "/": // version 2 shows a group in its own namespace so
		return "self"
	}
	return clip(visible(base), 64)
}
