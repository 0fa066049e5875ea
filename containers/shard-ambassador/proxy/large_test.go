package proxy

import (
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"distlab/containers/shard-ambassador/pool"
	"distlab/containers/shard-ambassador/resp"
)

func noise(n int) string {
	b := make([]byte, n)
	random := rand.NewChaCha8([32]byte{})
	random.Read(b)
	return string(b)
}

// Large values go through, in order with the requests before and after them.
func TestLargeValues(t *testing.T) {
	r := newRig(t, 3, func(_ *pool.Pool, s *Server) { s.MaxRequest = 2 << 20 })
	for _, size := range []int{100, 70_000, streamFrom - 50, streamFrom, 20 << 20} {
		value := noise(size)
		c := r.dial()
		var b []byte
		b = resp.AppendCommand(b, "SET", "small", "1")
		b = resp.AppendCommand(b, "SET", "key", value)
		b = resp.AppendCommand(b, "STRLEN", "key")
		b = resp.AppendCommand(b, "GET", "key")
		b = resp.AppendCommand(b, "MGET", "small", "echo:1", "echo:2")
		go c.Write(b)
		for i, want := range []string{"OK", "OK", fmt.Sprint(":", size), value, "[1 echo:1 echo:2]"} {
			if got := c.reply(); got != want {
				t.Fatalf("%d bytes: reply %d is %.50q, want %.50q", size, i, got, want)
			}
		}
	}
}

// Several keys have to be kept whole, up to a bound.
func TestLargeRequestOfSeveralKeys(t *testing.T) {
	r := newRig(t, 3, func(_ *pool.Pool, s *Server) { s.MaxRequest = 4 << 20 })
	c := r.dial()
	value := noise(1 << 20)
	go c.Write(resp.AppendCommand(nil, "MSET", "a", value, "b1", value, "c22", value))
	if got := c.reply(); got != "OK" {
		t.Errorf("got %q", got)
	}
	if got := c.ask("MGET a b1 c22"); got != "["+value+" "+value+" "+value+"]" {
		t.Error("something else came back")
	}
	go c.Write(resp.AppendCommand(nil, "MSET", "a", value, "b1", value, "c22", value, "d", value, "e", value))
	if got := c.reply(); !strings.Contains(got, "larger than MAX_REQUEST") {
		t.Errorf("got %q", got)
	}
}

// A large request whose shard is away, or that is broken, is answered like any other.
func TestLargeRequestFails(t *testing.T) {
	r := newRig(t, 2, nil)
	value := noise(5 << 20)
	bad, good := r.keyOf(0, 1), r.keyOf(1, 2)
	r.shards[0].stop()
	c := r.dial()
	go c.Write(append(resp.AppendCommand(resp.AppendCommand(nil, "SET", bad, value), "SET", good, value), "*1\r\n$4\r\nPING\r\n"...))
	for _, want := range []string{`ERR shard "a"`, "OK", "PONG"} {
		if got := c.reply(); !strings.HasPrefix(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	// Half of it, and then what is no request.
	go fmt.Fprintf(c, "*4\r\n$3\r\nSET\r\n$%d\r\n%s\r\n$%d\r\n%s\r\n:1\r\n", len(good), good, len(value), value)
	if got := c.reply(); !strings.HasPrefix(got, "ERR Protocol error") {
		t.Errorf("got %q", got)
	}
	c.closed()
	// Half of it, and then the end: the shard has not got it.
	c = connect(t, "tcp", r.addr)
	fmt.Fprintf(c, "*3\r\n$3\r\nSET\r\n$%d\r\n%s\r\n$%d\r\n%s", len(good), good, len(value)+1, value)
	c.Close()
	c = r.dial()
	if got := c.ask("STRLEN " + good); got != fmt.Sprint(":", len(value)) {
		t.Errorf("got %q", got)
	}
}

// A client that does not read holds others up for a moment at most; what it
// leaves unread is bounded.
func TestSlowReader(t *testing.T) {
	r := newRig(t, 1, func(_ *pool.Pool, s *Server) { s.ClientBuffer, s.ClientTimeout = 8<<20, 500*time.Millisecond })
	fast := r.dial()
	go fast.Write(resp.AppendCommand(nil, "SET", "key", noise(3<<20)))
	if got := fast.reply(); got != "OK" {
		t.Fatal(got)
	}
	slow := r.dial()
	slow.send(strings.Split(strings.Repeat("GET key,", 19)+"GET key", ",")...) // 60 MB
	begun := time.Now()
	for i := range 50 {
		if got := fast.ask(fmt.Sprint("GET echo:", i)); got != fmt.Sprint("echo:", i) {
			t.Fatalf("got %q", got)
		}
	}
	if d := time.Since(begun); d > patience/2 {
		t.Errorf("the others waited %s", d)
	}
	eventually(t, "cut off", func() bool { return r.srv.Snapshot()[0].SlowClients == 1 })
	if n, _ := io.Copy(io.Discard, slow.in); n == 0 || n > 50<<20 {
		t.Errorf("got %d bytes before it was cut off", n)
	}
}

// A client that reads slowly, but reads, gets everything.
func TestPatientReader(t *testing.T) {
	r := newRig(t, 1, nil)
	c := r.dial()
	value := noise(10 << 20)
	go c.Write(resp.AppendCommand(nil, "SET", "key", value))
	if got := c.reply(); got != "OK" {
		t.Fatal(got)
	}
	c.send("GET key", "GET key", "PING")
	time.Sleep(3 * stallLimit) // what is tested: the reader is away for that long
	for _, want := range []string{value, value, "PONG"} {
		if got := c.reply(); got != want {
			t.Fatal("something else came back")
		}
	}
}

// A client that sends without reading is not read any more, and goes on later.
func TestBackPressure(t *testing.T) {
	r := newRig(t, 1, nil)
	r.shards[0].pause()
	c := r.dial()
	const n = 200_000
	go func() {
		var b []byte
		for i := range n {
			b = resp.AppendCommand(b[:0], "GET", fmt.Sprint("echo:", i))
			if _, err := c.Write(b); err != nil {
				return
			}
		}
	}()
	eventually(t, "full", func() bool { return r.shard(0).InFlight == maxPipeline })
	r.shards[0].resume()
	for i := range n {
		if got := c.reply(); got != fmt.Sprint("echo:", i) {
			t.Fatalf("got %q", got)
		}
	}
}

// Many clients of a shard that takes nothing wait, and what waits is bounded.
func TestQueueIsBounded(t *testing.T) {
	r := newRig(t, 1, nil)
	r.shards[0].pause()
	value := strings.Repeat("x", 100_000)
	const clients = 40
	results := make(chan string, clients)
	for range clients {
		go func() {
			c := connect(t, "tcp", r.addr)
			var b []byte
			for range 10 {
				b = resp.AppendCommand(b, "SET", "key", value)
			}
			go c.Write(b)
			for range 9 {
				readReply(c.in)
			}
			got, err := readReply(c.in)
			results <- fmt.Sprint(got, err)
		}()
	}
	eventually(t, "requests wait", func() bool { return r.shard(0).InQueueBytes > maxQueued/2 })
	if n := r.shard(0).InQueueBytes; n > maxQueued+clients*200_000 {
		t.Errorf("%d bytes wait", n)
	}
	r.shards[0].resume()
	for range clients {
		if got := <-results; got != "OK<nil>" {
			t.Errorf("got %s", got)
		}
	}
}
