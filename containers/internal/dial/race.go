package dial

import (
	"errors"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"time"
)

// DefaultDelay is how long an address has for itself before the next one is
// tried beside it: RFC 8305's Connection Attempt Delay.
const DefaultDelay = 250 * time.Millisecond

// mostTries bounds the addresses that one attempt tries.
const mostTries = 32

// race is one attempt to connect to any of some addresses: which is next, and whether there
// is hope. Who runs it does the connecting. The addresses are asked for twice at most: again when
// all that were known have been begun and none has answered yet.
type race struct {
	queue  []netip.AddrPort // to be tried
	begun  map[netip.AddrPort]bool
	open   int  // tries under way
	asks   int  // questions that were asked
	asking bool // one is under way
	tries  []Try
	err    error // of a question
}

// asked is an answer.
func (r *race) asked(addrs []netip.AddrPort, err error) {
	r.asking = false
	if err != nil {
		r.err = err
		return
	}
	for _, a := range addrs {
		if !r.begun[a] && len(r.begun) < mostTries {
			if r.begun == nil {
				r.begun = map[netip.AddrPort]bool{}
			}
			r.begun[a] = true
			r.queue = append(r.queue, a)
		}
	}
}

// next is the address to be tried now.
func (r *race) next() (a netip.AddrPort, ok bool) {
	if len(r.queue) == 0 {
		return a, false
	}
	a, r.queue = r.queue[0], r.queue[1:]
	r.open++
	return a, true
}

// lost is the end of a try.
func (r *race) lost(a netip.AddrPort, err error) {
	r.open--
	r.tries = append(r.tries, Try{a, err})
}

// doubtful says that the name should be asked for, once more.
func (r *race) doubtful() bool {
	if len(r.queue) > 0 || r.asking || r.asks >= 2 {
		return false
	}
	r.asking = true
	r.asks++
	return true
}

// over says that nothing is left to hope for.
func (r *race) over() bool { return r.open == 0 && len(r.queue) == 0 && !r.asking && r.asks >= 2 }

// fail is what came of it.
func (r *race) fail(address string) error {
	if len(r.tries) == 0 {
		return r.err
	}
	return &Error{Address: address, Tries: r.tries}
}

// Try is what became of one address.
type Try struct {
	Addr netip.AddrPort
	Err  error
}

// Error is that none of the addresses could be connected to.
type Error struct {
	Address string // as it was asked for
	Tries   []Try
}

func (e *Error) Error() string { return "connect " + e.Address + ": " + e.Reason() }

// Reason is Error without the address that was asked for; with several, each
// has its own.
func (e *Error) Reason() string {
	if len(e.Tries) == 1 {
		return short(e.Tries[0].Err)
	}
	var b strings.Builder
	for i, t := range e.Tries {
		if i > 0 {
			b.WriteString("; ")
		}
		b.WriteString(t.Addr.String() + ": " + short(t.Err))
	}
	return b.String()
}

// short is an error as people know it.
func short(err error) string {
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		return errno.Error()
	}
	return err.Error()
}

// Unwrap is for errors.Is.
func (e *Error) Unwrap() (list []error) {
	for _, t := range e.Tries {
		list = append(list, t.Err)
	}
	return list
}

// Local says that an error of connecting, listening or accepting is this machine's: it has no more descriptors,
// memory or ports. It says nothing about a server, which must not be blamed for it.
func Local(err error) bool {
	if several, ok := errors.AsType[*Error](err); ok {
		ports := len(several.Tries) > 0
		for _, t := range several.Tries {
			if exhausted(t.Err) {
				return true // an address was not tried, and might have answered
			}
			ports = ports && errors.Is(t.Err, syscall.EADDRNOTAVAIL)
		}
		return ports
	}
	return exhausted(err) || errors.Is(err, syscall.EADDRNOTAVAIL)
}

func exhausted(err error) bool {
	for _, is := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM, syscall.ENOBUFS} {
		if errors.Is(err, is) {
			return true
		}
	}
	// The resolver keeps the cause as text alone.
	dns, ok := errors.AsType[*net.DNSError](err)
	return ok && strings.Contains(dns.Err, syscall.EMFILE.Error())
}
