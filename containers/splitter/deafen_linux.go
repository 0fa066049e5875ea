package main

import (
	"net"

	"golang.org/x/sys/unix"
)

// deafen makes the kernel drop what arrives for a listener from now on, so that
// nothing can join the queue between the last accept and the close: those
// connections would be reset. A client whose SYN is dropped tries again a
// second later, and is refused. Where it does not work, as with multipath TCP,
// the gap stays.
func deafen(ln net.Listener) {
	tcp, ok := ln.(*net.TCPListener)
	if !ok {
		return
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return
	}
	dropAll := []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K, K: 0}}
	program := unix.SockFprog{Len: uint16(len(dropAll)), Filter: &dropAll[0]}
	raw.Control(func(fd uintptr) { unix.SetsockoptSockFprog(int(fd), unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &program) })
}
