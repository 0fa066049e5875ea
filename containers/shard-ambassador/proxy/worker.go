package proxy

import (
	"runtime"
	"time"

	"distlab/containers/internal/reactor"
	"distlab/containers/shard-ambassador/resp"
)

// scratchSize is what one read takes at most.
const scratchSize = 64 << 10

// worker is one event loop with all that it owns: a share of the clients, and
// connections of its own to every shard. Nothing of it is ever touched by
// another goroutine.
type worker struct {
	buffers
	srv     *Server
	loop    *reactor.Loop
	gone    chan struct{} // closed when the loop has ended
	parser  *resp.Parser
	parsers []*resp.Parser        // spare
	rings   [ringClasses][][]slot // spare
	splits  []*split              // spare
	keys    []int                 // of the request at hand
	shards  []int32               // of its keys
	counts  []int32               // of keys by shard
	targets []target              // of a split's parts
	ends    []int
	values  resp.Scanner
	scratch []byte
	line    []byte // a short reply in the making

	kept   int           // bytes of replies that clients have not read yet
	budget int           // that there may be
	looks  reactor.Timer // at clients, while there are more

	pools    map[string]*shardPool
	clients  map[*client]struct{}
	dirty    []*client  // have replies to be written at the end of this round
	backends []*backend // have requests to be written at the end of this round
	resumed  []*client  // may go on with requests that they have sent already
	draining bool
	drained  func() // called when the last client has gone, while draining
}

func newWorker(srv *Server) (*worker, error) {
	loop, err := reactor.New()
	if err != nil {
		return nil, err
	}
	w := &worker{
		srv: srv, loop: loop, gone: make(chan struct{}), parser: &resp.Parser{},
		scratch: make([]byte, scratchSize),
		pools:   map[string]*shardPool{},
		clients: map[*client]struct{}{},
	}
	loop.After = w.after
	w.budget = srv.clientBuffer() / max(1, srv.Threads)
	w.looks.Fire = w.look
	if srv.Threads < runtime.GOMAXPROCS(0) {
		loop.Hidden = time.Millisecond
	}
	return w, nil
}

// after ends a round of events. Requests go out first, so that the shards work
// while replies are written. Each connection gets what many events have added in one system call.
func (w *worker) after() {
	for len(w.backends) > 0 || len(w.dirty) > 0 || len(w.resumed) > 0 {
		for i := 0; i < len(w.resumed); i++ {
			c := w.resumed[i]
			c.resuming = false
			c.goOn()
		}
		w.resumed = w.resumed[:0]
		for i := 0; i < len(w.backends); i++ {
			b := w.backends[i]
			b.dirty = false
			b.flush()
		}
		w.backends = w.backends[:0]
		for i := 0; i < len(w.dirty); i++ {
			c := w.dirty[i]
			c.dirty = false
			c.flush()
		}
		w.dirty = w.dirty[:0]
	}
	if w.draining && len(w.clients) == 0 && w.drained != nil {
		w.drained()
		w.drained = nil
	}
}

func (w *worker) getParser() *resp.Parser {
	if n := len(w.parsers); n > 0 {
		p := w.parsers[n-1]
		w.parsers = w.parsers[:n-1]
		return p
	}
	return &resp.Parser{}
}

func (w *worker) putParser(p *resp.Parser) {
	if len(w.parsers) < 64 && cap(p.Args) <= 4096 {
		p.Reset()
		w.parsers = append(w.parsers, p)
	}
}
