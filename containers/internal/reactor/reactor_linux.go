package reactor

import (
	"fmt"
	"runtime"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// batch is how many events one wait takes. More wait in the kernel.
const batch = 256

// poller is epoll and the eventfd that wakes it.
type poller struct {
	epoll  int
	wake   int
	events [batch]unix.EpollEvent
	hidden time.Duration // Loop.Hidden, but 0 where there is one processor: others need it

	mu     sync.Mutex // guards wake against a Post while the loop closes
	closed bool
}

// wakeIndex marks the eventfd's events: no source has it.
const wakeIndex = -1

// New makes a loop. It must be run, or closed with Close.
func New() (*Loop, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll_create1: %w", err)
	}
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		unix.Close(epoll)
		return nil, fmt.Errorf("eventfd: %w", err)
	}
	ev := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET, Fd: wakeIndex}
	if err := unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, wake, &ev); err != nil {
		unix.Close(epoll)
		unix.Close(wake)
		return nil, fmt.Errorf("epoll_ctl: %w", err)
	}
	l := &Loop{poller: poller{epoll: epoll, wake: wake}}
	l.tick()
	return l, nil
}

// Register takes fd, which must be non-blocking, into the loop, and owns it
// from then on; on an error it is still the caller's. The handler hears of what
// is ready already, too.
func (l *Loop) Register(fd int, h Handler) (*Source, error) {
	s := &Source{FD: fd, loop: l, handler: h}
	l.add(s)
	ev := unix.EpollEvent{
		Events: unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET,
		Fd:     int32(s.index),
		Pad:    int32(l.sources[s.index].generation),
	}
	if err := unix.EpollCtl(l.poller.epoll, unix.EPOLL_CTL_ADD, fd, &ev); err != nil {
		l.remove(s)
		s.FD = -1
		return nil, fmt.Errorf("epoll_ctl: %w", err)
	}
	return s, nil
}

// Close closes the descriptor. Events that are under way for it are dropped.
func (s *Source) Close() {
	if s.FD < 0 {
		return
	}
	s.loop.remove(s)
	// Closing does not take it out of epoll while somebody has a copy, as of a listener's.
	unix.EpollCtl(s.loop.poller.epoll, unix.EPOLL_CTL_DEL, s.FD, nil)
	unix.Close(s.FD)
	s.FD = -1
}

// Release takes the descriptor out of the loop. It is the caller's then; -1 if it
// was closed.
func (s *Source) Release() (fd int) {
	if fd = s.FD; fd >= 0 {
		s.loop.remove(s)
		unix.EpollCtl(s.loop.poller.epoll, unix.EPOLL_CTL_DEL, fd, &unix.EpollEvent{})
		s.FD = -1
	}
	return fd
}

// Run runs the loop in the calling goroutine until Stop.
func (l *Loop) Run() error {
	defer l.Close()
	if runtime.GOMAXPROCS(0) > 1 {
		l.poller.hidden = l.Hidden
	}
	quiet := false // the last look found nothing
	for !l.stop {
		n, err := l.wait(quiet)
		if err != nil {
			return fmt.Errorf("epoll_wait: %w", err)
		}
		quiet = n == 0
		if n == 0 && len(l.again) == 0 && l.untilTimer() != 0 {
			continue
		}
		l.tick()
		l.dispatch(n)
		l.runAgain()
		l.fire()
		if l.After != nil {
			l.After()
		}
	}
	return nil
}

// wait gets the next events: quiet, for as long as it takes, and else for a
// moment.
func (l *Loop) wait(quiet bool) (int, error) {
	timeout := -1
	if d := l.untilTimer(); d >= 0 {
		timeout = int(min((d+time.Millisecond-1)/time.Millisecond, 1<<30))
	}
	if len(l.again) > 0 {
		timeout = 0
	}
	raw := !quiet || timeout == 0
	if raw && timeout != 0 {
		timeout = int(l.poller.hidden / time.Millisecond)
	}
	var n uintptr
	var errno unix.Errno
	events := uintptr(unsafe.Pointer(&l.poller.events[0]))
	if raw {
		n, _, errno = unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(l.poller.epoll), events, batch, uintptr(timeout), 0, 0)
	} else {
		n, _, errno = unix.Syscall6(unix.SYS_EPOLL_PWAIT, uintptr(l.poller.epoll), events, batch, uintptr(timeout), 0, 0)
	}
	switch errno {
	case 0:
		return int(n), nil
	case unix.EINTR:
		return 0, nil
	}
	return 0, errno
}

func (l *Loop) dispatch(n int) {
	for i := range n {
		ev := &l.poller.events[i]
		if ev.Fd == wakeIndex {
			var counter [8]byte
			unix.Read(l.poller.wake, counter[:])
			l.posts.run()
			continue
		}
		at := l.sources[ev.Fd]
		if at.source == nil || at.generation != uint32(ev.Pad) {
			continue // closed by an earlier handler of this round
		}
		var ready Event
		if ev.Events&unix.EPOLLIN != 0 {
			ready |= Readable
		}
		if ev.Events&unix.EPOLLOUT != 0 {
			ready |= Writable
		}
		if ev.Events&(unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
			ready |= Hangup | Readable | Writable
		}
		at.source.handler.Ready(ready)
	}
}

// Post has f called by the loop, soon. It is false, and f is never called, when
// the loop has ended; if it ends first, f is not called either. Any goroutine may post.
func (l *Loop) Post(f func()) bool {
	first, ok := l.posts.put(f)
	if first {
		l.poller.mu.Lock()
		defer l.poller.mu.Unlock()
		if !l.poller.closed {
			unix.Write(l.poller.wake, []byte{1, 0, 0, 0, 0, 0, 0, 0})
		}
	}
	return ok
}

// Stop has Run return after the round in which it comes. Any goroutine may call it.
func (l *Loop) Stop() { l.Post(func() { l.stop = true }) }

// Close closes all descriptors. Run does it; it is for a loop that never ran.
func (l *Loop) Close() {
	l.posts.close()
	for _, at := range l.sources {
		if at.source != nil {
			at.source.Close()
		}
	}
	l.poller.mu.Lock()
	defer l.poller.mu.Unlock()
	if !l.poller.closed {
		l.poller.closed = true
		unix.Close(l.poller.epoll)
		unix.Close(l.poller.wake)
	}
}
