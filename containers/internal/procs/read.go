package procs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// entry is what the kernel says of a process.
type entry struct {
	Process
	parent int
	comm   string // the kernel's name, cut to 15 characters
	exe    string // empty for a process of another user
	line   []byte // the command line, each argument with a zero byte after it
}

// maxFile bounds what is read of a file in /proc, and of a PID file. A command line may be megabytes.
const maxFile = 64 << 10

// read is a process by its number; false if there is none that lives.
func (t Table) read(pid int) (entry, bool) {
	dir := filepath.Join(t.root(), strconv.Itoa(pid))
	stat, err := readSome(filepath.Join(dir, "stat"))
	if err != nil {
		return entry{}, false
	}
	e, state, err := parseStat(stat)
	if err != nil || e.PID != pid || state == 'Z' || state == 'X' {
		return entry{}, false
	}
	e.line, _ = readSome(filepath.Join(dir, "cmdline"))
	if exe, err := os.Readlink(filepath.Join(dir, "exe")); err == nil {
		e.exe = strings.TrimSuffix(exe, " (deleted)") // a package was upgraded under it
	}
	e.Name = e.comm
	if arg := e.arg0(); arg != "" {
		e.Name = arg
	}
	return e, true
}

// arg0 is the base name of the command line's first word; empty for the kernel's own threads.
func (e entry) arg0() string {
	arg, _, _ := bytes.Cut(e.line, []byte{0})
	if len(arg) == 0 {
		return ""
	}
	return path.Base(string(arg))
}

// command is the command line as a person would have typed it, but for quotes.
func (e entry) command() string {
	return string(bytes.ReplaceAll(bytes.TrimRight(e.line, "\x00"), []byte{0}, []byte{' '}))
}

// parseStat reads /proc/PID/stat: "7 (name) S 0 …". The name may have anything in it, brackets and spaces too.
func parseStat(text []byte) (e entry, state byte, err error) {
	open, end := bytes.IndexByte(text, '('), bytes.LastIndexByte(text, ')')
	if open < 0 || end < open {
		return e, 0, fmt.Errorf("stat without a name: %q", text)
	}
	const stateAt, parentAt, startAt = 0, 1, 19 // of the fields after the name
	fields := strings.Fields(string(text[end+1:]))
	if len(fields) <= startAt || len(fields[stateAt]) != 1 {
		return e, 0, fmt.Errorf("stat with %d fields", len(fields))
	}
	e.comm = string(text[open+1 : end])
	var errs [3]error
	e.PID, errs[0] = strconv.Atoi(strings.TrimSpace(string(text[:open])))
	e.parent, errs[1] = strconv.Atoi(fields[parentAt])
	e.Start, errs[2] = strconv.ParseUint(fields[startAt], 10, 64)
	return e, fields[stateAt][0], errors.Join(errs[:]...)
}

// ticks is how many of the kernel's clock ticks make a second. To programs it says 100 on every machine that Linux
// still runs on (USER_HZ).
const ticks = 100

// slack is by how much a process may seem to be younger than its PID file: the boot time is in whole seconds.
const slack = 2 * time.Second

// named is the number in a PID file, 0 if the file is not there or its process is not.
func (t Table) named(file string, all map[int]entry) (int, error) {
	info, err := os.Stat(file)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	text, err := readSome(file)
	if err != nil {
		return 0, err
	}
	line, _, _ := strings.Cut(string(text), "\n")
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil || pid <= 0 {
		return 0, fmt.Errorf("%s: %.40q is not the number of a process", file, line)
	}
	e, ok := all[pid]
	if !ok {
		return 0, nil
	}
	boot, err := t.boot()
	if err != nil {
		return 0, err
	}
	if born := boot.Add(time.Duration(e.Start) * time.Second / ticks); born.After(info.ModTime().Add(slack)) {
		return 0, nil // the number is another's by now
	}
	return pid, nil
}

// boot is when the machine was started.
func (t Table) boot() (time.Time, error) {
	text, err := os.ReadFile(filepath.Join(t.root(), "stat"))
	if err != nil {
		return time.Time{}, err
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "btime "); ok {
			seconds, err := strconv.ParseInt(strings.TrimSpace(rest), 10, 64)
			return time.Unix(seconds, 0), err
		}
	}
	return time.Time{}, fmt.Errorf("%s/stat: no btime", t.root())
}

// readSome is the beginning of a file.
func readSome(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxFile))
}
