package proxy

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"distlab/containers/shard-ambassador/pool"
	"distlab/containers/shard-ambassador/resp"
)

// A long random test against a model. Shards are stopped, paused, slowed, cut,
// and send garbage, while many clients send pipelines of everything, some
// of which they leave in the middle. Each request has keys of its own, and each
// reply must be the one to it: its value, or an error of its own shard. No reply may be
// missing, doubled, out of order or another's.
func TestModel(t *testing.T) {
	length := 15 * time.Second
	if testing.Short() {
		length = 3 * time.Second
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	for _, eject := range []bool{false, true} {
		t.Run(fmt.Sprint("eject=", eject), func(t *testing.T) {
			r := newRig(t, 3, func(p *pool.Pool, s *Server) {
				s.Threads = 2
				p.Timeout = 40 * time.Millisecond
				p.AutoEjectHosts, p.ServerFailureLimit, p.ServerRetryTimeout = eject, 2, 30*time.Millisecond
				p.ServerConnections = 2
			})
			stop := make(chan struct{})
			var wait sync.WaitGroup
			wait.Go(func() { r.torment(rand.New(rand.NewPCG(seed, 1)), stop) })
			counts := make([]tally, 8)
			for i := range counts {
				wait.Go(func() {
					m := &model{t: t, r: r, random: rand.New(rand.NewPCG(seed, uint64(i+2))), id: i, tally: &counts[i]}
					m.run(stop)
				})
			}
			time.Sleep(length) // the length of the test
			close(stop)
			wait.Wait()
			var sum tally
			for _, n := range counts {
				sum.replies += n.replies
				sum.errors += n.errors
				sum.left += n.left
			}
			t.Logf("%d replies, %d of them errors of shards, %d connections left by their clients", sum.replies, sum.errors, sum.left)
			if sum.replies < 1000 || sum.errors == 0 || sum.errors > sum.replies*9/10 {
				t.Errorf("that is no test: %+v", sum)
			}
			// Nothing is left behind.
			for i, f := range r.shards {
				f.resume()
				f.delay.Store(0)
				f.garbage.Store(0)
				eventually(t, "all requests answered", func() bool { return r.shard(i).InFlight == 0 })
			}
			eventually(t, "all clients gone", func() bool { return r.srv.Snapshot()[0].Clients == 0 })
		})
	}
}

type tally struct{ replies, errors, left int }

// torment breaks a shard in some way and mends it, again and again.
func (r *rig) torment(random *rand.Rand, stop <-chan struct{}) {
	for {
		f := r.shards[random.IntN(len(r.shards))]
		switch random.IntN(6) {
		case 0:
			f.stop()
		case 1:
			f.pause()
		case 2:
			f.garbage.Store(int32(1 + random.IntN(3)))
		case 3:
			f.cut()
		case 4:
			f.delay.Store(int64(random.IntN(3)) * int64(time.Millisecond))
		}
		select {
		case <-stop:
			return
		case <-time.After(time.Duration(random.IntN(120)) * time.Millisecond):
		}
		f.resume()
		f.delay.Store(0)
		f.stop()
		f.start()
	}
}

// model is a client that knows what it must get.
type model struct {
	t      *testing.T
	r      *rig
	random *rand.Rand
	id     int
	serial int
	*tally
}

// want is what a reply may be.
type want struct {
	text  string // or an error of a shard, if the request has a key
	keys  []string
	exact bool // no shard is asked
}

func (m *model) run(stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			return
		default:
		}
		c := connect(m.t, "tcp", m.r.addr)
		if m.random.IntN(2) == 0 {
			c.send("HELLO 3")
			if got := c.reply(); !strings.HasPrefix(got, "%[server") {
				m.t.Errorf("HELLO: %q", got)
			}
		}
		for range 1 + m.random.IntN(20) {
			if !m.pipeline(c) {
				break
			}
		}
		c.Close()
	}
}

// pipeline sends some requests and looks at the replies. It is false when the
// connection is over.
func (m *model) pipeline(c *conn) bool {
	var b []byte
	var wants []want
	for range 1 + m.random.IntN(40) {
		args, w := m.request()
		b = resp.AppendCommand(b, args...)
		wants = append(wants, w)
	}
	if m.random.IntN(20) == 0 { // leaves in the middle
		c.Write(b[:m.random.IntN(len(b))])
		m.left++
		return false
	}
	go func() {
		for len(b) > 0 {
			n := min(len(b), 1+rand.IntN(2000))
			if _, err := c.Write(b[:n]); err != nil {
				return
			}
			b = b[n:]
		}
	}()
	for i, w := range wants {
		got, err := readReply(c.in)
		if err != nil {
			m.t.Errorf("client %d: reply %d of %d is missing: %v", m.id, i, len(wants), err)
			return false
		}
		m.replies++
		m.check(got, w)
	}
	return true
}

// request is a request with keys that no other has, and what it may be answered.
func (m *model) request() ([]string, want) {
	key := func() string {
		m.serial++
		return fmt.Sprintf("echo:%d:%d", m.id, m.serial)
	}
	switch m.random.IntN(8) {
	case 0:
		word := key()
		return []string{"PING", word}, want{text: word, exact: true}
	case 1:
		return []string{"BLPOP", key(), "0"}, want{text: "ERR 'blpop' is not supported over shards: it blocks, and other clients share the connection", exact: true}
	case 2, 3:
		var keys []string
		for range 1 + m.random.IntN(6) {
			keys = append(keys, key())
		}
		return append([]string{"MGET"}, keys...), want{keys: keys}
	case 4:
		keys := []string{key(), key(), key()}
		return append([]string{"EXISTS"}, keys...), want{text: ":0"}
	default:
		k := key()
		return []string{"GET", k}, want{text: k}
	}
}

func (m *model) check(got string, w want) {
	failed := strings.Contains(got, "ERR shard ") || got == "ERR no shard is up"
	if failed {
		m.errors++
	}
	switch {
	case got == w.text && len(w.keys) == 0:
	case len(w.keys) == 0 && failed && !w.exact:
	case len(w.keys) > 0 && failed && got[0] != '[':
		// all keys on one shard, or no shard is up
	case len(w.keys) > 0 && m.fits(got, w.keys):
	default:
		m.t.Errorf("client %d: got %q, want %+v", m.id, got, w)
	}
}

// fits says whether a reply to MGET has each key, or an error, in its place.
func (m *model) fits(got string, keys []string) bool {
	rest, ok := strings.CutPrefix(got, "[")
	for i, key := range keys {
		if i > 0 {
			rest, ok = strings.CutPrefix(rest, " ")
		}
		if !ok {
			return false
		}
		if after, ok := strings.CutPrefix(rest, key); ok {
			rest = after
			continue
		}
		if !strings.HasPrefix(rest, "ERR shard ") {
			return false
		}
		// The error goes on until the next key, the next error or the end.
		end := len(rest) - 1
		for _, mark := range []string{" echo:", " ERR shard "} {
			if i := strings.Index(rest, mark); i >= 0 {
				end = min(end, i)
			}
		}
		rest = rest[end:]
	}
	return rest == "]"
}
