package lastcall

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// deaf is a classic BPF program that drops the SYN with which a client begins
// (RFC 9293 section 3.1: SYN without ACK, in the 14th byte) and lets all else
// through: the ACK that ends a handshake comes to the listener, too. A filter of
// TCP sees the segment from its header on.
var deaf = []unix.SockFilter{
	{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: 13},
	{Code: unix.BPF_ALU | unix.BPF_AND | unix.BPF_K, K: 0x12},
	{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: 0x02, Jt: 0, Jf: 1},
	{Code: unix.BPF_RET | unix.BPF_K, K: 0},
	{Code: unix.BPF_RET | unix.BPF_K, K: 1<<32 - 1},
}

// Deafen makes the kernel answer no new client of a TCP listener. One whose SYN
// is dropped tries again a second later, and is refused by then. Where it does not
// work nothing changes.
func Deafen(fd int) {
	unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(deaf)), Filter: &deaf[0]})
}

func control(ln net.Listener, f func(fd int)) {
	sc, ok := ln.(syscall.Conn)
	if !ok {
		return
	}
	if raw, err := sc.SyscallConn(); err == nil {
		raw.Control(func(fd uintptr) { f(int(fd)) })
	}
}
