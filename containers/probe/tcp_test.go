package main

import (
	"io"
	"net"
	"testing"
)

func TestTCP(t *testing.T) {
	var (
		greeting = serve(t, func(c net.Conn) { io.WriteString(c, "hello"); io.Copy(io.Discard, c) })
		echoes   = serve(t, func(c net.Conn) { io.Copy(c, c) })
		whole    = serve(t, func(c net.Conn) { all, _ := io.ReadAll(c); c.Write(all) })
		hangsUp  = serve(t, func(c net.Conn) { io.WriteString(c, "by"); c.(*net.TCPConn).CloseWrite(); io.Copy(io.Discard, c) })
		silent   = serve(t, func(c net.Conn) { io.Copy(io.Discard, c) })
	)
	for _, c := range []struct {
		name      string
		args      []string
		connected bool
		received  string
		kind      errorKind
	}{
		{"connect", []string{silent}, true, "", ""},
		{"refused", []string{closedPort(t)}, false, "", refused},
		{"no such name", []string{"nosuch.example:80"}, false, "", unreachable},
		{"greeting", []string{"-read", "5", greeting}, true, "hello", ""},
		{"part of it", []string{"-read", "2", greeting}, true, "he", ""},
		{"more than there is", []string{"-read", "6", "-timeout", "50ms", greeting}, true, "hello", timedOut},
		{"silent", []string{"-read", "1", "-timeout", "50ms", silent}, true, "", timedOut},
		{"hangs up", []string{"-read", "3", hangsUp}, true, "by", closed},
		{"escapes", []string{"-send", `a\r\n\x00\xff\\"'` + "é\n", "-read", "11", echoes}, true, "a\r\n\x00\xff\\\"'é\n", ""},
		{"half-close", []string{"-send", "x", "-half-close", "-read", "1", whole}, true, "x", ""},
		{"no half-close", []string{"-send", "x", "-read", "1", "-timeout", "50ms", whole}, true, "", timedOut},
		{"reset", []string{"-send", "x", "-read", "1", serve(t, func(c net.Conn) { c.Read(make([]byte, 1)); reset(c) })}, true, "", closed},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := ask[tcpAnswer](t, append([]string{"tcp"}, c.args...)...)
			if a.Connected != c.connected || string(a.Received) != c.received || a.ErrorKind != c.kind {
				t.Errorf("connected %v, received %q, error %q (%q); want %v, %q, %q",
					a.Connected, a.Received, a.Error, a.ErrorKind, c.connected, c.received, c.kind)
			}
			if a.Connected != (a.Local != "") || a.Connected != (a.Remote != "") {
				t.Errorf("connected %v from %q to %q", a.Connected, a.Local, a.Remote)
			}
		})
	}
}
