package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"
)

// fakeProc is a /proc of plain files.
type fakeProc struct {
	t   testing.TB
	dir string
}

func newProc(t testing.TB) *fakeProc {
	p := &fakeProc{t, t.TempDir()}
	p.write("uptime", "1000.00 1.00\n")
	p.write("meminfo", "MemTotal:        1048576 kB\nMemFree: 1 kB\n")
	p.write("stat", "cpu 0 0 0 0\n")
	return p
}

func (p *fakeProc) write(name, text string) {
	p.t.Helper()
	path := filepath.Join(p.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		p.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		p.t.Fatal(err)
	}
}

// fake is a process of it. Times are in ticks, resident is in pages.
type fake struct {
	pid, parent    int
	name, command  string
	own, reaped    int
	start          int
	resident       int
	container      string
	read, wrote    uint64
	noCommand, old bool
}

func (p *fakeProc) put(list ...fake) {
	p.t.Helper()
	for _, f := range list {
		dir := strconv.Itoa(f.pid)
		p.write(dir+"/stat", fmt.Sprintf("%d (%s) S %d 1 1 0 -1 4194560 1 0 0 0 %d %d %d %d 20 0 3 0 %d 1000000 %d 18446744073709551615"+
			" 1 1 0 0 0 0 0 0 0 0 0 0 17 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n",
			f.pid, f.name, f.parent, f.own, 0, f.reaped, 0, f.start, f.resident))
		p.write(dir+"/status", "Name:\tx\nUid:\t1\t65532\t1\t1\n")
		p.write(dir+"/cgroup", "0::/docker/"+f.container+"\n")
		p.write(dir+"/io", fmt.Sprintf("rchar: 1\nwchar: 1\nsyscr: 1\nsyscw: 1\nread_bytes: %d\nwrite_bytes: %d\ncancelled_write_bytes: 0\n", f.read, f.wrote))
		p.write(dir+"/fd/0", "")
		p.write(dir+"/fd/1", "")
		if !f.noCommand {
			command := f.command
			if command == "" {
				command = "/" + f.name + "\x00"
			}
			p.write(dir+"/cmdline", command)
		}
		_ = os.Symlink("/bin/true", filepath.Join(p.dir, dir, "exe"))
	}
}

func (p *fakeProc) end(pids ...int) {
	for _, pid := range pids {
		if err := os.RemoveAll(filepath.Join(p.dir, strconv.Itoa(pid))); err != nil {
			p.t.Fatal(err)
		}
	}
}

func (p *fakeProc) scanner() *Scanner {
	p.t.Helper()
	s := &Scanner{Proc: p.dir, Most: 1000}
	if err := s.Open(); err != nil {
		p.t.Fatal(err)
	}
	return s
}

func (p *fakeProc) scan() Scan {
	p.t.Helper()
	scan, err := p.scanner().Scan()
	if err != nil {
		p.t.Fatal(err)
	}
	return scan
}
