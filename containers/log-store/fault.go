package main

import (
	"fmt"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// Fault is how the store misbehaves when it is told to.
type Fault struct {
	// Mode: none; refuse connections; hang, with the request taken and no answer; error 500; busy, 429 with Retry-After; cut
	// the connection after the records were kept, so that the acknowledgement is lost.
	Mode       string
	RetryAfter int // seconds, for busy
	Count      int // requests that it is for; 0: until told otherwise
}

var modes = []string{"none", "refuse", "hang", "error", "busy", "cut"}

// Faults are the present fault and how often it struck. While connections are refused the listener is closed.
type Faults struct {
	mu     sync.Mutex
	now    Fault
	struck map[string]int
	change chan struct{} // closed at each change: what hangs is let go
	gate   *gate
}

func newFaults(g *gate) *Faults {
	return &Faults{now: Fault{Mode: "none"}, struck: map[string]int{}, change: make(chan struct{}), gate: g}
}

// Set changes the fault.
func (f *Faults) Set(next Fault) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.gate.open(next.Mode != "refuse"); err != nil {
		return err
	}
	f.now = next
	close(f.change)
	f.change = make(chan struct{})
	return nil
}

// take is the fault for one request.
func (f *Faults) take() (Fault, <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.now
	if now.Mode != "none" {
		f.struck[now.Mode]++
		if now.Count > 0 {
			if f.now.Count--; f.now.Count == 0 {
				f.now = Fault{Mode: "none"}
			}
		}
	}
	return now, f.change
}

// Status is the fault, and how often each struck.
func (f *Faults) Status() (mode string, struck map[string]int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	struck = map[string]int{}
	for k, v := range f.struck {
		struck[k] = v
	}
	return f.now.Mode, struck
}

// ServeHTTP is POST /fault?mode=busy&retry_after=2&count=1, and GET /fault.
func (f *Faults) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		mode, _ := f.Status()
		fmt.Fprintln(w, mode)
		return
	}
	next := Fault{Mode: r.FormValue("mode"), RetryAfter: 1}
	for name, into := range map[string]*int{"retry_after": &next.RetryAfter, "count": &next.Count} {
		if text := r.FormValue(name); text != "" {
			n, err := strconv.ParseUint(text, 10, 31)
			if err != nil {
				http.Error(w, name+": not a number", http.StatusBadRequest)
				return
			}
			*into = int(n)
		}
	}
	known := false
	for _, m := range modes {
		known = known || m == next.Mode
	}
	if !known {
		http.Error(w, fmt.Sprintf("mode: one of %v", modes), http.StatusBadRequest)
		return
	}
	if err := f.Set(next); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	fmt.Fprintln(w, next.Mode)
}

// gate is a listener that can be closed, so that the kernel refuses connections, and opened again at the same address.
type gate struct {
	addr string

	mu     sync.Mutex
	ln     net.Listener
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func listen(addr string) (*gate, error) {
	g := &gate{addr: addr, conns: make(chan net.Conn), closed: make(chan struct{})}
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, err
	}
	g.addr = ln.Addr().String()
	g.use(ln)
	return g, nil
}

func (g *gate) use(ln net.Listener) {
	g.ln = ln
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			select {
			case g.conns <- conn:
			case <-g.closed:
				conn.Close()
			}
		}
	}()
}

func (g *gate) open(open bool) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	select {
	case <-g.closed:
		if open {
			return nil
		}
	default:
	}
	if open == (g.ln != nil) {
		return nil
	}
	if !open {
		err := g.ln.Close()
		g.ln = nil
		return err
	}
	ln, err := net.Listen("tcp", g.addr)
	if err == nil {
		g.use(ln)
	}
	return err
}

// Accept is the next connection.
func (g *gate) Accept() (net.Conn, error) {
	select {
	case c := <-g.conns:
		return c, nil
	case <-g.closed:
		return nil, net.ErrClosed
	}
}

// Close ends it for good.
func (g *gate) Close() error {
	g.once.Do(func() { close(g.closed) })
	return g.open(false)
}

type addr string

func (a addr) Network() string { return "tcp" }
func (a addr) String() string  { return string(a) }

// Addr is where it listens, or would.
func (g *gate) Addr() net.Addr { return addr(g.addr) }

// hangFor bounds how long a request may be left hanging.
const hangFor = 10 * time.Minute
