// Package lastcall closes a listener without resetting anyone who believes to
// be connected.
//
// A client is connected as soon as the kernel has answered it, which is before
// the program accepts, and closing a listener resets all that it has not
// accepted. So a [Listener] that is retired first stops answering new clients,
// then takes those whose handshake is under way or done, and closes last.
package lastcall

import (
	"errors"
	"net"
	"os"
	"sync/atomic"
	"time"
)

// Grace is how long a client has to complete a handshake that the kernel has
// answered: a round trip.
const Grace = 100 * time.Millisecond

// lastLook is how long the queue must have been empty in the end.
const lastLook = 20 * time.Millisecond

// Listener is a listener that can be retired.
type Listener struct {
	net.Listener

	retired atomic.Bool
	ended   time.Time // only Accept, which one goroutine calls, touches it
}

// New gives the listener a last call. It shall not use multipath TCP, whose
// sockets cannot be deafened; there, and where the system is not Linux, those
// that connect in the very last moment are reset.
func New(ln net.Listener) *Listener { return &Listener{Listener: ln} }

// Retire lets nobody new in. It returns at once; Accept goes on for Grace and
// for as long as there is somebody to take in, then closes the listener and
// returns net.ErrClosed. A listener that knows no deadline is closed at once.
func (l *Listener) Retire() {
	if l.retired.Swap(true) {
		return
	}
	if s, ok := l.Listener.(interface{ SetDeadline(time.Time) error }); ok {
		control(l.Listener, Deafen)
		if s.SetDeadline(time.Now().Add(Grace)) == nil {
			return
		}
	}
	l.Close()
}

// Accept is the next connection. One goroutine calls it.
func (l *Listener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		switch {
		case !l.retired.Load():
			return conn, err
		case err == nil && l.ended.IsZero():
			return conn, nil
		case err == nil:
			if time.Since(l.ended) > Grace {
				l.Close() // it is not deaf: they would come for ever
			}
			l.again()
			return conn, nil
		case errors.Is(err, os.ErrDeadlineExceeded) && l.ended.IsZero():
			l.ended = time.Now()
			l.again() // the queue was not looked at
		case errors.Is(err, os.ErrDeadlineExceeded):
			l.Close()
			return nil, net.ErrClosed
		default:
			return nil, err
		}
	}
}

func (l *Listener) again() {
	l.Listener.(interface{ SetDeadline(time.Time) error }).SetDeadline(time.Now().Add(lastLook))
}
