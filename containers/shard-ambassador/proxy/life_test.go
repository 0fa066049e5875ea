package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"distlab/containers/shard-ambassador/pool"
)

// Keys that stay where they are do not notice a reload; the connections of clients stay.
func TestReload(t *testing.T) {
	r := newRig(t, 3, nil)
	c := r.dial()
	stop, asked := make(chan struct{}), make(chan string)
	go func() {
		defer close(asked)
		c := connect(t, "tcp", r.addr)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			if got := c.ask(fmt.Sprint("GET echo:", i)); got != fmt.Sprint("echo:", i) {
				asked <- got
			}
		}
	}()
	c.ask("GET echo:1")
	more := r.pool
	added := newFake(t, "d")
	more.Servers = append(append([]pool.Server{}, r.pool.Servers...), server(added))
	for range 10 {
		if err := r.srv.Reload([]pool.Pool{more}); err != nil {
			t.Fatal(err)
		}
		for i := 0; added.requests.Load() == 0; i++ {
			c.ask(fmt.Sprint("GET echo:", i))
		}
		if err := r.srv.Reload([]pool.Pool{r.pool}); err != nil {
			t.Fatal(err)
		}
		// A request of the other client may have been on its way; none comes after it.
		var n int64
		for i := range 400 {
			c.ask(fmt.Sprint("GET echo:", i))
			if i == 200 {
				n = added.requests.Load()
			}
		}
		if now := added.requests.Swap(0); now != n {
			t.Errorf("the server that was taken out got %d requests", now-n)
		}
	}
	close(stop)
	for got := range asked {
		t.Errorf("got %q while the pool was changed", got)
	}
}

// What is under way on a server that is taken out is answered by it.
func TestReloadWithRequestsUnderWay(t *testing.T) {
	r := newRig(t, 2, nil)
	c := r.dial()
	key := r.keyOf(1, 1)
	r.shards[1].pause()
	c.send("GET "+key, "GET "+key)
	eventually(t, "sent", func() bool { return r.shard(1).InFlight == 2 })
	less := r.pool
	less.Servers = r.pool.Servers[:1]
	if err := r.srv.Reload([]pool.Pool{less}); err != nil {
		t.Fatal(err)
	}
	c.send("GET " + key)
	r.shards[1].resume()
	for range 3 {
		if got := c.reply(); got != key {
			t.Errorf("got %q", got)
		}
	}
	if n := r.shards[0].requests.Load(); n != 1 {
		t.Errorf("the other server got %d requests, want the last one", n)
	}
	eventually(t, "the connection closed", func() bool {
		r.shards[1].mu.Lock()
		defer r.shards[1].mu.Unlock()
		return r.shards[1].requests.Load() == 2
	})
}

func TestReloadOfAddresses(t *testing.T) {
	r := newRig(t, 1, nil)
	old := r.dial()
	old.ask("GET echo:1")
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	moved := r.pool
	moved.Listen.Address = busy.Addr().String()
	if err := r.srv.Reload([]pool.Pool{moved}); err == nil {
		t.Error("an address in use was taken")
	}
	if got := r.dial().ask("GET echo:1"); got != "echo:1" {
		t.Errorf("after a reload that failed: %q", got)
	}
	second := r.pool
	second.Name = "second"
	if err := r.srv.Reload([]pool.Pool{r.pool, second}); err != nil {
		t.Fatal(err)
	}
	list := r.srv.Snapshot()
	if len(list) != 2 || list[1].Addr == r.addr {
		t.Fatalf("%+v", list)
	}
	c := connect(t, "tcp", list[1].Addr)
	if got := c.ask("GET echo:1"); got != "echo:1" {
		t.Errorf("got %q", got)
	}
	if err := r.srv.Reload([]pool.Pool{r.pool}); err != nil {
		t.Fatal(err)
	}
	c.closed() // its pool is gone
	if got := old.ask("GET echo:1"); got != "echo:1" {
		t.Errorf("got %q", got)
	}
}

// All that was received before the end is answered before the end.
func TestDrain(t *testing.T) {
	r := newRig(t, 3, nil)
	for _, f := range r.shards {
		f.pause()
	}
	idle, busy := r.dial(), r.dial()
	if got := idle.ask("PING"); got != "PONG" {
		t.Fatal(got)
	}
	const n = 3000 // more than are taken at once
	var lines []string
	for i := range n {
		lines = append(lines, fmt.Sprint("GET echo:", i))
	}
	busy.send(lines...)
	eventually(t, "requests under way", func() bool { return r.srv.Snapshot()[0].Requests >= maxPipeline })
	done := make(chan error)
	go func() { done <- r.srv.Shutdown(t.Context()) }()
	idle.closed()
	idle.Close()
	if _, err := net.DialTimeout("tcp", r.addr, time.Second); err == nil {
		t.Error("accepts while it drains")
	}
	for _, f := range r.shards {
		f.resume()
	}
	for i := range n {
		if got := busy.reply(); got != fmt.Sprint("echo:", i) {
			t.Fatalf("got %q", got)
		}
	}
	busy.closed()
	busy.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestDrainIsCut(t *testing.T) {
	r := newRig(t, 1, nil)
	r.shards[0].pause()
	c := r.dial()
	c.send("GET echo:1")
	eventually(t, "sent", func() bool { return r.shard(0).InFlight == 1 })
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := r.srv.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
}

func TestStartFails(t *testing.T) {
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	p := pool.Default()
	p.Redis = true
	p.Name, p.Listen.Network, p.Listen.Address = "test", "tcp", busy.Addr().String()
	p.Servers = []pool.Server{{Addr: pool.Addr{Network: "tcp", Address: "127.0.0.1:1"}, Weight: 1, Name: "a"}}
	if err := (&Server{}).Start([]pool.Pool{p}); err == nil || !strings.Contains(err.Error(), "pool test: listen") {
		t.Errorf("%v", err)
	}
	p.Redis = false
	if err := (&Server{}).Start([]pool.Pool{p}); err == nil || !strings.Contains(err.Error(), "memcached is not served") {
		t.Errorf("%v", err)
	}
}
