package proxy

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"distlab/containers/shard-ambassador/pool"
)

// has asks for a key of a shard until the reply is what is wanted.
func (c *conn) until(key, want string) {
	c.t.Helper()
	var got string
	deadline := time.Now().Add(patience)
	for got = c.ask("GET " + key); !strings.Contains(got, want); got = c.ask("GET " + key) {
		if time.Now().After(deadline) {
			c.t.Fatalf("GET %s is %q, never %q", key, got, want)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// A shard that is away fails its own keys only, and comes back by itself.
func TestShardDown(t *testing.T) {
	r := newRig(t, 3, nil)
	c := r.dial()
	k := []string{r.keyOf(0, 1), r.keyOf(1, 2), r.keyOf(2, 3)}
	all := strings.Join(k, " ")
	if got := c.ask("MGET " + all); got != "["+all+"]" {
		t.Fatal(got)
	}
	r.shards[1].stop()
	c.until(k[1], `ERR shard "b" (`+r.shards[1].addr+`): connection refused`)
	refused := fmt.Sprintf("ERR shard %q (%s): connection refused", "b", r.shards[1].addr)
	for _, tt := range []struct{ ask, want string }{
		{"GET " + k[0], k[0]},
		{"GET " + k[2], k[2]},
		{"MGET " + all, "[" + k[0] + " " + refused + " " + k[2] + "]"},
		{"DEL " + all, refused},
		{"MSET " + k[0] + " 1 " + k[1] + " 2", refused},
	} {
		if got := c.ask(tt.ask); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.ask, got, tt.want)
		}
	}
	r.shards[1].start()
	c.until(k[1], k[1])
	if got := r.shard(1); got.Errors[ErrConnect] == 0 || got.Ejections != 0 {
		t.Errorf("%+v", got)
	}
}

// A connect that fails at once is one error, and so is each request that comes
// before the next attempt.
func TestConnectErrorsAreCountedOnce(t *testing.T) {
	r := newRig(t, 1, func(p *pool.Pool, _ *Server) {
		p.Servers[0].Addr = pool.Addr{Network: "unix", Address: t.TempDir() + "/nobody"}
	})
	c := r.dial()
	for n := uint64(1); n <= 3; n++ {
		if got := c.ask("GET k"); !strings.HasPrefix(got, "ERR shard") {
			t.Fatal(got)
		}
		if got := r.shard(0).Errors[ErrConnect]; got != n {
			t.Errorf("after %d requests: %d errors", n, got)
		}
	}
}

func TestMGETWhole(t *testing.T) {
	r := newRig(t, 2, func(p *pool.Pool, _ *Server) { p.MGETErrors = pool.Whole })
	r.shards[1].stop()
	c := r.dial()
	got := c.ask("MGET " + r.keyOf(0, 1) + " " + r.keyOf(1, 2))
	if !strings.HasPrefix(got, `ERR shard "b"`) {
		t.Errorf("got %q", got)
	}
}

// A shard that was slow to log in has its whole timeout for the first request.
func TestTimeoutBeginsWhenReady(t *testing.T) {
	r := newRig(t, 1, func(p *pool.Pool, _ *Server) {
		p.RedisDB, p.Timeout, p.ConnectTimeout = 1, 2*time.Second, patience
	})
	r.shards[0].delay.Store(int64(1200 * time.Millisecond)) // once for SELECT, once for GET
	if key := r.keyOf(0, 1); r.dial().ask("GET "+key) != key {
		t.Errorf("%+v", r.shard(0))
	}
}

// A shard that hangs costs its own keys the timeout, and others nothing.
func TestTimeout(t *testing.T) {
	const limit = 150 * time.Millisecond
	r := newRig(t, 2, func(p *pool.Pool, _ *Server) { p.Timeout = limit })
	a, b := r.dial(), r.dial()
	good, bad := r.keyOf(0, 1), r.keyOf(1, 2)
	if got := a.ask("GET " + bad); got != bad {
		t.Fatal(got)
	}
	r.shards[1].pause()
	begun := time.Now()
	a.send("GET "+bad, "GET "+good)
	if got := b.ask("GET " + good); got != good {
		t.Errorf("got %q", got)
	}
	if got := a.reply(); !strings.HasSuffix(got, "timed out after 150ms") {
		t.Errorf("got %q", got)
	}
	if d := time.Since(begun); d < limit {
		t.Errorf("timed out after %s", d)
	}
	if got := a.reply(); got != good {
		t.Errorf("got %q", got)
	}
	r.shards[1].resume()
	a.until(bad, bad)
	if got := r.shard(1); got.Errors[ErrTimeout] == 0 {
		t.Errorf("%+v", got)
	}
}

// The reply that comes too late must not be taken for that of a later request.
func TestLateReplyIsDropped(t *testing.T) {
	r := newRig(t, 1, func(p *pool.Pool, _ *Server) { p.Timeout = 50 * time.Millisecond })
	c := r.dial()
	for i := range 20 {
		r.shards[0].pause()
		if got := c.ask(fmt.Sprint("GET echo:late", i)); !strings.Contains(got, "timed out") {
			t.Fatalf("got %q", got)
		}
		// The next one waits already when the late reply comes.
		next := fmt.Sprint("echo:next", i)
		c.send("GET " + next)
		r.shards[0].resume()
		if got := c.reply(); got != next && !strings.Contains(got, "timed out") {
			t.Fatalf("got %q, want %q", got, next)
		}
		c.until(next, next)
	}
}

func TestEjection(t *testing.T) {
	for _, eject := range []pool.Eject{pool.Rehash, pool.FailFast} {
		t.Run(string(eject), func(t *testing.T) {
			r := newRig(t, 3, func(p *pool.Pool, _ *Server) {
				p.AutoEjectHosts, p.ServerFailureLimit, p.ServerRetryTimeout = true, 2, 30*time.Millisecond
				p.Eject = eject
			})
			c := r.dial()
			key := r.keyOf(1, 1)
			if got := c.ask("GET " + key); got != key {
				t.Fatal(got)
			}
			r.shards[1].stop()
			eventually(t, "ejected", func() bool {
				c.ask("GET " + key)
				return r.shard(1).Ejected
			})
			want := key
			if eject == pool.FailFast {
				want = `ERR shard "b" (` + r.shards[1].addr + `): ejected: connection refused`
			}
			c.until(key, want)
			// What stays down stays out: no request is tried on it.
			before := r.shard(1).Errors[ErrConnect]
			eventually(t, "probed again", func() bool { return r.shard(1).Errors[ErrConnect] >= before+2 })
			for range 20 {
				if got := c.ask("GET " + key); got != want {
					t.Errorf("got %q, want %q", got, want)
				}
			}
			r.shards[1].start()
			eventually(t, "back", func() bool { return !r.shard(1).Ejected })
			n := r.shards[1].requests.Load()
			if got := c.ask("GET " + key); got != key {
				t.Errorf("got %q", got)
			}
			if r.shards[1].requests.Load() == n {
				t.Error("another shard answered")
			}
			if got := r.shard(1); got.Ejections != 1 {
				t.Errorf("%d ejections, want 1", got.Ejections)
			}
		})
	}
}

// -LOADING and its like go to the client, count as failures, and keep a shard
// out: a connection that opens is no proof that it works.
func TestLoadingEjects(t *testing.T) {
	r := newRig(t, 2, func(p *pool.Pool, _ *Server) {
		p.AutoEjectHosts, p.ServerFailureLimit, p.ServerRetryTimeout = true, 3, 20*time.Millisecond
	})
	c := r.dial()
	key := r.keyOf(1, 1)
	const loading = "LOADING Redis is loading the dataset in memory"
	r.shards[1].refuse.Store(loading)
	for range 3 {
		if got := c.ask("GET " + key); got != loading {
			t.Errorf("got %q", got)
		}
	}
	if !r.shard(1).Ejected {
		t.Fatal("not ejected")
	}
	eventually(t, "probed", func() bool { return r.shard(1).Errors[ErrConnect] >= 2 })
	if got := c.ask("GET " + key); got != key { // by the other
		t.Errorf("got %q", got)
	}
	r.shards[1].refuse.Store("")
	eventually(t, "back", func() bool { return !r.shard(1).Ejected })
}

// With all shards ejected, clients hear so; nothing hangs and nothing is closed.
func TestAllDown(t *testing.T) {
	r := newRig(t, 2, func(p *pool.Pool, _ *Server) {
		p.AutoEjectHosts, p.ServerFailureLimit, p.ServerRetryTimeout = true, 1, 20*time.Millisecond
	})
	for _, f := range r.shards {
		f.stop()
	}
	c := r.dial()
	c.until("echo:1", "ERR no shard is up")
	for _, ask := range []string{"MGET a b c d e f", "DEL a", "EVAL x 1 a", "TIME"} {
		if got := c.ask(ask); got != "ERR no shard is up" {
			t.Errorf("%s: %q", ask, got)
		}
	}
	for _, f := range r.shards {
		f.start()
	}
	c.until("echo:1", "echo:1")
}

// A success between failures makes them begin again.
func TestFailuresInARow(t *testing.T) {
	r := newRig(t, 1, func(p *pool.Pool, _ *Server) {
		p.AutoEjectHosts, p.ServerFailureLimit, p.FailureReplies = true, 2, []pool.Reply{"OOM", "BUSY", "LOADING"}
	})
	c := r.dial()
	for range 5 {
		r.shards[0].refuse.Store("BUSY Redis is busy running a script")
		c.ask("GET echo:1")
		r.shards[0].refuse.Store("")
		if got := c.ask("GET echo:1"); got != "echo:1" {
			t.Fatalf("got %q", got)
		}
	}
}

// A connection on which something came that is no reply, or that nobody asked for, is given up.
func TestGarbage(t *testing.T) {
	r := newRig(t, 2, nil)
	c := r.dial()
	key, other := r.keyOf(0, 1), r.keyOf(1, 1)
	r.shards[0].garbage.Store(1)
	c.send("GET "+key, "GET "+other, "GET "+key)
	if got := c.reply(); !strings.Contains(got, "ERR shard") {
		t.Errorf("got %q", got)
	}
	if got := c.reply(); got != other {
		t.Errorf("got %q", got)
	}
	c.reply()
	c.until(key, key)
	if got := r.shard(0); got.Errors[ErrProtocol] != 1 {
		t.Errorf("%+v", got.Errors)
	}
}

// Connections that were idle when the shard closed them are no failure.
func TestIdleClose(t *testing.T) {
	r := newRig(t, 1, nil)
	c := r.dial()
	c.ask("GET echo:1")
	r.shards[0].cut()
	eventually(t, "the connection's end seen", func() bool { return r.shard(0).Connections == 0 })
	if got := c.ask("GET echo:1"); got != "echo:1" {
		t.Errorf("got %q", got)
	}
	if got := r.shard(0); got.Errors != [errorKinds]uint64{} {
		t.Errorf("%+v", got.Errors)
	}
}

// A client that goes away leaves its replies behind, and they reach nobody else.
func TestClientLeaves(t *testing.T) {
	r := newRig(t, 1, nil)
	r.shards[0].pause()
	for i := range 20 {
		c := connect(t, "tcp", r.addr)
		c.send(fmt.Sprint("GET echo:gone", i), fmt.Sprint("MGET echo:gone", i, " x"))
		eventually(t, "taken", func() bool { return r.shard(0).InFlight >= 2*i+2 })
		c.Close()
	}
	c := r.dial()
	c.send("GET echo:mine")
	r.shards[0].resume()
	if got := c.reply(); got != "echo:mine" {
		t.Errorf("got %q", got)
	}
}

// A server that is not there at all costs its keys at most the time to connect.
func TestUnknownHost(t *testing.T) {
	r := newRig(t, 1, func(p *pool.Pool, _ *Server) {
		p.Servers = append(p.Servers, pool.Server{Addr: pool.Addr{Network: "tcp", Address: "no-such-host.invalid:6379"}, Weight: 1, Name: "b"})
		p.Preconnect = true
	})
	c := r.dial()
	var got string
	for i := 0; !strings.Contains(got, "no-such-host"); i++ {
		if got = c.ask(fmt.Sprint("GET echo:", i)); i > 100 {
			t.Fatal("no key is on the other server")
		}
	}
}
