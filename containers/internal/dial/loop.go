package dial

import (
	"context"
	"net/netip"
	"time"

	"distlab/containers/internal/reactor"
)

// Attempt connects in an event loop, and belongs to it. Start begins; Done is called
// once for each Start, by the loop and never by Start itself, unless Stop comes first. It may be started again
// then.
type Attempt struct {
	Loop  *reactor.Loop
	Names *Names
	Delay time.Duration           // see DefaultDelay; 0 is that
	Done  func(fd int, err error) // owns fd, which is non-blocking

	network, address string
	on               bool
	number           int // of the attempt: an answer for an older one is of no use
	race             race
	pace             reactor.Timer
	tries            []*try
}

// try is the connection to one address while it is made.
type try struct {
	a    *Attempt
	addr netip.AddrPort
	src  *reactor.Source
}

// Start begins to connect: network is tcp or unix.
func (a *Attempt) Start(network, address string) {
	a.Stop()
	a.network, a.address, a.on = network, address, true
	a.pace.Fire = a.step
	a.race = race{asks: 1}
	if network == "unix" {
		a.Loop.Arm(&a.pace, 0)
	} else if addrs, ok := a.Names.Known(address); ok {
		a.race.asked(addrs, nil)
		a.Loop.Arm(&a.pace, 0)
	} else {
		a.ask()
	}
}

// Stop gives up.
func (a *Attempt) Stop() {
	a.on = false
	a.number++
	a.Loop.Disarm(&a.pace)
	for _, t := range a.tries {
		t.src.Close()
	}
	a.tries = a.tries[:0]
}

func (a *Attempt) ask() {
	a.race.asking = true
	number, address := a.number, a.address
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), askTimeout)
		defer cancel()
		addrs, err := a.Names.Addrs(ctx, address)
		a.Loop.Post(func() {
			if a.number == number {
				a.race.asked(addrs, err)
				if len(a.tries) == 0 || len(a.race.queue) > 0 {
					a.step()
				}
			}
		})
	}()
}

// step is the timer's: the next address is begun, and with the last the name is in doubt.
func (a *Attempt) step() {
	if a.network == "unix" {
		fd, err := reactor.DialUnix(a.address) // it connects at once, or not at all
		a.done(fd, err)
		return
	}
	for {
		addr, ok := a.race.next()
		if !ok {
			break
		}
		if a.begin(addr) {
			a.wait()
			return
		}
	}
	if a.race.doubtful() {
		a.Names.Doubt(a.address)
		a.ask()
	}
	if a.race.over() {
		a.done(-1, a.race.fail(a.address))
	}
}

// wait gives the addresses that are being tried their time.
func (a *Attempt) wait() {
	delay := a.Delay
	if delay == 0 {
		delay = DefaultDelay
	}
	a.Loop.Arm(&a.pace, delay)
}

func (a *Attempt) begin(addr netip.AddrPort) bool {
	t := &try{a: a, addr: addr}
	fd, err := reactor.DialTCP(addr)
	if err == nil {
		if t.src, err = a.Loop.Register(fd, t); err != nil {
			reactor.CloseFD(fd)
		}
	}
	if err != nil {
		a.race.lost(addr, err)
		return false
	}
	a.tries = append(a.tries, t)
	return true
}

// Ready is called by the loop when the try has ended.
func (t *try) Ready(ev reactor.Event) {
	if ev&(reactor.Writable|reactor.Hangup) == 0 {
		return
	}
	a := t.a
	if err := t.src.Error(); err == nil {
		a.done(t.src.Release(), nil)
		return
	} else {
		a.race.lost(t.addr, err)
	}
	t.src.Close()
	for i, other := range a.tries {
		if other == t {
			a.tries = append(a.tries[:i], a.tries[i+1:]...)
			break
		}
	}
	a.Loop.Arm(&a.pace, 0)
}

func (a *Attempt) done(fd int, err error) {
	a.Stop() // a source that was released is not closed
	a.Done(fd, err)
}
