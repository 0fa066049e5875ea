package main

import (
	"net"
	"testing"

	"golang.org/x/sys/unix"
)

// TestProbesAreInherited: what is set on the listener is found on its
// connections.
func TestProbesAreInherited(t *testing.T) {
	ln := must(listen(t.Context(), "127.0.0.1:0"))
	defer ln.Close()
	client := must(net.Dial("tcp", ln.Addr().String()))
	defer client.Close()
	conn := must(ln.Accept())
	defer conn.Close()
	raw := must(conn.(*net.TCPConn).SyscallConn())
	check(t, raw.Control(func(fd uintptr) {
		for _, o := range []struct {
			what              string
			level, name, want int
		}{
			{"SO_KEEPALIVE", unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
			{"TCP_KEEPIDLE", unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, 15},
			{"TCP_KEEPINTVL", unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, 15},
			{"TCP_KEEPCNT", unix.IPPROTO_TCP, unix.TCP_KEEPCNT, 9},
			{"TCP_NODELAY", unix.IPPROTO_TCP, unix.TCP_NODELAY, 1},
		} {
			if got, err := unix.GetsockoptInt(int(fd), o.level, o.name); err != nil || got != o.want {
				t.Errorf("%s is %d (%v), want %d", o.what, got, err, o.want)
			}
		}
	}))
}
