package main

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// inherit sets on a listener what each connection gets from it: the probes that
// Go would set itself, after 15 seconds of silence, every 15 seconds, nine times.
func inherit(_, _ string, raw syscall.RawConn) error {
	return raw.Control(func(fd uintptr) {
		for _, o := range []struct{ level, name, value int }{
			{unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
			{unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, 15},
			{unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, 15},
			{unix.IPPROTO_TCP, unix.TCP_KEEPCNT, 9},
		} {
			unix.SetsockoptInt(int(fd), o.level, o.name, o.value)
		}
	})
}
