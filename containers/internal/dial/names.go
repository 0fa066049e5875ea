package dial

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"time"
)

const (
	// askTimeout bounds one question. Whoever waits for the answer may give up sooner.
	askTimeout = 10 * time.Second

	// askPause is how long the last answer of a name holds whatever happens, also
	// one that says that there is none: a server that is away must not have its
	// name asked for with every request.
	askPause = 200 * time.Millisecond

	// mostNames bounds the cache. Names come from settings, and are few; some programs
	// have them from others.
	mostNames = 1024
)

// Names finds the addresses of names and remembers them. The zero value asks the
// system each time, at most five times a second for a name. Its methods may be called
// by several goroutines.
type Names struct {
	// Keep is how long an answer is used. Then the name is asked for again, at its next use; also sooner
	// where its addresses cannot be connected to.
	Keep time.Duration

	// Stale is how long after the last good answer it stands in when nobody can be asked. An answer that
	// there is no such name counts at once.
	Stale time.Duration

	// Lookup asks for the addresses of a host; nil is the system's resolver.
	Lookup func(ctx context.Context, host string) ([]netip.Addr, error)

	mu    sync.Mutex
	names map[string]*name
}

// name is what is known of one. Guarded by Names.mu.
type name struct {
	addrs []netip.Addr // the last good answer
	good  time.Time    // when that came
	asked time.Time    // when the last answer came, good or not
	err   error        // what the last answer was, if it was not good
	doubt bool         // its addresses could not be connected to
	call  chan struct{}
}

// Addrs are the addresses of host:port, all of them, in the order in which to try them: as the resolver has them, but
// the families take turns (RFC 8305, 4).
func (n *Names) Addrs(ctx context.Context, address string) ([]netip.AddrPort, error) {
	host, port, err := split(ctx, address)
	if err != nil {
		return nil, err
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		return join([]netip.Addr{ip}, port), nil
	}
	addrs, err := n.addrs(ctx, host)
	if err != nil {
		return nil, err
	}
	return join(addrs, port), nil
}

// Known are Addrs' addresses where nobody has to be asked for them.
func (n *Names) Known(address string) ([]netip.AddrPort, bool) {
	host, service, err := net.SplitHostPort(address)
	if err != nil {
		return nil, false
	}
	port, err := strconv.ParseUint(service, 10, 16)
	if err != nil {
		return nil, false
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		return join([]netip.Addr{ip}, uint16(port)), true
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if at := n.names[host]; at != nil && at.err == nil && n.holds(at) {
		return join(at.addrs, uint16(port)), true
	}
	return nil, false
}

// Doubt says that none of the addresses of host:port could be connected to: they
// may have changed. The next Addrs asks.
func (n *Names) Doubt(address string) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if at := n.names[host]; at != nil {
		at.doubt = true
	}
}

// holds says whether the last answer may be used without asking. n.mu is held.
func (n *Names) holds(at *name) bool {
	age := time.Since(at.asked)
	if at.asked.IsZero() {
		return false
	}
	if age < askPause {
		return true
	}
	return at.err == nil && !at.doubt && age < n.Keep
}

// addrs asks, or waits for the answer that another has asked for.
func (n *Names) addrs(ctx context.Context, host string) ([]netip.Addr, error) {
	n.mu.Lock()
	at := n.names[host]
	if at == nil {
		at = n.add(host)
	}
	if n.holds(at) {
		defer n.mu.Unlock()
		return n.answer(at)
	}
	if at.call == nil {
		at.call = make(chan struct{})
		go n.ask(host, at)
	}
	call := at.call
	n.mu.Unlock()
	select {
	case <-call:
	case <-ctx.Done():
		why := context.Cause(ctx)
		return nil, &net.DNSError{Err: why.Error(), Name: host, IsTimeout: true, IsTemporary: true, UnwrapErr: why}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.answer(at)
}

// answer is what is known. n.mu is held.
func (n *Names) answer(at *name) ([]netip.Addr, error) {
	if at.err == nil {
		return at.addrs, nil
	}
	var dns *net.DNSError
	gone := errors.As(at.err, &dns) && dns.IsNotFound
	if !gone && len(at.addrs) > 0 && time.Since(at.good) < n.Stale {
		return at.addrs, nil
	}
	return nil, at.err
}

// ask asks, for all who wait.
func (n *Names) ask(host string, at *name) {
	ctx, cancel := context.WithTimeout(context.Background(), askTimeout)
	defer cancel()
	lookup := n.Lookup
	if lookup == nil {
		lookup = system
	}
	addrs, err := lookup(ctx, host)
	if err == nil && len(addrs) == 0 {
		err = &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	at.asked, at.err, at.doubt = time.Now(), err, false
	if err == nil {
		at.addrs, at.good = slices.Clone(addrs), at.asked
	}
	close(at.call)
	at.call = nil
}

// add makes room for one more name. n.mu is held.
func (n *Names) add(host string) *name {
	if n.names == nil {
		n.names = map[string]*name{}
	}
	for other, at := range n.names { // in no order: who goes is left to chance
		if len(n.names) < mostNames {
			break
		}
		if at.call == nil {
			delete(n.names, other)
		}
	}
	at := &name{}
	n.names[host] = at
	return at
}

func system(ctx context.Context, host string) ([]netip.Addr, error) {
	if host == "" { // as net.Dial has it: this machine
		return []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}, nil
	}
	return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
}

// split takes an address apart. The port may be the name of a service.
func split(ctx context.Context, address string) (host string, port uint16, err error) {
	host, service, err := net.SplitHostPort(address)
	if err != nil {
		return "", 0, err
	}
	number, err := net.DefaultResolver.LookupPort(ctx, "tcp", service)
	return host, uint16(number), err
}

// join puts addresses into the order in which to try them.
func join(addrs []netip.Addr, port uint16) []netip.AddrPort {
	var families [2][]netip.Addr // that of the first, and the other
	seen := map[netip.Addr]bool{}
	for _, a := range addrs {
		if a = a.Unmap(); seen[a] {
			continue
		}
		seen[a] = true
		other := 0
		if len(families[0]) > 0 && families[0][0].Is4() != a.Is4() {
			other = 1
		}
		families[other] = append(families[other], a)
	}
	var list []netip.AddrPort
	for i := range max(len(families[0]), len(families[1])) {
		for _, f := range families {
			if i < len(f) {
				list = append(list, netip.AddrPortFrom(f[i], port))
			}
		}
	}
	return list
}
