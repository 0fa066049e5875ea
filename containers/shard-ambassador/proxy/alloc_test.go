package proxy

import (
	"bytes"
	"fmt"
	"log/slog"
	"net"
	"runtime"
	"testing"

	"distlab/containers/shard-ambassador/pool"
	"distlab/containers/shard-ambassador/resp"
)

// constant is a shard that answers every request with the same reply, and
// allocates nothing for it.
func constant(t testing.TB, reply string) pool.Server {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	many := bytes.Repeat([]byte(reply), 4096)
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				var scan resp.Scanner
				buf := make([]byte, 64<<10)
				for {
					n, err := conn.Read(buf)
					if err != nil {
						return
					}
					replies := 0
					for data := buf[:n]; len(data) > 0; {
						k, done, _ := scan.Scan(data)
						if data = data[k:]; done {
							replies++
						}
					}
					for replies > 0 {
						k := min(replies, 4096)
						conn.Write(many[:k*len(reply)])
						replies -= k
					}
				}
			}()
		}
	}()
	return pool.Server{Addr: pool.Addr{Network: "tcp", Address: ln.Addr().String()}, Weight: 1, Name: ln.Addr().String()}
}

// load is one client's pipeline of n requests; it is sent, and its replies are read, once
// for each call of the func.
func load(t testing.TB, n int, command func(i int) []string, reply string) func() {
	p := pool.Default()
	p.Name, p.Redis = "test", true
	p.Listen.Network, p.Listen.Address = "tcp", "127.0.0.1:0"
	for range 3 {
		p.Servers = append(p.Servers, constant(t, reply))
	}
	srv := &Server{Log: slog.New(slog.DiscardHandler)}
	if err := srv.Start([]pool.Pool{p}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { srv.Shutdown(t.Context()) })
	conn, err := net.Dial("tcp", srv.Snapshot()[0].Addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	var b []byte
	for i := range n {
		b = resp.AppendCommand(b, command(i)...)
	}
	var scan resp.Scanner
	buf := make([]byte, 64<<10)
	return func() {
		if _, err := conn.Write(b); err != nil {
			t.Fatal(err)
		}
		for left := n; left > 0; {
			k, err := conn.Read(buf)
			if err != nil {
				t.Fatal(err)
			}
			for data := buf[:k]; len(data) > 0; {
				m, done, err := scan.Scan(data)
				if err != nil {
					t.Fatal(err)
				}
				if data = data[m:]; done {
					left--
				}
			}
		}
	}
}

func get(i int) []string { return []string{"GET", fmt.Sprint("key:", i)} }

func mget(i int) []string {
	args := []string{"MGET"}
	for k := range 9 {
		args = append(args, fmt.Sprint("key:", i, ":", k*1000))
	}
	return args
}

// In steady state nothing is allocated for a request.
func TestNothingIsAllocated(t *testing.T) {
	for _, tt := range []struct {
		name    string
		command func(int) []string
		reply   string
		n       int
	}{
		{"GET", get, "$3\r\nabc\r\n", 64},
		{"SET", func(i int) []string { return []string{"SET", fmt.Sprint("key:", i), "value"} }, "+OK\r\n", 1},
		{"DEL", func(i int) []string { return append([]string{"DEL"}, mget(i)[1:]...) }, ":1\r\n", 16},
		{"PING", func(int) []string { return []string{"PING"} }, "", 16},
		{"unknown shard's MGET", mget, "-ERR x\r\n", 16},
	} {
		t.Run(tt.name, func(t *testing.T) {
			once := load(t, tt.n, tt.command, tt.reply)
			for range 100 {
				once()
			}
			const rounds = 500
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			for range rounds {
				once()
			}
			runtime.ReadMemStats(&after)
			// The runtime itself allocates a little now and then.
			if n := after.Mallocs - before.Mallocs; n > uint64(rounds*tt.n)/20 {
				t.Errorf("%d allocations for %d requests", n, rounds*tt.n)
			}
		})
	}
}

func BenchmarkPipeline(b *testing.B) {
	for _, n := range []int{1, 16, 64} {
		b.Run(fmt.Sprint("GET/", n), func(b *testing.B) {
			once := load(b, n, get, "$3\r\nabc\r\n")
			b.ReportAllocs()
			for b.Loop() {
				once()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/request")
		})
	}
	b.Run("DEL of 9 keys/16", func(b *testing.B) {
		once := load(b, 16, func(i int) []string { return append([]string{"DEL"}, mget(i)[1:]...) }, ":1\r\n")
		b.ReportAllocs()
		for b.Loop() {
			once()
		}
	})
}
