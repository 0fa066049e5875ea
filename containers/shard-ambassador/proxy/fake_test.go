package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const patience = 30 * time.Second

// fake is a shard: a small Redis that can be paused, stopped and made to lie.
// A key that it does not have, and that begins with "echo:", has itself as its value.
type fake struct {
	t    testing.TB
	name string
	addr string

	mu    sync.Mutex
	ln    net.Listener
	conns map[net.Conn]bool
	data  map[string]string
	gate  chan struct{} // closed: not paused

	password string
	garbage  atomic.Int32 // that many replies are garbage
	refuse   atomic.Value // string: an error reply to everything
	delay    atomic.Int64
	old      atomic.Bool // it is a Redis of before version 6
	logins   atomic.Int64
	requests atomic.Int64
}

func newFake(t testing.TB, name string) *fake {
	f := &fake{t: t, name: name, conns: map[net.Conn]bool{}, data: map[string]string{}, gate: make(chan struct{})}
	close(f.gate)
	f.refuse.Store("")
	f.start()
	t.Cleanup(func() { f.resume(); f.stop() })
	return f
}

// start listens, on the same address as before.
func (f *fake) start() {
	f.mu.Lock()
	defer f.mu.Unlock()
	addr := f.addr
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		f.t.Fatal(err)
	}
	f.ln, f.addr = ln, ln.Addr().String()
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			f.mu.Lock()
			f.conns[conn] = true
			f.mu.Unlock()
			go f.serve(conn)
		}
	}()
}

// stop closes everything: connections are refused from then on.
func (f *fake) stop() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ln.Close()
	for conn := range f.conns {
		conn.Close()
	}
	clear(f.conns)
}

// cut closes the connections, and takes new ones.
func (f *fake) cut() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for conn := range f.conns {
		conn.Close()
	}
	clear(f.conns)
}

// pause has it answer nothing; connections are still made.
func (f *fake) pause() {
	f.mu.Lock()
	defer f.mu.Unlock()
	select {
	case <-f.gate:
		f.gate = make(chan struct{})
	default:
	}
}

func (f *fake) resume() {
	f.mu.Lock()
	defer f.mu.Unlock()
	select {
	case <-f.gate:
	default:
		close(f.gate)
	}
}

// login has it ask for a password.
func (f *fake) login(password string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.password = password
}

func (f *fake) serve(conn net.Conn) {
	defer conn.Close()
	in, out := bufio.NewReaderSize(conn, 1<<16), bufio.NewWriterSize(conn, 1<<16)
	f.mu.Lock()
	s := &session{f: f, authed: f.password == ""}
	f.mu.Unlock()
	for {
		args, err := readRequest(in)
		if err != nil {
			return
		}
		f.mu.Lock()
		gate := f.gate
		f.mu.Unlock()
		<-gate
		if d := f.delay.Load(); d > 0 {
			time.Sleep(time.Duration(d)) // it is what is tested, and nothing waits for it
		}
		f.requests.Add(1)
		reply := s.answer(args)
		if f.garbage.Load() > 0 && f.garbage.Add(-1) >= 0 {
			reply = "HTTP/1.1 400 Bad Request\r\n\r\n"
		}
		out.WriteString(reply)
		if in.Buffered() == 0 && out.Flush() != nil {
			return
		}
	}
}

// session is a connection to a fake.
type session struct {
	f      *fake
	resp3  bool
	authed bool
}

func bulk(s string) string { return fmt.Sprintf("$%d\r\n%s\r\n", len(s), s) }

func (s *session) answer(args []string) string {
	f := s.f
	f.mu.Lock()
	defer f.mu.Unlock()
	switch name := strings.ToUpper(args[0]); {
	case name == "HELLO" && f.old.Load():
		return "-ERR unknown command `HELLO`, with args beginning with: `3`, \r\n"
	case name == "HELLO":
		f.logins.Add(1)
		s.resp3 = args[1] == "3"
		if len(args) == 5 {
			s.authed = args[4] == f.password
			if !s.authed {
				return "-WRONGPASS invalid username-password pair or user is disabled.\r\n"
			}
		}
		if !s.authed {
			return "-NOAUTH HELLO must be called with the client already authenticated\r\n"
		}
		return "%1\r\n+proto\r\n:3\r\n"
	case name == "AUTH":
		f.logins.Add(1)
		if args[1] != f.password {
			return "-WRONGPASS invalid username-password pair or user is disabled.\r\n"
		}
		s.authed = true
		return "+OK\r\n"
	case !s.authed:
		return "-NOAUTH Authentication required.\r\n"
	case f.refuse.Load().(string) != "":
		return "-" + f.refuse.Load().(string) + "\r\n"
	case name == "SELECT":
		return "+OK\r\n"
	case name == "PING":
		return "+PONG\r\n"
	case name == "GET":
		return s.value(args[1])
	case name == "SET":
		f.data[args[1]] = args[2]
		return "+OK\r\n"
	case name == "RPUSH":
		return fmt.Sprintf(":%d\r\n", len(args)-2)
	case name == "STRLEN":
		return fmt.Sprintf(":%d\r\n", len(f.data[args[1]]))
	case name == "MSET":
		for i := 1; i < len(args); i += 2 {
			f.data[args[i]] = args[i+1]
		}
		return "+OK\r\n"
	case name == "MGET":
		text := fmt.Sprintf("*%d\r\n", len(args)-1)
		for _, key := range args[1:] {
			text += s.value(key)
		}
		return text
	case name == "DEL" || name == "EXISTS" || name == "UNLINK" || name == "TOUCH":
		n := 0
		for _, key := range args[1:] {
			if _, ok := f.data[key]; ok {
				n++
			}
			if name == "DEL" || name == "UNLINK" {
				delete(f.data, key)
			}
		}
		return fmt.Sprintf(":%d\r\n", n)
	case name == "HGETALL":
		if s.resp3 {
			return "%1\r\n" + bulk("shard") + bulk(f.name)
		}
		return "*2\r\n" + bulk("shard") + bulk(f.name)
	case name == "LRANGE": // something nested
		return "*2\r\n*2\r\n" + bulk(args[1]) + ":1\r\n*0\r\n"
	}
	return "-ERR unknown command '" + args[0] + "'\r\n"
}

func (s *session) value(key string) string {
	value, ok := s.f.data[key]
	switch {
	case ok:
		return bulk(value)
	case strings.HasPrefix(key, "echo:"):
		return bulk(key)
	case s.resp3:
		return "_\r\n"
	}
	return "$-1\r\n"
}

func readRequest(in *bufio.Reader) ([]string, error) {
	line, err := in.ReadString('\n')
	if err != nil {
		return nil, err
	}
	n, err := strconv.Atoi(strings.TrimSpace(line[1:]))
	if line[0] != '*' || err != nil || n < 1 {
		return nil, fmt.Errorf("not a request: %q", line)
	}
	args := make([]string, n)
	for i := range args {
		if line, err = in.ReadString('\n'); err != nil {
			return nil, err
		}
		size, err := strconv.Atoi(strings.TrimSpace(line[1:]))
		if line[0] != '$' || err != nil {
			return nil, fmt.Errorf("not an argument: %q", line)
		}
		text := make([]byte, size+2)
		if _, err := io.ReadFull(in, text); err != nil {
			return nil, err
		}
		args[i] = string(text[:size])
	}
	return args, nil
}
