package main

import (
	"crypto/tls"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"distlab/containers/internal/resp"
)

// fakeRedis is as much of a Redis as the adapter asks of one, over real TCP. Its commands are read by the reader under
// test, which is enough to tell one from another.
type fakeRedis struct {
	t        *testing.T
	addr     string
	tls      *tls.Config
	user     string // of ACL; "" wants a password alone
	password string // "" wants none
	maxLen   int    // of the log
	four     bool   // entries have four fields, as before Redis 4
	noClient bool   // refuses CLIENT, as a narrow ACL does

	mu       sync.Mutex
	ln       net.Listener
	conns    []net.Conn
	runID    string
	next     int64
	log      []string // encoded, newest first
	asked    [][]string
	raw      string        // answers SLOWLOG GET in place of the log
	hang     chan struct{} // not nil: SLOWLOG GET waits for its end
	ownEvery bool          // logs SLOWLOG GET too, as threshold 0 does
}

func startRedis(t *testing.T, change func(*fakeRedis)) *fakeRedis {
	t.Helper()
	f := &fakeRedis{t: t, runID: strings.Repeat("a", 40), maxLen: 128, addr: "127.0.0.1:0"}
	if change != nil {
		change(f)
	}
	f.start()
	t.Cleanup(f.stop)
	return f
}

// start listens; after a stop, at the same address.
func (f *fakeRedis) start() {
	f.t.Helper()
	ln, err := net.Listen("tcp", f.addr)
	if err != nil {
		f.t.Fatal(err)
	}
	f.addr = ln.Addr().String()
	if f.tls != nil {
		ln = tls.NewListener(ln, f.tls)
	}
	f.mu.Lock()
	f.ln = ln
	f.mu.Unlock()
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			f.mu.Lock()
			f.conns = append(f.conns, c)
			f.mu.Unlock()
			go f.serve(c)
		}
	}()
}

func (f *fakeRedis) stop() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ln.Close()
	for _, c := range f.conns {
		c.Close()
	}
	f.conns = nil
}

// restart is another process: its log is empty and its IDs begin at 0.
func (f *fakeRedis) restart() {
	f.stop()
	f.mu.Lock()
	f.runID, f.log, f.next = strings.Repeat(string(f.runID[0]+1), 40), nil, 0
	f.mu.Unlock()
	f.start()
}

// slow logs a command and returns its ID.
func (f *fakeRedis) slow(args ...string) int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.add("10.0.0.7:4242", "worker", args...)
}

func (f *fakeRedis) add(addr, name string, args ...string) int64 {
	id := f.next
	f.next++
	e := fmt.Sprintf("*6\r\n:%d\r\n:%d\r\n:%d\r\n", id, 1700000000+id, 20000+id)
	if f.four {
		e = "*4" + e[2:]
	}
	e += string(resp.Append(nil, args...))
	if !f.four {
		e += fmt.Sprintf("$%d\r\n%s\r\n$%d\r\n%s\r\n", len(addr), addr, len(name), name)
	}
	f.log = slices.Insert(f.log, 0, e)
	f.log = f.log[:min(len(f.log), f.maxLen)]
	return id
}

func (f *fakeRedis) serve(c net.Conn) {
	defer c.Close()
	in, name, authed := resp.NewReader(c), "", f.password == ""
	for {
		v, err := in.Reply(1 << 20)
		if err != nil {
			return
		}
		var args []string
		for _, a := range v.List {
			args = append(args, a.Text)
		}
		if args[0] == "AUTH" {
			authed = slices.Equal(args[1:], slices.DeleteFunc([]string{f.user, f.password}, func(s string) bool { return s == "" }))
		}
		if len(args) == 3 && args[1] == "SETNAME" && !f.noClient {
			name = args[2]
		}
		if _, err := c.Write([]byte(f.answer(args, c.RemoteAddr().String(), name, authed))); err != nil {
			return
		}
	}
}

func (f *fakeRedis) answer(args []string, addr, name string, authed bool) string {
	f.mu.Lock()
	hang := f.hang
	f.asked = append(f.asked, args)
	f.mu.Unlock()
	if hang != nil && args[0] == "SLOWLOG" {
		<-hang
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	bulk := func(s string) string { return fmt.Sprintf("$%d\r\n%s\r\n", len(s), s) }
	switch {
	case !authed && args[0] == "AUTH":
		return "-WRONGPASS invalid username-password pair or user is disabled.\r\n"
	case !authed:
		return "-NOAUTH Authentication required.\r\n"
	case args[0] == "CLIENT" && f.noClient:
		return "-NOPERM this user has no permissions to run the 'client' command\r\n"
	case args[0] == "CLIENT" && args[1] == "INFO":
		return bulk("id=7 addr=" + addr + " laddr=x name=" + name + "\n")
	case args[0] == "INFO":
		return bulk("# Server\r\nredis_version:8.0.2\r\nrun_id:" + f.runID + "\r\n")
	case args[0] == "SLOWLOG" && args[1] == "RESET":
		f.log = nil
	case args[0] == "SLOWLOG":
		if f.raw != "" {
			return f.raw
		}
		n, _ := strconv.Atoi(args[2])
		list := f.log[:min(n, len(f.log))]
		out := fmt.Sprintf("*%d\r\n%s", len(list), strings.Join(list, ""))
		if f.ownEvery {
			f.add(addr, name, args...)
		}
		return out
	}
	return "+OK\r\n"
}

// did counts the commands that begin so.
func (f *fakeRedis) did(words ...string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for _, a := range f.asked {
		if len(a) >= len(words) && slices.Equal(a[:len(words)], words) {
			n++
		}
	}
	return n
}
