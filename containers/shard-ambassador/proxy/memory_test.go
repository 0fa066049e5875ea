package proxy

import (
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"distlab/containers/shard-ambassador/pool"
	"distlab/containers/shard-ambassador/resp"
)

// perClient is what a client may have beside the bound for all: of the reply whose turn it is, of those after it, and what
// is read of both before anybody looks.
const perClient = 2*hardReplies + 3*scratchSize

// kept is how much is kept for clients now.
func (r *rig) kept() (n int) {
	for _, w := range r.srv.workers {
		r.srv.do(w, func() { n += w.kept })
	}
	return n
}

// set stores a value.
func (r *rig) set(key, value string) {
	r.t.Helper()
	c := r.dial()
	defer c.Close()
	go c.Write(resp.AppendCommand(nil, "SET", key, value))
	if got := c.reply(); got != "OK" {
		r.t.Fatal(got)
	}
}

// A client that reads steadily gets all of a value that is many times what may be kept, others go on meanwhile, and
// nothing more is kept than may be.
func TestSteadyReader(t *testing.T) {
	const buffer = 1 << 20
	r := newRig(t, 1, func(p *pool.Pool, s *Server) {
		strict(p, s)
		p.Timeout = patience / 2
		s.ClientBuffer, s.ClientTimeout = buffer, patience/2
	})
	value := noise(40 << 20)
	r.set("key", value)
	slow, other := r.dial(), r.dial()
	slow.Conn.(*net.TCPConn).SetReadBuffer(256 << 10)
	slow.send("GET key")
	if _, err := slow.in.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 0, len(value))
	most, asked, late := 0, 0, 0
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for ; ; asked++ {
			select {
			case <-stop:
				return
			default:
			}
			switch reply := other.ask(fmt.Sprint("GET echo:", asked)); {
			case strings.Contains(reply, "waits behind"):
				late++
			case reply != fmt.Sprint("echo:", asked):
				t.Errorf("another client gets %q", reply)
			}
		}
	}()
	for buf := make([]byte, 512<<10); len(got) < len(value); {
		time.Sleep(20 * time.Millisecond) // what is tested: 25 MB/s, much less than the shard sends
		n, err := io.ReadFull(slow.in, buf[:min(len(buf), len(value)-len(got))])
		got = append(got, buf[:n]...)
		if err != nil {
			for len(r.log.w) > 0 {
				t.Log(<-r.log.w)
			}
			t.Fatalf("cut off after %d bytes: %v", len(got), err)
		}
		most = max(most, r.kept())
	}
	if most < buffer {
		t.Errorf("only %d bytes were kept: that is no test", most)
	}
	close(stop)
	<-stopped
	if string(got) != value {
		t.Error("something else came")
	}
	if most > buffer+2*perClient {
		t.Errorf("%d bytes were kept", most)
	}
	// One request may have been on its way behind the value when memory ran short; no other comes behind it.
	if late > 1 || asked < 5 {
		t.Errorf("%d of %d requests of another client waited for this one", late, asked)
	}
	t.Logf("kept at most %d bytes; another client had %d replies meanwhile", most, asked)
	if s := r.srv.Snapshot()[0]; s.SlowClients != 0 {
		t.Errorf("%d cut off", s.SlowClients)
	}
	eventually(t, "nothing is kept any more", func() bool { return r.kept() == 0 })
}

// Many clients that read nothing cost what may be kept, all together. Those are cut off who take nothing, until
// there is room again.
func TestStuckClients(t *testing.T) {
	const buffer, clients = 4 << 20, 20
	r := newRig(t, 2, func(p *pool.Pool, s *Server) {
		strict(p, s)
		s.ClientBuffer, s.ClientTimeout = buffer, 300*time.Millisecond
	})
	a, b := r.keyOf(0, 1), r.keyOf(1, 1)
	r.set(a, noise(2<<20))
	r.set(b, noise(2<<20))
	var stuck []*conn
	for range clients {
		c := r.dial()
		c.send(slices.Repeat([]string{"GET " + a, "GET " + b}, 4)...)
		stuck = append(stuck, c)
	}
	most := 0
	eventually(t, "cut off", func() bool {
		most = max(most, r.kept())
		return r.srv.Snapshot()[0].SlowClients > 0
	})
	eventually(t, "room", func() bool {
		most = max(most, r.kept())
		return r.kept() <= buffer
	})
	if limit := buffer + clients*perClient; most > limit {
		t.Errorf("%d bytes were kept, more than %d", most, limit)
	}
	c := r.dial()
	for _, key := range []string{r.keyOf(0, 2), r.keyOf(1, 2)} {
		if got := c.ask("GET " + key); got != key {
			t.Errorf("another client gets %q", got)
		}
	}
	for i := range r.shards {
		if s := r.shard(i); s.Ejections > 0 {
			t.Errorf("shard %d was ejected: %+v", i, s.Errors)
		}
	}
	for _, c := range stuck {
		c.Close()
	}
	eventually(t, "nothing is kept", func() bool { return r.kept() == 0 && r.srv.Snapshot()[0].Clients == 1 })
}

// Who waits behind a client that does not read hears so after TIMEOUT, and goes on. Nobody blames the shard.
func TestBehindSlowReader(t *testing.T) {
	r := newRig(t, 1, func(p *pool.Pool, s *Server) {
		strict(p, s)
		p.Timeout = 2 * time.Second
		s.ClientBuffer, s.ClientTimeout = 1<<20, time.Minute
	})
	r.set("key", noise(20<<20))
	slow, behind := r.dial(), r.dial()
	r.shards[0].pause() // so that both are on their way in one connection
	slow.send("GET key")
	eventually(t, "sent", func() bool { return r.shard(0).InFlight == 1 })
	behind.send("GET echo:1", "GET echo:2")
	eventually(t, "sent", func() bool { return r.shard(0).InFlight == 3 })
	r.shards[0].resume()
	for i := range 2 {
		if got := behind.reply(); !strings.Contains(got, "waits behind") {
			t.Errorf("request %d got %q", i, got)
		}
	}
	if got := behind.ask("GET echo:3"); got != "echo:3" {
		t.Errorf("got %q", got)
	}
	if got := slow.reply(); len(got) != 20<<20 {
		t.Errorf("the slow one gets %d bytes", len(got))
	}
	if s := r.shard(0); s.Ejections > 0 || s.Errors[ErrTimeout] > 0 {
		t.Errorf("%+v", s)
	}
}

// Replies whose turn has not come, and parts of one, are kept as far as may be. What is more is an error in their
// place, and the connection goes on.
func TestTooLargeToKeep(t *testing.T) {
	r := newRig(t, 2, func(_ *pool.Pool, s *Server) { s.ClientBuffer = 6 << 20 })
	first, large := r.keyOf(0, 1), r.keyOf(1, 1)
	r.set(large, noise(1<<20))
	other := r.keyOf(0, 2)
	r.set(other, noise(1<<20))
	c := r.dial()
	r.shards[0].pause()
	c.send(append([]string{"GET " + first}, slices.Repeat([]string{"GET " + large}, 10)...)...)
	eventually(t, "the others have answered", func() bool { return r.shard(1).Responses == 11 })
	if got := r.kept(); got > 7<<20 {
		t.Errorf("%d bytes are kept", got)
	}
	r.shards[0].resume()
	if got := c.reply(); got != first {
		t.Errorf("got %.50q", got)
	}
	whole, lost := 0, 0
	for range 10 {
		switch got := c.reply(); {
		case len(got) == 1<<20:
			whole++
		case "-"+got+"\r\n" == errNotToKeep:
			lost++
		default:
			t.Errorf("got %.50q", got)
		}
	}
	if whole < 3 || lost < 3 {
		t.Errorf("%d came, %d were lost", whole, lost)
	}
	if got := c.ask("MGET " + strings.Repeat(large+" "+other+" ", 4)); "-"+got+"\r\n" != errNotToKeep {
		t.Errorf("got %.50q", got)
	}
	if got := c.ask("MGET " + large + " " + other); len(got) != 2<<20+3 {
		t.Errorf("got %.50q", got)
	}
}

// The number of arguments is bounded by their bytes alone.
func TestManyArguments(t *testing.T) {
	const n = 1_100_000
	r := newRig(t, 3, nil)
	c := r.dial()
	c.SetDeadline(time.Now().Add(4 * patience)) // the fakes take them one by one
	many := func(name string, args ...string) []byte {
		b := resp.AppendNumber(nil, '*', 1+len(args)+n)
		b = resp.AppendBulk(b, name)
		for _, a := range args {
			b = resp.AppendBulk(b, a)
		}
		for i := range n {
			b = resp.AppendBulk(b, fmt.Sprint(i))
		}
		return b
	}
	go c.Write(many("RPUSH", "key"))
	if got := c.reply(); got != fmt.Sprint(":", n) {
		t.Errorf("RPUSH: %q", got)
	}
	go c.Write(many("DEL"))
	if got := c.reply(); got != ":0" {
		t.Errorf("DEL: %q", got)
	}
	// What has to be kept whole counts with the places of its arguments.
	tight := newRig(t, 3, func(_ *pool.Pool, s *Server) { s.MaxRequest = 16 << 20 })
	d := tight.dial()
	go d.Write(many("DEL"))
	if got := d.reply(); !strings.Contains(got, "larger than MAX_REQUEST") {
		t.Errorf("got %q", got)
	}
}
