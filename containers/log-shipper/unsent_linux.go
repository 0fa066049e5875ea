package main

import (
	"net"

	"golang.org/x/sys/unix"
)

// unsent is how many bytes of a connection the peer's kernel has not acknowledged (tcp(7), SIOCOUTQ).
func unsent(c *net.TCPConn) (n int, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	if cerr := raw.Control(func(fd uintptr) { n, err = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ) }); cerr != nil {
		return 0, cerr
	}
	return n, err
}
