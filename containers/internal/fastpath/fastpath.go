// Package fastpath forwards plain HTTP/1.1 exchanges on event loops: no
// goroutine for a connection, no allocation for a request, and two system calls
// in each direction for a small one.
//
// It has no opinion of its own. It forwards what http1 finds plain, which is what
// the careful path, net/http behind an http1.Guard, would forward in the same
// way. Whatever else comes (an upgrade, a chunked body, an odd spelling, an answer
// of another version, a server that fails) is handed over: the connection
// leaves the loop and goes on in net/http, with the bytes that were read. There
// it stays. So everything that refuses, and everything rare, is written once.
//
//	path := &fastpath.Path{Policy: policy, Limits: limits}
//	err := path.Start(runtime.GOMAXPROCS(0))
//	path.Take(&fastpath.Client{Socket: socket, TLS: conn}) // after the handshake
//
// A Path's clients are spread over its loops and stay with theirs. A loop's
// connections to the servers are its own.
package fastpath

import (
	"crypto/tls"
	"net"
	"runtime"
	"sync/atomic"
	"time"

	"distlab/containers/internal/http1"
	"distlab/containers/internal/reactor"
)

// Policy is what one proxy does differently from another. Its methods are
// called by the loops, and must not block; those for one client never at once.
type Policy interface {
	// Begin decides on a request: to whom it goes. nil leaves it, and the
	// connection, to the careful path.
	Begin(c *Client, r *http1.Request) *Backend
	// Lines appends the header lines that the app gets besides the client's.
	// It is asked again if the request is sent again.
	Lines(dst []byte, c *Client, r *http1.Request) []byte
	// Answer is told of the head of the answer. It appends the lines that the
	// client gets besides the app's; last closes the connection after it. An
	// answer that is not plain after all is left to the careful path.
	Answer(dst []byte, c *Client, r *http1.Response) (lines []byte, last, plain bool)
	// End is told the end of what Begin began, with the status that the client
	// got.
	End(c *Client, status int, how Ending)
	// Undo takes back a Begin: the careful path will do it all again.
	Undo(c *Client)
	// BadBody is told of a request's body that did not come, in time or at all.
	// It returns the answer, a whole message, and its status.
	BadBody(c *Client, slow bool) (answer []byte, status int)
	// Careful takes over a connection. It has a goroutine of its own.
	Careful(h *Handover)
	// Closed is told that the connection is gone; not after Careful.
	Closed(c *Client)
}

// Ending is how an exchange ended.
type Ending uint8

const (
	Whole  Ending = iota
	Left          // the client left, or did not take its answer in time
	Broken        // the app broke off in the middle of its answer
	Unfit         // the request's body did not come
)

// Limits bound what clients, and the app, may take. Zero is no limit.
type Limits struct {
	HeaderBytes int           // of a plain request's head; 0 is 16 KiB, which is the most
	Header      time.Duration // to send a request's head
	Idle        time.Duration // between two requests
	Body        time.Duration // between two parts of a request's body
	Send        time.Duration // for a client to take a part of the answer
	Response    time.Duration // for the app to begin its answer
	AppIdle     time.Duration // to keep a connection to the app for the next request
}

// Backend is a server, and the connections to it.
type Backend struct {
	// Dial connects. It has a goroutine of its own.
	Dial func() (net.Conn, error)
	// MaxIdle is how many idle connections a loop keeps; 0 is 128.
	MaxIdle int
}

// Handover is a connection on its way to the careful path.
type Handover struct {
	Client *Client
	Begun  []byte       // was read from it already
	Early  *http1.Early // the answer to the request in Begun; nil: it is yet to be sent
}

// Path is the fast path of one proxy.
type Path struct {
	Policy Policy
	Limits Limits

	// Panicked is told of a fault of this program that one client has brought to
	// light, and that has ended its connection alone. nil: nobody is told.
	Panicked func(any)

	workers  []*worker
	next     atomic.Uint32
	clients  atomic.Int64
	draining atomic.Bool
}

// Start starts the loops. If there are fewer than Go has processors, each may keep
// its own while it waits under load. On an error there is no fast path on this system.
func (p *Path) Start(loops int) error {
	for range loops {
		loop, err := reactor.New()
		if err != nil {
			p.Close()
			return err
		}
		if loops < runtime.GOMAXPROCS(0) {
			loop.Hidden = time.Millisecond
		}
		p.workers = append(p.workers, newWorker(p, loop))
	}
	for _, w := range p.workers {
		go w.run()
	}
	return nil
}

// Take takes a client into a loop. It stays the caller's, unchanged, if that
// is not possible.
func (p *Path) Take(c *Client) bool {
	w := p.workers[int(p.next.Add(1))%len(p.workers)]
	fd, err := reactor.Detach(c.Socket.conn)
	if err != nil {
		return false
	}
	c.worker = w
	c.Socket.detached(c)
	p.clients.Add(1)
	if !w.loop.Post(func() { w.take(c, fd) }) {
		reactor.CloseFD(fd)
		p.closed(c)
	}
	return true
}

func (p *Path) closed(c *Client) {
	c.state = gone
	p.Policy.Closed(c)
	p.clients.Add(-1)
}

// Clients is how many connections are here, those on their way to the careful
// path included.
func (p *Path) Clients() int { return int(p.clients.Load()) }

// CloseIdle closes the connections that wait for a request, and from now on those
// that have had their answer.
func (p *Path) CloseIdle() {
	p.draining.Store(true)
	for _, w := range p.workers {
		w.loop.Post(w.closeIdle)
	}
}

// Close cuts everything at once.
func (p *Path) Close() {
	for _, w := range p.workers {
		w.loop.Stop()
	}
}

// Client is a connection with a client.
type Client struct {
	Socket *Socket
	TLS    *tls.Conn // above Socket; nil: plain text
	User   any       // the policy's

	Began time.Time // of the exchange, as of the loop's clock

	exchange
	worker *worker
	source *reactor.Source
	state  state
	first  bool   // it has not asked yet
	in     []byte // read, and not yet used
	parts  int    // in which the head that is awaited has come so far
	timer  reactor.Timer
	due    time.Duration // when the state has lasted too long; 0: never
	fires  time.Duration // when timer does
	quiet  time.Duration // lingering: how long without a byte
	until  time.Duration // and when it is over
}

// state is what a client's connection is doing.
type state uint8

const (
	waiting   state = iota // for a request
	dialing                // for a connection to the app
	asking                 // the request is on its way, or was sent
	answering              // the head of the answer has been sent
	lingering              // all is said; the client may still be sending
	gone                   // closed, or handed over
)

// exchange is what is kept of a request until its answer.
type exchange struct {
	up      *upstream
	backend *Backend
	head    []byte // as it came
	rest    []byte // of what was sent with it, while there is no connection yet
	length  int    // where in head the digits of Content-Length are
	digits  int
	body    int64 // bytes of the request's body that have not come
	window  int   // how much of the answer is read at once
	isHead  bool
	safe    bool // may be sent again
	last    bool // close after the answer
	retried int
	dials   int
	status  int
}
