package reactor

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// errno is a system call's result: ErrAgain where waiting would help.
func errno(e unix.Errno) error {
	if e == unix.EAGAIN {
		return ErrAgain
	}
	return e
}

// Read reads what is there, at most len(p) bytes, without waiting. The error is
// io.EOF at the end, ErrAgain if there is nothing yet.
func (s *Source) Read(p []byte) (int, error) {
	if s.FD < 0 {
		return 0, net.ErrClosed
	}
	if len(p) == 0 {
		return 0, nil
	}
	for {
		n, _, e := unix.RawSyscall(unix.SYS_READ, uintptr(s.FD), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)))
		switch {
		case e == unix.EINTR:
		case e != 0:
			return 0, errno(e)
		case n == 0:
			return 0, io.EOF
		default:
			return int(n), nil
		}
	}
}

// Write writes what there is room for, without waiting. Less than all comes
// with ErrAgain.
func (s *Source) Write(p []byte) (int, error) {
	if s.FD < 0 {
		return 0, net.ErrClosed
	}
	done := 0
	for done < len(p) {
		n, _, e := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(s.FD), uintptr(unsafe.Pointer(&p[done])), uintptr(len(p)-done), unix.MSG_NOSIGNAL, 0, 0)
		switch {
		case e == unix.EINTR:
		case e != 0:
			return done, errno(e)
		default:
			done += int(n)
		}
	}
	return done, nil
}

// Error is what has become of a connect, or of a connection that hung up.
func (s *Source) Error() error {
	if s.FD < 0 {
		return net.ErrClosed
	}
	e, err := unix.GetsockoptInt(s.FD, unix.SOL_SOCKET, unix.SO_ERROR)
	switch {
	case err != nil:
		return err
	case e != 0:
		return unix.Errno(e)
	}
	return nil
}

// CloseWrite says to the other side that nothing more will come.
func (s *Source) CloseWrite() error {
	if s.FD < 0 {
		return net.ErrClosed
	}
	return unix.Shutdown(s.FD, unix.SHUT_WR)
}

// Listen is ln's descriptor for a loop: its handler calls Accept. backlog is the
// length of the queue, 0 for the system's. ln stays open, and must be closed
// as well; nobody else may accept from it.
func Listen(ln net.Listener, backlog int) (fd int, err error) {
	sc, ok := ln.(syscall.Conn)
	if !ok {
		return -1, fmt.Errorf("listen %s: %T has no descriptor", ln.Addr(), ln)
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return -1, err
	}
	fd = -1
	cerr := raw.Control(func(have uintptr) {
		if backlog > 0 {
			if err = unix.Listen(int(have), backlog); err != nil {
				return
			}
		}
		fd, err = unix.FcntlInt(have, unix.F_DUPFD_CLOEXEC, 0)
	})
	if err = errors.Join(cerr, err); err != nil {
		return -1, fmt.Errorf("listen %s: %w", ln.Addr(), err)
	}
	return fd, nil
}

// Accept takes the next connection from a listener's descriptor. The error is
// ErrAgain if there is none.
func (s *Source) Accept() (fd int, err error) {
	if s.FD < 0 {
		return -1, net.ErrClosed
	}
	for {
		n, _, e := unix.RawSyscall6(unix.SYS_ACCEPT4, uintptr(s.FD), 0, 0, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
		switch e {
		case 0:
			return int(n), nil
		case unix.EINTR, unix.ECONNABORTED:
		default:
			return -1, errno(e)
		}
	}
}

// DialTCP begins to connect. The source is writable when that has ended, and
// Error says how.
func DialTCP(to netip.AddrPort) (fd int, err error) {
	addr := to.Addr().Unmap()
	var sa unix.Sockaddr
	family := unix.AF_INET
	if addr.Is4() {
		sa = &unix.SockaddrInet4{Port: int(to.Port()), Addr: addr.As4()}
	} else {
		family = unix.AF_INET6
		six := &unix.SockaddrInet6{Port: int(to.Port()), Addr: addr.As16()}
		if zone := addr.Zone(); zone != "" {
			ifi, err := net.InterfaceByName(zone)
			if err != nil {
				return -1, err
			}
			six.ZoneId = uint32(ifi.Index)
		}
		sa = six
	}
	return dial(family, sa)
}

// DialUnix begins to connect to a socket in the file system.
func DialUnix(path string) (fd int, err error) {
	return dial(unix.AF_UNIX, &unix.SockaddrUnix{Name: path})
}

func dial(family int, sa unix.Sockaddr) (int, error) {
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	// A Unix socket whose queue is full says EAGAIN, and will never say more.
	if err := unix.Connect(fd, sa); err != nil && err != unix.EINPROGRESS {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// NoDelay has small writes sent at once. On what is no TCP it does nothing.
func NoDelay(fd int) { unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1) }

// KeepAlive has the system probe an idle connection after d. On what is no TCP
// it does nothing.
func KeepAlive(fd int, d time.Duration) {
	seconds := max(1, int(d/time.Second))
	unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1)
	unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, seconds)
	unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, seconds)
}

// CloseFD closes a descriptor that no loop has.
func CloseFD(fd int) { unix.Close(fd) }

// Detach takes the descriptor of a connection out of Go's own poller, for a
// loop: conn is closed, the connection is not. The descriptor is non-blocking. On
// an error conn is as before.
func Detach(conn net.Conn) (fd int, err error) {
	sc, ok := conn.(syscall.Conn)
	if !ok {
		return -1, fmt.Errorf("%T has no descriptor", conn)
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return -1, err
	}
	cerr := raw.Control(func(have uintptr) { fd, err = unix.FcntlInt(have, unix.F_DUPFD_CLOEXEC, 0) })
	if err = errors.Join(cerr, err); err != nil {
		return -1, err
	}
	conn.Close()
	return fd, nil
}

// Attach is the way back: the descriptor's connection in Go's own poller. It
// owns fd, whatever comes of it.
func Attach(fd int) (net.Conn, error) {
	file := os.NewFile(uintptr(fd), "")
	defer file.Close()
	return net.FileConn(file)
}
